// Calibration and validation data as users give them -> rows of the model's inputs.
import { emptyLike } from '../arrays.js';
import { concatInTurns, type TensorBatch } from '../data/batch.js';
import { prefetched } from '../data/chunks.js';
import { Dataset } from '../data/dataset.js';
import { TandemError } from '../errors.js';
import { fixedBatch, rowElements } from '../graph/value.js';
import * as is from '../is.js';
import { layoutOf, prepareInputs } from '../predictor/arrays.js';
import { copyInTurns } from '../trainer/weights.js';
import { plain } from '../views.js';
import type { Frozen } from './frozen.js';
import type { Rows } from './run.js';
import { type Metric, readTargets, type Validation } from './validate.js';

type Signal = AbortSignal | undefined;

/**
 * `{ x }`, or an iterable of such batches, asynchronous or not. Throws ERR_ARGUMENT, ERR_DTYPE,
 * ERR_SHAPE where there are no rows or they do not fit, and ERR_ABORTED.
 */
export async function readCalibration(
  given: unknown,
  frozen: Frozen,
  signal: Signal,
): Promise<Rows> {
  const data = await rowsOf(given, frozen, signal);
  if (is.isRecord(data)) return readRows(data, frozen, 'calibration');
  if (!isIterable(data)) throw is.invalid('{ x } or batches of it', 'calibration', data);
  const batches: Rows[] = [];
  for await (const batch of prefetched(() => each(data), 0, signal))
    batches.push(readRows(batch, frozen, 'calibration'));
  if (batches.length === 0) {
    throw is.mismatch('ERR_SHAPE', 'one row or more', 'calibration', 'no batches');
  }
  return await join(batches);
}

/** The rows of a run of a model with a fixed batch; 1 where its inputs have different ones. */
function rowsOfRun({ state }: Frozen): number | undefined {
  const inputs = state.inputs.map(({ value }) => value);
  if (inputs.some((value) => rowElements(value) !== null)) return undefined;
  return fixedBatch(inputs) ?? 1;
}

/**
 * All rows of a dataset as `{ x, y }`, or for a model with a fixed batch as an array of batches;
 * anything else as it is.
 */
async function rowsOf(data: unknown, frozen: Frozen, signal: Signal): Promise<unknown> {
  if (!(data instanceof Dataset)) return data;
  const batches: TensorBatch[] = [];
  const fixed = rowsOfRun(frozen);
  const options = { batchSize: fixed ?? 1024, ...(signal && { signal }) };
  for await (const batch of (data as Dataset).plain.batches(options)) batches.push(batch);
  if (batches.length === 0 || fixed !== undefined) return batches;
  const { x, y } = await concatInTurns(batches);
  return { x, y };
}

async function* each(items: AsyncIterable<unknown> | Iterable<unknown>): AsyncGenerator<unknown> {
  yield* items;
}

function isIterable(value: unknown): value is AsyncIterable<unknown> | Iterable<unknown> {
  if (typeof value !== 'object' || value === null || is.isTypedArray(value)) return false;
  return Symbol.asyncIterator in value || Symbol.iterator in value;
}

function readRows(data: unknown, frozen: Frozen, name: string): Rows {
  if (!is.isRecord(data)) throw is.invalid('{ x }', name, data);
  const names = ['x', 'y', 'rows'] as const;
  const { x, rows } = is.options<{ x?: unknown; y?: unknown; rows?: unknown }>(data, name, names);
  let read: Rows;
  try {
    const inputs = prepareInputs(layoutOf(frozen.state, frozen.results), x);
    read = { ...inputs, arrays: inputs.arrays.map(plain) };
  } catch (error) {
    if (!(error instanceof TandemError)) throw error;
    throw new TandemError(error.code, `in \`${name}\`: ${error.message}`, { cause: error });
  }
  const fixed = rowsOfRun(frozen);
  const count = fixed ?? read.rows;
  if (rows === undefined || rows === count) {
    return fixed === undefined ? read : { ...read, rows: fixed, batches: [read.arrays] };
  }
  throw is.mismatch('ERR_SHAPE', `${count} for \`rows\``, name, is.show(rows));
}

type Floats = Float32Array | Int32Array;

/** Each part, and where it lies in the whole. */
function* placed(parts: readonly Floats[], whole: Floats): Generator<readonly [Floats, Floats]> {
  let at = 0;
  for (const part of parts) {
    yield [part, whole.subarray(at, at + part.length)];
    at += part.length;
  }
}

async function join(batches: readonly Rows[]): Promise<Rows> {
  const [first] = batches;
  if (first !== undefined && batches.length === 1) return first;
  const rows = batches.reduce((sum, batch) => sum + batch.rows, 0);
  if (first?.batches !== undefined) {
    const runs = batches.flatMap((batch) => batch.batches ?? []);
    return { rows, arrays: first.arrays, batches: runs };
  }
  const arrays: Floats[] = [];
  for (const [i, array] of (first?.arrays ?? []).entries()) {
    const parts = batches.flatMap((batch) => batch.arrays[i] ?? []);
    const length = parts.reduce((sum, part) => sum + part.length, 0);
    const whole = emptyLike(array, length);
    await copyInTurns(placed(parts, whole));
    arrays.push(whole);
  }
  return { rows, arrays };
}

/** `{ x, y }` or a dataset. Rejects with ERR_ARGUMENT, ERR_DTYPE, ERR_SHAPE, ERR_ABORTED. */
export async function readValidation(
  given: unknown,
  frozen: Frozen,
  metric: Metric | undefined,
  signal: Signal,
): Promise<Validation> {
  const data = await rowsOf(given, frozen, signal);
  if (given instanceof Dataset && Array.isArray(data)) {
    if (data.length === 0) throw noRows();
    const runs = data as TensorBatch[];
    const rows = await join(runs.map((batch) => readRows(batch, frozen, 'validation')));
    const { y } = await concatInTurns(runs);
    return { data: rows, ...readTargets(y, frozen.state, rows, metric) };
  }
  if (!is.isRecord(data) || data.y === undefined) {
    throw is.invalid('{ x, y }', 'validation', data);
  }
  const rows = readRows(data, frozen, 'validation');
  if (rows.rows < 1) throw noRows();
  return { data: rows, ...readTargets(data.y, frozen.state, rows, metric) };
}

const noRows = (): TandemError =>
  new TandemError('ERR_SHAPE', 'expected one row or more for `validation`');
