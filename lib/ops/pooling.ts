// Pooling over the planes of x [n, c, h, w]. All of it throws ERR_SHAPE, ERR_DTYPE and ERR_ARGUMENT.
import type { Attributes } from '../../bindings.js';
import { apply } from '../graph/apply.js';
import { toValue } from '../graph/leaves.js';
import { expectFloat32, misshapen } from '../graph/operands.js';
import type { Value } from '../graph/value.js';
import * as is from '../is.js';
import { type Layer, makeLayer } from '../layers/layer.js';
import { attributesOf, isOperand, type Operand, type Unary } from './make.js';
import { type Pair, pair } from './windows.js';

/** The windows that maxPool2d and avgPool2d look at, in pixels. */
export interface PoolOptions {
  /** Size of a window. */
  kernel: Pair;
  /** From one window to the next; the size of the window by default. */
  stride?: Pair;
  /** Pixels around the planes, half of the window at most; 0 by default. */
  padding?: Pair;
}

/** A function of planes [n, c, h, w] with options. Without a value it is the layer that applies it. */
export interface Pooling {
  (options: PoolOptions): Layer;
  (x: Operand, options: PoolOptions): Value;
}

function pooling(op: string): Pooling {
  const resolve = (options: PoolOptions | undefined): Attributes => {
    const attributes = attributesOf<PoolOptions>(op, options, {
      kernel: pair(1),
      stride: pair(1),
      padding: pair(0),
    });
    if (attributes.kernel === undefined) throw is.invalid('a size', 'kernel', undefined);
    return attributes;
  };
  function call(options: PoolOptions): Layer;
  function call(x: Operand, options: PoolOptions): Value;
  function call(
    first: Operand | PoolOptions,
    options?: PoolOptions,
    ...more: unknown[]
  ): Layer | Value {
    is.lastArgument(more, op);
    if (isOperand(first)) return apply(op, [toValue(first, 'x')], resolve(options));
    if (options !== undefined) is.lastArgument([options], op);
    const attributes = resolve(first);
    return makeLayer(op, undefined, (_, x) => apply(op, [x], attributes));
  }
  return call;
}

/**
 * The largest element of each window, as torch.nn.functional.max_pool2d: padding is smaller than any
 * element, the first of equal elements gets the gradient. Without a value: the layer.
 */
export const maxPool2d = pooling('maxPool2d');

/**
 * The mean of each window, as torch.nn.functional.avg_pool2d: padding counts as zeros. Without a
 * value: the layer.
 */
export const avgPool2d = pooling('avgPool2d');

function globalAverage(): Layer;
function globalAverage(x: Operand): Value;
function globalAverage(first?: Operand): Layer | Value {
  const mean = (x: Value): Value => {
    if (x.shape.length !== 4) throw misshapen('globalAvgPool2d', 'x [n, c, h, w]', { x });
    expectFloat32('globalAvgPool2d', { x });
    return apply('mean', [x], { axes: [2, 3], keepDims: true });
  };
  if (first !== undefined) return mean(toValue(first, 'x'));
  return makeLayer('globalAvgPool2d', undefined, (_, x) => mean(x));
}

/** The mean of each plane, from [n, c, h, w] to [n, c, 1, 1]. Without a value: the layer. */
export const globalAvgPool2d: Unary = globalAverage;
