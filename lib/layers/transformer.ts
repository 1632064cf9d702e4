import { apply } from '../graph/apply.js';
import type { Value } from '../graph/value.js';
import * as is from '../is.js';
import { add, gelu, mul, silu } from '../ops/elementwise.js';
import { linear } from '../ops/functional.js';
import { layerNorm, rmsNorm } from '../ops/norms.js';
import type { RotaryOptions } from '../ops/rotary.js';
import {
  type AttentionCallOptions,
  type AttentionSettings,
  attend,
  attentionSettings,
  checkMask,
  widthOf,
} from './attention.js';
import { biasInitializer, weightInitializer } from './initializers.js';
import { type Layer, makeLayer, type Own } from './layer.js';

/** Options of transformerBlock. */
export interface TransformerBlockOptions {
  /** Heads of the attention; they divide the width of x. */
  heads: number;
  /** Whether each position sees itself and earlier ones only. False by default. */
  causal?: boolean;
  /** Width of the hidden layer as a multiple of that of x. 4 by default. */
  mlpRatio?: number;
  /** 'layer' by default; 'rms': Zhang and Sennrich, "Root Mean Square Layer Normalization" (2019). */
  norm?: 'layer' | 'rms';
  /** 'gelu' by default; 'swiglu': Shazeer, "GLU Variants Improve Transformer" (2020). */
  activation?: 'gelu' | 'swiglu';
  /** Share of what each half adds that is zeroed while training. 0 by default. */
  dropout?: number;
  /** Whether biases are added in the products. True by default. */
  bias?: boolean;
  /** Whether queries and keys turn by their positions, see `rotary`. False by default. */
  rotary?: boolean | RotaryOptions;
  /** Begins the names of its parameters; `transformerBlock`, `transformerBlock_1`, ... by default. */
  name?: string;
}

/** A block that may be called with a mask. */
export interface TransformerBlockLayer extends Layer {
  (x: Value): Value;
  (x: Value, options?: AttentionCallOptions): Value;
}

interface Settings extends AttentionSettings {
  readonly norm: 'layer' | 'rms';
  readonly activation: 'gelu' | 'swiglu';
  readonly mlpRatio: number;
  readonly dropout: number;
}

const layer = 'transformerBlock';
/** Units of the perceptron: more are no layer of any machine, but a mistake. */
const widest = 2 ** 24;

/**
 * A transformer block with its normalisations in front, `[batch, time, dim]` to the same: `x +
 * attention(norm1(x))`, and of that `x + mlp(norm2(x))`. Xiong et al., "On Layer Normalization in the
 * Transformer Architecture" (2020). Parameters: `norm1`, `attention.inProj`, `attention.outProj`,
 * `norm2`, `mlp.up`, `mlp.down`, with 'swiglu' `mlp.gate`, too, each `.weight` and, where there is one,
 * `.bias`. Throws ERR_ARGUMENT; when called, ERR_SHAPE and ERR_DTYPE.
 *
 * @example transformerBlock({ heads: 4, causal: true })(x)
 */
export function transformerBlock(options: TransformerBlockOptions): TransformerBlockLayer {
  const set = is.options(options, 'options of transformerBlock', [
    'heads',
    'causal',
    'mlpRatio',
    'norm',
    'activation',
    'dropout',
    'bias',
    'rotary',
    'name',
  ]);
  const { norm = 'layer', activation = 'gelu', mlpRatio = 4, dropout = 0 } = set;
  const settings: Settings = {
    ...attentionSettings(set),
    norm: is.oneOf(norm, 'norm', ['layer', 'rms']),
    activation: is.oneOf(activation, 'activation', ['gelu', 'swiglu']),
    mlpRatio: is.positive(mlpRatio, 'mlpRatio'),
    dropout: is.number(dropout, 'dropout', 0, 1),
  };
  if (settings.dropout === 1) throw is.invalid('a number below 1', 'dropout', dropout);
  return makeLayer(layer, set.name, (own, x, call?: AttentionCallOptions) => {
    const mask = checkMask(call);
    const drop = (value: Value) =>
      settings.dropout === 0 ? value : apply('dropout', [value], { rate: settings.dropout });
    const normal = normalise(own, 'norm1', settings, x);
    const seen = attend(own, layer, 'attention.', settings, normal, undefined, mask);
    const middle = add(x, drop(seen));
    return add(middle, drop(perceptron(own, settings, normalise(own, 'norm2', settings, middle))));
  });
}

function normalise(own: Own, name: string, { norm }: Settings, x: Value): Value {
  const shape = [widthOf(x, layer)];
  const weight = own.parameter(`${name}.weight`, shape, { kind: 'constant', a: 1, b: 0 });
  if (norm === 'rms') return rmsNorm(x, weight);
  const bias = own.parameter(`${name}.bias`, shape, { kind: 'constant', a: 0, b: 0 });
  return layerNorm(x, weight, bias);
}

function perceptron(own: Own, { activation, mlpRatio, bias }: Settings, x: Value): Value {
  const dim = widthOf(x, layer);
  const hidden = Math.max(1, Math.round(dim * mlpRatio));
  if (hidden > widest) {
    const expected = `a ratio that makes at most ${widest} units of a width of ${dim}`;
    throw is.invalid(expected, 'mlpRatio', mlpRatio);
  }
  const project = (name: string, from: Value, fanIn: number, units: number) =>
    linear(
      from,
      own.parameter(
        `mlp.${name}.weight`,
        [units, fanIn],
        weightInitializer('pytorch', fanIn, units),
      ),
      bias
        ? own.parameter(`mlp.${name}.bias`, [units], biasInitializer('pytorch', fanIn))
        : undefined,
    );
  const up = project('up', x, dim, hidden);
  const middle = activation === 'gelu' ? gelu(up) : mul(silu(project('gate', x, dim, hidden)), up);
  return project('down', middle, hidden, dim);
}
