// Sources that fail for a while.
import { setTimeout as wait } from 'node:timers/promises';
import { TandemError } from '../errors.js';
import { aborted } from './signal.js';
import type { EpochPlan, Piece, StepSource, Supply } from './supply.js';

/**
 * A supply whose epochs begin again where they failed, at most `attempts` times in a row, before each
 * of which `delay` milliseconds go by, twice as many each time. Errors of this library, which are bad
 * data, an abort or a wrong option, are never tried again.
 */
export function retrying(
  supply: Supply,
  { attempts, delay }: { readonly attempts: number; readonly delay: number },
): Supply {
  if (attempts === 0) return supply;
  return {
    ...supply,
    async epoch(plan) {
      const source = new RetryingSource(supply, plan, attempts, delay);
      await source.open();
      return source;
    },
  };
}

class RetryingSource implements StepSource {
  #source: StepSource | undefined;
  /** Batches that have been handed out. */
  #batches = 0;
  #steps: number | undefined;

  constructor(
    readonly supply: Supply,
    readonly plan: EpochPlan,
    readonly attempts: number,
    readonly delay: number,
  ) {}

  get steps(): number | undefined {
    return this.#steps;
  }

  get batchSize(): number {
    return this.plan.batchSize;
  }

  async open(): Promise<void> {
    const { plan } = this;
    const { checkFrom } = plan;
    this.#source = await this.supply.epoch({
      ...plan,
      start: plan.start + this.#batches,
      ...(checkFrom !== undefined && { checkFrom: checkFrom + this.#batches }),
    });
    if (this.#batches === 0) this.#steps = this.#source.steps;
  }

  begin(): void {
    this.#source?.begin?.();
  }

  async next(steps: number): Promise<Piece | undefined> {
    for (let failures = 0; ; failures++) {
      try {
        if (this.#source === undefined) await this.open();
        const piece = await this.#source?.next(steps);
        this.#batches += piece?.sizes.length ?? 0;
        return piece;
      } catch (error) {
        if (error instanceof TandemError || failures >= this.attempts) throw error;
        await this.#pause(failures);
      }
    }
  }

  async #pause(failures: number): Promise<void> {
    await this.close().catch(() => {});
    const { signal } = this.plan;
    try {
      await wait(this.delay * 2 ** failures, undefined, signal === undefined ? {} : { signal });
    } catch (error) {
      throw signal?.aborted ? aborted(signal) : error;
    }
  }

  async close(): Promise<void> {
    const source = this.#source;
    this.#source = undefined;
    await source?.close?.();
  }
}
