// Rows into folds.
import type { TypedArray } from '../../bindings.js';
import { emptyLike } from '../arrays.js';
import type { TensorBatch } from '../data/batch.js';
import { isSequences } from '../data/buckets.js';
import type { Dataset } from '../data/dataset.js';
import * as is from '../is.js';
import type { Port } from '../model.js';
import type { Arrays, Data } from '../trainer/data.js';
import { generator, numbersOf, shuffled } from '../trainer/random.js';
import { elementsPerTurn, inPieces, nextTurn } from '../trainer/turns.js';
import { plain } from '../views.js';

/**
 * The fold of each of `count` rows: shuffled by the seed, then dealt in turn, so that sizes differ by
 * one at most. With labels the rows of each label are dealt after those of the one before, so that
 * the folds have as many of each as can be: Kohavi, "A Study of Cross-Validation and Bootstrap for
 * Accuracy Estimation and Model Selection" (1995).
 */
export async function dealFolds(
  count: number,
  folds: number,
  seed: number,
  labels: TypedArray | undefined,
): Promise<Uint32Array> {
  const order = await shuffled({ start: 0, count }, generator(seed, 0));
  const inTurns = async (visit: (row: number, label: number) => void) => {
    for (const [i, row] of order.entries()) {
      visit(row, labels?.[row] ?? 0);
      if ((i + 1) % elementsPerTurn === 0) await nextTurn();
    }
  };
  const counts = new Map<number, number>();
  await inTurns((_, label) => counts.set(label, (counts.get(label) ?? 0) + 1));
  /** Rows dealt before the next one of each label. */
  const before = new Map<number, number>();
  let sum = 0;
  for (const [label, rows] of [...counts].sort(([a], [b]) => a - b)) {
    before.set(label, sum);
    sum += rows;
  }
  const fold = new Uint32Array(count);
  await inTurns((row, label) => {
    const next = before.get(label) ?? 0;
    fold[row] = next % folds;
    before.set(label, next + 1);
  });
  return fold;
}

type Lists = readonly (readonly [name: string, array: TypedArray])[];

/** The arrays of x or y, in whichever form they came. */
function listArrays(arrays: unknown, what: string): Lists {
  if (is.isTypedArray(arrays)) return [[what, arrays]];
  const entries = Array.isArray(arrays)
    ? arrays.map((item: unknown, i) => [`${what}[${i}]`, item] as const)
    : is.isRecord(arrays)
      ? Object.entries(arrays).map(([name, item]) => [`${what}.${name}`, item] as const)
      : [];
  if (entries.length === 0) throw is.invalid('typed arrays', what, arrays);
  return entries.map(([name, item]) => {
    if (!is.isTypedArray(item)) throw is.invalid('a typed array', name, item);
    return [name, item];
  });
}

/** How many rows `{ x, y }` has, as it says or by an input of the model. */
function countRows({ x, y, rows }: Data, { name, shape }: Port): number {
  const width = shape.slice(1).reduce<number>((product, length) => product * (length ?? 1), 1);
  const inputs = listArrays(x, 'x');
  // Records have their arrays in any order.
  const [label, own] = inputs.find(([key]) => key === `x.${name}`) ?? inputs[0] ?? ['x', undefined];
  // Sequences may be shorter than the model's.
  const count = rows === undefined ? (own?.length ?? 0) / width : is.integer(rows, 'rows', 1);
  if (!Number.isInteger(count) || count === 0) {
    throw is.mismatch('ERR_SHAPE', `rows of ${width} elements`, label, is.show(own));
  }
  for (const [key, array] of [...inputs, ...listArrays(y, 'y')]) {
    if (array.length % count !== 0) {
      throw is.mismatch('ERR_SHAPE', `${count} rows, as in \`${label}\``, key, is.show(array));
    }
  }
  return count;
}

/** Class numbers to deal by: those of the only target, one a row. */
function labelsOf(
  { y }: Pick<Data, 'y'>,
  count: number,
  stratified: unknown,
): TypedArray | undefined {
  const given = stratified === undefined ? undefined : is.boolean(stratified, 'stratified');
  if (given === false) return undefined;
  const [[, only] = ['', undefined], ...others] = listArrays(y, 'y');
  const one = only !== undefined && others.length === 0 && only.length === count;
  if (given === true && !one) {
    throw is.invalid('one target with one number a row', 'stratified', stratified);
  }
  const whole = !(only instanceof Float32Array || only instanceof Float64Array);
  return one && (given === true || whole) ? only : undefined;
}

/** Copies of the rows for which `take` holds. */
async function takeRows(data: Data, count: number, take: (row: number) => boolean): Promise<Data> {
  const rows: number[] = [];
  await inPieces(count, (from, to) => {
    for (let row = from; row < to; row++) if (take(row)) rows.push(row);
  });
  const copy = async (given: TypedArray): Promise<TypedArray> => {
    const array = plain(given);
    const width = array.length / count;
    const taken = emptyLike(array, rows.length * width);
    let done = 0;
    for (const [i, row] of rows.entries()) {
      taken.set(array.subarray(row * width, (row + 1) * width), i * width);
      done += width + 16;
      if (done < elementsPerTurn) continue;
      done = 0;
      await nextTurn();
    }
    return taken;
  };
  const inForm = async (arrays: Arrays): Promise<Arrays> => {
    if (is.isTypedArray(arrays)) return await copy(arrays);
    if (Array.isArray(arrays)) return await Promise.all(arrays.map(copy));
    const entries = Object.entries(arrays as Readonly<Record<string, TypedArray>>);
    const copied = entries.map(async ([name, array]) => [name, await copy(array)] as const);
    return Object.fromEntries(await Promise.all(copied));
  };
  const stated = data.rows === undefined ? {} : { rows: rows.length };
  return { x: await inForm(data.x), y: await inForm(data.y), ...stated };
}

