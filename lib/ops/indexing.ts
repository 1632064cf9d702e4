// Ops that choose elements, put them elsewhere, or sum along an axis. Axes count the batch as axis 0;
// negative ones count from the end. All of them throw ERR_SHAPE, ERR_DTYPE and ERR_ARGUMENT.
import { apply } from '../graph/apply.js';
import { asValue, constant, toValue } from '../graph/leaves.js';
import { Value } from '../graph/value.js';
import * as is from '../is.js';
import { attributesOf, type Operand, reduction } from './make.js';
import { type AxisOptions, slice } from './shapes.js';

const axis = (value: unknown, name: string): number => is.integer(value, name);

/**
 * `a` where the condition is not zero, `b` elsewhere: both float32, or both int32, for which a number
 * beside an int32 value is a whole one. The condition is float32 or int32; the three broadcast.
 */
export function where(condition: Operand, a: Operand, b: Operand): Value {
  const branch = (own: Operand, other: Operand, name: string) =>
    typeof own === 'number' && other instanceof Value && other.dtype === 'int32'
      ? constant(Int32Array.of(is.integer(own, name, -(2 ** 31), 2 ** 31 - 1)), [])
      : toValue(own, name);
  return apply('where', [toValue(condition, 'condition'), branch(a, b, 'a'), branch(b, a, 'b')]);
}

/** The sums of all elements up to each one along an axis, as PyTorch's cumsum. */
export const cumsum = reduction<AxisOptions>('cumsum', { axis });

/**
 * Elements by number along an axis (0 by default), as torch.gather: for a matrix and axis 1,
 * `y[i, j] = x[i, index[i, j]]`. The index is int32, of x's rank, and in the other dimensions as long
 * as x or shorter. Feeding a number outside of the axis throws ERR_ARGUMENT; one that only the graph
 * computes gives NaN (0 where x is int32).
 */
export function gather(x: Value, index: Value, options?: AxisOptions): Value {
  asValue(x, 'x');
  asValue(index, 'index');
  const attributes = attributesOf<AxisOptions>('gather', options, { axis });
  const rank = x.shape.length;
  const given = Number(attributes.axis ?? 0);
  const along = given < 0 ? given + rank : given;
  const others = index.shape.map((length, i) => {
    const all = x.shape[i];
    return i === along || typeof length !== 'number' || typeof all !== 'number' ? 0 : length - all;
  });
  let part = x;
  // Of an index that is too long nothing is cut off, so that the error shows x as it is.
  if (index.shape.length === rank && others.every((more) => more <= 0)) {
    for (const [i, more] of others.entries()) {
      if (more < 0) part = slice(part, { axis: i, end: index.shape[i] as number });
    }
  }
  return apply('gather', [part, index], attributes);
}

/** What pad puts where. */
export interface PadOptions {
  /** How many elements before and after each axis, the batch included: `[[0, 0], [1, 2]]`. */
  pads: readonly (readonly [before: number, after: number])[];
  /** What they are, also an infinity; 0 by default. A whole number for int32. */
  value?: number;
}

/** x with elements of one value around it. */
export function pad(x: Operand, options: PadOptions): Value {
  const { pads, value } = is.options<Partial<PadOptions>>(options, 'options of pad', [
    'pads',
    'value',
  ]);
  if (!Array.isArray(pads)) throw is.invalid('an array of pairs', 'pads', pads);
  const pairs = pads.map((pair: unknown, i) => {
    const both = is.integers(pair, `pads[${i}]`, 0);
    if (both.length !== 2) throw is.invalid('a pair', `pads[${i}]`, pair);
    return both;
  });
  const side = (which: 0 | 1) => pairs.map((pair) => pair[which] ?? 0);
  const sides = { before: side(0), after: side(1) };
  const given = toValue(x, 'x');
  if (given.dtype === 'float32' && (value === Infinity || value === -Infinity)) {
    // JSON lacks infinities, so that files keep them among constants and not among attributes.
    const inside = apply('pad', [where(given, 1, 1)], sides);
    return where(inside, apply('pad', [given], sides), value);
  }
  const fill = value === undefined ? {} : { value: is.number(value, 'value') };
  return apply('pad', [given], { ...sides, ...fill });
}
