import { apply } from '../graph/apply.js';
import { asOptional, asValue } from '../graph/leaves.js';
import type { Value } from '../graph/value.js';
import * as is from '../is.js';

/** What an attention may look at. */
export interface AttentionOptions {
  /** Whether query i sees keys 0 to i only. False by default. */
  causal?: boolean;
  /**
   * Added to the scores; broadcast to `[batch, heads, time, keys]`. -Infinity hides a key. The mask may
   * depend on parameters: it gets gradients.
   */
  mask?: Value | null;
}

/**
 * `softmax(q * k^T / sqrt(depth) + mask) * v`: Vaswani et al., "Attention Is All You Need" (2017). q
 * `[batch, heads, time, depth]`, k `[batch, heads, keys, depth]`, v `[batch, heads, keys, value depth]`;
 * the result is `[batch, heads, time, value depth]`. Memory grows with time plus keys, not with their
 * product: Dao et al., "FlashAttention" (2022). A query that sees no key gets zeros. Throws ERR_SHAPE,
 * ERR_DTYPE, ERR_ARGUMENT.
 */
export function attention(q: Value, k: Value, v: Value, options?: AttentionOptions): Value {
  const { causal, mask } = is.options(options, 'options of attention', ['causal', 'mask']);
  const required = Object.entries({ q, k, v }).map(([name, value]) => asValue(value, name));
  const added = asOptional(mask, 'mask');
  return apply('attention', added === null ? required : [...required, added], {
    causal: causal !== undefined && is.boolean(causal, 'causal'),
  });
}
