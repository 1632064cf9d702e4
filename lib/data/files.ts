// Datasets of files that are read in a thread of their own.
import { pathOf } from '../files/paths.js';
import * as is from '../is.js';
import type { Batch, TableBatch, TensorBatch } from './batch.js';
import type { CellType, CsvJob } from './csv/read.js';
import { Dataset } from './dataset.js';
import {
  type ColumnState,
  type EncoderState,
  type GroupState,
  isNumeric,
} from './encoders/state.js';
import { checkOnError, type DataError, type OnError } from './errors.js';
import { openParquet } from './parquet/file.js';
import type { ParquetJob } from './parquet/read.js';
import type { ErrorPolicy, StreamOptions, StreamSource } from './source.js';
import { versionOf } from './version.js';
import { readInThread } from './worker/client.js';
import type { Job } from './worker/messages.js';

/** What all files of rows have in common. */
export interface TableFileOptions {
  /** The columns to read; all by default. */
  columns?: readonly string[];
  /**
   * What a bad row does: ragged, or with something that its column cannot be. 'throw' (the default)
   * ends the reading with a DataError, 'skip' leaves the row out.
   */
  onError?: OnError;
  /** Called with the errors of rows that 'skip' leaves out, of many in a row the first hundred. */
  onSkip?: (error: DataError) => void;
}

/** How a CSV file is written. */
export interface CsvOptions extends TableFileOptions {
  /** One character between cells; ',' by default. */
  delimiter?: string;
  /** The names of all columns of a file without a header. */
  header?: readonly string[];
  /** Of columns; others are 'number' if their cells at the beginning of the file are. */
  types?: Readonly<Record<string, CellType>>;
  /** Cells that mean nothing, besides empty ones; 'NA', 'NaN' and 'null' by default. */
  missing?: readonly string[];
}

const common = ['columns', 'onError', 'onSkip'] as const;
const csvOptions = [...common, 'delimiter', 'header', 'types', 'missing'] as const;

/**
 * The rows of a CSV file (RFC 4180), which may be compressed (`.gz`): numbers, or text, null where
 * nothing is. The file is read in a thread of its own each time rows are gone through, within a few
 * megabytes of memory. Files with quotes need the package `csv-parse`. Throws ERR_ARGUMENT; reading
 * rejects with DataError or the file system's error.
 */
export function csv(path: string | URL, options?: CsvOptions): Dataset<TableBatch> {
  const set = is.options<CsvOptions>(options, 'options of csv', csvOptions);
  const delimiter = set.delimiter ?? ',';
  if (typeof delimiter !== 'string' || !/^[\t -~]$/.test(delimiter) || delimiter === '"') {
    throw is.invalid('one ASCII character', 'delimiter', delimiter);
  }
  const types = set.types ?? {};
  for (const [name, type] of Object.entries(types)) {
    is.oneOf(type, `types.${name}`, ['number', 'text']);
  }
  const job: CsvJob = {
    path: pathOf(path, 'path'),
    delimiter,
    header: set.header && names(set.header, 'header'),
    columns: set.columns && names(set.columns, 'columns'),
    types,
    missing: names(set.missing ?? ['NA', 'NaN', 'null'], 'missing'),
    onError: checkOnError(set.onError),
    stages: [],
  };
  return tableFile({ kind: 'csv', ...job }, undefined, set);
}

/**
 * The rows of a Parquet file: numbers, or other values as hyparquet gives them, null where nothing is;
 * columns of lists, maps and structs are left out.
 * The file is read in a thread of its own each time rows are gone through, within the memory that one
 * row group takes: of one of more than 64 MiB of values a part, but a page of each column at least.
 * Needs the packages `hyparquet` and, for pages in Zstandard, `hyparquet-compressors`. Rejects with
 * ERR_ARGUMENT, DataError or the file system's error.
 */
export async function parquet(
  path: string | URL,
  options?: TableFileOptions,
): Promise<Dataset<TableBatch>> {
  const set = is.options<TableFileOptions>(options, 'options of parquet', common);
  const job: ParquetJob = {
    path: pathOf(path, 'path'),
    columns: set.columns && names(set.columns, 'columns'),
    onError: checkOnError(set.onError),
    stages: [],
  };
  const { metadata } = await openParquet(job.path);
  return tableFile({ kind: 'parquet', ...job }, Number(metadata.num_rows), set);
}

