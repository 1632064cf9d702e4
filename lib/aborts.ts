// One listener a signal, however many calls wait with it: Node warns of more than ten.

interface Watch {
  readonly calls: Set<() => void>;
  readonly listener: () => void;
}

const watches = new WeakMap<AbortSignal, Watch>();

/** Calls `call` once the signal aborts; every one needs its `offAbort`. */
export function onAbort(signal: AbortSignal, call: () => void): void {
  let found = watches.get(signal);
  if (found === undefined) {
    const calls = new Set<() => void>();
    found = {
      calls,
      listener: () => {
        // As of listeners, those that an earlier one takes off are not called.
        for (const each of [...calls]) if (calls.has(each)) each();
      },
    };
    watches.set(signal, found);
    signal.addEventListener('abort', found.listener);
  }
  found.calls.add(call);
}

export function offAbort(signal: AbortSignal, call: () => void): void {
  const found = watches.get(signal);
  if (found === undefined) return;
  found.calls.delete(call);
  if (found.calls.size > 0) return;
  watches.delete(signal);
  signal.removeEventListener('abort', found.listener);
}
