// A Parquet file -> tables, in the thread that calls, one row group after another, large ones in parts.
import { closeSync, openSync } from 'node:fs';
import type { DecodedArray, FileMetaData, RowGroup } from 'hyparquet';
import * as is from '../../is.js';
import { type Column, gatherRows, sliceRows, type TableBatch } from '../batch.js';
import { tableRows } from '../blocks.js';
import { badData, type DataError, type OnError } from '../errors.js';
import { Selector, type Stage } from '../select.js';
import { readPages, type Source } from './column.js';
import { asDataError, bytesOf, type ParquetFile, withMetadata } from './file.js';
import { bytesOfRows, findPages, type Pages, partBytes, readPart, rowsOfPart } from './pages.js';

/** A job for a reader; it can be sent to a worker thread. */
export interface ParquetJob {
  readonly path: string;
  /** Columns to read, which must be there; all by default. */
  readonly columns: readonly string[] | undefined;
  readonly onError: OnError;
  readonly stages: readonly Stage[];
}

/** Rejects with DataError, or the file system's error. Tables may be views of larger ones. */
export async function* readParquet(
  job: ParquetJob,
  skipped: (error: DataError) => void,
): AsyncGenerator<TableBatch> {
  const opened = openSync(job.path, 'r');
  try {
    yield* readFile(await withMetadata(job.path, bytesOf(opened)), job, skipped);
  } finally {
    closeSync(opened);
  }
}

async function* readFile(
  file: ParquetFile,
  job: ParquetJob,
  skipped: (error: DataError) => void,
): AsyncGenerator<TableBatch> {
  const selector = new Selector(job.stages);
  const types = columnTypes(file, job.columns);
  const skip = (error: unknown) => {
    if (job.onError === 'throw' || !(error instanceof Error && 'row' in error)) throw error;
    skipped(error as DataError);
  };
  let start = 0;
  for (const group of file.metadata.row_groups) {
    const count = Number(group.num_rows);
    let parts: Parts | undefined;
    try {
      parts = await planParts(file, types, group, start);
    } catch (error) {
      skip(error);
      selector.next(count);
    }
    for (let from = 0; parts !== undefined && from < count; from += parts.rows) {
      const rows = Math.min(parts.rows, count - from);
      const kept = selector.next(rows);
      if (kept.length > 0) {
        try {
          const table = await readRows(file, types, group, start, parts, from, rows);
          yield* blocks(kept.length === rows ? table : gatherRows(table, kept), types.size);
        } catch (error) {
          skip(error);
        }
      }
      if (selector.done) return;
    }
    start += count;
    if (selector.done) return;
  }
}

/** How a row group is read. */
interface Parts {
  /** Of each part; the last one has what is left. */
  readonly rows: number;
  /** By column; undefined where the group is read at once. */
  readonly pages: ReadonlyMap<string, Pages> | undefined;
}

/** `start` is the number of the group's first row. */
async function planParts(
  { buffer, path }: ParquetFile,
  types: ReadonlyMap<string, boolean>,
  group: RowGroup,
  start: number,
): Promise<Parts> {
  const rows = Number(group.num_rows);
  const whole = { rows: Math.max(1, rows), pages: undefined };
  const chunks = group.columns.filter(({ meta_data: data }) => {
    const [name = '', ...deeper] = data?.path_in_schema ?? [];
    return deeper.length === 0 && types.has(name);
  });
  const sizes = chunks.map(({ meta_data: data }) => Number(data?.total_uncompressed_size ?? 0));
  const stored = sizes.reduce((sum, size) => sum + size, 0);
  const bytes = Math.max(stored, bytesOfRows(rows, chunks.length));
  if (bytes <= partBytes) return whole;
  const pages = new Map<string, Pages>();
  for (const chunk of chunks) {
    const column = chunk.meta_data?.path_in_schema[0] ?? '';
    try {
      pages.set(column, await findPages(buffer, group, chunk));
    } catch (cause) {
      throw asDataError('pages that can be read', cause, { file: path, row: start + 1, column });
    }
  }
  return { rows: rowsOfPart([...pages.values()], rows, bytes), pages };
}

function* blocks(table: TableBatch, columns: number): Generator<TableBatch> {
  const rows = tableRows(columns);
  for (let begin = 0; begin < table.rows; begin += rows) {
    yield sliceRows(table, begin, Math.min(table.rows, begin + rows));
  }
}

type Element = FileMetaData['schema'][number];

