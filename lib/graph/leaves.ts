// Values that no op makes: inputs, parameters and constants.
import type { DType } from '../../bindings.js';
import * as is from '../is.js';
import { elements, makeValue, type ParameterSource, sampleBatches, Value } from './value.js';

/** Name, type and batch of an input; float32 with a free batch by default. */
export interface InputOptions {
  /** Its name in records of arrays and in errors; a model names what has none. */
  name?: string;
  /** 'float32' by default; 'int32' for indices. */
  dtype?: DType;
  /** Fixes the number of rows, which is free otherwise. */
  batch?: number;
}

/**
 * An input of a graph. `shape` is that of one row: the batch comes before it as axis 0, free unless
 * `batch` fixes it. Throws ERR_ARGUMENT.
 *
 * @example const x = input([1, 28, 28], { name: 'x' });  // x.shape is [null, 1, 28, 28]
 */
export function input(shape: readonly number[], options?: InputOptions): Value {
  const row = is.integers(shape, 'shape', 1);
  if (row.length > 7) throw is.invalid('at most 7 dimensions and the batch', 'shape', shape);
  const { name, dtype, batch } = is.options(options, 'options of input', [
    'name',
    'dtype',
    'batch',
  ]);
  if (name !== undefined) is.string(name, 'name');
  const type = dtype === undefined ? 'float32' : is.oneOf(dtype, 'dtype', ['float32', 'int32']);
  const whole = batch === undefined ? row : [is.integer(batch, 'batch', 1), ...row];
  checkCountable(whole, batch === undefined ? 'shape' : 'batch and shape');
  return batch === undefined ? freeInput(row, type, name) : fixedInput(whole, type, name);
}

/** Throws ERR_ARGUMENT for a shape of more elements than a number tells apart, let alone memory holds. */
export function checkCountable(shape: readonly number[], name: string): void {
  if (Number.isSafeInteger(elements(shape))) return;
  throw is.invalid('at most 2^53 - 1 elements', name, shape);
}

export function freeInput(row: readonly number[], dtype: DType, name?: string): Value {
  const samples = [
    [sampleBatches[0], ...row],
    [sampleBatches[1], ...row],
  ] as const;
  return makeValue(dtype, samples, { kind: 'input' }, name);
}

export function fixedInput(shape: readonly number[], dtype: DType, name?: string): Value {
  return makeValue(dtype, [shape, shape], { kind: 'input' }, name);
}

/** An input of the shape of `like` without its last `drop` axes. */
export function inputLike(
  like: readonly [readonly number[], readonly number[]],
  drop: number,
  dtype: DType,
  name: string,
): Value {
  const cut = (shape: readonly number[]) => shape.slice(0, shape.length - drop);
  return makeValue(dtype, [cut(like[0]), cut(like[1])], { kind: 'input' }, name);
}

export function parameterValue(parameter: ParameterSource): Value {
  const shape = parameter.shape;
  return makeValue('float32', [shape, shape], { kind: 'parameter', parameter });
}

export function constant(data: Float32Array | Int32Array, shape: readonly number[]): Value {
  const dtype = data instanceof Int32Array ? 'int32' : 'float32';
  return makeValue(dtype, [shape, shape], { kind: 'constant', data });
}

/** A value as it is. Throws ERR_ARGUMENT for anything else. */
export function asValue(value: unknown, name: string): Value {
  if (value instanceof Value) return value;
  throw is.invalid('a Value', name, value);
}

/** The same of one that may be left out, as undefined or null. */
export const asOptional = (value: unknown, name: string): Value | null =>
  value === undefined || value === null ? null : asValue(value, name);

/** A value as it is, or a number as a scalar constant. */
export function toValue(value: Value | number, name: string): Value {
  if (value instanceof Value) return value;
  if (typeof value === 'number') return constant(Float32Array.of(value), []);
  throw is.invalid('a Value or a number', name, value);
}
