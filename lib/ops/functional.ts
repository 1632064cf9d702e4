// The forms of layers whose weights are values.
import { apply } from '../graph/apply.js';
import { Value } from '../graph/value.js';
import * as is from '../is.js';

function check(value: unknown, name: string): void {
  if (!(value instanceof Value)) throw is.invalid('a Value', name, value);
}

/**
 * `x * w^T + b` over the last axis: x [..., in], w [out, in], b [out] or left out; the result is
 * [..., out]. Throws ERR_SHAPE, ERR_DTYPE.
 */
export function linear(x: Value, w: Value, b?: Value): Value {
  check(x, 'x');
  check(w, 'w');
  if (b !== undefined) check(b, 'b');
  return apply('linear', b === undefined ? [x, w] : [x, w, b]);
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

export { conv1d, conv2d, convTranspose2d } from './conv.js';
