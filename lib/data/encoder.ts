import * as is from '../is.js';
import { nextTurn } from '../trainer/turns.js';
import { checkTable, type TableBatch, type TensorBatch, tableNeeded } from './batch.js';
import { Dataset } from './dataset.js';
import { classesOf } from './encoders/decode.js';
import { type Fitter, makeFitter } from './encoders/fit.js';
import { type ColumnEncodings, checkEncoding, isEncoding } from './encoders/spec.js';
import {
  type ColumnState,
  type EncoderState,
  type GroupState,
  isInteger,
  widthOf,
} from './encoders/state.js';
import { checkOnError, type DataError, type OnError } from './errors.js';

/** The columns of the only input, or of several by their names. */
export type InputEncodings = ColumnEncodings | Readonly<Record<string, ColumnEncodings>>;

/** Elements of a row of the only input, or of each by name. */
export type Widths = number | Readonly<Record<string, number>>;

/**
 * The columns of inputs and targets: of one array each, or a record of them for models with several
 * inputs or outputs. A group of only `category` and `text` becomes int32, others float32.
 */
export interface RowEncodings<X extends InputEncodings = InputEncodings> {
  x: X;
  y: ColumnEncodings | Readonly<Record<string, ColumnEncodings>>;
}

/** How rows that cannot be encoded are treated. */
export interface EncodeOptions {
  /** 'throw' (the default) ends the reading with a DataError, 'skip' leaves the row out. */
  onError?: OnError;
  /** Called with the errors of rows that 'skip' leaves out, of many in a row the first hundred. */
  onSkip?: (error: DataError) => void;
}

/**
 * What fitEncoder has learnt of columns: makes typed arrays of rows. A model that is trained on such
 * data keeps it, also in its file, so that `predictor.predictRows` takes raw rows.
 */
export class RowEncoder<W extends Widths = Widths> {
  /** What is kept in files. */
  readonly state: EncoderState;

  /** @internal */
  constructor(state: EncoderState) {
    this.state = state;
  }

  /** Elements of a row of the only input, or of each by name. */
  get width(): W {
    const widths = this.state.x.map(({ name, columns }) => {
      const width = columns.reduce((sum, [, state]) => sum + widthOf(state), 0);
      return [name, width] as const;
    });
    const [first] = widths;
    const one = first !== undefined && first[0] === null;
    return (one ? first[1] : Object.fromEntries(widths)) as W;
  }

  /** The categories of a column in the order of their numbers. Throws ERR_ARGUMENT. */
  categories(column: string): readonly string[] {
    return this.#category(column).values;
  }

  /**
   * How many numbers the categories of a column have, with that of the unknown: classes of a target,
   * rows of an embedding. Throws ERR_ARGUMENT.
   */
  count(column: string): number {
    return classesOf(this.#category(column));
  }

  #category(column: string) {
    const columns = [...this.state.y, ...this.state.x].flatMap((group) => group.columns);
    const state = columns.find(([name]) => name === column)?.[1];
    if (state?.kind === 'oneHot' || state?.kind === 'category') return state;
    throw is.invalid('a column encoded as categories', 'column', column);
  }

  /**
   * The rows of a table as arrays to train on. Files are encoded in the thread that reads them, tables
   * in memory when they are first used.
   */
  encode(table: Dataset<TableBatch>, options?: EncodeOptions): Dataset<TensorBatch> {
    checkDataset(table);
    const set = is.options<EncodeOptions>(options, 'options of encode', ['onError', 'onSkip']);
    if (set.onSkip !== undefined && typeof set.onSkip !== 'function') {
      throw is.invalid('a function', 'onSkip', set.onSkip);
    }
    const policy = { onError: checkOnError(set.onError), onSkip: set.onSkip };
    return table.encoded(this.state, policy);
  }
}

function checkDataset(table: unknown): void {
  if (!(table instanceof Dataset)) throw is.invalid(tableNeeded, 'table', table);
  if (table.plain !== table) {
    throw is.mismatch('ERR_ARGUMENT', '`augment` after `encode`', 'table', 'it before');
  }
  if (table.encoder === undefined) return;
  throw is.mismatch('ERR_ARGUMENT', tableNeeded, 'table', 'one that is encoded already');
}