/** The columns with plain values: those that the root has and that have none themselves. */
function plainColumns([root, ...elements]: readonly Element[]): Element[] {
  const columns: Element[] = [];
  let next = 0;
  const pass = (element: Element | undefined): void => {
    next++;
    for (let i = 0; i < (element?.num_children ?? 0); i++) pass(elements[next]);
  };
  for (let i = 0; i < (root?.num_children ?? 0); i++) {
    const element = elements[next];
    if (element !== undefined && !element.num_children && element.repetition_type !== 'REPEATED') {
      columns.push(element);
    }
    pass(element);
  }
  return columns;
}

/** The columns to read, and whether each holds numbers. */
function columnTypes({ path, metadata }: ParquetFile, wanted: readonly string[] | undefined) {
  const types = new Map<string, boolean>();
  for (const element of plainColumns(metadata.schema)) {
    const { name, type, converted_type: converted, logical_type: logical } = element;
    const plain =
      type === 'INT32' ||
      type === 'INT64' ||
      type === 'FLOAT' ||
      type === 'DOUBLE' ||
      type === 'BOOLEAN';
    const date = /DATE|TIME/.test(`${converted} ${logical?.type}`);
    types.set(name, plain && !date);
  }
  if (wanted === undefined) return types;
  return new Map(
    wanted.map((column) => {
      const numeric = types.get(column);
      if (numeric !== undefined) return [column, numeric] as const;
      const names = [...types.keys()];
      const listed = names.slice(0, 20).map((name) => `\`${name}\``);
      const received = `columns ${listed.join(', ')}${is.didYouMean(column, names)}`;
      throw badData('this column', received, { file: path, column });
    }),
  );
}

/** Rows of a group, from number `from` of it on; `start` is the number of its first row in the file. */
async function readRows(
  file: ParquetFile,
  types: ReadonlyMap<string, boolean>,
  group: RowGroup,
  start: number,
  { pages }: Parts,
  from: number,
  rows: number,
): Promise<TableBatch> {
  const columns: (readonly [string, Column])[] = [];
  const begin = start + from;
  // One by one, so that an error names its column and the memory of one is enough.
  for (const [name, numeric] of types) {
    const place = { file: file.path, row: begin + 1, column: name };
    const own = pages?.get(name);
    try {
      if (own === undefined) {
        columns.push([name, await readColumn(file, group, name, numeric, from, rows)]);
      } else {
        const part = await readPart(file, own, from, from + rows);
        const { codecs } = file;
        const at = from - part.begin;
        const [only = group] = part.metadata.row_groups;
        columns.push([name, await readColumn({ ...part, codecs }, only, name, numeric, at, rows)]);
      }
    } catch (cause) {
      throw asDataError('pages that can be read', cause, place);
    }
  }
  const at = new Float64Array(rows);
  for (let i = 0; i < rows; i++) at[i] = begin + i + 1;
  return { rows, columns: Object.fromEntries(columns), at };
}

/** So many rows of a group, from row `from` of it on. */
async function readColumn(
  source: Source,
  group: RowGroup,
  name: string,
  numeric: boolean,
  from: number,
  rows: number,
): Promise<Column> {
  const numbers = numeric ? new Float64Array(rows) : undefined;
  const values: unknown[] = [];
  let done = 0;
  await readPages(source, group, name, [from, from + rows], (page, begin) => {
    // Pages may begin before the rows and end behind them.
    const offset = begin - from;
    const first = Math.max(0, -offset);
    const end = Math.max(first, Math.min(page.length, rows - offset));
    done += end - first;
    if (numbers !== undefined) copyNumbers(page, first, end, numbers, offset);
    else for (let i = first; i < end; i++) values[offset + i] = (page[i] as unknown) ?? null;
  });
  if (done < rows) throw new Error(`${done} values for ${rows} rows`);
  return numbers ?? values;
}

/** Values from `first` to before `end`, NaN for null; those of one array type each in a loop of its own. */
function copyNumbers(
  from: DecodedArray,
  first: number,
  end: number,
  to: Float64Array,
  offset: number,
): void {
  if (Array.isArray(from)) {
    for (let i = first; i < end; i++) {
      const value: unknown = from[i];
      to[offset + i] = value === null || value === undefined ? Number.NaN : Number(value);
    }
  } else if (from instanceof BigInt64Array || from instanceof BigUint64Array) {
    for (let i = first; i < end; i++) to[offset + i] = Number(from[i]);
  } else to.set(from.subarray(first, end), offset + first);
}
