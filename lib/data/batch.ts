// Rows side by side: what sources give, transformations move and trainers take.
import type { TypedArray } from '../../bindings.js';
import { emptyLike } from '../arrays.js';
import * as is from '../is.js';
import { nextTurn } from '../trainer/turns.js';
import { kindOf } from '../views.js';

/** One value a row, or for typed arrays as many elements a row as the array has for each of them. */
export type Column = TypedArray | readonly unknown[];
/** Columns by name. */
export type Columns = Readonly<Record<string, Column>>;

/** Some rows, in order. */
export interface Batch {
  /** Number of rows. */
  readonly rows: number;
}

/** Rows as a model takes them: `trainer.step` takes such a batch as it is. */
export interface TensorBatch extends Batch {
  readonly x: TypedArray | Readonly<Record<string, TypedArray>>;
  readonly y: TypedArray | Readonly<Record<string, TypedArray>>;
}

/** Rows as a file has them: numbers in a Float64Array, anything else in an array. */
export interface TableBatch extends Batch {
  readonly columns: Columns;
  /** Where the rows are in their file, for errors. */
  readonly at?: Float64Array;
}

type Groups = Readonly<Record<string, Column | Columns>>;

const isColumn = (value: unknown): value is Column =>
  is.isTypedArray(value) || Array.isArray(value);

/** A batch of `rows` rows whose columns are those of `batch` after `change`. */
export function mapColumns<B extends Batch>(
  batch: B,
  rows: number,
  change: (column: Column, name: string) => Column,
): B {
  const result: Record<string, unknown> = { rows };
  for (const [group, value] of groupsOf(batch)) {
    result[group] = isColumn(value)
      ? change(value, group)
      : Object.fromEntries(
          Object.entries(value).map(([name, column]) => [name, change(column, `${group}.${name}`)]),
        );
  }
  return result as unknown as B;
}

const groupsOf = (batch: Batch) =>
  Object.entries(batch as unknown as Groups).filter(([group]) => group !== 'rows');

/** All columns with their names: "x", or "x.left" for one of several. */
export function columnsOf(batch: Batch): (readonly [name: string, column: Column])[] {
  return groupsOf(batch).flatMap(([group, value]) =>
    isColumn(value)
      ? [[group, value] as const]
      : Object.entries(value).map(([name, column]) => [`${group}.${name}`, column] as const),
  );
}

/**
 * Throws ERR_ARGUMENT for what is no column, and ERR_SHAPE where one has not a whole number of elements,
 * the same for each row. `counted`: the number of rows is that of the targets, for want of one.
 */
export function checkColumns(batch: Batch, counted = false): void {
  for (const [group, value] of groupsOf(batch)) {
    if (isColumn(value) || is.isRecord(value)) continue;
    throw is.invalid('a typed array or a record of them', group, value);
  }
  for (const [name, column] of columnsOf(batch)) {
    if (!isColumn(column)) throw is.invalid('a typed array', name, column);
    const elements = column.length / batch.rows;
    const fits = is.isTypedArray(column)
      ? Number.isInteger(elements) && elements > 0
      : elements === 1;
    if (fits) continue;
    const what = is.isTypedArray(column) ? `a multiple of ${batch.rows} elements` : `${batch.rows}`;
    const received = `${is.show(column)}${counted ? rowsMissing : ''}`;
    throw is.mismatch('ERR_SHAPE', `${what}, one row or more each,`, name, received);
  }
}

const rowsMissing = '; without `rows` each number of `y` counts as a row';

export const tableNeeded = 'a dataset of rows, such as csv(path),';

/** Throws ERR_ARGUMENT for rows that are arrays already. */
export function checkTable(batch: Batch & { readonly columns?: unknown }): void {
  if (is.isRecord(batch.columns)) return;
  throw is.mismatch('ERR_ARGUMENT', tableNeeded, 'table', 'batches of arrays');
}

/** Throws ERR_SHAPE, ERR_DTYPE, ERR_ARGUMENT where a batch cannot follow another one. */
export function checkAlike(first: Batch, batch: Batch): void {
  const given = new Map(columnsOf(batch));
  for (const [name, column] of columnsOf(first)) {
    const other = given.get(name) ?? missing(name);
    if (!is.isTypedArray(column) || !is.isTypedArray(other)) continue;
    if (kindOf(column) !== kindOf(other)) {
      const what = `${kindOf(column)} as in the batches before`;
      throw is.mismatch('ERR_DTYPE', what, name, is.show(other));
    }
    const width = column.length / first.rows;
    if (other.length === width * batch.rows) continue;
    const what = `${width} elements in each of ${batch.rows} rows, as in the batches before,`;
    throw is.mismatch('ERR_SHAPE', what, name, is.show(other));
  }
}

