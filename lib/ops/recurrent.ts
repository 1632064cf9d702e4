// Recurrences over whole sequences: the inputs' part of all steps is one matrix product, then one op
// walks through time.
import { apply } from '../graph/apply.js';
import { asValue } from '../graph/leaves.js';
import { expectFloat32, misshapen } from '../graph/operands.js';
import type { Value } from '../graph/value.js';
import { add } from './elementwise.js';
import { linear } from './linear.js';

/**
 * A layer of long short-term memory over x [batch, time, in], from states of zero: the states after
 * every step, [batch, time, units]. wIh is [4 * units, in], wHh [4 * units, units], bIh and bHh
 * [4 * units], with gates in the order i, f, g, o, as in torch.nn.LSTM. Hochreiter and Schmidhuber,
 * "Long Short-Term Memory" (1997). Throws ERR_SHAPE, ERR_DTYPE.
 */
export function lstm(x: Value, wIh: Value, wHh: Value, bIh: Value, bHh: Value): Value {
  checkWeights('lstm', 4, { x, wIh, wHh, bIh, bHh });
  return apply('lstm', [linear(x, wIh, add(bIh, bHh)), wHh]);
}

/**
 * A layer of gated recurrent units over x [batch, time, in], from states of zero: the states after
 * every step, [batch, time, units]. wIh is [3 * units, in], wHh [3 * units, units], bIh and bHh
 * [3 * units], with gates in the order r, z, n, as in torch.nn.GRU. Cho et al., "Learning Phrase
 * Representations using RNN Encoder-Decoder for Statistical Machine Translation" (2014). Throws
 * ERR_SHAPE, ERR_DTYPE.
 */
export function gru(x: Value, wIh: Value, wHh: Value, bIh: Value, bHh: Value): Value {
  checkWeights('gru', 3, { x, wIh, wHh, bIh, bHh });
  return apply('gru', [linear(x, wIh, bIh), wHh, bHh]);
}

/** Operands of a recurrence with so many gates. Throws ERR_ARGUMENT, ERR_DTYPE, ERR_SHAPE. */
function checkWeights(
  op: string,
  gates: number,
  operands: Readonly<Record<'x' | 'wIh' | 'wHh' | 'bIh' | 'bHh', Value>>,
): void {
  for (const [name, value] of Object.entries(operands)) asValue(value, name);
  expectFloat32(op, operands);
  const { x, wIh, wHh, bIh, bHh } = operands;
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
  if (x.shape.length === 3 && right.every(([value, wanted]) => fits(value, wanted))) return;
  const wanted = `wIh [${gates} * units, in], wHh [${gates} * units, units], bIh and bHh [${gates} * units]`;
  throw misshapen(op, `x [batch, time, in], ${wanted}`, operands);
}