/**
 * The rows of a file in Arrow's file or stream format, read in a thread of its own each time rows are
 * gone through. Columns whose values in a piece of the file are all numbers are numbers. Needs the
 * package `apache-arrow`, and `hyparquet-compressors` for batches compressed with ZSTD. Reading rejects
 * with ERR_ARGUMENT, DataError or the file system's error.
 */
export function arrow(
  path: string | URL,
  options?: Pick<TableFileOptions, 'columns'>,
): Dataset<TableBatch> {
  const set = is.options<TableFileOptions>(options, 'options of arrow', ['columns']);
  const columns = set.columns && names(set.columns, 'columns');
  return tableFile(
    { kind: 'arrow', path: pathOf(path, 'path'), columns, stages: [] },
    undefined,
    set,
  );
}

function tableFile(
  job: Job,
  length: number | undefined,
  { onSkip }: TableFileOptions,
): Dataset<TableBatch> {
  if (onSkip !== undefined && typeof onSkip !== 'function') {
    throw is.invalid('a function', 'onSkip', onSkip);
  }
  const onError = job.kind === 'arrow' ? 'throw' : job.onError;
  const exact = onError === 'throw' ? length : undefined;
  const source: StreamSource<TableBatch> = {
    ...stream<TableBatch>(exact, job, undefined, { onError, onSkip }),
    narrowed: (columns) =>
      stream<TableBatch>(exact, { ...job, columns }, undefined, { onError, onSkip }),
    encoded(encoder, given) {
      const policy = { onError: given.onError, onSkip: given.onSkip ?? onSkip };
      const rows = policy.onError === 'throw' ? exact : undefined;
      return stream<TensorBatch>(rows, forEncoder(job, encoder), encoder, policy);
    },
  };
  return new Dataset<TableBatch>({ kind: 'stream', ...source }, { file: job.path });
}

function stream<B extends Batch>(
  length: number | undefined,
  job: Job,
  encoder: EncoderState | undefined,
  { onError, onSkip }: ErrorPolicy,
): StreamSource<B> {
  return {
    length,
    selects: true,
    shuffles: true,
    ...(onSkip === undefined && { version: () => versionOf([job.path]) }),
    stream: ({ stages, shuffle: mixed, epoch }: StreamOptions) =>
      readInThread<B>(
        { job: { ...job, stages }, encoder, onError, shuffle: mixed && { ...mixed, epoch } },
        onSkip,
      ),
  };
}

/** Reads only the columns that an encoder takes, each as it takes it. */
function forEncoder(job: Job, { x, y }: EncoderState): Job {
  const states = [...x, ...y].flatMap(({ columns }: GroupState) => columns);
  const columns = [...new Set(states.map(([name]) => name))];
  if (job.kind !== 'csv') return { ...job, columns };
  const types = columns.flatMap((name) => {
    const own = states.filter(([column]) => column === name).map(([, state]) => state);
    const given = Object.hasOwn(job.types, name) ? job.types[name] : undefined;
    const type = given ?? typeFor(own);
    return type === undefined ? [] : [[name, type] as const];
  });
  return { ...job, columns, types: Object.fromEntries(types) };
}

/**
 * What cells of a column have to be for what was fitted on it. Dates may be texts or milliseconds: as the
 * file has them, in which fitting found them.
 */
function typeFor(states: readonly ColumnState[]): CellType | undefined {
  const others = states.filter((state) => state.kind !== 'cyclic' || isNumeric(state));
  if (others.length === 0) return undefined;
  // Of a column that is encoded in several ways, one may need its texts, such as 007.
  return others.every(isNumeric) ? 'number' : 'text';
}

function names(value: unknown, name: string): readonly string[] {
  if (!Array.isArray(value)) throw is.invalid('an array of names', name, value);
  return value.map((item: unknown, i) => {
    if (typeof item === 'string') return item;
    throw is.invalid('a string', `${name}[${i}]`, item);
  });
}
