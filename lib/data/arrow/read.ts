// An Arrow file or stream -> tables, in the thread that calls, one record batch after another.
import { open } from 'node:fs/promises';
import { readFlags } from '../../files/model-file.js';
import * as is from '../../is.js';
import { type Column, gatherRows, sliceRows, type TableBatch } from '../batch.js';
import { tableRows } from '../blocks.js';
import { badData, type DataError, optional } from '../errors.js';
import { Selector, type Stage } from '../select.js';
import { checkMessages } from './messages.js';
import { type Vector, VectorChecker } from './vector.js';

/** A job for a reader; it can be sent to a worker thread. */
export interface ArrowJob {
  readonly path: string;
  /** Columns to read, which must be there; all by default. */
  readonly columns: readonly string[] | undefined;
  readonly stages: readonly Stage[];
}

/** Rejects with DataError, the file system's error, and ERR_ARGUMENT without apache-arrow. */
export async function* readArrow({ path, columns, stages }: ArrowJob): AsyncGenerator<TableBatch> {
  const { RecordBatchReader } = await optional(
    () => import('apache-arrow'),
    'apache-arrow',
    'Arrow files',
  );
  const handle = await open(path, readFlags);
  const selector = new Selector(stages);
  const vectors = new VectorChecker();
  let begin = 0;
  try {
    const messages = checkMessages(handle);
    await messages.next();
    for await (const batch of await RecordBatchReader.from(handle)) {
      const names = batch.schema.fields.map(({ name }) => name);
      const wanted = columns ?? names;
      for (const column of wanted) if (!names.includes(column)) throw noColumn(path, column, names);
      const rows = batch.numRows;
      for (const column of wanted) vectors.check(batch.getChild(column), rows);
      const size = tableRows(wanted.length);
      for (let row = 0; row < rows && !selector.done; row += size) {
        const end = Math.min(rows, row + size);
        const kept = selector.next(end - row);
        if (kept.length === 0) continue;
        const table = readBlock(batch, wanted, row, end, begin + 1);
        yield kept.length === table.rows
          ? sliceRows(table, 0, table.rows)
          : gatherRows(table, kept);
      }
      begin += rows;
      if (selector.done) return;
      await messages.next();
    }
  } catch (cause) {
    if (!(cause instanceof Error) || cause.name === 'TandemError' || 'syscall' in cause)
      throw cause;
    throw badData(
      'an Arrow file or stream',
      cause.message,
      { file: path, row: begin + 1 },
      { cause },
    );
  } finally {
    await handle.close().catch(() => {});
  }
}

function readBlock(
  batch: { getChild(name: string): Vector | null },
  columns: readonly string[],
  begin: number,
  end: number,
  first: number,
): TableBatch {
  const rows = end - begin;
  const read = columns.map((name) => [name, readColumn(batch.getChild(name), begin, end)] as const);
  const at = Float64Array.from({ length: rows }, (_, i) => first + begin + i);
  return { rows, columns: Object.fromEntries(read), at };
}

function readColumn(vector: Vector | null, begin: number, end: number): Column {
  const values: unknown[] = [];
  for (let row = begin; row < end; row++) values.push(vector?.get(row) ?? null);
  const numeric = values.every(
    (value) => value === null || typeof value === 'number' || typeof value === 'bigint',
  );
  if (!numeric || values.every((value) => value === null)) return values.map(plain);
  return Float64Array.from(values, (value) => (value === null ? Number.NaN : Number(value)));
}

/** What can go to another thread. */
const plain = (value: unknown): unknown =>
  typeof value === 'object' && value !== null && !(value instanceof Date) ? String(value) : value;

function noColumn(file: string, column: string, names: readonly string[]): DataError {
  const listed = names.slice(0, 20).map((name) => `\`${name}\``);
  const received = `columns ${listed.join(', ')}${is.didYouMean(column, names)}`;
  return badData('this column', received, { file, column });
}
