import type { Value } from '../graph/value.js';
import * as is from '../is.js';
import {
  attend,
  type HeadOptions,
  headSettings,
  type MultiHeadAttentionWeights,
} from '../ops/multi-head-attention.js';
import { widthOf } from '../ops/weights.js';
import { weightInitializer } from './initializers.js';
import { type Layer, makeLayer, type Own } from './layer.js';

/** Options of multiHeadAttention. */
export interface MultiHeadAttentionOptions extends HeadOptions {
  /** Whether biases are added. True by default. */
  bias?: boolean;
  /** Begins the names of its parameters; `multiHeadAttention`, `multiHeadAttention_1`, ... by default. */
  name?: string;
}

/** What a call of an attention layer may add. */
export interface AttentionCallOptions {
  /** Added to the scores; broadcast to `[batch, heads, time, keys]`. None where it is null. */
  mask?: Value | null;
}

/** A layer of attention: of x to itself, also for a context that is null, or to another value of its width. */
export interface AttentionLayer extends Layer {
  (x: Value): Value;
  (x: Value, context?: Value | null, options?: AttentionCallOptions): Value;
}

/**
 * Attention with learned projections, `[batch, time, dim]` to the same: Vaswani et al., "Attention Is
 * All You Need" (2017). Called with a second value `[batch, keys, dim]`, x attends to that one;
 * `{ mask }` comes third. Parameters, as in torch.nn.MultiheadAttention: `inProj.weight` [3 * dim, dim]
 * (queries, keys, values), `inProj.bias`, `outProj.weight` [dim, dim] and `outProj.bias`. Throws
 * ERR_ARGUMENT; when called, ERR_SHAPE and ERR_DTYPE.
 *
 * @example multiHeadAttention({ heads: 4, causal: true })(x)
 */
export function multiHeadAttention(options: MultiHeadAttentionOptions): AttentionLayer;
export function multiHeadAttention(
  options: MultiHeadAttentionOptions,
  ...more: unknown[]
): AttentionLayer {
  is.lastArgument(more, 'multiHeadAttention');
  const { bias, name, ...heads } = is.options(options, 'options of multiHeadAttention', [
    'heads',
    'causal',
    'bias',
    'rotary',
    'name',
  ]);
  const settings = headSettings(heads);
  const withBias = bias === undefined || is.boolean(bias, 'bias');
  const type = 'multiHeadAttention';
  return makeLayer(type, name, (own, x, context?: Value | null, call?: AttentionCallOptions) => {
    const caller = { op: type, x };
    const given = attentionWeights(own, '', widthOf(caller), withBias);
    return attend(caller, { name: '', given }, settings, { context, mask: maskOf(call) });
  });
}

/** The mask that a layer is called with, still to be checked. */
export const maskOf = (call: AttentionCallOptions | undefined): Value | undefined =>
  is.options(call, 'options of the call', ['mask']).mask ?? undefined;

/** Parameters whose names begin with `prefix`. */
export function attentionWeights(
  own: Own,
  prefix: string,
  dim: number,
  bias: boolean,
): MultiHeadAttentionWeights {
  const zeros = { kind: 'constant', a: 0, b: 0 } as const;
  const project = (name: string, rows: number, initializer: 'glorotUniform' | 'pytorch') => ({
    weight: own.parameter(
      `${prefix}${name}.weight`,
      [rows, dim],
      weightInitializer(initializer, dim, rows),
    ),
    bias: bias ? own.parameter(`${prefix}${name}.bias`, [rows], zeros) : null,
  });
  return {
    inProj: project('inProj', 3 * dim, 'glorotUniform'),
    outProj: project('outProj', dim, 'pytorch'),
  };
}