/** The rows from `begin` to before `end`, as views where columns are typed arrays. */
export function sliceRows<B extends Batch>(batch: B, begin: number, end: number): B {
  if (begin === 0 && end === batch.rows) return batch;
  return mapColumns(batch, end - begin, (column) => {
    if (!is.isTypedArray(column)) return column.slice(begin, end);
    const width = column.length / batch.rows;
    return column.subarray(begin * width, end * width);
  });
}

/** The rows `which` of a batch, in that order, copied. */
export function gatherRows<B extends Batch>(batch: B, which: Uint32Array): B {
  return mapColumns(batch, which.length, (column) =>
    is.isTypedArray(column)
      ? gather(column, column.length / batch.rows, which)
      : Array.from(which, (row) => column[row]),
  );
}

/** The rows `which` of a column, in that order, copied. */
export function gather<T extends TypedArray>(column: T, width: number, which: Uint32Array): T {
  const result = emptyLike(column, which.length * width);
  if (width > 32) {
    for (let i = 0; i < which.length; i++) {
      const begin = (which[i] ?? 0) * width;
      result.set(column.subarray(begin, begin + width), i * width);
    }
  } else if (column.BYTES_PER_ELEMENT === 4) {
    copyWords(asWords(column), asWords(result), width, which);
  } else {
    for (let i = 0; i < which.length; i++) {
      const begin = (which[i] ?? 0) * width;
      for (let k = 0; k < width; k++) result[i * width + k] = column[begin + k] ?? 0;
    }
  }
  return result;
}

/** The same bits as numbers of one type, for which loops are fastest. */
const asWords = ({ buffer, byteOffset, length }: TypedArray): Int32Array =>
  new Int32Array(buffer, byteOffset, length);

/** subarray and set cost more than a short loop. */
function copyWords(from: Int32Array, to: Int32Array, width: number, which: Uint32Array): void {
  let at = 0;
  for (let i = 0; i < which.length; i++) {
    let source = (which[i] ?? 0) * width;
    const end = at + width;
    while (at < end) to[at++] = from[source++] ?? 0;
  }
}

/** Batches with the same columns, one after another. Throws ERR_SHAPE, ERR_DTYPE, ERR_ARGUMENT. */
export function concatRows<B extends Batch>(batches: readonly B[]): B {
  const { result, copies } = planConcat(batches);
  for (const copy of copies) copy();
  return result;
}

/** The same with turns of the event loop between copies of a megabyte and more. */
export async function concatInTurns<B extends Batch>(batches: readonly B[]): Promise<B> {
  const { result, copies } = planConcat(batches);
  let bytes = 0;
  for (const [i, copy] of copies.entries()) {
    copy();
    bytes += bytesOf(batches[i] ?? { rows: 0 });
    if (bytes < 2 ** 20 || i === copies.length - 1) continue;
    await nextTurn();
    bytes = 0;
  }
  return result;
}

function planConcat<B extends Batch>(batches: readonly B[]) {
  const [first] = batches;
  if (first === undefined) throw is.invalid('one batch or more', 'batches', batches);
  if (batches.length === 1) return { result: first, copies: [] };
  for (const batch of batches.slice(1)) checkAlike(first, batch);
  const rows = batches.reduce((sum, batch) => sum + batch.rows, 0);
  const sources = batches.map((batch) => new Map(columnsOf(batch)));
  const targets = new Map<string, Column>();
  const result = mapColumns(first, rows, (column, name) => {
    const parts = sources.map((columns) => columns.get(name) ?? missing(name));
    const target = parts.every(is.isTypedArray)
      ? emptyLike(column as TypedArray, (column.length / first.rows) * rows)
      : new Array<unknown>(rows);
    targets.set(name, target);
    return target;
  });
  let begin = 0;
  const copies = batches.map((batch, i) => {
    const at = begin / rows;
    begin += batch.rows;
    return () => {
      for (const [name, target] of targets) {
        const part = sources[i]?.get(name) ?? missing(name);
        const offset = Math.round(at * target.length);
        if (is.isTypedArray(target)) target.set(part as TypedArray, offset);
        else copyItems(part, target as unknown[], offset);
      }
    };
  });
  return { result, copies };
}

function copyItems(part: Column, target: unknown[], offset: number): void {
  for (let i = 0; i < part.length; i++) target[offset + i] = part[i];
}

function missing(name: string): never {
  throw is.mismatch('ERR_ARGUMENT', 'the same columns in all batches', name, 'a batch without it');
}

/** Bytes that typed columns take, and an estimate for others. */
export function bytesOf(batch: Batch): number {
  return columnsOf(batch).reduce(
    (sum, [, column]) => sum + (is.isTypedArray(column) ? column.byteLength : 32 * column.length),
    0,
  );
}
