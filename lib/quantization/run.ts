// Rows through a graph, batch by batch, for calibration and comparison.
import type { GraphDescription, Predictor as NativePredictor } from '../../bindings.js';
import { rowElements } from '../graph/value.js';
import type { ModelState } from '../model/state.js';
import { native } from '../native.js';
import type { Call } from '../predictor/arrays.js';
import { aborted } from '../trainer/signal.js';
import { turnsBetween } from '../trainer/turns.js';

export interface Rows extends Pick<Call, 'rows' | 'arrays'> {
  /** Of a model with a fixed batch: `arrays` of every run, each of as many rows. */
  readonly batches?: readonly Call['arrays'][];
}
type Outputs = readonly (Float32Array | Int32Array)[];

const batchRows = 32;

export interface Run {
  readonly threads: number;
  /** Ends it between two batches, with ERR_ABORTED. */
  readonly signal: AbortSignal | undefined;
  readonly state: ModelState;
}

/** What a run takes one or more of: rows, or where the batch is fixed whole batches. */
export const unitsOf = ({ rows, batches }: Rows): number => batches?.length ?? rows;

/**
 * Calls `use` with the values numbered `outputs` for `count` units from unit `first` on, one run after
 * the other. They are those of `graph`, which may be quantized.
 */
export async function runRows(
  { state, threads, signal }: Run,
  graph: GraphDescription,
  outputs: readonly number[],
  { rows, arrays, batches }: Rows,
  use: (values: Outputs, first: number, count: number) => Promise<void> | void,
): Promise<void> {
  const options = { maxBatch: batchRows, threads, device: 'cpu', precision: 'float32' } as const;
  const predictor = await native.loadPredictor(state.native, { ...graph, outputs }, options);
  try {
    for (const [i, batch] of (batches ?? []).entries()) {
      if (signal?.aborted) throw aborted(signal);
      await use(await outputsOf(predictor, 1, batch, outputs.length), i, 1);
    }
    for (let first = 0; batches === undefined && first < rows; first += batchRows) {
      if (signal?.aborted) throw aborted(signal);
      const last = Math.min(rows, first + batchRows);
      const some = arrays.map((array, i) => {
        const input = state.inputs[i];
        const each = input === undefined ? null : rowElements(input.value);
        return each === null ? array : array.subarray(first * each, last * each);
      });
      const count = last - first;
      await use(await outputsOf(predictor, count, some, outputs.length), first, count);
    }
  } finally {
    predictor.close();
  }
}

/** Elements that are counted in less than a millisecond. */
const pieceElements = 2 ** 15;

/**
 * Calls `use` for one piece of the values after another, with turns of the event loop between. A piece
 * has whole rows of so many elements as `widths` says.
 */
export async function eachPiece(
  values: Outputs,
  use: (i: number, from: number, to: number) => void,
  widths: (i: number) => number = () => 1,
): Promise<void> {
  const turn = turnsBetween();
  for (const [i, { length }] of values.entries()) {
    const width = widths(i);
    const most = Math.max(1, Math.floor(pieceElements / width)) * width;
    for (let from = 0; from < length; from += most) {
      use(i, from, Math.min(length, from + most));
      await turn();
    }
  }
}

async function outputsOf(
  predictor: NativePredictor,
  rows: number,
  arrays: Outputs,
  count: number,
): Promise<Outputs> {
  const result = await predictor.predict(rows, null, ...arrays);
  if (result === undefined) throw new TypeError('a prediction with outputs of its own');
  return count === 1 ? [result as Float32Array] : (result as Float32Array[]);
}

/** The first rows, whole runs of them where the batch is fixed. */
export function firstRows(data: Rows, state: ModelState, most: number): Rows {
  const { rows, arrays, batches } = data;
  if (rows <= most) return data;
  if (batches !== undefined) {
    const each = rows / batches.length;
    const runs = Math.ceil(most / each);
    return { rows: runs * each, arrays, batches: batches.slice(0, runs) };
  }
  const cut = arrays.map((array, i) => {
    const input = state.inputs[i];
    const each = input === undefined ? null : rowElements(input.value);
    return each === null ? array : array.subarray(0, most * each);
  });
  return { rows: most, arrays: cut };
}
