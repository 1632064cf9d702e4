import { apply } from '../graph/apply.js';
import { Value } from '../graph/value.js';
import * as is from '../is.js';

/** What an attention may look at. */
export interface AttentionOptions {
  /** Whether query i sees keys 0 to i only. False by default. */
  causal?: boolean;
  /**
   * Added to the scores; broadcast to `[batch, heads, time, keys]`. -Infinity hides a key. The mask may
   * depend on parameters: it gets gradients.
   */
  mask?: Value;
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
  for (const [name, value] of Object.entries({ q, k, v, ...(mask !== undefined && { mask }) })) {
    if (!(value instanceof Value)) throw is.invalid('a Value', name, value);
  }
  const inputs = mask === undefined ? [q, k, v] : [q, k, v, mask];
  return apply('attention', inputs, {
    causal: causal !== undefined && is.boolean(causal, 'causal'),
  });
}
