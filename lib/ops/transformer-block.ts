import { apply } from '../graph/apply.js';
import { asValue } from '../graph/leaves.js';
import type { Value } from '../graph/value.js';
import * as is from '../is.js';
import { add, gelu, mul, silu } from './elementwise.js';
import { linear } from './linear.js';
import {
  attend,
  type HeadOptions,
  type HeadSettings,
  headSettings,
  type MultiHeadAttentionWeights,
} from './multi-head-attention.js';
import { layerNorm, rmsNorm } from './norms.js';
import { type Caller, checkWeights, type Part, partsOf, type Weights, widthOf } from './weights.js';

/** What a transformer block is made of. */
export interface BlockOptions extends HeadOptions {
  /** 'layer' by default; 'rms': Zhang and Sennrich, "Root Mean Square Layer Normalization" (2019). */
  norm?: 'layer' | 'rms';
  /** 'gelu' by default; 'swiglu': Shazeer, "GLU Variants Improve Transformer" (2020). */
  activation?: 'gelu' | 'swiglu';
  /** Share of what each half adds that is zeroed while training. 0 by default. */
  dropout?: number;
}

/** Options of functional.transformerBlock. */
export interface TransformerBlockOptions extends BlockOptions {
  /** Added to the scores; broadcast to `[batch, heads, time, time]`. None by default. */
  mask?: Value | null;
}

/** Weights of functional.transformerBlock, by the names of the layer's parameters. */
export interface TransformerBlockWeights {
  /** Before the attention: weight [dim], bias [dim] or left out, as always with norm 'rms'. */
  norm1: Weights;
  attention: MultiHeadAttentionWeights;
  /** Before the perceptron: as norm1. */
  norm2: Weights;
  /** The perceptron; biases may be left out. */
  mlp: {
    /** weight [hidden, dim], bias [hidden]. */
    up: Weights;
    /** The same, with activation 'swiglu' alone. */
    gate?: Weights | null;
    /** weight [dim, hidden], bias [dim]. */
    down: Weights;
  };
}

/** Checked options. */
export interface BlockSettings extends HeadSettings {
  readonly norm: 'layer' | 'rms';
  readonly activation: 'gelu' | 'swiglu';
  readonly dropout: number;
}

/**
 * A transformer block with its normalisations in front, of x [batch, time, dim] to the same: `x +
 * attention(norm1(x))`, and of that `x + mlp(norm2(x))`. Xiong et al., "On Layer Normalization in the
 * Transformer Architecture" (2020). Throws ERR_ARGUMENT, ERR_SHAPE, ERR_DTYPE.
 */
export function transformerBlock(
  x: Value,
  weights: TransformerBlockWeights,
  options: TransformerBlockOptions,
): Value {
  const { mask, ...set } = is.options(options, 'options of transformerBlock', [
    'heads',
    'causal',
    'rotary',
    'norm',
    'activation',
    'dropout',
    'mask',
  ]);
  return block(asValue(x, 'x'), weights, blockSettings(set), mask);
}

export function blockSettings(options: BlockOptions): BlockSettings {
  const { norm = 'layer', activation = 'gelu', dropout = 0 } = options;
  const settings: BlockSettings = {
    ...headSettings(options),
    norm: is.oneOf(norm, 'norm', ['layer', 'rms']),
    activation: is.oneOf(activation, 'activation', ['gelu', 'swiglu']),
    dropout: is.number(dropout, 'dropout', 0, 1),
  };
  if (settings.dropout === 1) throw is.invalid('a number below 1', 'dropout', dropout);
  return settings;
}

/** The same with checked options. */
export function block(
  x: Value,
  weights: TransformerBlockWeights,
  settings: BlockSettings,
  mask: Value | null | undefined,
): Value {
  const caller = { op: 'transformerBlock', x };
  const parts = partsOf({ name: '', given: weights }, ['norm1', 'attention', 'norm2', 'mlp']);
  const drop = (value: Value) =>
    settings.dropout === 0 ? value : apply('dropout', [value], { rate: settings.dropout });
  const normal = normalise(caller, parts.norm1, settings);
  const seen = attend({ ...caller, x: normal }, parts.attention, settings, { mask });
  const middle = { ...caller, x: add(x, drop(seen)) };
  const normed = { ...caller, x: normalise(middle, parts.norm2, settings) };
  return add(middle.x, drop(perceptron(normed, parts.mlp, settings)));
}

function normalise(caller: Caller, part: Part, { norm }: BlockSettings): Value {
  const { x } = caller;
  const { weight, bias } = checkWeights(caller, part, [widthOf(caller)]);
  if (norm === 'layer') return layerNorm(x, weight, bias);
  if (bias === null) return rmsNorm(x, weight);
  throw is.invalid("none with norm 'rms'", `${part.name}.bias`, bias);
}

function perceptron(caller: Caller, mlp: Part, { activation }: BlockSettings): Value {
  const dim = widthOf(caller);
  const { x } = caller;
  const parts = partsOf(mlp, ['up', 'gate', 'down']);
  const project = (from: Value, part: Part, shape: readonly (number | string)[]) => {
    const { weight, bias } = checkWeights(caller, part, shape);
    return linear(from, weight, bias);
  };
  const up = project(x, parts.up, ['hidden', dim]);
  const hidden = Number(up.shape[2]);
  if (activation === 'swiglu') {
    const gate = silu(project(x, parts.gate, [hidden, dim]));
    return project(mul(gate, up), parts.down, [dim, hidden]);
  }
  if (parts.gate.given === undefined) return project(gelu(up), parts.down, [dim, hidden]);
  throw is.invalid("none with activation 'gelu'", parts.gate.name, parts.gate.given);
}
