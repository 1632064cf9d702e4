// Arrays of users -> the arrays that native code gathers rows from, checked once before a run.
import type { DType, TypedArray } from '../../bindings.js';
import { type Classes, checkClasses } from '../graph/classes.js';
import * as is from '../is.js';
import { native } from '../native.js';

/** One typed array, an array of them in order, or a record of names. */
export type Arrays = TypedArray | readonly TypedArray[] | Readonly<Record<string, TypedArray>>;

/** Rows of inputs and targets. */
export interface Data {
  x: Arrays;
  /** Class numbers for crossEntropy: Int32Array or any integer typed array; else Float32Array. */
  y: Arrays;
}

/** An input of the training graph. */
export interface Feed {
  readonly name: string;
  readonly dtype: DType;
  /** Elements of a row. */
  readonly elements: number;
  readonly classes: Classes | undefined;
}

export interface Feeds {
  readonly x: readonly Feed[];
  readonly y: readonly Feed[];
  /** The rows of every batch, where inputs of the model fix them. */
  readonly batch: number | undefined;
}

/** Checked arrays, those of x first. */
export interface Rows {
  readonly arrays: readonly (Float32Array | Int32Array)[];
  readonly count: number;
}

export function readData(data: unknown, feeds: Feeds, name: string): Rows {
  const pair = Array.isArray(data) && data.length === 2 ? { x: data[0], y: data[1] } : data;
  if (!is.isRecord(pair)) throw is.invalid('{ x, y }', name, data);
  const { x, y } = is.options<{ x?: unknown; y?: unknown }>(pair, name, ['x', 'y']);
  const arrays: (Float32Array | Int32Array)[] = [];
  let count: number | undefined;
  let first = '';
  for (const [what, given, of] of [
    ['x', x, feeds.x],
    ['y', y, feeds.y],
  ] as const) {
    for (const [array, label, feed] of match(given, of, what)) {
      const { typed, rows } = readArray(array, label, feed);
      if (count === undefined) {
        count = rows;
        first = label;
      } else if (rows !== count) {
        throw is.mismatch('ERR_SHAPE', `${count} rows, as in \`${first}\``, label, `${rows} rows`);
      }
      arrays.push(typed);
    }
  }
  return { arrays, count: count ?? 0 };
}

/** The batch size given, or its default. Throws ERR_ARGUMENT, and ERR_SHAPE for a fixed batch. */
export function readBatchSize(given: unknown, { batch }: Feeds): number {
  const size = is.integer(given ?? batch ?? 32, 'batchSize', 1, 2 ** 32 - 1);
  if (batch === undefined || size === batch) return size;
  throw is.mismatch('ERR_SHAPE', `${batch}, which the inputs fix,`, 'batchSize', String(size));
}

/** Throws ERR_SHAPE for rows that do not fill batches of a fixed size. */
export function checkWhole(count: number, { batch }: Feeds, name: string): void {
  if (batch === undefined || count % batch === 0) return;
  const what = `whole batches of ${batch} rows, which the inputs fix,`;
  throw is.mismatch('ERR_SHAPE', what, name, `${count} rows`);
}

/** The array for each feed, with the name that errors give it. */
function match(
  given: unknown,
  feeds: readonly Feed[],
  what: string,
): (readonly [unknown, string, Feed])[] {
  const names = feeds.map(({ name }) => name);
  if (is.isRecord(given)) {
    for (const key of Object.keys(given)) {
      if (!names.includes(key)) {
        const hint = is.didYouMean(key, names);
        throw is.mismatch('ERR_ARGUMENT', names.join(', '), what, `\`${key}\`${hint}`);
      }
    }
    return feeds.map((feed) => [given[feed.name], `${what}.${feed.name}`, feed] as const);
  }
  const [only] = feeds;
  if (
    feeds.length === 1 &&
    only !== undefined &&
    !(Array.isArray(given) && is.isTypedArray(given[0]))
  ) {
    return [[given, what, only]];
  }
  if (!Array.isArray(given) || given.length !== feeds.length) {
    throw is.invalid(`${feeds.length} arrays or a record of ${names.join(', ')}`, what, given);
  }
  return feeds.map((feed, i) => [given[i] as unknown, `${what}[${i}]`, feed] as const);
}

function readArray(array: unknown, name: string, feed: Feed) {
  const wanted =
    feed.dtype === 'float32' ? 'a Float32Array' : 'an Int32Array or another integer typed array';
  if (!is.isTypedArray(array)) {
    // BigInt arrays are typed arrays of a type that nothing here takes.
    throw is.mismatch(
      ArrayBuffer.isView(array) ? 'ERR_DTYPE' : 'ERR_ARGUMENT',
      wanted,
      name,
      is.show(array),
    );
  }
  const rows = array.length / feed.elements;
  if (array.length === 0) throw is.mismatch('ERR_SHAPE', 'one row or more', name, is.show(array));
  if (!Number.isInteger(rows)) {
    throw is.mismatch('ERR_SHAPE', `a multiple of ${feed.elements} elements`, name, is.show(array));
  }
  return { typed: convert(array, name, feed, wanted), rows };
}

function convert(
  array: TypedArray,
  name: string,
  feed: Feed,
  wanted: string,
): Float32Array | Int32Array {
  const isFloat = array instanceof Float32Array || array instanceof Float64Array;
  if (feed.dtype === 'float32') {
    if (array instanceof Float32Array) return array;
    const fix = `${array.constructor.name}; Float32Array.from converts it`;
    throw is.mismatch('ERR_DTYPE', wanted, name, fix);
  }
  if (isFloat) {
    const fix = `${array.constructor.name}; Int32Array.from converts it`;
    throw is.mismatch('ERR_DTYPE', wanted, name, fix);
  }
  if (feed.classes) checkClasses(array, name, feed.classes);
  const at = array instanceof Uint32Array ? native.findOutside(array, 0, 2 ** 31, -1) : -1;
  if (at !== -1) {
    const received = `${array[at]} at position ${at}`;
    throw is.mismatch('ERR_ARGUMENT', 'integers below 2^31', name, received);
  }
  return array instanceof Int32Array ? array : Int32Array.from(array);
}

/** The rows with a NaN or an infinity, each with the name of the first feed that has one there. */
export function findBadRows({ arrays }: Rows, feeds: Feeds): ReadonlyMap<number, string> {
  const bad = new Map<number, string>();
  [...feeds.x, ...feeds.y].forEach((feed, i) => {
    const array = arrays[i];
    if (!(array instanceof Float32Array)) return;
    const name = i < feeds.x.length ? `x (${feed.name})` : `y (${feed.name})`;
    let from = 0;
    for (;;) {
      const at = native.findNonFinite(array.subarray(from));
      if (at === -1) return;
      const row = Math.floor((from + at) / feed.elements);
      if (!bad.has(row)) bad.set(row, name);
      from = (row + 1) * feed.elements;
    }
  });
  return bad;
}
