import { apply } from '../graph/apply.js';
import { toValue } from '../graph/leaves.js';
import type { Value } from '../graph/value.js';

/**
 * The matrix product over the last two axes, `[..., m, k]` and `[..., k, n]` to `[..., m, n]`; the
 * axes before them broadcast. Throws ERR_SHAPE, ERR_DTYPE.
 */
export function matmul(a: Value, b: Value): Value {
  return apply('matmul', [toValue(a, 'a'), toValue(b, 'b')]);
}
