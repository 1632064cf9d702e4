// Layers that normalise.
import { apply } from '../graph/apply.js';
import { misshapen } from '../graph/operands.js';
import type { Value } from '../graph/value.js';
import * as is from '../is.js';
import * as functional from '../ops/norms.js';
import { type Layer, makeLayer } from './layer.js';

const zeros = { kind: 'constant', a: 0, b: 0 } as const;
const ones = { kind: 'constant', a: 1, b: 0 } as const;

/** The length of an axis that parameters are made for. */
function known(x: Value, axis: number, layer: string, form: string): number {
  const length = x.shape.at(axis);
  if (typeof length === 'number' && axis < x.shape.length) return length;
  throw misshapen(layer, `x ${form}`, { x });
}

/** Options of the layer batchNorm. */
export interface BatchNormLayerOptions {
  /** Share of a batch's statistics in the new running ones, from 0 to 1; 0.1 by default. */
  momentum?: number;
  /** Added to the variance; 1e-5 by default. */
  eps?: number;
  /** Begins the names of its parameters; `batchNorm`, `batchNorm_1`, ... by default. */
  name?: string;
}

/**
 * `(x - mean) / sqrt(variance + eps) * weight + bias` for each channel of x `[batch, channels, ...]`:
 * Ioffe and Szegedy, "Batch Normalization" (2015). Training takes the statistics of the batch and
 * moves the running ones on, once a step; evaluation and prediction take the running ones. Parameters,
 * as in torch.nn.BatchNorm: `weight`, `bias`, and `runningMean`, `runningVar`, which are not trained,
 * all [channels]. Throws ERR_ARGUMENT; when called, ERR_SHAPE and ERR_DTYPE.
 */
export function batchNorm(options?: BatchNormLayerOptions): Layer;
export function batchNorm(options?: BatchNormLayerOptions, ...more: unknown[]): Layer {
  is.lastArgument(more, 'batchNorm');
  const set = is.options(options, 'options of batchNorm', ['momentum', 'eps', 'name']);
  const momentum = set.momentum === undefined ? 0.1 : is.number(set.momentum, 'momentum', 0, 1);
  const eps = set.eps === undefined ? 1e-5 : is.number(set.eps, 'eps', 0);
  return makeLayer('batchNorm', set.name, (own, x) => {
    const channels = [known(x, 1, 'batchNorm', '[batch, channels, ...]')];
    const operands = [
      x,
      own.parameter('weight', channels, ones),
      own.parameter('bias', channels, zeros),
      own.parameter('runningMean', channels, zeros, false),
      own.parameter('runningVar', channels, ones, false),
    ];
    return apply('batchNorm', operands, { eps, momentum, running: true });
  });
}

/** Options of the layer layerNorm. */
export interface LayerNormLayerOptions {
  /** Added to the variance; 1e-5 by default. */
  eps?: number;
  /** Whether a bias is added. True by default. */
  bias?: boolean;
  /** Begins the names of its parameters; `layerNorm`, `layerNorm_1`, ... by default. */
  name?: string;
}

/**
 * `(x - mean) / sqrt(variance + eps) * weight + bias` over the last axis: Ba, Kiros and Hinton, "Layer
 * Normalization" (2016). Parameters, as in torch.nn.LayerNorm: `weight` and `bias`, of that axis.
 * Throws ERR_ARGUMENT; when called, ERR_SHAPE and ERR_DTYPE.
 */
export function layerNorm(options?: LayerNormLayerOptions): Layer;
export function layerNorm(options?: LayerNormLayerOptions, ...more: unknown[]): Layer {
  is.lastArgument(more, 'layerNorm');
  const set = is.options(options, 'options of layerNorm', ['eps', 'bias', 'name']);
  const eps = set.eps === undefined ? 1e-5 : is.number(set.eps, 'eps', 0);
  const bias = set.bias === undefined || is.boolean(set.bias, 'bias');
  return makeLayer('layerNorm', set.name, (own, x) => {
    const shape = [known(x, -1, 'layerNorm', '[..., n]')];
    const weight = own.parameter('weight', shape, ones);
    const b = bias ? own.parameter('bias', shape, zeros) : undefined;
    return functional.layerNorm(x, weight, b, { eps });
  });
}

/** Options of the layer rmsNorm. */
export interface RmsNormLayerOptions {
  /** Added to the mean of squares; 1e-6 by default. */
  eps?: number;
  /** Begins the name of its parameter; `rmsNorm`, `rmsNorm_1`, ... by default. */
  name?: string;
}

/**
 * `x / sqrt(mean of squares + eps) * weight` over the last axis: Zhang and Sennrich, "Root Mean Square
 * Layer Normalization" (2019). Parameter, as in torch.nn.RMSNorm: `weight`, of that axis. Throws
 * ERR_ARGUMENT; when called, ERR_SHAPE and ERR_DTYPE.
 */
export function rmsNorm(options?: RmsNormLayerOptions): Layer;
export function rmsNorm(options?: RmsNormLayerOptions, ...more: unknown[]): Layer {
  is.lastArgument(more, 'rmsNorm');
  const set = is.options(options, 'options of rmsNorm', ['eps', 'name']);
  const eps = set.eps === undefined ? 1e-6 : is.number(set.eps, 'eps', 0);
  return makeLayer('rmsNorm', set.name, (own, x) => {
    const shape = [known(x, -1, 'rmsNorm', '[..., n]')];
    return functional.rmsNorm(x, own.parameter('weight', shape, ones), { eps });
  });
}

/** Options of the layer groupNorm. */
export interface GroupNormLayerOptions {
  /** Into how many groups the channels are divided; they must divide them. */
  groups: number;
  /** Added to the variance; 1e-5 by default. */
  eps?: number;
  /** Begins the names of its parameters; `groupNorm`, `groupNorm_1`, ... by default. */
  name?: string;
}

/**
 * `(x - mean) / sqrt(variance + eps) * weight + bias` for each sample of x `[batch, channels, ...]`, by
 * the statistics of its own channels in groups: Wu and He, "Group Normalization" (2018). Parameters, as
 * in torch.nn.GroupNorm: `weight` and `bias` [channels]. Throws ERR_ARGUMENT; when called, ERR_SHAPE,
 * ERR_DTYPE, and ERR_ARGUMENT where the groups do not divide the channels.
 */
export function groupNorm(options: GroupNormLayerOptions): Layer;
export function groupNorm(options: GroupNormLayerOptions, ...more: unknown[]): Layer {
  is.lastArgument(more, 'groupNorm');
  const set = is.options(options, 'options of groupNorm', ['groups', 'eps', 'name']);
  const groups = is.integer(set.groups, 'groups', 1);
  const eps = set.eps === undefined ? 1e-5 : is.number(set.eps, 'eps', 0);
  return makeLayer('groupNorm', set.name, (own, x) => {
    const channels = [known(x, 1, 'groupNorm', '[batch, channels, ...]')];
    const weight = own.parameter('weight', channels, ones);
    const bias = own.parameter('bias', channels, zeros);
    return functional.groupNorm(x, weight, bias, { groups, eps });
  });
}
