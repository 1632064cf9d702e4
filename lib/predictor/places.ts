import { offAbort, onAbort } from '../aborts.js';
import type { TandemError } from '../errors.js';
import * as is from '../is.js';
import { aborted } from '../trainer/signal.js';

/** The places of `maxQueue`, which queues and generations of one Predictor share. */
export class Places {
  readonly #most: number;
  #taken = 0;
  /** Free, but kept for somebody who has waited and whose turn it is. */
  #kept = 0;
  /** Who waits for one, in order; as long as there are any, no place is free. */
  readonly #hopeful = new Set<() => void>();

  constructor(most: number) {
    this.#most = most;
  }

  get taken(): number {
    return this.#taken;
  }

  /** Taken, or kept for somebody. */
  get used(): number {
    return this.#taken + this.#kept;
  }

  get full(): boolean {
    return this.used >= this.#most;
  }

  /** Of a call of `method` where they are full. */
  refusal(method: string): TandemError {
    const received = `one more than the ${this.used} that are pending`;
    return is.mismatch('ERR_BUSY', 'calls within `maxQueue`', method, received);
  }

  take(): void {
    this.#taken++;
  }

  free(): void {
    this.#taken--;
    this.#invite();
  }

  /**
   * Calls `begin`, which takes a place or fails before it returns, once there is a place, first come,
   * first served. Rejects with ERR_ABORTED, and does not call, once `left` aborts.
   */
  async inTurn(left: AbortSignal, begin: () => void): Promise<void> {
    if (!left.aborted && this.full && (await this.#wait(left))) this.#kept--;
    try {
      if (left.aborted) throw aborted(left);
      begin();
    } finally {
      this.#invite();
    }
  }

  /** Whether a place is kept for the caller: not when `left` came first. */
  #wait(left: AbortSignal): Promise<boolean> {
    return new Promise((resolve) => {
      const come = () => {
        offAbort(left, leave);
        resolve(true);
      };
      const leave = () => {
        offAbort(left, leave);
        this.#hopeful.delete(come);
        resolve(false);
      };
      this.#hopeful.add(come);
      onAbort(left, leave);
    });
  }

  /** Keeps a place for the first of those who wait, if there is one. */
  #invite(): void {
    const [hopeful] = this.#hopeful;
    if (hopeful === undefined || this.full) return;
    this.#hopeful.delete(hopeful);
    this.#kept++;
    hopeful();
  }
}
