// One listener a signal, however many calls wait with it.

interface Watch {
  /** What native code looks at: not 0 once the signal has aborted. */
  readonly flag: Int32Array;
  users: number;
  readonly abort: () => void;
}

const watches = new WeakMap<AbortSignal, Watch>();

/** The flag of a signal; every watch needs its unwatch. */
export function watch(signal: AbortSignal): Int32Array {
  let found = watches.get(signal);
  if (found === undefined) {
    const flag = new Int32Array(1);
    found = { flag, users: 0, abort: () => flag.fill(1) };
    watches.set(signal, found);
    signal.addEventListener('abort', found.abort);
  }
  found.users++;
  return found.flag;
}

export function unwatch(signal: AbortSignal): void {
  const found = watches.get(signal);
  if (found === undefined || --found.users > 0) return;
  watches.delete(signal);
  signal.removeEventListener('abort', found.abort);
}
