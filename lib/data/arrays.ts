import type { TypedArray } from '../../bindings.js';
import * as is from '../is.js';
import {
  type Batch,
  type Columns,
  checkColumns,
  type TableBatch,
  type TensorBatch,
} from './batch.js';
import { isSequences, type Sequence, type SequenceBatch } from './buckets.js';
import { Dataset } from './dataset.js';

/**
 * Rows from typed arrays: `x` and `y` are one each, or records of them, as fit takes them. `rows` is
 * their number; that of elements of `y` by default, for targets of one number. The arrays are not
 * copied. Throws ERR_ARGUMENT, ERR_SHAPE.
 */
export function fromArrays(
  data: Pick<TensorBatch, 'x' | 'y'>,
  options?: { rows?: number },
): Dataset<TensorBatch> {
  const set = is.options<{ rows?: number }>(options, 'options of fromArrays', ['rows']);
  const { x, y } = is.options<Pick<TensorBatch, 'x' | 'y'>>(data, 'data', ['x', 'y']);
  const rows = is.integer(set.rows ?? rowsOf(y), 'rows', 1, 2 ** 32 - 1);
  const batch: TensorBatch = { rows, x: checkGroup(x, 'x'), y: checkGroup(y, 'y') };
  checkColumns(batch, set.rows === undefined);
  return new Dataset<TensorBatch>({ kind: 'memory', length: rows, all: () => batch });
}

function rowsOf(y: unknown): number {
  const first: unknown = is.isRecord(y) ? Object.values(y)[0] : y;
  if (is.isTypedArray(first)) return first.length;
  throw is.invalid('a typed array or a record of them', 'y', y);
}

function checkGroup(group: unknown, name: string): TensorBatch['x'] {
  if (is.isTypedArray(group)) return group;
  if (!is.isRecord(group)) throw is.invalid('a typed array or a record of them', name, group);
  for (const [key, column] of Object.entries(group)) {
    if (!is.isTypedArray(column)) throw is.invalid('a typed array', `${name}.${key}`, column);
  }
  return group as Readonly<Record<string, TypedArray>>;
}

/**
 * Rows from columns by name, each an array with one value a row, for encoders to make numbers of.
 * Throws ERR_ARGUMENT, ERR_SHAPE.
 */
export function fromTable(columns: Columns): Dataset<TableBatch> {
  if (!is.isRecord(columns)) throw is.invalid('a record of columns', 'columns', columns);
  let rows: number | undefined;
  for (const [name, column] of Object.entries(columns)) {
    if (!Array.isArray(column) && !is.isTypedArray(column)) {
      throw is.invalid('an array', `columns.${name}`, column);
    }
    rows ??= column.length;
    if (column.length !== rows) {
      const label = `columns.${name}`;
      throw is.mismatch('ERR_SHAPE', `${rows} rows, as in the first`, label, is.show(column));
    }
  }
  if (!rows) throw is.mismatch('ERR_SHAPE', 'one row or more', 'columns', 'none');
  const at = new Float64Array(rows);
  for (let i = 0; i < rows; i++) at[i] = i;
  const batch: TableBatch = { rows, columns, at };
  return new Dataset<TableBatch>({ kind: 'memory', length: rows, all: () => batch });
}

/**
 * Rows of a sequence each, of different lengths, and their targets, for `bucketByLength`: `y` is as many
 * numbers for each row, or a sequence of its length for each, such as the tokens that follow. Throws
 * ERR_ARGUMENT, ERR_SHAPE.
 */
export function fromSequences(data: {
  x: readonly Sequence[];
  y: TensorBatch['y'] | readonly Sequence[];
}): Dataset<SequenceBatch> {
  const { x, y } = is.options<{ x: unknown; y: unknown }>(data, 'data', ['x', 'y']);
  const sequences = checkSequences(x, 'x');
  const rows = is.integer(sequences.length, 'rows', 1);
  const batch: SequenceBatch = { rows, x: sequences, y: checkTargets(y, sequences) };
  return new Dataset<SequenceBatch>({ kind: 'memory', length: rows, all: () => batch });
}

function checkSequences(given: unknown, name: string): readonly Sequence[] {
  if (!Array.isArray(given)) throw is.invalid('an array of sequences', name, given);
  given.forEach((sequence: unknown, i) => {
    if (!is.isTypedArray(sequence) && !Array.isArray(sequence)) {
      throw is.invalid('an array of numbers', `${name}[${i}]`, sequence);
    }
  });
  return given as readonly Sequence[];
}

function checkTargets(y: unknown, x: readonly Sequence[]): SequenceBatch['y'] {
  if (!isSequences(y)) {
    const group = checkGroup(y, 'y');
    checkColumns({ rows: x.length, y: group } as Batch);
    return group;
  }
  const targets = checkSequences(y, 'y');
  if (targets.length !== x.length) {
    throw is.mismatch('ERR_SHAPE', `${x.length} sequences`, 'y', is.show(targets));
  }
  targets.forEach((target, i) => {
    const { length = 0 } = x[i] ?? [];
    if (target.length === length) return;
    const what = `${length} numbers, as in \`x[${i}]\`,`;
    throw is.mismatch('ERR_SHAPE', what, `y[${i}]`, is.show(target));
  });
  return targets;
}