/**
 * Goes once through the rows to train on and learns what their columns need: means, ranges,
 * categories. Rejects with ERR_ARGUMENT, with DataError for a bad row, and as reading does.
 *
 * @example
 * const encoder = await fitEncoder(table, {
 *   x: { hour: cyclic({ period: 24 }), weather: 'oneHot', temp: standard({ missing: 'mean' }) },
 *   y: { rentals: 'standard' },
 * });
 */
export function fitEncoder(
  table: Dataset<TableBatch>,
  encodings: RowEncodings<ColumnEncodings>,
): Promise<RowEncoder<number>>;
export function fitEncoder<const X extends Readonly<Record<string, ColumnEncodings>>>(
  table: Dataset<TableBatch>,
  encodings: RowEncodings<X>,
): Promise<RowEncoder<{ readonly [name in keyof X]: number }>>;
export function fitEncoder(
  table: Dataset<TableBatch>,
  encodings: RowEncodings,
): Promise<RowEncoder>;
export async function fitEncoder(
  table: Dataset<TableBatch>,
  encodings: RowEncodings,
): Promise<RowEncoder> {
  checkDataset(table);
  const set = is.options<RowEncodings>(encodings, 'encodings', ['x', 'y']);
  const x = groups(set.x, 'x');
  const y = groups(set.y, 'y');
  const fitters = [...x, ...y].flatMap((group) => group.columns);
  let begin = 0;
  const names = [...new Set(fitters.map(({ name }) => name))];
  const rows = table.narrowed(names).shuffle(false);
  for await (const batch of rows.batches({ batchSize: 1024 })) {
    checkTable(batch);
    const first = begin;
    begin += batch.rows;
    const place = (row: number) => ({ file: table.file, row: batch.at?.[row] ?? first + row });
    for (const { name, fitter } of fitters) {
      const column = Object.hasOwn(batch.columns, name) ? batch.columns[name] : undefined;
      if (column === undefined) {
        const given = Object.keys(batch.columns);
        const received = `${given.join(', ')}${is.didYouMean(name, given)}`;
        throw is.mismatch('ERR_ARGUMENT', 'a column of the table', name, received);
      }
      fitter.add(column, (row) => ({ ...place(row), column: name }));
    }
    await nextTurn(); // rows in memory come without one
  }
  return new RowEncoder({ x: await finish(x), y: await finish(y) });
}

interface Group {
  readonly name: string | null;
  readonly columns: readonly { readonly name: string; readonly fitter: Fitter }[];
}

function groups(value: unknown, name: 'x' | 'y'): Group[] {
  if (!is.isRecord(value) || Object.keys(value).length === 0) {
    throw is.invalid('a record of columns', name, value);
  }
  const nested = Object.values(value).every((item) => is.isRecord(item) && !isEncoding(item));
  const parts: [string | null, unknown][] = nested ? Object.entries(value) : [[null, value]];
  return parts.map(([part, columns]) => ({
    name: part,
    columns: Object.entries(columns as Record<string, unknown>).map(([column, given]) => {
      const label = part === null ? `${name}.${column}` : `${name}.${part}.${column}`;
      const encoding = checkEncoding(given, label);
      return { name: column, fitter: makeFitter(encoding, column, name === 'y') };
    }),
  }));
}

async function finish(parts: readonly Group[]): Promise<GroupState[]> {
  return await Promise.all(
    parts.map(async ({ name, columns }) => {
      const states = await Promise.all(
        columns.map(
          async (column): Promise<readonly [string, ColumnState]> => [
            column.name,
            await column.fitter.finish(),
          ],
        ),
      );
      checkMixed(states);
      return { name, columns: states };
    }),
  );
}

/** Numbers of tokens next to measurements make no sense in one array. */
function checkMixed(states: readonly (readonly [string, ColumnState])[]): void {
  const texts = states.filter(([, { kind }]) => kind === 'text');
  if (texts.length === 0 || states.every(([, state]) => isInteger(state))) return;
  const [name = ''] = texts[0] ?? [];
  throw is.mismatch('ERR_ARGUMENT', 'an input of its own', name, 'one with other numbers');
}
