// Datasets of whatever gives rows one after another.
import * as is from '../is.js';
import { aborted } from '../trainer/signal.js';
import { turnsBetween } from '../trainer/turns.js';
import { checkAlike, checkColumns, type TableBatch, type TensorBatch } from './batch.js';
import { Dataset } from './dataset.js';
import type { StreamOptions } from './source.js';

/**
 * Called for each time that rows are gone through, with the number of the epoch, and a signal that
 * aborts when nobody wants more of them. What it returns is iterated once: a generator, which ends for
 * good, has to be another one each time.
 */
export type Rows<T> = (options: {
  epoch: number;
  signal: AbortSignal | undefined;
}) => AsyncIterable<T> | Iterable<T>;

/** The number of rows, where it is known. */
export interface IterableOptions {
  length?: number;
}

const tableRows = 256;

/** To look at the clock and at the signal takes a fifth of the time of a row. */
const rowsPerLook = 16;

function check<T>(open: Rows<T>, options: IterableOptions | undefined, name: string) {
  if (typeof open !== 'function') {
    throw is.invalid('a function that returns an iterable', 'open', open);
  }
  const set = is.options<IterableOptions>(options, `options of ${name}`, ['length']);
  return set.length === undefined ? undefined : is.integer(set.length, 'length', 1);
}

/** What was iterated: an iterator that comes again has nothing more to give. */
const used = new WeakSet<object>();

const iterate = <T>(open: Rows<T>, { epoch, signal }: StreamOptions) => {
  const items: unknown = open({ epoch, signal });
  const iterable = typeof items === 'object' && items !== null;
  if (!iterable || !(Symbol.asyncIterator in items || Symbol.iterator in items)) {
    throw is.invalid('an iterable', 'open()', items);
  }
  if (used.has(items)) {
    const what = 'a new iterable each time that rows are gone through';
    throw is.mismatch('ERR_ARGUMENT', what, 'open()', 'an iterator that was used before');
  }
  // Arrays and the like begin anew.
  if ('next' in items) used.add(items);
  if (signal === undefined || !(Symbol.asyncIterator in items)) return items as Iterable<T>;
  return until(items as AsyncIterable<T>, signal);
};

/**
 * The items until the signal aborts, even while the next of them is waited for, which may never come. For
 * each of many rows: generators, races and functions made for each would take several times as long.
 */
function until<T>(items: AsyncIterable<T>, signal: AbortSignal): AsyncIterable<T> {
  const iterator = items[Symbol.asyncIterator]();
  let left = signal.aborted;
  let give: ((result: IteratorResult<T>) => void) | undefined;
  /** While the next item is waited for. */
  let refuse: ((error: unknown) => void) | undefined;
  const wait = (resolve: typeof give, reject: typeof refuse) => {
    give = resolve;
    refuse = reject;
  };
  const came = (result: IteratorResult<T>) => {
    refuse = undefined;
    give?.(result);
  };
  const failed = (error: unknown) => {
    const tell = refuse;
    refuse = undefined;
    tell?.(error);
  };
  const close = async () => await iterator.return?.();
  const leave = () => {
    failed(aborted(signal));
    // Comes after what is waited for, and is awaited by nobody.
    close().catch(() => {});
  };
  signal.addEventListener('abort', () => {
    left = true;
    if (refuse !== undefined) leave();
  });
  const next = () => {
    const promise = new Promise(wait);
    try {
      if (left) leave();
      else Promise.resolve(iterator.next()).then(came, failed);
    } catch (error) {
      failed(error);
    }
    return promise;
  };
  const end = async (): Promise<IteratorResult<T>> => {
    await close();
    return { done: true, value: undefined };
  };
  return { [Symbol.asyncIterator]: () => ({ next, return: end }) };
}

/**
 * Batches of any size as `open` gives them, `{ x, y }` with `rows`, or without where each row has one
 * target: they are cut and joined to the batch size asked for, and so must have the same arrays of
 * the same types. Each needs arrays of its own, for they are read ahead and not copied. What `open`
 * throws ends the reading. Throws ERR_ARGUMENT; reading rejects with ERR_ARGUMENT, ERR_SHAPE, ERR_DTYPE
 * for batches that do not fit.
 */
export function fromBatches(
  open: Rows<Pick<TensorBatch, 'x' | 'y'> & { readonly rows?: number }>,
  options?: IterableOptions,
): Dataset<TensorBatch> {
  const length = check(open, options, 'fromBatches');
  async function* stream(given: StreamOptions): AsyncGenerator<TensorBatch> {
    let first: TensorBatch | undefined;
    for await (const batch of iterate(open, given)) {
      if (!is.isRecord(batch)) throw is.invalid('{ x, y }', 'a batch', batch);
      const { rows, x, y } = batch as Partial<TensorBatch>;
      const counted = rows ?? (is.isTypedArray(y) ? y.length : undefined);
      if (x === undefined || y === undefined) throw is.invalid('{ x, y }', 'a batch', batch);
      const made: TensorBatch = { rows: is.integer(counted, 'rows of a batch', 1), x, y };
      checkColumns(made, rows === undefined);
      first ??= made;
      checkAlike(first, made);
      yield made;
    }
  }
  return new Dataset<TensorBatch>({ kind: 'stream', length, stream });
}

/**
 * Rows as `open` gives them, records of columns, for an encoder. Columns are those of the first
 * row. What `open` throws ends the reading. Throws ERR_ARGUMENT.
 */
export function fromRows(
  open: Rows<Readonly<Record<string, unknown>>>,
  options?: IterableOptions,
): Dataset<TableBatch> {
  const length = check(open, options, 'fromRows');
  async function* stream(given: StreamOptions): AsyncGenerator<TableBatch> {
    let rows: Readonly<Record<string, unknown>>[] = [];
    let begin = 0;
    let names: readonly string[] | undefined;
    const table = (): TableBatch => {
      const columns = (names ?? []).map(
        // Every record inherits values by names such as "constructor".
        (name) =>
          [name, rows.map((row) => (Object.hasOwn(row, name) ? row[name] : null) ?? null)] as const,
      );
      const at = Float64Array.from(rows, (_, i) => begin + i);
      const batch = { rows: rows.length, columns: Object.fromEntries(columns), at };
      begin += rows.length;
      rows = [];
      return batch;
    };
    const turn = turnsBetween();
    for await (const row of iterate(open, given)) {
      if (!is.isRow(row)) throw is.invalid('a record of columns', 'a row', row);
      names ??= Object.keys(row);
      const count = rows.push(row);
      if (count % rowsPerLook === 0) {
        const due = turn();
        if (due) await due;
        if (given.signal?.aborted) throw aborted(given.signal);
      }
      if (count === tableRows) yield table();
    }
    if (rows.length > 0) yield table();
  }
  return new Dataset<TableBatch>({ kind: 'stream', length, stream });
}
