// Arrays of users -> the arrays of one native call, and back.
import { constants } from 'node:buffer';
import type { DType, Predictor as NativePredictor, TypedArray } from '../../bindings.js';
import { matchArrays, toInput } from '../arrays.js';
import { TandemError } from '../errors.js';
import type { NamedValue } from '../graph/describe.js';
import { checkRange, findRanges, type Range } from '../graph/ranges.js';
import {
  elements,
  fixedBatch,
  rowElements,
  sampleBatches,
  shapeAt,
  type Value,
} from '../graph/value.js';
import * as is from '../is.js';

/** Arrays of inputs or outputs by name: Float32Array for float32, Int32Array for int32. */
export type NamedArrays = Readonly<Record<string, Float32Array | Int32Array>>;
/** One typed array for a model with one input, an array of them in order, or a record of names. */
export type PredictInput =
  | TypedArray
  | readonly TypedArray[]
  | Readonly<Record<string, TypedArray>>;
/** One array for a model with one output, or a record of names. */
export type PredictOutput = Float32Array | Int32Array | NamedArrays;

interface Slot {
  readonly name: string;
  readonly value: Value;
  readonly dtype: DType;
  /** Of an input's numbers, where they are indices. */
  readonly range: Range | undefined;
}

/** Of outputs, in their order. */
type Shapes = readonly (readonly number[])[];

/** Numbers of rows whose shapes are remembered: native code finds them by way of the whole graph. */
const mostShapes = 32;

export interface Layout {
  readonly inputs: readonly Slot[];
  readonly outputs: readonly Slot[];
  /** Elements of a row of the only input and of the only output, float32 both; zeros otherwise. */
  readonly simple: readonly [number, number];
  /**
   * Shapes of the outputs at so many rows, where rows depend on each other: every third row of a
   * batch, rounded up, or all but its first three. Undefined where each row has results of its own.
   */
  readonly shapesAt?: (rows: number) => Shapes;
}

/** `results`: what the ops of the graph give. */
export function layoutOf(
  state: { readonly inputs: readonly NamedValue[]; readonly outputs: readonly NamedValue[] },
  results: readonly Value[],
): Layout {
  const ranges = findRanges(results);
  const slot = ({ name, value }: NamedValue): Slot => ({
    name,
    value,
    dtype: value.dtype,
    range: ranges.get(value),
  });
  const [inputs, outputs] = [state.inputs.map(slot), state.outputs.map(slot)];
  return { inputs, outputs, simple: simpleRows(inputs, outputs) };
}

/** The layout of a graph that `predictor` computes. */
export function layoutIn(
  predictor: Pick<NativePredictor, 'relatesRows' | 'shapes'>,
  layout: Layout,
): Layout {
  if (predictor.relatesRows === null) return layout;
  const known = new Map<number, Shapes>();
  const shapesAt = (rows: number) => {
    let shapes = known.get(rows);
    if (shapes === undefined) {
      shapes = predictor.shapes(rows).outputs.map(({ shape }) => shape);
      if (known.size === mostShapes) known.clear();
      known.set(rows, shapes);
    }
    return shapes;
  };
  return { ...layout, simple: [0, 0], shapesAt };
}

/** Of the outputs at so many rows. Throws ERR_SHAPE for rows that the graph does not take. */
export const outputShapes = (layout: Layout, rows: number): Shapes =>
  layout.shapesAt?.(rows) ?? layout.outputs.map(({ value }) => shapeAt(value, rows));

function simpleRows(inputs: readonly Slot[], outputs: readonly Slot[]): [number, number] {
  const [x, y] = [inputs[0], outputs[0]];
  if (
    inputs.length !== 1 ||
    outputs.length !== 1 ||
    x?.dtype !== 'float32' ||
    y?.dtype !== 'float32'
  ) {
    return [0, 0];
  }
  const [rowIn, rowOut] = [rowElements(x.value), rowElements(y.value)];
  return rowIn === null || rowOut === null ? [0, 0] : [rowIn, rowOut];
}

export interface Call {
  readonly rows: number;
  readonly arrays: readonly (Float32Array | Int32Array)[];
  readonly outputs: readonly (Float32Array | Int32Array)[];
}

/** Checks arrays of any form; results get new arrays where `out` is left out. */
export function prepare(layout: Layout, x: unknown, out: unknown): Call {
  const { rows, arrays } = prepareInputs(layout, x);
  const outputs = prepareOutputs(layout, out, rows) ?? makeOutputs(layout, rows);
  return { rows, arrays, outputs };
}

/** The checked inputs and their rows. */
export function prepareInputs(layout: Layout, x: unknown): Pick<Call, 'rows' | 'arrays'> {
  const arrays: (Float32Array | Int32Array)[] = [];
  let rows: number | undefined;
  for (const [array, name, slot] of matchArrays(x, layout.inputs, 'x')) {
    const typed = toInput(array, name, slot.dtype);
    const count = rowsOf(typed, name, slot.value);
    checkRange(typed, name, slot.range);
    if (rows === undefined) rows = count;
    if (count !== undefined && rows !== undefined && count !== rows) {
      throw is.mismatch('ERR_SHAPE', `${rows} rows, as in the other inputs`, name, `${count} rows`);
    }
    rows ??= count;
    arrays.push(typed);
  }
  return { rows: rows ?? 1, arrays };
}

