// Reductions, softmax, and ops that move elements. Axes count the batch as axis 0; negative ones
// count from the end. All of them throw ERR_SHAPE, ERR_DTYPE and ERR_ARGUMENT.
import { apply } from '../graph/apply.js';
import { asValue } from '../graph/leaves.js';
import { Value } from '../graph/value.js';
import * as is from '../is.js';
import { type Layer, makeLayer } from '../layers/layer.js';
import { attributesOf, reduction, unary, unaryWith } from './make.js';

const integer = (value: unknown, name: string): number => is.integer(value, name);

/** What sum, mean, max, min and variance reduce over; the batch is axis 0. */
export interface ReduceOptions {
  /** The axes to reduce, or one of them; all by default. */
  axes?: readonly number[] | number;
  /** Whether reduced axes stay, with length 1. False by default. */
  keepDims?: boolean;
}

const reduce = {
  axes: (value: unknown, name: string) =>
    typeof value === 'number' ? [is.integer(value, name)] : is.integers(value, name),
  keepDims: is.boolean,
};

/** The sum over some axes. */
export const sum = reduction<ReduceOptions>('sum', reduce);
/** The mean over some axes. */
export const mean = reduction<ReduceOptions>('mean', reduce);
/** The largest element over some axes; equal ones share the gradient. */
export const max = reduction<ReduceOptions>('max', reduce);
/** The smallest element over some axes; equal ones share the gradient. */
export const min = reduction<ReduceOptions>('min', reduce);
/** The mean squared distance from the mean over some axes: divides by n, not by n - 1. */
export const variance = reduction<ReduceOptions>('variance', reduce);

/** The axis an op works along; the batch is axis 0, negative ones count from the end. */
export interface AxisOptions {
  /** The last axis by default. */
  axis?: number;
}

/** `exp(x) / sum(exp(x))` along an axis. Without a value: the layer. */
export const softmax = unaryWith<AxisOptions>('softmax', { axis: integer });
/** The logarithm of softmax, computed without overflow. Without a value: the layer. */
export const logSoftmax = unaryWith<AxisOptions>('logSoftmax', { axis: integer });

/** From `[n, ...]` to `[n, the rest]`. Without a value: the layer. */
export const flatten = unary('flatten');

/** The order that transpose brings axes into. */
export interface TransposeOptions {
  /** Axis i of the result is axis `perm[i]` of x; the axes in reverse order by default. */
  perm?: readonly number[];
}

/** x with its axes in another order. Without a value: the layer. */
export const transpose = unaryWith<TransposeOptions>('transpose', {
  perm: (value, name) => is.integers(value, name),
});

/**
 * The same elements in another shape. One dimension may be -1 (or null, as in the shape of a value):
 * what remains. Without a value: the layer; its shape begins with the batch too.
 *
 * @example reshape(x, [-1, 28, 28])
 */
export function reshape(shape: readonly (number | null)[]): Layer;
export function reshape(x: Value, shape: readonly (number | null)[]): Value;
export function reshape(
  first: Value | readonly (number | null)[],
  second?: readonly (number | null)[],
  ...more: unknown[]
): Layer | Value {
  is.lastArgument(more, 'reshape');
  if (!(first instanceof Value) && second !== undefined) is.lastArgument([second], 'reshape');
  const given = first instanceof Value ? second : first;
  const open = Array.isArray(given) ? given.map((length: unknown) => length ?? -1) : given;
  const shape = is.integers(open, 'shape', -1);
  if (first instanceof Value) return apply('reshape', [first], { shape });
  return makeLayer('reshape', undefined, (_, x) => apply('reshape', [x], { shape }));
}

/** The axis along which concat joins. */
export interface ConcatOptions {
  /** 0, the batch, by default; negative ones count from the end. */
  axis?: number;
}

/** Values joined along an axis, equal in all other dimensions. */
export function concat(values: readonly Value[], options?: ConcatOptions): Value {
  if (!Array.isArray(values) || values.length === 0) {
    throw is.invalid('an array of one Value or more', 'values', values);
  }
  const all = values.map((value: unknown, i) => asValue(value, `values[${i}]`));
  return apply('concat', all, attributesOf<ConcatOptions>('concat', options, { axis: integer }));
}

/** The part of an axis that slice takes, as Python's `start:end:step`. */
export interface SliceOptions {
  /** 0 by default. */
  axis?: number;
  /** The first position; 0 by default. Negative positions count from the end. */
  start?: number;
  /** The position after the last; the end by default. */
  end?: number;
  /** From one position to the next, 1 or more. 1 by default. */
  step?: number;
}

/** The elements at start, start + step, ... before end of an axis, as in Python. */
export const slice = reduction<SliceOptions>('slice', {
  axis: integer,
  start: integer,
  end: integer,
  step: (value, name) => is.integer(value, name, 1),
});

/**
 * The elements along an axis, the last one by default, in reverse order, as torch.flip: a recurrent layer
 * then reads sequences from their end on, padding first where they end with it. On a GPU it is refused
 * with ERR_DEVICE.
 *
 * @example concat([lstm(8)(x), lstm(8)(flip(x, { axis: 1 }))], { axis: 1 })
 */
export const flip = reduction<AxisOptions>('flip', { axis: integer });