interface Held {
  readonly data: Data | Dataset;
  /** How many there were, once they have been gone through. */
  readonly rows: () => number;
}

/** What folds make of data: for each of them the rows to train on, and those to test on. */
export interface Folds {
  train(fold: number): Promise<Data> | Dataset;
  test(fold: number): Promise<Held> | Held;
}

/** Folds of arrays, of which one is for `input`. Rejects with ERR_SHAPE. */
export async function foldArrays(
  data: Data,
  input: Port,
  folds: number,
  seed: number,
  stratified: unknown,
): Promise<Folds> {
  const count = countRows(data, input);
  checkCount(count, folds);
  const foldOf = await dealFolds(count, folds, seed, labelsOf(data, count, stratified));
  return {
    train: (fold) => takeRows(data, count, (row) => foldOf[row] !== fold),
    async test(fold) {
      const held = await takeRows(data, count, (row) => foldOf[row] === fold);
      return { data: held, rows: () => sizeOf(fold, count, folds) };
    },
  };
}

/**
 * Folds of a dataset, which is not read for that: in memory they are those of arrays, and rows that
 * are read one after another are dealt as they come, those of each label apart from others, so that
 * folds differ by one row of a label at most. What is tested on is in order and not oversampled.
 */
export function foldDataset(
  dataset: Dataset,
  folds: number,
  seed: number,
  stratified: unknown,
): Folds {
  const { inMemory, length } = dataset.asTheyAre;
  if (length !== undefined) checkCount(length, folds);
  let dealt: Promise<Uint32Array> | undefined;
  const keep = (wanted: (fold: number) => boolean, rows: number | undefined, count: Counter) => ({
    length: inMemory ? rows : undefined,
    async memory(block: TensorBatch, order: Uint32Array) {
      const labels = labelsIn(block, stratified);
      checkCount(order.length, folds);
      dealt ??= dealRows(order, folds, seed, labels);
      const foldOf = await dealt;
      count.rows = 0;
      const kept = new Uint32Array(order.length);
      for (const [i, row] of order.entries()) {
        if (wanted(foldOf[i] ?? 0)) kept[count.rows++] = row;
        if ((i + 1) % elementsPerTurn === 0) await nextTurn();
      }
      return kept.subarray(0, count.rows);
    },
    stream() {
      const dealer = new Dealer(folds, seed);
      count.rows = 0;
      return (block: TensorBatch, order: Uint32Array) => {
        const labels = labelsIn(block, stratified);
        const kept = order.filter((row) => wanted(dealer.next(labels?.[row] ?? 0)));
        count.rows += kept.length;
        return kept;
      };
    },
  });
  return {
    train(fold) {
      const rows = length === undefined ? undefined : length - sizeOf(fold, length, folds);
      return dataset.keep(keep((of) => of !== fold, rows, { rows: 0 }));
    },
    test(fold) {
      const rows = length === undefined ? undefined : sizeOf(fold, length, folds);
      const count = { rows: 0 };
      const data = dataset.asTheyAre.keep(keep((of) => of === fold, rows, count));
      return { data, rows: () => count.rows };
    },
  };
}

/** The fold of each of some rows, dealt by labels that all rows have. */
async function dealRows(
  order: Uint32Array,
  folds: number,
  seed: number,
  labels: TypedArray | undefined,
): Promise<Uint32Array> {
  const own = labels && new Float64Array(order.length);
  await inPieces(own?.length ?? 0, (from, to) => {
    for (let i = from; own && i < to; i++) own[i] = labels[order[i] ?? 0] ?? 0;
  });
  return await dealFolds(order.length, folds, seed, own);
}

/** Of a block that is no rows of a model, which fit refuses, there are none. */
const labelsIn = (block: TensorBatch, stratified: unknown): TypedArray | undefined =>
  'y' in block && !isSequences(block.y) ? labelsOf(block, block.rows, stratified) : undefined;

interface Counter {
  rows: number;
}

function checkCount(rows: number, folds: number): void {
  if (rows < folds) throw is.mismatch('ERR_SHAPE', `${folds} rows or more`, 'data', `${rows}`);
}

/** The rows of a fold: dealFolds deals in turn. */
const sizeOf = (fold: number, rows: number, folds: number): number =>
  Math.ceil((rows - fold) / folds);

/** A stream of random numbers apart from those of shuffles; one for each label. */
const dealStream = 0x50000000;

/** Deals rows from a shuffled deck of all folds for each label, shuffled anew when it is used up. */
class Dealer {
  readonly #decks = new Map<number, { random: () => number; order: Uint32Array; left: number }>();

  constructor(
    readonly folds: number,
    readonly seed: number,
  ) {}

  next(label: number): number {
    let deck = this.#decks.get(label);
    if (deck === undefined) {
      const random = generator(this.seed, dealStream + this.#decks.size);
      deck = { random, order: numbersOf({ start: 0, count: this.folds }), left: 0 };
      this.#decks.set(label, deck);
    }
    if (deck.left === 0) deck.left = this.folds;
    // The next step of a shuffle by Fisher and Yates.
    const last = --deck.left;
    const at = Math.floor((deck.random() / 2 ** 32) * (last + 1));
    const fold = deck.order[at] ?? 0;
    deck.order[at] = deck.order[last] ?? 0;
    deck.order[last] = fold;
    return fold;
  }
}
