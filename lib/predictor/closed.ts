import type { Predictor } from '../../bindings.js';
import { TandemError } from '../errors.js';

function closed(): never {
  throw new TandemError('ERR_CLOSED', 'expected an open Predictor, received one that is closed');
}

/** Stands in for a native predictor after close, so that calls need no check of their own. */
export const closedPredictor: Predictor = {
  shapes: closed,
  predictSync: closed,
  predict: closed,
  bind: closed,
  profile: closed,
  close() {},
};
