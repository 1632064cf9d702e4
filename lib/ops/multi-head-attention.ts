// Attention between projections. The heads stay side by side in the products: nothing is moved
// between them.
import { TandemError } from '../errors.js';
import { apply } from '../graph/apply.js';
import { asOptional, asValue } from '../graph/leaves.js';
import { expectFloat32, misshapen } from '../graph/operands.js';
import type { Value } from '../graph/value.js';
import * as is from '../is.js';
import { linear } from './linear.js';
import type { RotaryOptions } from './rotary.js';
import { slice } from './shapes.js';
import { type Caller, checkWeights, type Part, partsOf, type Weights, widthOf } from './weights.js';

/** What the heads of an attention do. */
export interface HeadOptions {
  /** How many attentions run side by side; it divides the width of x. */
  heads: number;
  /** Whether each position sees itself and earlier ones only. False by default. */
  causal?: boolean;
  /** Whether queries and keys turn by their positions, see `rotary`. False by default. */
  rotary?: boolean | RotaryOptions;
}

/** Options of functional.multiHeadAttention. */
export interface MultiHeadAttentionOptions extends HeadOptions {
  /** What x attends to, [batch, keys, dim]; x itself by default. */
  context?: Value | null;
  /** Added to the scores; broadcast to `[batch, heads, time, keys]`. None by default. */
  mask?: Value | null;
}

/** Weights of functional.multiHeadAttention, by the names of the layer's parameters. */
export interface MultiHeadAttentionWeights {
  /** Of queries, keys and values: weight [3 * dim, dim], bias [3 * dim] or left out. */
  inProj: Weights;
  /** Of the result: weight [dim, dim], bias [dim] or left out. */
  outProj: Weights;
}

/** Checked options. */
export interface HeadSettings {
  readonly heads: number;
  readonly causal: boolean;
  /** The base of rotary positions; undefined for none. */
  readonly rotaryBase: number | undefined;
}

/**
 * Attention with projections, of x [batch, time, dim] to itself or to a `context`; the result has the
 * shape of x: Vaswani et al., "Attention Is All You Need" (2017). Throws ERR_ARGUMENT, ERR_SHAPE,
 * ERR_DTYPE.
 *
 * @example functional.multiHeadAttention(x, { inProj: { weight: w }, outProj: { weight: v } }, { heads: 4 })
 */
export function multiHeadAttention(
  x: Value,
  weights: MultiHeadAttentionWeights,
  options: MultiHeadAttentionOptions,
): Value {
  const { context, mask, ...heads } = is.options(options, 'options of multiHeadAttention', [
    'heads',
    'causal',
    'rotary',
    'context',
    'mask',
  ]);
  const caller = { op: 'multiHeadAttention', x: asValue(x, 'x') };
  return attend(caller, { name: '', given: weights }, headSettings(heads), { context, mask });
}

export function headSettings({ heads, causal, rotary }: HeadOptions): HeadSettings {
  return {
    heads: is.integer(heads, 'heads', 1),
    causal: causal !== undefined && is.boolean(causal, 'causal'),
    rotaryBase: checkRotary(rotary),
  };
}

function checkRotary(value: unknown): number | undefined {
  if (value === undefined || value === false) return undefined;
  if (value === true) return 10000;
  const { base = 10000 } = is.options(value as RotaryOptions, 'rotary', ['base']);
  return is.positive(base, 'base');
}

/** The same with checked options, for any op that has the weights, as a part of its own. */
export function attend(
  caller: Caller,
  weights: Part,
  { heads, causal, rotaryBase }: HeadSettings,
  others: { readonly [K in 'context' | 'mask']?: Value | null | undefined },
): Value {
  const { op, x } = caller;
  const mask = asOptional(others.mask, 'mask');
  const context = asOptional(others.context, 'context');
  const dim = widthOf(caller);
  if (dim % heads !== 0) {
    throw misshapen(op, `x [batch, time, dim] of a width that ${heads} heads divide`, { x });
  }
  if (rotaryBase !== undefined && (dim / heads) % 2 !== 0) {
    const even = `x [batch, time, dim] with an even width for each of ${heads} heads`;
    throw misshapen(op, `${even}, as \`rotary\` needs,`, { x });
  }
  expectFloat32(op, { context, mask });
  const parts = partsOf(weights, ['inProj', 'outProj']);
  const inProj = checkWeights(caller, parts.inProj, [3 * dim, dim]);
  const outProj = checkWeights(caller, parts.outProj, [dim, dim]);
  const turn = (value: Value, columns: number): Value =>
    rotaryBase === undefined
      ? value
      : apply('rotary', [value], { depth: dim / heads, columns, base: rotaryBase });
  const operands =
    context === null
      ? [turn(linear(x, inProj.weight, inProj.bias), 2 * dim)]
      : apart(caller, context, inProj).map((value) => turn(value, dim));
  const masked = context === null ? [...operands, null, null, mask] : [...operands, null, mask];
  const y =
    mask === null
      ? apply('attention', operands, { heads, causal })
      : namingMask(caller, context ?? x, mask, heads, () =>
          apply('attention', masked, { heads, causal }),
        );
  return linear(y, outProj.weight, outProj.bias);
}

/** What does not fit is the mask: the error says so by x, and not by its projection. */
function namingMask(
  { op, x }: Caller,
  context: Value,
  mask: Value,
  heads: number,
  attention: () => Value,
): Value {
  try {
    return attention();
  } catch (error) {
    if (!(error instanceof TandemError) || error.code !== 'ERR_SHAPE') throw error;
    const expected = `a mask that broadcasts to [batch, ${heads}, time, keys]`;
    throw misshapen(op, expected, { mask, x, context: context === x ? null : context });
  }
}

/** The queries of x, and the keys and values of a context side by side. */
function apart(caller: Caller, context: Value, { weight, bias }: Required<Weights>): Value[] {
  checkContext(caller, context);
  const dim = widthOf(caller);
  const part = (of: Value, start: number, end: number) => {
    const range = { axis: 0, start, end };
    return linear(of, slice(weight, range), bias && slice(bias, range));
  };
  return [part(caller.x, 0, dim), part(context, dim, 3 * dim)];
}

function checkContext({ op, x }: Caller, context: Value): void {
  const [batch, , dim] = x.shape;
  const { shape } = context;
  if (shape.length === 3 && shape[0] === batch && shape[2] === dim) return;
  const expected = 'x [batch, time, dim] and a context [batch, keys, dim]';
  throw misshapen(op, expected, { x, context });
}
