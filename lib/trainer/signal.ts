import { offAbort, onAbort } from '../aborts.js';
import { Ending } from '../ending.js';
import { TandemError } from '../errors.js';
import * as is from '../is.js';

export function checkSignal(value: unknown): AbortSignal | undefined {
  if (value === undefined || value instanceof AbortSignal) return value;
  throw is.invalid('an AbortSignal', 'signal', value);
}

/** Whether that is what a source says whose signal was aborted. */
export const isAborted = (error: unknown): boolean =>
  error instanceof TandemError && error.code === 'ERR_ABORTED';

export function aborted(signal: AbortSignal): TandemError {
  const cause: unknown = signal.reason;
  return new TandemError('ERR_ABORTED', 'expected to finish, received an abort by `signal`', {
    cause,
  });
}

/** A signal that aborts with the first of these; `release` when nobody looks at it any more. */
export function firstOf(signals: readonly (AbortSignal | undefined)[]): {
  readonly signal: AbortSignal;
  release(): void;
} {
  const first = new AbortController();
  const watched = signals.flatMap((signal) => {
    if (signal === undefined) return [];
    const end = () => first.abort(signal.reason);
    if (signal.aborted) end();
    onAbort(signal, end);
    return [[signal, end] as const];
  });
  const release = () => {
    for (const [signal, end] of watched) offAbort(signal, end);
  };
  return { signal: first.signal, release };
}

/** As the promise settles, or ERR_ABORTED once the signal aborts, whichever comes first. */
export async function unlessAborted<T>(
  signal: AbortSignal | undefined,
  promise: Promise<T>,
): Promise<T> {
  if (signal === undefined) return await promise;
  const ending = new Ending();
  const end = () => ending.end();
  onAbort(signal, end);
  if (signal.aborted) end();
  try {
    const result = await ending.unlessEnded(promise);
    if (signal.aborted) throw aborted(signal);
    return result as T;
  } finally {
    offAbort(signal, end);
  }
}
