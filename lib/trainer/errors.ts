// Errors of calls that come at the wrong time.
import { TandemError } from '../errors.js';

export function closedError(): TandemError {
  return new TandemError('ERR_CLOSED', 'expected an open Trainer, received one that is closed');
}

export function busyError(what: string): TandemError {
  return new TandemError(
    'ERR_BUSY',
    `expected one call at a time for \`${what}\`, received it while the model is training; await the first`,
  );
}
