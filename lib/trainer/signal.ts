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
