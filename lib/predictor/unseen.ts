// Where results lie already, while whoever awaits them has not run: a later call must not write there.
// That a call is pending, native code knows only of those that it has not computed at once.
import * as is from '../is.js';

type Memory = Float32Array | Int32Array;

const unseen = new Set<Memory>();

const overlap = (a: Memory, b: Memory): boolean =>
  a.buffer === b.buffer &&
  a.byteOffset < b.byteOffset + b.byteLength &&
  b.byteOffset < a.byteOffset + a.byteLength;

/** Throws ERR_BUSY where a result in this memory is still to be seen. */
export function checkSeen(out: Memory): void {
  if (unseen.size === 0) return;
  for (const other of unseen) {
    if (overlap(out, other)) {
      throw is.mismatch('ERR_BUSY', 'memory of its own', 'out', 'that of a pending call');
    }
  }
}

const see = (out: Memory): void => {
  unseen.delete(out);
};

/** A promise that is resolved with `out`, which counts as unseen until its first reaction. */
export function resolvedWith<A extends Memory>(out: A): Promise<A> {
  const promise = Promise.resolve(out);
  unseen.add(out);
  // Reactions run in their order: this one just before those of the caller.
  void promise.then(see);
  return promise;
}

/** `writing`, which may have written to `outputs` already; they count as unseen until it settles. */
export async function untilSeen(outputs: readonly Memory[], writing: Promise<unknown>) {
  for (const out of outputs) unseen.add(out);
  try {
    await writing;
  } finally {
    for (const out of outputs) unseen.delete(out);
  }
}
