// The layers of convolution. Weights and biases start as in torch.nn.Conv2d by default.
import { showShape, type Value } from '../graph/value.js';
import * as is from '../is.js';
import * as ops from '../ops/conv.js';
import { both, channelsOf, type Pair, pair, single } from '../ops/windows.js';
import { type Activation, toActivation } from './activations.js';
import {
  biasInitializer,
  checkInitializer,
  type Initializer,
  weightInitializer,
} from './initializers.js';
import { type Layer, makeLayer } from './layer.js';

interface LayerOptions {
  /** Applied to the result. None by default. */
  activation?: Activation;
  /** Whether a bias is added. True by default. */
  bias?: boolean;
  /** Begins the names of its parameters; the layer's type with a number by default. */
  name?: string;
  /** How the weight starts; 'pytorch' by default. */
  initializer?: Initializer;
}

/** Options of the layer conv1d. */
export interface Conv1dLayerOptions extends ops.Conv1dOptions, LayerOptions {
  /** Size of a window, in elements. */
  kernel: number;
}

/** Options of the layer conv2d. */
export interface Conv2dLayerOptions extends ops.Conv2dOptions, LayerOptions {
  /** Size of a window, in pixels. */
  kernel: Pair;
}

/** Options of the layer convTranspose2d. */
export interface ConvTranspose2dLayerOptions extends ops.ConvTranspose2dOptions, LayerOptions {
  /** Size of a window, in pixels. */
  kernel: Pair;
}

/** What the three layers differ in. */
interface Kind<O> {
  readonly type: string;
  readonly rank: 3 | 4;
  /** Names of the options beyond those of every layer. */
  readonly known: readonly (keyof O & string)[];
  /** From channels in and out to the first two dimensions of the weight. */
  readonly channels: (inputs: number, outputs: number, groups: number) => [number, number];
  readonly apply: (x: Value, w: Value, b: Value | undefined, options: O) => Value;
  readonly check: (options: O, kernel: readonly number[]) => unknown;
}

const common = ['activation', 'bias', 'name', 'initializer', 'kernel'] as const;

function convolution<O extends { groups?: number }>(
  kind: Kind<O>,
  filters: number,
  options: (O & LayerOptions & { kernel: Pair }) | undefined,
): Layer {
  is.integer(filters, 'filters', 1);
  type All = O & LayerOptions & { kernel: Pair };
  const known = [...common, ...kind.known] as (keyof All & string)[];
  const { activation, bias, name, initializer, kernel, ...others } = is.options<All>(
    options,
    `options of ${kind.type}`,
    known,
  );
  const size = (kind.rank === 3 ? single(1) : pair(1))(kernel, 'kernel');
  const plane = kind.rank === 3 ? [Number(size)] : [...both(size as Pair)];
  const withBias = bias === undefined || is.boolean(bias, 'bias');
  const activate = toActivation(activation);
  const start = checkInitializer(initializer);
  const windows = others as unknown as O;
  kind.check(windows, plane);
  const { groups = 1 } = windows;
  return makeLayer(kind.type, name, (own, x) => {
    const inputs = channelsOf(x, kind.rank, kind.type);
    if (inputs % groups !== 0 || filters % groups !== 0) {
      const counts = `${inputs} channels and ${filters} filters`;
      const received = `${groups} with x ${showShape(x)}`;
      throw is.mismatch('ERR_ARGUMENT', `a divisor of ${counts}`, 'groups', received);
    }
    const taps = plane.reduce((product, length) => product * length, 1);
    const [fanIn, fanOut] = [(inputs / groups) * taps, (filters / groups) * taps];
    const shape = [...kind.channels(inputs, filters, groups), ...plane];
    // PyTorch counts the second dimension of a weight, whichever way it is read.
    const pytorchFan = (shape[1] ?? 1) * taps;
    const fan = start === 'pytorch' ? pytorchFan : fanIn;
    const weight = own.parameter('weight', shape, weightInitializer(start, fan, fanOut));
    const b = withBias ? own.parameter('bias', [filters], biasInitializer(start, fan)) : undefined;
    const y = kind.apply(x, weight, b, windows);
    return activate === undefined ? y : activate(y);
  });
}

/**
 * Convolution over lines: `activation(conv1d(x, weight) + bias)`, from [n, in, l] to
 * [n, filters, l']. Parameters: `weight` [filters, in / groups, kernel] and `bias` [filters], as in
 * torch.nn.Conv1d. Throws ERR_ARGUMENT; when called, ERR_SHAPE and ERR_DTYPE.
 */
export function conv1d(filters: number, options: Conv1dLayerOptions): Layer;
export function conv1d(filters: number, options: Conv1dLayerOptions, ...more: unknown[]): Layer {
  is.lastArgument(more, 'conv1d');
  const kind: Kind<ops.Conv1dOptions> = {
    type: 'conv1d',
    rank: 3,
    known: ['stride', 'padding', 'dilation', 'groups'],
    channels: (inputs, outputs, groups) => [outputs, inputs / groups],
    apply: ops.conv1d,
    check: ops.checkWindows.conv1d,
  };
  return convolution(kind, filters, options);
}

/**
 * Convolution over planes: `activation(conv2d(x, weight) + bias)`, from [n, in, h, w] to
 * [n, filters, h', w']. Parameters: `weight` [filters, in / groups, kh, kw] and `bias` [filters], as
 * in torch.nn.Conv2d. Throws ERR_ARGUMENT; when called, ERR_SHAPE and ERR_DTYPE.
 *
 * @example conv2d(32, { kernel: 3, padding: 1, activation: 'relu' })
 */
export function conv2d(filters: number, options: Conv2dLayerOptions): Layer;
export function conv2d(filters: number, options: Conv2dLayerOptions, ...more: unknown[]): Layer {
  is.lastArgument(more, 'conv2d');
  const kind: Kind<ops.Conv2dOptions> = {
    type: 'conv2d',
    rank: 4,
    known: ['stride', 'padding', 'dilation', 'groups'],
    channels: (inputs, outputs, groups) => [outputs, inputs / groups],
    apply: ops.conv2d,
    check: ops.checkWindows.conv2d,
  };
  return convolution(kind, filters, options);
}

/**
 * Transposed convolution: `activation(convTranspose2d(x, weight) + bias)`, from [n, in, h, w] to
 * [n, filters, h', w']. Parameters: `weight` [in, filters / groups, kh, kw] and `bias` [filters], as
 * in torch.nn.ConvTranspose2d. Throws ERR_ARGUMENT; when called, ERR_SHAPE and ERR_DTYPE.
 */
export function convTranspose2d(filters: number, options: ConvTranspose2dLayerOptions): Layer;
export function convTranspose2d(
  filters: number,
  options: ConvTranspose2dLayerOptions,
  ...more: unknown[]
): Layer {
  is.lastArgument(more, 'convTranspose2d');
  const kind: Kind<ops.ConvTranspose2dOptions> = {
    type: 'convTranspose2d',
    rank: 4,
    known: ['stride', 'padding', 'outputPadding', 'dilation', 'groups'],
    channels: (inputs, outputs, groups) => [inputs, outputs / groups],
    apply: ops.convTranspose2d,
    check: ops.checkWindows.convTranspose2d,
  };
  return convolution(kind, filters, options);
}
