// Recurrences over whole sequences: the inputs' part of all steps is one matrix product, then one op
// walks through time.
import { apply } from '../graph/apply.js';
import type { Value } from '../graph/value.js';
import { add } from './elementwise.js';

/** Weights of a recurrence as values, as torch.nn.LSTM and GRU have them. */
export interface RecurrentWeights {
  readonly wIh: Value;
  readonly wHh: Value;
  readonly bIh: Value;
  readonly bHh: Value;
}

export function lstmStates(x: Value, { wIh, wHh, bIh, bHh }: RecurrentWeights): Value {
  return apply('lstm', [apply('linear', [x, wIh, add(bIh, bHh)]), wHh]);
}

export function gruStates(x: Value, { wIh, wHh, bIh, bHh }: RecurrentWeights): Value {
  return apply('gru', [apply('linear', [x, wIh, bIh]), wHh, bHh]);
}
