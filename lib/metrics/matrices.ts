// Matrices in checkpoints. Large ones become arrays of the file: a million numbers as JSON would hold up
// the event loop.
import { bad } from '../files/format.js';
import * as is from '../is.js';
import { nextTurn } from '../trainer/turns.js';
import type { Matrix } from './metric.js';

/** Numbers that are written as JSON at most. */
const mostAsJson = 4096;

/** Rows of up to a thousand numbers, which take well under a millisecond. */
const rowsPerTurn = 64;

/** What became of a matrix, which nobody changes: it stands in several places and checkpoints. */
const packed = new WeakMap<Matrix, unknown>();

/** Whether a metric's result is rows of numbers. */
export const isMatrix = (value: unknown): value is Matrix =>
  Array.isArray(value) &&
  (packed.has(value) ||
    value.every((row) => Array.isArray(row) && row.every((number) => typeof number === 'number')));

/** Counts as plain data of a checkpoint. */
export function packCounts(counts: Float64Array): Float32Array | number[] {
  return counts.length > mostAsJson && areExact(counts)
    ? new Float32Array(counts)
    : Array.from(counts);
}

function areExact(counts: Float64Array): boolean {
  // for ... of takes ten times as long.
  for (let i = 0; i < counts.length; i++) {
    const count = counts[i] ?? 0;
    if (Math.fround(count) !== count) return false;
  }
  return true;
}

/** A matrix of counts as plain data of a checkpoint. */
export function packMatrix(matrix: Matrix): unknown {
  const columns = matrix[0]?.length ?? 0;
  if (matrix.length * columns <= mostAsJson) return matrix;
  const known = packed.get(matrix);
  if (known !== undefined) return known;
  if (matrix.some((row) => row.length !== columns)) return matrix;
  const all = new Float64Array(matrix.length * columns);
  for (const [i, row] of matrix.entries()) {
    for (let k = 0; k < columns; k++) all[i * columns + k] = row[k] ?? 0;
  }
  const counts = packCounts(all);
  const made = counts instanceof Float32Array ? { columns, counts } : matrix;
  packed.set(matrix, made);
  return made;
}

/** A matrix of counts that lie row after row, made and packed with turns of the event loop between. */
export async function matrixOf(all: Float64Array, columns: number): Promise<Matrix> {
  const rows: number[][] = [];
  const counts = new Float32Array(all.length);
  let exact = true;
  for (let begin = 0; begin < all.length; begin += columns) {
    const row = all.subarray(begin, begin + columns);
    rows.push(rowOf(all, columns, begin / columns));
    counts.set(row, begin);
    exact &&= areExact(row);
    if (rows.length % rowsPerTurn === 0) await nextTurn();
  }
  packed.set(rows, exact ? { columns, counts } : rows);
  return rows;
}

/** Those by name. */
export const packMatrices = (
  matrices: Readonly<Record<string, Matrix>>,
): Readonly<Record<string, unknown>> =>
  Object.fromEntries(Object.entries(matrices).map(([name, item]) => [name, packMatrix(item)]));

/** What packMatrix was given. Throws ERR_FILE_FORMAT. */
export function unpackMatrix(value: unknown, name: string): number[][] {
  if (Array.isArray(value)) {
    return value.map((row: unknown) => {
      if (Array.isArray(row) && row.every((item: unknown) => typeof item === 'number')) return row;
      throw bad(`numbers for \`${name}\` in the file`, is.show(row));
    });
  }
  const { columns, counts }: { columns?: unknown; counts?: unknown } = is.isRecord(value)
    ? value
    : {};
  const fits = counts instanceof Float32Array && Number.isInteger(columns) && Number(columns) > 0;
  if (!fits || counts.length % Number(columns) !== 0) {
    throw bad(`a matrix for \`${name}\` in the file`, is.show(value));
  }
  return rowsOf(counts, Number(columns));
}

/** The rows of a matrix that lie one after another. */
function rowsOf(all: Float32Array, columns: number): number[][] {
  return Array.from({ length: all.length / columns }, (_, i) => rowOf(all, columns, i));
}

/** Row number `i` of them. */
function rowOf(all: Float32Array | Float64Array, columns: number, i: number): number[] {
  const row = new Array<number>(columns);
  // Array.from takes ten times as long.
  for (let k = 0; k < columns; k++) row[k] = all[i * columns + k] ?? 0;
  return row;
}
