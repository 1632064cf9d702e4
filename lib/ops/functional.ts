// The forms of layers whose weights are values.
import { apply } from '../graph/apply.js';
import { Value } from '../graph/value.js';
import * as is from '../is.js';

/**
 * `x * w^T + b` over the last axis: x [..., in], w [out, in], b [out] or left out; the result is
 * [..., out]. Throws ERR_SHAPE, ERR_DTYPE.
 */
export function linear(x: Value, w: Value, b?: Value): Value {
  const check = (value: unknown, name: string) => {
    if (!(value instanceof Value)) throw is.invalid('a Value', name, value);
  };
  check(x, 'x');
  check(w, 'w');
  if (b !== undefined) check(b, 'b');
  return apply('linear', b === undefined ? [x, w] : [x, w, b]);
}

export { conv1d, conv2d, convTranspose2d } from './conv.js';
