// What a Trainer keeps between its calls.
import type { Position } from './checkpoint/contents.js';

/** What ends a run early. */
export interface RunState {
  stopped: boolean;
  readonly closed: boolean;
  /** Resolves once closed. */
  readonly whenClosed: Promise<void>;
  close(): void;
  /** The next epoch's number. */
  epoch: number;
  /** Where a checkpoint left off, for the next fit. */
  resume: Position | undefined;
  /** Where the fit that runs is, for checkpoints. */
  locate: (() => Position) | undefined;
}

export function makeRun(): RunState {
  let closed = false;
  let resolve = () => {};
  const whenClosed = new Promise<void>((done) => {
    resolve = done;
  });
  return {
    stopped: false,
    get closed() {
      return closed;
    },
    whenClosed,
    close() {
      closed = true;
      resolve();
    },
    epoch: 0,
    resume: undefined,
    locate: undefined,
  };
}
