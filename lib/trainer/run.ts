// What a Trainer keeps between its calls.

/** What ends a run early. */
export interface RunState {
  stopped: boolean;
  readonly closed: boolean;
  /** Resolves once closed. */
  readonly whenClosed: Promise<void>;
  close(): void;
  /** The next epoch's number. */
  epoch: number;
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
  };
}
