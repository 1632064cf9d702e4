import { TandemError } from '../errors.js';
import { apply } from '../graph/apply.js';
import { Value } from '../graph/value.js';
import * as is from '../is.js';
import { linear } from '../ops/functional.js';
import type { RotaryOptions } from '../ops/rotary.js';
import { slice } from '../ops/shapes.js';
import { weightInitializer } from './initializers.js';
import { type Layer, makeLayer, type Own } from './layer.js';

/** Options of multiHeadAttention. */
export interface MultiHeadAttentionOptions {
  /** How many attentions run side by side; it divides the width of x. */
  heads: number;
  /** Whether each position sees itself and earlier ones only. False by default. */
  causal?: boolean;
  /** Whether biases are added. True by default. */
  bias?: boolean;
  /** Whether queries and keys turn by their positions, see `rotary`. False by default. */
  rotary?: boolean | RotaryOptions;
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

/** The checked options that attention is computed with. */
export interface AttentionSettings {
  readonly heads: number;
  readonly causal: boolean;
  readonly bias: boolean;
  /** The base of rotary positions; undefined for none. */
  readonly rotaryBase: number | undefined;
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
export function multiHeadAttention(options: MultiHeadAttentionOptions): AttentionLayer {
  const set = is.options(options, 'options of multiHeadAttention', [
    'heads',
    'causal',
    'bias',
    'rotary',
    'name',
  ]);
  const settings = attentionSettings(set);
  return makeLayer(
    'multiHeadAttention',
    set.name,
    (own, x, context?: Value | null, call?: AttentionCallOptions) =>
      attend(own, 'multiHeadAttention', '', settings, x, context ?? undefined, checkMask(call)),
  );
}

export function attentionSettings(
  set: Pick<MultiHeadAttentionOptions, 'heads' | 'causal' | 'bias' | 'rotary'>,
): AttentionSettings {
  return {
    heads: is.integer(set.heads, 'heads', 1),
    causal: set.causal !== undefined && is.boolean(set.causal, 'causal'),
    bias: set.bias === undefined || is.boolean(set.bias, 'bias'),
    rotaryBase: checkRotary(set.rotary),
  };
}

function checkRotary(value: unknown): number | undefined {
  if (value === undefined || value === false) return undefined;
  if (value === true) return 10000;
  const { base = 10000 } = is.options(value as RotaryOptions, 'rotary', ['base']);
  return is.positive(base, 'base');
}

export function checkMask(options: AttentionCallOptions | undefined): Value | undefined {
  const { mask } = is.options(options, 'options of the call', ['mask']);
  if (mask === undefined || mask === null) return undefined;
  if (mask instanceof Value) return mask;
  throw is.invalid('a Value', 'mask', mask);
}

/** The length of the last axis of a value `[batch, time, dim]`. */
export function widthOf(x: Value, layer: string): number {
  const dim = x.shape[2];
  if (x.shape.length === 3 && typeof dim === 'number') return dim;
  throw new TandemError(
    'ERR_SHAPE',
    `expected x [batch, time, dim] whose last dimension is known for \`${layer}\`, received ${x}`,
  );
}

/**
 * Attention of x to `context`, or to itself, with parameters whose names begin with `prefix`. The heads
 * stay side by side in the projections: nothing is moved between the products.
 */
export function attend(
  own: Own,
  layer: string,
  prefix: string,
  settings: AttentionSettings,
  x: Value,
  context: Value | undefined,
  mask: Value | undefined,
): Value {
  const { heads, causal, bias, rotaryBase } = settings;
  const dim = widthOf(x, layer);
  if (dim % heads !== 0) {
    const received = `${dim} for ${heads} heads`;
    throw is.mismatch('ERR_SHAPE', 'a width that `heads` divides', layer, received);
  }
  const zeros = { kind: 'constant', a: 0, b: 0 } as const;
  const project = (name: string, rows: number) => ({
    weight: own.parameter(
      `${prefix}${name}.weight`,
      [rows, dim],
      weightInitializer(name === 'inProj' ? 'glorotUniform' : 'pytorch', dim, rows),
    ),
    bias: bias ? own.parameter(`${prefix}${name}.bias`, [rows], zeros) : undefined,
  });
  const into = project('inProj', 3 * dim);
  const turn = (value: Value, columns: number): Value =>
    rotaryBase === undefined
      ? value
      : apply('rotary', [value], { depth: dim / heads, columns, base: rotaryBase });
  const tail = mask === undefined ? [] : [null, mask];
  let operands: (Value | null)[];
  if (context === undefined) {
    const joined = turn(linear(x, into.weight, into.bias), 2 * dim);
    operands = mask === undefined ? [joined] : [joined, null, ...tail];
  } else {
    if (!(context instanceof Value)) throw is.invalid('a Value', 'context', context);
    if (context.shape[0] !== x.shape[0]) {
      throw is.mismatch(
        'ERR_SHAPE',
        'as many sequences to attend to',
        layer,
        `${x} and ${context}`,
      );
    }
    const part = (start: number, end: number, of: Value) =>
      linear(
        of,
        slice(into.weight, { axis: 0, start, end }),
        into.bias && slice(into.bias, { axis: 0, start, end }),
      );
    operands = [turn(part(0, dim, x), dim), turn(part(dim, 3 * dim, context), dim), ...tail];
  }
  const y = apply('attention', operands, { heads, causal });
  const out = project('outProj', dim);
  return linear(y, out.weight, out.bias);
}
