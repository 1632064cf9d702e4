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
  const data = await rowsOf(given, signal);
  if (is.isRecord(data)) return readRows(data, frozen, 'calibration');
  if (!isIterable(data)) throw is.invalid('{ x } or batches of it', 'calibration', data);
  const batches: Rows[] = [];
  for await (const batch of prefetched(() => each(data), 0, signal))
    batches.push(readRows(batch, frozen, 'calibration'));
  if (batches.length === 0) {
    throw is.mismatch('ERR_SHAPE', 'one row or more', 'calibration', 'no batches');
  }
  return await join(batches, frozen);
}

/** All rows of a dataset as `{ x, y }`; anything else as it is. */
async function rowsOf(data: unknown, signal: Signal): Promise<unknown> {
  if (!(data instanceof Dataset)) return data;
  const batches: TensorBatch[] = [];
  const options = { batchSize: 1024, ...(signal && { signal }) };
  for await (const batch of (data as Dataset).batches(options)) batches.push(batch);
  if (batches.length === 0) return [];
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
    read = prepareInputs(layoutOf(frozen.state, frozen.results), x);
  } catch (error) {
    if (!(error instanceof TandemError)) throw error;
    throw new TandemError(error.code, `in \`${name}\`: ${error.message}`, { cause: error });
  }
  const count = fixedBatch(frozen.state.inputs.map(({ value }) => value)) ?? read.rows;
  if (rows === undefined || rows === count) return read;
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

async function join(batches: readonly Rows[], { state }: Frozen): Promise<Rows> {
  const [first] = batches;
  if (first !== undefined && batches.length === 1) return first;
  if (first !== undefined && state.inputs.every(({ value }) => rowElements(value) === null)) {
    return {
      rows: batches.length,
      arrays: first.arrays,
      batches: batches.map((one) => one.arrays),
    };
  }
  const arrays: Floats[] = [];
  for (const [i, array] of (first?.arrays ?? []).entries()) {
    const parts = batches.flatMap((batch) => batch.arrays[i] ?? []);
    const length = parts.reduce((sum, part) => sum + part.length, 0);
    const whole = emptyLike(array, length);
    await copyInTurns(placed(parts, whole));
    arrays.push(whole);
  }
  return { rows: batches.reduce((sum, { rows }) => sum + rows, 0), arrays };
}

/** `{ x, y }` or a dataset. Rejects with ERR_ARGUMENT, ERR_DTYPE, ERR_SHAPE, ERR_ABORTED. */
export async function readValidation(
  given: unknown,
  frozen: Frozen,
  metric: Metric | undefined,
  signal: Signal,
): Promise<Validation> {
  const data = await rowsOf(given, signal);
  if (!is.isRecord(data) || data.y === undefined) {
    throw is.invalid('{ x, y }', 'validation', data);
  }
  const rows = readRows(data, frozen, 'validation');
  if (rows.rows < 1)
    throw new TandemError('ERR_SHAPE', 'expected one row or more for `validation`');
  return { data: rows, ...readTargets(data.y, frozen.state, rows.rows, metric) };
}
