// Statistics of columns, batch by batch.
import * as is from '../../is.js';
import { nextTurn, sortedInTurns, stringsPerTurn } from '../../trainer/turns.js';
import type { Column } from '../batch.js';
import { badData, type Place } from '../errors.js';
import { isMissing, keyOf, noCategory, notCyclic, toNumber } from './compile.js';
import type { ColumnEncoding } from './spec.js';
import type { ColumnState } from './state.js';
import { readTokenizer } from './tokens.js';

/** Sees all rows, then says what it has learnt. */
export interface Fitter {
  add(column: Column, place: (row: number) => Place): void;
  finish(): Promise<ColumnState> | ColumnState;
}

/** `target`: of a column that the model predicts. */
export function makeFitter(encoding: ColumnEncoding, column: string, target: boolean): Fitter {
  switch (encoding.kind) {
    case 'number':
    case 'standard':
    case 'minMax':
      return new NumberFitter(encoding.kind, encoding.missing, column);
    case 'oneHot':
    case 'category':
      return new CategoryFitter(encoding, column, target);
    case 'cyclic':
      return checked(
        encoding,
        (value) => notCyclic(value, encoding),
        () => encoding,
      );
    default: {
      const { kind, tokenizer, length, missing } = encoding;
      const finish = async () =>
        ({ kind, length, missing, ...(await readTokenizer(tokenizer, column)) }) as const;
      return checked(encoding, (text) => (typeof text === 'string' ? undefined : 'a text'), finish);
    }
  }
}

/** For encodings that learn nothing from values, which must be what they can encode. */
function checked(
  { missing }: { readonly missing: string },
  wrong: (value: unknown) => string | undefined,
  finish: Fitter['finish'],
): Fitter {
  return {
    finish,
    add(column, place) {
      for (let row = 0; row < column.length; row++) {
        const value: unknown = column[row];
        if (missing !== 'throw' && isMissing(value)) continue;
        const expected = wrong(value);
        if (expected === undefined) continue;
        throw badData(expected, isMissing(value) ? 'an empty cell' : is.show(value), place(row));
      }
    },
  };
}

class NumberFitter implements Fitter {
  #count = 0;
  #mean = 0;
  /** The sum of squared distances from the mean. */
  #spread = 0;
  #low = Number.POSITIVE_INFINITY;
  #high = Number.NEGATIVE_INFINITY;

  constructor(
    readonly kind: 'number' | 'standard' | 'minMax',
    readonly missing: 'throw' | 'mean' | number,
    readonly column: string,
  ) {}

  /** Welford, "Note on a Method for Calculating Corrected Sums of Squares and Products" (1962). */
  add(column: Column, place: (row: number) => Place): void {
    for (let row = 0; row < column.length; row++) {
      const given: unknown = column[row];
      const value = toNumber(given);
      if (!Number.isFinite(value)) {
        const empty = given === null || given === undefined || given === '' || Number.isNaN(given);
        if (!empty) throw badData('a number', is.show(given), place(row));
        if (this.missing === 'throw') {
          const what = 'a number (`missing` names another policy)';
          throw badData(what, 'an empty cell', place(row));
        }
        continue;
      }
      this.#count++;
      const distance = value - this.#mean;
      this.#mean += distance / this.#count;
      this.#spread += distance * (value - this.#mean);
      if (value < this.#low) this.#low = value;
      if (value > this.#high) this.#high = value;
    }
  }

  finish(): ColumnState {
    if (this.#count === 0) throw badData('a number', 'none at all', { column: this.column });
    const missing =
      this.missing === 'throw' ? null : this.missing === 'mean' ? this.#mean : this.missing;
    // A column that never changes says nothing; it becomes 0.
    const deviation = Math.sqrt(this.#spread / this.#count) || 1;
    const range = this.#high - this.#low || 1;
    if (this.kind === 'standard') return this.#state(this.#mean, deviation, missing);
    if (this.kind === 'minMax') return this.#state(this.#low, range, missing);
    return this.#state(0, 1, missing);
  }

  /** With what can be divided by, and kept in a file, which has no infinite numbers. */
  #state(mean: number, scale: number, missing: number | null): ColumnState {
    if ([mean, scale, 1 / scale, missing].every((item) => item === null || Number.isFinite(item))) {
      return { kind: 'number', mean, scale, missing };
    }
    const { column } = this;
    const received = `numbers from ${this.#low} to ${this.#high}`;
    throw badData(`numbers that \`${this.kind}\` can scale`, received, { column });
  }
}

class CategoryFitter implements Fitter {
  readonly #counts = new Map<unknown, number>();
  #missing = 0;

  constructor(
    readonly encoding: Extract<ColumnEncoding, { kind: 'oneHot' | 'category' }>,
    readonly column: string,
    readonly target: boolean,
  ) {}

  add(column: Column, place: (row: number) => Place): void {
    const { missing } = this.encoding;
    for (let row = 0; row < column.length; row++) {
      const value: unknown = column[row];
      if (isMissing(value)) {
        this.#missing++;
        if (missing === 'unknown') continue;
        const what = 'a value (`missing: "unknown"` allows none)';
        throw badData(what, 'an empty cell', place(row));
      }
      const key = typeof value === 'object' ? keyOf(value) : value;
      if (key === undefined) throw badData(noCategory, is.show(value), place(row));
      this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1);
    }
  }

  /** Values in the order of numbers or of code units, whatever order they came in. */
  async finish(): Promise<ColumnState> {
    const { kind, minCount, missing } = this.encoding;
    const counts = new Map<string, number>();
    let numeric = true;
    let done = 0;
    for (const [value, times] of this.#counts) {
      const key = String(value);
      counts.set(key, (counts.get(key) ?? 0) + times);
      numeric &&= typeof value === 'number';
      if (++done % stringsPerTurn === 0) await nextTurn();
    }
    const kept: string[] = [];
    for (const [value, times] of counts) {
      if (times >= minCount) kept.push(value);
      if (++done % stringsPerTurn === 0) await nextTurn();
    }
    // A number of its own that no row has would keep the weights it was initialised with.
    const learnt = this.#missing > 0 || kept.length < counts.size;
    const input = learnt || kind === 'category' ? 'own' : 'zero';
    const unknown = this.encoding.unknown ?? (this.target ? 'throw' : input);
    if (kept.length === 0) throw badData('a category', 'none at all', { column: this.column });
    const values = await sortedInTurns(kept, (a, b) =>
      numeric ? Number(a) - Number(b) : a < b ? -1 : 1,
    );
    return { kind, values, numeric, unknown, missing };
  }
}
