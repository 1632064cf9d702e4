// Arrays of users -> the arrays that native code gathers rows from, checked once before a run.
import type { DType, TypedArray } from '../../bindings.js';
import { checkInput, checkSigned, matchArrays, toInput } from '../arrays.js';
import { checkRange, type Range } from '../graph/ranges.js';
import * as is from '../is.js';
import { native } from '../native.js';
import { plain } from '../views.js';
import type { Lengths } from './lengths.js';
import { elementsPerTurn, inPieces, nextTurn } from './turns.js';

/** One typed array, an array of them in order, or a record of names. */
export type Arrays = TypedArray | readonly TypedArray[] | Readonly<Record<string, TypedArray>>;

/** Rows of inputs and targets; batches of a dataset are some. */
export interface Data {
  x: Arrays;
  /** Class numbers for crossEntropy: Int32Array or any integer typed array; else Float32Array. */
  y: Arrays;
  /** How many, which tells shorter sequences than the model's; by default as the inputs' shapes say. */
  rows?: number;
}

/** An input of the training graph. */
export interface Feed {
  readonly name: string;
  readonly dtype: DType;
  /** Elements of a row. */
  readonly elements: number;
  /** Of its numbers, where they are class numbers or indices. */
  readonly range: Range | undefined;
}

export interface Feeds {
  readonly x: readonly Feed[];
  readonly y: readonly Feed[];
  /** The rows of every batch, where inputs of the model fix them. */
  readonly batch: number | undefined;
  /** The same at other lengths of sequences. */
  readonly lengths: Lengths;
}

/** Checked arrays, those of x first. */
export interface Rows {
  readonly arrays: readonly (Float32Array | Int32Array)[];
  readonly count: number;
  /** What they were checked against. */
  readonly feeds: Feeds;
  /** Of the trainer's graphs, where it is not the first. */
  readonly graph?: number;
}

/** Throws where nobody wants any more what it is called in the middle of. */
export type Proceed = () => void;

/** What is left to do with long arrays before anybody reads them, in turns of the event loop. */
export type Later = ((proceed: Proceed) => Promise<void>)[];

/** Does it. Rejects with what `readData` or `proceed` would have thrown; nobody may read the arrays then. */
export async function finish(later: Later, proceed: Proceed = () => {}): Promise<void> {
  for (let next = later.shift(); next !== undefined; next = later.shift()) await next(proceed);
}

/** `later` gets what takes long; without it all is done at once. */
export function readData(data: unknown, feeds: Feeds, name: string, later?: Later): Rows {
  const pair = Array.isArray(data) && data.length === 2 ? { x: data[0], y: data[1] } : data;
  if (!is.isRecord(pair)) throw is.invalid('{ x, y }', name, data);
  const {
    x,
    y,
    rows: stated,
  } = is.options<{ x?: unknown; y?: unknown; rows?: unknown }>(pair, name, ['x', 'y', 'rows']);
  const arrays: (Float32Array | Int32Array)[] = [];
  let count: number | undefined;
  let first = '';
  // Of two sets of rows in one call, errors say which.
  const prefix = name === 'data' ? '' : `${name}.`;
  for (const [what, given, of] of [
    ['x', x, feeds.x],
    ['y', y, feeds.y],
  ] as const) {
    for (const [array, label, feed] of matchArrays(given, of, `${prefix}${what}`)) {
      const { typed, rows } = readArray(array, label, feed, later);
      if (count === undefined) {
        count = rows;
        first = label;
      } else if (rows !== count) {
        throw is.mismatch('ERR_SHAPE', `${count} rows, as in \`${first}\``, label, `${rows} rows`);
      }
      arrays.push(typed);
    }
  }
  if (stated !== undefined && stated !== count) {
    throw is.mismatch('ERR_SHAPE', `${count} for \`rows\``, name, is.show(stated));
  }
  return { arrays, count: count ?? 0, feeds };
}

/** Throws ERR_SHAPE for arrays of `rows` rows that are wider or narrower than the model's. */
export function checkWidths({ x, y }: Data, feeds: Feeds, name: string, rows: number): void {
  const prefix = name === 'data' ? '' : `${name}.`;
  const matched = [
    ...matchArrays(x, feeds.x, `${prefix}x`),
    ...matchArrays(y, feeds.y, `${prefix}y`),
  ];
  for (const [array, label, { elements }] of matched) {
    const width = is.isTypedArray(array) ? array.length / rows : elements;
    if (width === elements) continue;
    throw is.mismatch(
      'ERR_SHAPE',
      `rows of ${elements}, as in the model,`,
      label,
      `rows of ${width}`,
    );
  }
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

/** Elements that are checked and converted in a millisecond. */
const elementsAtOnce = 16 * elementsPerTurn;

function readArray(given: unknown, name: string, feed: Feed, later: Later | undefined) {
  const array = plain(checkInput(given, name, feed.dtype));
  const rows = array.length / feed.elements;
  if (array.length === 0) throw is.mismatch('ERR_SHAPE', 'one row or more', name, is.show(array));
  if (!Number.isInteger(rows)) {
    throw is.mismatch('ERR_SHAPE', `a multiple of ${feed.elements} elements`, name, is.show(array));
  }
  const reads = array instanceof Float32Array || array instanceof Int32Array;
  const { length } = array;
  if (later !== undefined && length > elementsAtOnce && !(reads && feed.range === undefined)) {
    const typed = reads ? array : new Int32Array(length);
    later.push((proceed) => readInPieces(array, length, typed, name, feed.range, proceed));
    return { typed, rows };
  }
  checkRange(array, name, feed.range);
  return { typed: toInput(array, name, feed.dtype), rows };
}

/** Checks an array that had `length` elements, and copies it where `typed` is another one. */
async function readInPieces(
  array: TypedArray,
  length: number,
  typed: Float32Array | Int32Array,
  name: string,
  range: Range | undefined,
  proceed: Proceed,
): Promise<void> {
  const read = (from: number, to: number) => {
    proceed();
    if (array.length !== length) {
      const received = `one detached or resized (${is.show(array)})`;
      throw is.mismatch('ERR_SHAPE', 'an array that stays as it was', name, received);
    }
    const piece = array.subarray(from, to);
    checkRange(piece, name, range, from);
    if (typed === array) return;
    checkSigned(piece, name, from);
    typed.set(piece, from);
  };
  await inPieces(length, read, elementsAtOnce);
}

/** The rows with a NaN or an infinity, each with the name of the first feed that has one there. */
export async function findBadRows({ arrays, feeds }: Rows): Promise<ReadonlyMap<number, string>> {
  const bad = new Map<number, string>();
  for (const [i, feed] of [...feeds.x, ...feeds.y].entries()) {
    const array = arrays[i];
    if (!(array instanceof Float32Array)) continue;
    const name = i < feeds.x.length ? `x (${feed.name})` : `y (${feed.name})`;
    for (let from = 0; from < array.length; ) {
      const piece = array.subarray(from, from + 16 * elementsPerTurn);
      const at = native.findNonFinite(piece);
      if (at === -1) {
        from += piece.length;
        if (from < array.length) await nextTurn();
        continue;
      }
      const row = Math.floor((from + at) / feed.elements);
      if (!bad.has(row)) bad.set(row, name);
      from = (row + 1) * feed.elements;
    }
  }
  return bad;
}
