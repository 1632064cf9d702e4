import type { Value } from '../graph/value.js';
import * as is from '../is.js';
import {
  type BlockOptions,
  type BlockSettings,
  block,
  blockSettings,
  type TransformerBlockWeights,
} from '../ops/transformer-block.js';
import { widthOf } from '../ops/weights.js';
import { type AttentionCallOptions, attentionWeights, maskOf } from './attention.js';
import { biasInitializer, weightInitializer } from './initializers.js';
import { type Layer, makeLayer, type Own } from './layer.js';

/** Options of transformerBlock. */
export interface TransformerBlockOptions extends BlockOptions {
  /** Width of the hidden layer as a multiple of that of x. 4 by default. */
  mlpRatio?: number;
  /** Whether biases are added in the products. True by default. */
  bias?: boolean;
  /** Begins the names of its parameters; `transformerBlock`, `transformerBlock_1`, ... by default. */
  name?: string;
}

/** A block that may be called with a mask. */
export interface TransformerBlockLayer extends Layer {
  (x: Value): Value;
  (x: Value, options?: AttentionCallOptions): Value;
}

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
export function transformerBlock(options: TransformerBlockOptions): TransformerBlockLayer;
export function transformerBlock(
  options: TransformerBlockOptions,
  ...more: unknown[]
): TransformerBlockLayer {
  is.lastArgument(more, 'transformerBlock');
  const { mlpRatio, bias, name, ...set } = is.options(options, 'options of transformerBlock', [
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
  const settings = blockSettings(set);
  const ratio = mlpRatio === undefined ? 4 : is.positive(mlpRatio, 'mlpRatio');
  const withBias = bias === undefined || is.boolean(bias, 'bias');
  const type = 'transformerBlock';
  return makeLayer(type, name, (own, x, call?: AttentionCallOptions) => {
    const dim = widthOf({ op: type, x });
    const weights = blockWeights(own, dim, hiddenUnits(dim, ratio), withBias, settings);
    return block(x, weights, settings, maskOf(call));
  });
}

function hiddenUnits(dim: number, mlpRatio: number): number {
  const hidden = Math.max(1, Math.round(dim * mlpRatio));
  if (hidden <= widest) return hidden;
  const expected = `a ratio that makes at most ${widest} units of a width of ${dim}`;
  throw is.invalid(expected, 'mlpRatio', mlpRatio);
}

function blockWeights(
  own: Own,
  dim: number,
  hidden: number,
  bias: boolean,
  { norm, activation }: BlockSettings,
): TransformerBlockWeights {
  const constant = (name: string, a: number) =>
    own.parameter(name, [dim], { kind: 'constant', a, b: 0 });
  const normal = (name: string) => ({
    weight: constant(`${name}.weight`, 1),
    bias: norm === 'layer' ? constant(`${name}.bias`, 0) : null,
  });
  const project = (name: string, fanIn: number, units: number) => ({
    weight: own.parameter(
      `mlp.${name}.weight`,
      [units, fanIn],
      weightInitializer('pytorch', fanIn, units),
    ),
    bias: bias
      ? own.parameter(`mlp.${name}.bias`, [units], biasInitializer('pytorch', fanIn))
      : null,
  });
  return {
    norm1: normal('norm1'),
    attention: attentionWeights(own, 'attention.', dim, bias),
    norm2: normal('norm2'),
    mlp: {
      up: project('up', dim, hidden),
      gate: activation === 'swiglu' ? project('gate', dim, hidden) : null,
      down: project('down', hidden, dim),
    },
  };
}
