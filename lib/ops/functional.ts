// The forms of layers whose weights are values.
import { apply } from '../graph/apply.js';
import { showShape, Value } from '../graph/value.js';
import * as is from '../is.js';
import { gruStates, lstmStates, type RecurrentWeights } from './recurrent.js';

function check(value: unknown, name: string): void {
  if (!(value instanceof Value)) throw is.invalid('a Value', name, value);
}

export {
  type BatchNormOptions,
  batchNorm,
  type GroupNormOptions,
  groupNorm,
  type LayerNormOptions,
  layerNorm,
  type RmsNormOptions,
  rmsNorm,
} from './norms.js';

/**
 * `x * w^T + b` over the last axis: x [..., in], w [out, in], b [out] or left out; the result is
 * [..., out]. Throws ERR_SHAPE, ERR_DTYPE.
 */
export function linear(x: Value, w: Value, b?: Value | null): Value {
  check(x, 'x');
  check(w, 'w');
  if (b === undefined || b === null) return apply('linear', [x, w]);
  check(b, 'b');
  return apply('linear', [x, w, b]);
}

/**
 * Rows of a table by number: index [...] (int32), w [count, dim]; the result is [..., dim]. Throws
 * ERR_SHAPE, ERR_DTYPE. Feeding a number outside of [0, count) throws ERR_ARGUMENT; one that only
 * the graph computes gives a row of NaN.
 */
export function embedding(index: Value, w: Value): Value {
  check(index, 'index');
  check(w, 'w');
  return apply('embedding', [index, w]);
}

/**
 * A layer of long short-term memory over x [batch, time, in], from states of zero: the states after
 * every step, [batch, time, units]. wIh is [4 * units, in], wHh [4 * units, units], bIh and bHh
 * [4 * units], with gates in the order i, f, g, o, as in torch.nn.LSTM. Hochreiter and Schmidhuber,
 * "Long Short-Term Memory" (1997). Throws ERR_SHAPE, ERR_DTYPE.
 */
export function lstm(x: Value, wIh: Value, wHh: Value, bIh: Value, bHh: Value): Value {
  return lstmStates(x, checkWeights('lstm', 4, x, { wIh, wHh, bIh, bHh }));
}

/**
 * A layer of gated recurrent units over x [batch, time, in], from states of zero: the states after
 * every step, [batch, time, units]. wIh is [3 * units, in], wHh [3 * units, units], bIh and bHh
 * [3 * units], with gates in the order r, z, n, as in torch.nn.GRU. Cho et al., "Learning Phrase
 * Representations using RNN Encoder-Decoder for Statistical Machine Translation" (2014). Throws
 * ERR_SHAPE, ERR_DTYPE.
 */
export function gru(x: Value, wIh: Value, wHh: Value, bIh: Value, bHh: Value): Value {
  return gruStates(x, checkWeights('gru', 3, x, { wIh, wHh, bIh, bHh }));
}

/** Weights of a recurrence with so many gates over x. Throws ERR_ARGUMENT, ERR_SHAPE. */
function checkWeights(
  op: string,
  gates: number,
  x: Value,
  weights: RecurrentWeights,
): RecurrentWeights {
  check(x, 'x');
  for (const [name, value] of Object.entries(weights)) check(value, name);
  const { wIh, wHh, bIh, bHh } = weights;
  const units = Number(wHh.shape[1]);
  const rows = gates * units;
  const right: readonly [Value, readonly unknown[]][] = [
    [wIh, [rows, x.shape[2]]],
    [wHh, [rows, units]],
    [bIh, [rows]],
    [bHh, [rows]],
  ];
  const fits = ({ shape }: Value, wanted: readonly unknown[]) =>
    shape.length === wanted.length && shape.every((length, i) => length === wanted[i]);
  if (x.shape.length === 3 && right.every(([value, wanted]) => fits(value, wanted))) return weights;
  const wanted = `wIh [${gates} * units, in], wHh [${gates} * units, units], bIh and bHh [${gates} * units]`;
  const received = [x, wIh, wHh, bIh, bHh].map(showShape).join(', ');
  throw is.mismatch('ERR_SHAPE', `x [batch, time, in], ${wanted}`, op, received);
}

export { conv1d, conv2d, convTranspose2d } from './conv.js';
