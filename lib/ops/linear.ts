import { apply } from '../graph/apply.js';
import { asOptional, asValue } from '../graph/leaves.js';
import type { Value } from '../graph/value.js';

/**
 * `x * w^T + b` over the last axis: x [..., in], w [out, in], b [out] or left out; the result is
 * [..., out]. Throws ERR_SHAPE, ERR_DTYPE.
 */
export function linear(x: Value, w: Value, b?: Value | null): Value {
  const required = [asValue(x, 'x'), asValue(w, 'w')];
  const bias = asOptional(b, 'b');
  return apply('linear', bias === null ? required : [...required, bias]);
}