/** The checked arrays of `out`; undefined where that is left out. */
export function prepareOutputs(
  layout: Layout,
  out: unknown,
  rows: number,
): Call['outputs'] | undefined {
  if (out === undefined) return undefined;
  const shapes = outputShapes(layout, rows);
  return matchArrays(out, layout.outputs, 'out').map(([array, name, slot], i) =>
    checkOutput(array, name, slot.dtype, elements(shapes[i] ?? [])),
  );
}

function makeOutputs(layout: Layout, rows: number): Call['outputs'] {
  const shapes = outputShapes(layout, rows);
  return layout.outputs.map((slot, i) => makeElements(slot, elements(shapes[i] ?? [])));
}

/** The only output alone, or all of them by name. */
export function result(
  layout: Layout,
  outputs: readonly (Float32Array | Int32Array)[],
): PredictOutput {
  const [first] = outputs;
  if (outputs.length === 1 && first !== undefined) return first;
  const named = layout.outputs.flatMap(({ name }, i) => {
    const array = outputs[i];
    return array === undefined ? [] : [[name, array] as const];
  });
  // Whatever the names, also one that objects have a setter for.
  return Object.fromEntries(named);
}

/** Rows in the array of an input; undefined when the input has a fixed batch. */
function rowsOf(array: TypedArray, name: string, value: Value): number | undefined {
  const row = rowElements(value);
  const fixed = row === null;
  const size = row ?? elements(shapeAt(value, sampleBatches[0]));
  const rows = array.length / size;
  if (fixed ? rows !== 1 : !Number.isInteger(rows) || rows === 0) {
    const what = fixed ? `${size} elements` : `a multiple of ${size} elements, one row or more,`;
    throw is.mismatch('ERR_SHAPE', what, name, is.show(array));
  }
  return fixed ? undefined : rows;
}

/** A new array for an input or an output. Throws ERR_OUT_OF_MEMORY. */
export const makeElements = (
  { name, dtype }: Pick<Slot, 'name' | 'dtype'>,
  length: number,
): Float32Array | Int32Array =>
  dtype === 'float32' ? makeArray(Float32Array, length, name) : makeArray(Int32Array, length, name);

/** Zeros for the inputs at so many rows. Throws ERR_OUT_OF_MEMORY. */
export function zeroInputs(layout: Layout, rows: number): Call['arrays'] {
  return layout.inputs.map((slot) => makeElements(slot, elements(shapeAt(slot.value, rows))));
}

/** Throws ERR_OUT_OF_MEMORY where an array of so many rows is longer than any can be. */
export function checkArrays(layout: Layout, rows: number): void {
  const ports = [...layout.inputs, ...layout.outputs];
  const inputs = layout.inputs.map(({ value }) => shapeAt(value, rows));
  for (const [i, shape] of [...inputs, ...outputShapes(layout, rows)].entries()) {
    const [name, length] = [ports[i]?.name ?? 'y', elements(shape)];
    if (4 * length > constants.MAX_LENGTH) throw noRoom(name, length, undefined);
  }
}

/** Throws ERR_ARGUMENT for another batch than that which all inputs fix, if they do. */
export function checkFixed({ inputs }: Layout, batch: number): void {
  const fixed = fixedBatch(inputs.map(({ value }) => value));
  if (fixed === undefined || batch === fixed) return;
  throw is.invalid(`${fixed}, which the inputs fix,`, 'batch', batch);
}

/** `error`; that the system has no memory left in words that say what for. */
export function withoutRoom(error: unknown, name: string, what: string): unknown {
  if (!(error instanceof TandemError && error.code === 'ERR_OUT_OF_MEMORY')) return error;
  return is.mismatch('ERR_OUT_OF_MEMORY', 'rows that fit into memory', name, what);
}

/** A new array for an output. Throws ERR_OUT_OF_MEMORY for one that there is no room for. */
export function makeArray<T extends Float32Array | Int32Array>(
  type: new (length: number) => T,
  length: number,
  name: string,
): T {
  try {
    return new type(length);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw noRoom(name, length, error);
  }
}

const noRoom = (name: string, length: number, cause: unknown): TandemError =>
  new TandemError(
    'ERR_OUT_OF_MEMORY',
    `expected memory for \`${name}\`, received none for ${length} elements (${4 * length} bytes)`,
    { cause },
  );

/** An array that a caller gave for an output of so many elements. Throws ERR_ARGUMENT, ERR_DTYPE, ERR_SHAPE. */
export function checkOutput(
  array: unknown,
  name: string,
  dtype: DType,
  length: number,
): Float32Array | Int32Array {
  const type = dtype === 'float32' ? Float32Array : Int32Array;
  if (!is.isOf<Float32Array | Int32Array>(array, type)) {
    const what = dtype === 'float32' ? 'a Float32Array' : 'an Int32Array';
    throw is.mismatch(
      ArrayBuffer.isView(array) ? 'ERR_DTYPE' : 'ERR_ARGUMENT',
      what,
      name,
      is.show(array),
    );
  }
  if (array.length !== length) {
    throw is.mismatch('ERR_SHAPE', `${length} elements`, name, is.show(array));
  }
  return array;
}

/** The error for an `out` that has changed while its prediction was pending. */
export const gone = (name: string, out: Float32Array | Int32Array): TandemError =>
  is.mismatch(
    'ERR_ARGUMENT',
    'an array that stays as it was',
    name,
    `one detached or resized (${is.show(out)})`,
  );
