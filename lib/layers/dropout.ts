import { apply } from '../graph/apply.js';
import { Value } from '../graph/value.js';
import * as is from '../is.js';
import { type Layer, makeLayer } from './layer.js';

/** Options of the layer dropout. */
export interface DropoutOptions {
  /** Its name in summaries; `dropout`, `dropout_1`, ... by default. */
  name?: string;
}

/**
 * Zeroes elements with probability `rate` (0 to below 1) while training and scales the others by
 * `1 / (1 - rate)`; the identity otherwise: Srivastava et al., "Dropout" (2014). Masks follow from
 * the trainer's seed and the step alone. `dropout(rate)` is a layer, `dropout(x, { rate })` the op.
 */
export function dropout(rate: number, options?: DropoutOptions): Layer;
export function dropout(x: Value, options?: { rate?: number }): Value;
export function dropout(
  first: Value | number,
  options?: DropoutOptions & { rate?: number },
  ...more: unknown[]
): Layer | Value {
  is.lastArgument(more, 'dropout');
  if (first instanceof Value) {
    const { rate = 0.5 } = is.options(options, 'options of dropout', ['rate']);
    return apply('dropout', [first], { rate: checkRate(rate) });
  }
  const rate = checkRate(first);
  const { name } = is.options(options, 'options of dropout', ['name']);
  return makeLayer('dropout', name, (_, x) => apply('dropout', [x], { rate }));
}

function checkRate(rate: unknown): number {
  if (typeof rate === 'number' && rate >= 0 && rate < 1) return rate;
  throw is.invalid('a number from 0 to below 1', 'rate', rate);
}
