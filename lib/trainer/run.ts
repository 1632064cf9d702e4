// What a Trainer keeps between its calls.
import { Ending } from '../ending.js';
import type { ModelState } from '../model/state.js';
import type { Position } from './checkpoint/contents.js';

/** What ends a run early, and who looks at the parameters between its steps. */
export interface RunState {
  stopped: boolean;
  readonly closed: boolean;
  /** As the promise settles, or with undefined once closed. */
  unlessClosed<T>(promise: T | PromiseLike<T>): Promise<T | undefined>;
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
  /** Lets `body` write to the parameters, which nobody reads meanwhile, and sends them to a GPU. */
  changing: (body: () => Promise<void>) => Promise<void>;
  /** Runs evaluations and copies of the parameters one after another. */
  alone<R>(body: () => Promise<R>): Promise<R>;
  /** Resolves when none of them is under way. */
  settled(): Promise<void>;
  /**
   * Resolves when nobody reads the model's parameters; once closed, it does not wait for evaluations,
   * whose data may never come.
   */
  resting(): Promise<void>;
}

export function makeRun({ looks, copies }: Pick<ModelState, 'looks' | 'copies'>): RunState {
  const ended = new AbortController();
  const ending = new Ending();
  let last: Promise<unknown> = Promise.resolve();
  return {
    stopped: false,
    get closed() {
      return ended.signal.aborted;
    },
    unlessClosed: (promise) => ending.unlessEnded(promise),
    ended: ended.signal,
    interrupt: undefined,
    close() {
      ended.abort();
      ending.end();
      this.interrupt?.();
    },
    epoch: 0,
    resume: undefined,
    locate: undefined,
    changing: (body) => body(),
    alone(body) {
      const running = last.then(body);
      const done = () => {
        looks.delete(look);
      };
      // Whoever awaits it sees the error.
      const look: Promise<void> = running.then(done, done);
      looks.add(look);
      last = look;
      return running;
    },
    async settled() {
      await last;
    },
    async resting() {
      if (looks.size > 0) await ending.unlessEnded(Promise.all(looks));
      if (copies.size > 0) await Promise.all(copies);
    },
  };
}
