// Optimizers, each with PyTorch's update rule, names (in camelCase) and defaults.
import type { Attributes } from '../bindings.js';
import * as is from './is.js';

/** What a Trainer updates parameters with. Made by sgd, adam, adamw, rmsprop, adagrad, lion or lamb. */
export interface Optimizer {
  readonly name: string;
  /** Before the schedule's factor. */
  readonly learningRate: number;
  /** The native op and its attributes. */
  readonly op: string;
  readonly attributes: Attributes;
}

function make(name: string, op: string, learningRate: unknown, attributes: Attributes): Optimizer {
  const rate = is.number(learningRate, 'learningRate', 0);
  return Object.freeze({ name, op, learningRate: rate, attributes });
}

/** Checks options against the defaults' names and fills in the defaults. */
function fill<O extends object>(name: string, options: O | undefined, defaults: Required<O>) {
  const known = Object.keys(defaults) as (keyof O & string)[];
  const set: Required<O> = { ...defaults, ...is.options(options, `options of ${name}`, known) };
  return set;
}

/** Options of sgd, with the defaults of torch.optim.SGD. */
export interface SgdOptions {
  /** 1e-3 by default. */
  learningRate?: number;
  /** 0 by default. */
  momentum?: number;
  /** Nesterov's momentum; false by default. */
  nesterov?: boolean;
  /** 0 by default; added to the gradient. */
  weightDecay?: number;
}

/**
 * Stochastic gradient descent with momentum, as torch.optim.SGD; Nesterov's form: Sutskever et al.,
 * "On the importance of initialization and momentum in deep learning" (2013). Throws ERR_ARGUMENT.
 */
export function sgd(options?: SgdOptions): Optimizer;
export function sgd(options?: SgdOptions, ...more: unknown[]): Optimizer {
  is.lastArgument(more, 'sgd');
  const defaults = { learningRate: 1e-3, momentum: 0, nesterov: false, weightDecay: 0 };
  const set = fill<SgdOptions>('sgd', options, defaults);
  const momentum = is.number(set.momentum, 'momentum', 0);
  const nesterov = is.boolean(set.nesterov, 'nesterov');
  if (nesterov && momentum === 0) {
    throw is.invalid('a number above 0 with `nesterov: true`', 'momentum', momentum);
  }
  const weightDecay = is.number(set.weightDecay, 'weightDecay', 0);
  return make('sgd', 'sgd', set.learningRate, { momentum, nesterov, weightDecay });
}

/** Options of adam and adamw, with the defaults of torch.optim.Adam and AdamW. */
export interface AdamOptions {
  /** 1e-3 by default. */
  learningRate?: number;
  /** Decay of the first and the second moment; [0.9, 0.999] by default. */
  betas?: readonly [number, number];
  /** Added to the denominator; 1e-8 by default. */
  eps?: number;
  /** 0 by default for adam, 0.01 for adamw. */
  weightDecay?: number;
}

function makeAdam(name: string, options: AdamOptions | undefined, decoupled: boolean): Optimizer {
  const defaults = {
    learningRate: 1e-3,
    betas: [0.9, 0.999] as const,
    eps: 1e-8,
    weightDecay: decoupled ? 0.01 : 0,
  };
  const set = fill<AdamOptions>(name, options, defaults);
  return make(name, 'adam', set.learningRate, {
    ...readBetas(set.betas),
    eps: is.number(set.eps, 'eps', 0),
    weightDecay: is.number(set.weightDecay, 'weightDecay', 0),
    decoupled,
  });
}

/** Attributes by the names that errors of native code shall have. */
function readBetas(betas: unknown): Attributes {
  if (!Array.isArray(betas) || betas.length !== 2) throw is.invalid('two numbers', 'betas', betas);
  const names = ['betas[0]', 'betas[1]'];
  return Object.fromEntries(names.map((name, i) => [name, fraction(betas[i], name)]));
}

function fraction(value: unknown, name: string): number {
  if (typeof value === 'number' && value >= 0 && value < 1) return value;
  throw is.invalid('a number from 0 to below 1', name, value);
}

/**
 * Kingma and Ba, "Adam: A Method for Stochastic Optimization" (2015), as torch.optim.Adam: weight
 * decay is added to the gradient. Throws ERR_ARGUMENT.
 */
export function adam(options?: AdamOptions): Optimizer;
export function adam(options?: AdamOptions, ...more: unknown[]): Optimizer {
  is.lastArgument(more, 'adam');
  return makeAdam('adam', options, false);
}

/**
 * Adam with weight decay apart from the gradient: Loshchilov and Hutter, "Decoupled Weight Decay
 * Regularization" (2019), as torch.optim.AdamW. Throws ERR_ARGUMENT.
 */
export function adamw(options?: AdamOptions): Optimizer;
export function adamw(options?: AdamOptions, ...more: unknown[]): Optimizer {
  is.lastArgument(more, 'adamw');
  return makeAdam('adamw', options, true);
}

/** Options of lion, with the defaults of its authors. */
export interface LionOptions {
  /** 1e-4 by default: steps are of full length, so that 3 to 10 times less than for adamw serves. */
  learningRate?: number;
  /** Shares of the momentum in the step, and of the old one in the new; [0.9, 0.99] by default. */
  betas?: readonly [number, number];
  /** 0 by default; apart from the gradient. 3 to 10 times more than for adamw serves. */
  weightDecay?: number;
}

