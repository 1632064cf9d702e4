// What a Trainer keeps between its calls.
import type { Position } from './checkpoint/contents.js';

/** What ends a run early, and who looks at the parameters between its steps. */
export interface RunState {
  stopped: boolean;
  readonly closed: boolean;
  /** Resolves once closed. */
  readonly whenClosed: Promise<void>;
  /** Aborted once closed: a source may never answer. */
  readonly ended: AbortSignal;
  close(): void;
  /** Ends what the fit that runs waits for, after `stopped` or `close`. */
  interrupt: (() => void) | undefined;
  /** The next epoch's number. */
  epoch: number;
  /** Where a checkpoint left off, for the next fit. */
  resume: Position | undefined;
  /** Where the fit that runs is, for checkpoints. */
  locate: (() => Position) | undefined;
  /**
   * Runs evaluations and copies of the parameters one after another: an evaluation may put averages in
   * the parameters' place for a while.
   */
  alone<R>(body: () => Promise<R>): Promise<R>;
  /** Resolves when none of them is under way. */
  settled(): Promise<void>;
}

export function makeRun(): RunState {
  const ending = new AbortController();
  let resolve = () => {};
  const whenClosed = new Promise<void>((done) => {
    resolve = done;
  });
  let last: Promise<unknown> = Promise.resolve();
  return {
    stopped: false,
    get closed() {
      return ending.signal.aborted;
    },
    whenClosed,
    ended: ending.signal,
    interrupt: undefined,
    close() {
      ending.abort();
      resolve();
      this.interrupt?.();
    },
    epoch: 0,
    resume: undefined,
    locate: undefined,
    alone(body) {
      const running = last.then(body);
      // Whoever awaits it sees the error.
      last = running.catch(() => {});
      return running;
    },
    async settled() {
      await last;
    },
  };
}
