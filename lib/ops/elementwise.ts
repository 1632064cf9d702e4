// The elementwise ops of elementwise.def. All of them take values of any shape, float32; those of
// two operands broadcast as NumPy does. They throw ERR_SHAPE, ERR_DTYPE and ERR_ARGUMENT.
import * as is from '../is.js';
import { binary, unary, unaryOf, unaryWith } from './make.js';

const finite = (value: unknown, name: string): number => is.number(value, name);

/** `max(x, 0)`. Without a value: the layer. */
export const relu = unary('relu');

/** Which form gelu computes. */
export interface GeluOptions {
  /** 'tanh' for the faster approximation of the paper; 'none' (exact) by default. */
  approximate?: 'none' | 'tanh';
}

/**
 * `x * Phi(x)`, the Gaussian error linear unit: Hendrycks and Gimpel, "Gaussian Error Linear Units"
 * (2016). Without a value: the layer.
 */
export const gelu = unaryOf<GeluOptions>('gelu', (options) => {
  const { approximate = 'none' } = is.options(options, 'options of gelu', ['approximate']);
  const form = is.oneOf(approximate, 'approximate', ['none', 'tanh']);
  return [form === 'tanh' ? 'geluTanh' : 'gelu', {}];
});

/**
 * `x * sigmoid(x)`, also called swish: Elfwing, Uchibe and Doya, "Sigmoid-Weighted Linear Units"
 * (2018). Without a value: the layer.
 */
export const silu = unary('silu');

/** `1 / (1 + exp(-x))`. Without a value: the layer. */
export const sigmoid = unary('sigmoid');

/** The hyperbolic tangent. Without a value: the layer. */
export const tanh = unary('tanh');

/** What leakyRelu does below zero. */
export interface LeakyReluOptions {
  /** Slope below zero; 0.01 by default. */
  alpha?: number;
}

/**
 * `x` above zero, `alpha * x` below: Maas, Hannun and Ng, "Rectifier Nonlinearities Improve Neural
 * Network Acoustic Models" (2013). Without a value: the layer.
 */
export const leakyRelu = unaryWith<LeakyReluOptions>('leakyRelu', { alpha: finite });

/** What elu does below zero. */
export interface EluOptions {
  /** Minus the limit for large negative x; 1 by default. */
  alpha?: number;
}

/**
 * `x` above zero, `alpha * (exp(x) - 1)` below: Clevert, Unterthiner and Hochreiter, "Fast and
 * Accurate Deep Network Learning by Exponential Linear Units" (2015). Without a value: the layer.
 */
export const elu = unaryWith<EluOptions>('elu', { alpha: finite });

/** `log(1 + exp(x))`. Without a value: the layer. */
export const softplus = unary('softplus');

/**
 * `x * min(max(x + 3, 0), 6) / 6`: Howard et al., "Searching for MobileNetV3" (2019). Without a
 * value: the layer.
 */
export const hardSwish = unary('hardSwish');

/** `min(max(x + 3, 0), 6) / 6`. Without a value: the layer. */
export const hardSigmoid = unary('hardSigmoid');

/**
 * `x * tanh(softplus(x))`: Misra, "Mish: A Self Regularized Non-Monotonic Activation Function"
 * (2019). Without a value: the layer.
 */
export const mish = unary('mish');

/** e to the power of x. */
export const exp = unary('exp');
/** The natural logarithm; NaN below zero. */
export const log = unary('log');
/** The square root; NaN below zero. */
export const sqrt = unary('sqrt');
/** `1 / sqrt(x)`. */
export const rsqrt = unary('rsqrt');
/** The absolute value; its gradient at zero is zero. */
export const abs = unary('abs');
/** `-x`. */
export const neg = unary('neg');
/** `x * x`. */
export const square = unary('square');
/** `1 / x`. */
export const reciprocal = unary('reciprocal');
/** The sine; x in radians. */
export const sin = unary('sin');
/** The cosine; x in radians. */
export const cos = unary('cos');
/** The Gauss error function. */
export const erf = unary('erf');

/** The limits of clamp; one left out does not apply. */
export interface ClampOptions {
  /** No lower limit by default. */
  min?: number;
  /** No upper limit by default. */
  max?: number;
}

/** `min(max(x, options.min), options.max)`; the gradient is zero outside. */
export const clamp = unaryOf<ClampOptions>('clamp', (options) => {
  const { min, max } = is.options(options, 'options of clamp', ['min', 'max']);
  if (min !== undefined) is.number(min, 'min');
  if (max !== undefined) is.number(max, 'max', min);
  return ['clamp', { ...(min !== undefined && { min }), ...(max !== undefined && { max }) }];
});

/** `a + b`, broadcast. */
export const add = binary('add');
/** `a - b`, broadcast. */
export const sub = binary('sub');
/** `a * b`, element by element, broadcast. */
export const mul = binary('mul');
/** `a / b`, broadcast. */
export const div = binary('div');
/** `a` to the power of `b`, broadcast. */
export const pow = binary('pow');
/** The larger of `a` and `b`, broadcast; equal ones share the gradient. */
export const maximum = binary('maximum');
/** The smaller of `a` and `b`, broadcast; equal ones share the gradient. */
export const minimum = binary('minimum');
