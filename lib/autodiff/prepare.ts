// A part of a graph with everything in it given: fed values become inputs of fixed shapes, parameters
// that are not fed become constants.
import type { GraphDescription, TypedArray } from '../../bindings.js';
import { toInput } from '../arrays.js';
import { TandemError } from '../errors.js';
import { collect, nodeOf, parameterOf } from '../graph/describe.js';
import { asValue } from '../graph/leaves.js';
import { checkRange, findRanges } from '../graph/ranges.js';
import {
  definition,
  elements,
  isFree,
  sampleBatches,
  shapeAt,
  showShape,
  Value,
} from '../graph/value.js';
import * as is from '../is.js';

export interface Call {
  readonly graph: GraphDescription;
  readonly batch: number;
  readonly arrays: readonly (Float32Array | Int32Array)[];
  readonly wrt: readonly number[];
}

export function prepareCall(
  given: Value | readonly Value[],
  feeds: ReadonlyMap<Value, TypedArray>,
  wrt: readonly Value[] | undefined,
): Call {
  const outputs = checkValues(given instanceof Value ? [given] : given, 'outputs');
  const fed = checkFeeds(feeds);
  const batch = findBatch(fed);
  const arrays = fed.map(([value, array, name]) => checkLength(value, array, name, batch));
  const values = fed.map(([value]) => value);
  const { parameters, constants, results } = collect(values, outputs, 'feeds');

  const ranges = findRanges(results);
  for (const [value, array, name] of fed) checkRange(array, name, ranges.get(value));

  const numbers = new Map<Value, number>();
  for (const value of [...values, ...parameters, ...constants, ...results]) {
    numbers.set(value, numbers.size);
  }
  const numberOf = (value: Value | null) => (value === null ? -1 : (numbers.get(value) ?? -1));
  let dropouts = 0;
  const graph: GraphDescription = {
    inputs: values.map((value, i) => ({
      name: value.name ?? `input_${i}`,
      shape: shapeAt(value, batch),
      dtype: value.dtype,
    })),
    parameters: [],
    constants: [...parameters, ...constants].map((value) => ({
      shape: definition(value).samples[0],
      data: dataOf(value),
    })),
    nodes: results.map((value) => {
      const { op, inputs, attributes } = nodeOf(value);
      const seeded = op === 'dropout' ? { seed: dropouts++, ...attributes } : attributes;
      return { op, inputs: inputs.map(numberOf), attributes: seeded };
    }),
    outputs: outputs.map(numberOf),
  };
  const by =
    wrt === undefined
      ? values.filter(({ dtype }) => dtype === 'float32')
      : checkValues(wrt, 'wrt', true);
  const targets = by.map((value, i) => {
    const number = numbers.get(value);
    if (number !== undefined && value.dtype === 'float32') return number;
    throw is.mismatch('ERR_ARGUMENT', 'a float32 value of this graph', `wrt[${i}]`, String(value));
  });
  return { graph, batch, arrays, wrt: targets };
}

function checkValues(given: unknown, name: string, mayBeEmpty = false): Value[] {
  if (!Array.isArray(given) || (given.length === 0 && !mayBeEmpty)) {
    throw is.invalid('a Value or an array of them', name, given);
  }
  return given.map((value: unknown, i) => asValue(value, `${name}[${i}]`));
}

type Fed = readonly [value: Value, array: Float32Array | Int32Array, name: string];

function checkFeeds(feeds: unknown): Fed[] {
  if (!(feeds instanceof Map)) throw is.invalid('a Map of Values and typed arrays', 'feeds', feeds);
  return [...(feeds as Map<unknown, unknown>)].map(([key, array], i) => {
    const value = asValue(key, `feeds (key ${i})`);
    const name = value.name === undefined ? `feeds (${value})` : `feeds (${value.name})`;
    return [value, toInput(array, name, value.dtype), name];
  });
}

/** The number of rows that fits the feeds with one free dimension; 1 when there are none. */
function findBatch(fed: readonly Fed[]): number {
  let free = false;
  for (const [value, array, name] of fed) {
    if (!isFree(value)) continue;
    free = true;
    const [low, high] = sampleBatches;
    const [first, second] = definition(value).samples;
    const open = value.shape.flatMap((length, i) => (length === null ? [i] : []));
    const [axis] = open;
    if (open.length !== 1 || axis === undefined) continue;
    const rest = value.shape.reduce<number>((product, length) => product * (length ?? 1), 1);
    const [at0 = 0, at1 = 0] = [first[axis], second[axis]];
    const slope = (at1 - at0) / (high - low);
    const batch = (array.length / rest - (at0 - slope * low)) / slope;
    if (Number.isInteger(batch) && batch >= 1) return batch;
    throw is.mismatch('ERR_SHAPE', `whole rows of ${showShape(value)}`, name, is.show(array));
  }
  if (!free) return 1;
  throw new TandemError(
    'ERR_ARGUMENT',
    'expected a feed that tells the number of rows for `feeds`, received only values with several free dimensions',
  );
}

function checkLength(
  value: Value,
  array: Float32Array | Int32Array,
  name: string,
  batch: number,
): Float32Array | Int32Array {
  const shape = shapeAt(value, batch);
  if (array.length === elements(shape)) return array;
  const rows = isFree(value) ? ` at ${batch} rows` : '';
  throw is.mismatch(
    'ERR_SHAPE',
    `${elements(shape)} elements [${shape.join(', ')}]${rows}`,
    name,
    is.show(array),
  );
}

function dataOf(value: Value): Float32Array | Int32Array {
  const { source } = definition(value);
  if (source.kind === 'constant') return source.data;
  const { data, layer, suffix } = parameterOf(value);
  if (data !== undefined) return data;
  throw new TandemError(
    'ERR_ARGUMENT',
    `expected a feed for parameter \`${layer.name ?? layer.type}.${suffix}\`, received none, and no model has been built with it`,
  );
}