/**
 * Chen et al., "Symbolic Discovery of Optimization Algorithms" (2023): the sign of a momentum, whose
 * state is half of Adam's. Throws ERR_ARGUMENT.
 */
export function lion(options?: LionOptions): Optimizer;
export function lion(options?: LionOptions, ...more: unknown[]): Optimizer {
  is.lastArgument(more, 'lion');
  const defaults = { learningRate: 1e-4, betas: [0.9, 0.99] as const, weightDecay: 0 };
  const set = fill<LionOptions>('lion', options, defaults);
  return make('lion', 'lion', set.learningRate, {
    ...readBetas(set.betas),
    weightDecay: is.number(set.weightDecay, 'weightDecay', 0),
  });
}

/** Options of lamb, with the defaults of its authors. */
export interface LambOptions {
  /** 1e-3 by default. */
  learningRate?: number;
  /** Decay of the first and the second moment; [0.9, 0.999] by default. */
  betas?: readonly [number, number];
  /** Added to the denominator, above 0; 1e-6 by default. */
  eps?: number;
  /** 0 by default; apart from the gradient. */
  weightDecay?: number;
}

/**
 * You et al., "Large Batch Optimization for Deep Learning: Training BERT in 76 minutes" (2020):
 * adamw's step for each parameter, made as long as the parameter times the rate, for very large
 * batches. Throws ERR_ARGUMENT.
 */
export function lamb(options?: LambOptions): Optimizer;
export function lamb(options?: LambOptions, ...more: unknown[]): Optimizer {
  is.lastArgument(more, 'lamb');
  const defaults = {
    learningRate: 1e-3,
    betas: [0.9, 0.999] as const,
    eps: 1e-6,
    weightDecay: 0,
  };
  const set = fill<LambOptions>('lamb', options, defaults);
  return make('lamb', 'lamb', set.learningRate, {
    ...readBetas(set.betas),
    eps: is.positive(set.eps, 'eps'),
    weightDecay: is.number(set.weightDecay, 'weightDecay', 0),
  });
}

/** Options of rmsprop, with the defaults of torch.optim.RMSprop. */
export interface RmspropOptions {
  /** 1e-2 by default. */
  learningRate?: number;
  /** Decay of the mean square; 0.99 by default. */
  alpha?: number;
  /** Added to the denominator; 1e-8 by default. */
  eps?: number;
  /** 0 by default; added to the gradient. */
  weightDecay?: number;
  /** 0 by default. */
  momentum?: number;
  /** Whether the variance takes the place of the mean square; false by default. */
  centered?: boolean;
}

/**
 * Tieleman and Hinton, "Lecture 6.5 - RMSProp" (2012); `centered` is the form of Graves, "Generating
 * Sequences With Recurrent Neural Networks" (2013). As torch.optim.RMSprop. Throws ERR_ARGUMENT.
 */
export function rmsprop(options?: RmspropOptions): Optimizer;
export function rmsprop(options?: RmspropOptions, ...more: unknown[]): Optimizer {
  is.lastArgument(more, 'rmsprop');
  const set = fill<RmspropOptions>('rmsprop', options, {
    learningRate: 1e-2,
    alpha: 0.99,
    eps: 1e-8,
    weightDecay: 0,
    momentum: 0,
    centered: false,
  });
  return make('rmsprop', 'rmsprop', set.learningRate, {
    alpha: is.number(set.alpha, 'alpha', 0, 1),
    eps: is.number(set.eps, 'eps', 0),
    weightDecay: is.number(set.weightDecay, 'weightDecay', 0),
    momentum: is.number(set.momentum, 'momentum', 0),
    centered: is.boolean(set.centered, 'centered'),
  });
}

/** Options of adagrad, with the defaults of torch.optim.Adagrad. */
export interface AdagradOptions {
  /** 1e-2 by default. */
  learningRate?: number;
  /** The rate is divided by `1 + step * lrDecay`; 0 by default. */
  lrDecay?: number;
  /** 0 by default; added to the gradient. */
  weightDecay?: number;
  /** Added to the denominator; 1e-10 by default. */
  eps?: number;
}

/**
 * Duchi, Hazan and Singer, "Adaptive Subgradient Methods for Online Learning and Stochastic
 * Optimization" (2011), as torch.optim.Adagrad. Throws ERR_ARGUMENT.
 */
export function adagrad(options?: AdagradOptions): Optimizer;
export function adagrad(options?: AdagradOptions, ...more: unknown[]): Optimizer {
  is.lastArgument(more, 'adagrad');
  const defaults = { learningRate: 1e-2, lrDecay: 0, weightDecay: 0, eps: 1e-10 };
  const set = fill<AdagradOptions>('adagrad', options, defaults);
  return make('adagrad', 'adagrad', set.learningRate, {
    lrDecay: is.number(set.lrDecay, 'lrDecay', 0),
    weightDecay: is.number(set.weightDecay, 'weightDecay', 0),
    eps: is.number(set.eps, 'eps', 0),
  });
}
