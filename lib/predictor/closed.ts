import type { Predictor } from '../../bindings.js';
import { TandemError } from '../errors.js';

export const closedError = (): TandemError =>
  new TandemError('ERR_CLOSED', 'expected an open Predictor, received one that is closed');

export function closed(): never {
  throw closedError();
}

/** Stands in for a native predictor after close, so that calls need no check of their own. */
export const closedPredictor: Omit<Predictor, 'key'> = {
  relatesRows: null,
  shapes: closed,
  predict: closed,
  bind: closed,
  variant: closed,
  profile: closed,
  close() {},
};
