import { apply } from '../graph/apply.js';
import { toValue } from '../graph/leaves.js';
import type { Value } from '../graph/value.js';
import * as is from '../is.js';

/** How fast angles fall from one pair of numbers to the next. */
export interface RotaryOptions {
  /** Pair i of a head of depth d turns by `position * base ** (-2 * i / d)`. 10,000 by default. */
  base?: number;
}

/**
 * Turns queries or keys `[..., time, depth]` by their positions, so that scores depend on distances:
 * Su et al., "RoFormer: Enhanced Transformer with Rotary Position Embedding" (2021). Number i pairs up
 * with number i + depth / 2, as in GPT-NeoX and Llama; depth is even. Throws ERR_SHAPE, ERR_DTYPE,
 * ERR_ARGUMENT.
 */
export function rotary(x: Value, options?: RotaryOptions): Value {
  const { base } = is.options(options, 'options of rotary', ['base']);
  return apply(
    'rotary',
    [toValue(x, 'x')],
    base === undefined ? {} : { base: is.positive(base, 'base') },
  );
}
