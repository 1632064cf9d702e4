// A fitted column -> a function that writes its numbers.
import * as is from '../../is.js';
import { inPieces, stringsPerTurn } from '../../trainer/turns.js';
import type { Column } from '../batch.js';
import { parseNumber } from '../numbers.js';
import { fractionOf, readTime } from './dates.js';
import type { ColumnState } from './state.js';
import { makeTokens, type Tokens } from './tokens.js';

/** Receives what is wrong with a row; returns where bad rows are left out. */
export type Fail = (row: number, what: string, received: string) => void;

/** Writes the column's numbers for all rows: row i begins at `offset + i * stride`. */
export type Encode = (
  column: Column,
  out: Float32Array | Int32Array,
  offset: number,
  stride: number,
  fail: Fail,
) => void;

/** Rejects where the tokenizer's package is missing. */
export async function compileColumn(state: ColumnState): Promise<Encode> {
  switch (state.kind) {
    case 'number':
      return encodeNumbers(state);
    case 'oneHot':
    case 'category':
      return await encodeCategories(state);
    case 'cyclic':
      return encodeCycles(state);
    default:
      return encodeText(await makeTokens(state.tokenizer), state);
  }
}

export const isMissing = (value: unknown): boolean =>
  value === undefined || value === null || value === '' || Number.isNaN(value);

const missingNumber = 'a number (`missing` names another policy)';
const missingCategory = 'a value (`missing: "unknown"` allows none)';

type NumberState = Extract<ColumnState, { kind: 'number' }>;

/** The largest float32: beyond it, numbers of the arrays that models take are infinite. */
const largest = 3.4028234663852886e38;

function encodeNumbers({ mean, scale, missing }: NumberState): Encode {
  const factor = 1 / scale;
  const instead = missing === null ? Number.NaN : (missing - mean) * factor;
  return (column, out, offset, stride, fail) => {
    const encode = (row: number, value: number, given: unknown) => {
      if (isMissing(given) && missing === null) return fail(row, missingNumber, 'an empty cell');
      const result = isMissing(given) ? instead : (value - mean) * factor;
      if (Math.abs(result) <= largest) out[offset + row * stride] = result;
      else if (Number.isFinite(value)) fail(row, 'a number that float32 holds', is.show(given));
      else fail(row, typeof given === 'number' ? 'a finite number' : 'a number', is.show(given));
    };
    if (column instanceof Float64Array) {
      let at = offset;
      for (let row = 0; row < column.length; row++, at += stride) {
        const value = column[row] ?? 0;
        const result = (value - mean) * factor;
        // Comparisons with NaN are false.
        if (Math.abs(result) <= largest) out[at] = result;
        else encode(row, value, value);
      }
      return;
    }
    for (let row = 0; row < column.length; row++) {
      const given: unknown = column[row];
      encode(row, toNumber(given), given);
    }
  };
}

/** NaN for what is no number. */
export function toNumber(value: unknown): number {
  if (typeof value === 'number') return value;
  if (typeof value === 'bigint' || typeof value === 'boolean') return Number(value);
  return typeof value === 'string' ? parseNumber(value) : Number.NaN;
}

type CategoryState = Extract<ColumnState, { kind: 'oneHot' | 'category' }>;

export const noCategory = 'a text, a number, a date or the like';

/**
 * How a category is written down: 8 and "8" are the same. Undefined for what is none: records would all
 * be one, and an invalid date is no value.
 */
export function keyOf(value: unknown): string | undefined {
  if (typeof value !== 'object' || value === null) return String(value);
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? undefined : value.toISOString();
  return is.isRecord(value) ? undefined : String(value);
}

async function encodeCategories(state: CategoryState): Promise<Encode> {
  const { kind, values, unknown, missing } = state;
  const numbers = new Map<unknown, number>();
  const enter = (from: number, to: number) => {
    for (const [i, value] of values.slice(from, to).entries()) {
      numbers.set(value, from + i);
      // Numbers are found without making strings of them. NaN is a missing one, whatever it is as a text.
      if (value !== 'NaN' && String(Number(value)) === value) numbers.set(Number(value), from + i);
    }
  };
  await inPieces(values.length, enter, stringsPerTurn);
  const other = unknown === 'own' ? values.length : -1;
  return (column, out, offset, stride, fail) => {
    let at = offset;
    for (let row = 0; row < column.length; row++, at += stride) {
      const value: unknown = column[row];
      let number = numbers.get(value);
      if (number === undefined) {
        const empty = isMissing(value);
        const key = keyOf(value);
        number = empty ? other : (numbers.get(key) ?? other);
        if (empty && missing === 'throw') fail(row, missingCategory, 'an empty cell');
        else if (key === undefined) fail(row, noCategory, is.show(value));
        else if (number === -1 && unknown === 'throw') {
          fail(row, `one of the ${values.length} values fitted on`, is.show(value));
        }
      }
      if (kind === 'category') out[at] = Math.max(0, number);
      else if (number !== -1) out[at + number] = 1;
    }
  };
}

type CyclicState = Extract<ColumnState, { kind: 'cyclic' }>;

/** What is wrong with a value for these periods, if something is: what is expected in its place. */
export function notCyclic(value: unknown, { periods }: Pick<CyclicState, 'periods'>) {
  const numeric = typeof periods[0] === 'number';
  const number = numeric ? toNumber(value) : readTime(value);
  const known = periods.every((period) => Number.isFinite(fractionOf(number, period)));
  return known ? undefined : numeric ? 'a number' : 'a date';
}

function encodeCycles(state: CyclicState): Encode {
  const { periods, missing } = state;
  return (column, out, offset, stride, fail) => {
    let at = offset;
    for (let row = 0; row < column.length; row++, at += stride) {
      const given: unknown = column[row];
      const numeric = typeof periods[0] === 'number';
      // The array has zeros.
      if (missing === 'zero' && isMissing(given)) continue;
      const wrong = notCyclic(given, state);
      if (wrong !== undefined) {
        fail(row, wrong, isMissing(given) ? 'an empty cell' : is.show(given));
        continue;
      }
      const value = numeric ? toNumber(given) : readTime(given);
      for (const [i, period] of periods.entries()) {
        const angle = 2 * Math.PI * fractionOf(value, period);
        out[at + 2 * i] = Math.sin(angle);
        out[at + 2 * i + 1] = Math.cos(angle);
      }
    }
  };
}

function encodeText(
  tokens: Tokens,
  { length, padding, missing }: Extract<ColumnState, { kind: 'text' }>,
): Encode {
  return (column, out, offset, stride, fail) => {
    for (let row = 0; row < column.length; row++) {
      const given: unknown = column[row];
      const empty = missing === 'empty' && isMissing(given);
      if (typeof given !== 'string' && !empty) {
        fail(row, 'a text', isMissing(given) ? 'an empty cell' : is.show(given));
        continue;
      }
      const ids = empty ? [] : tokens(String(given));
      const at = offset + row * stride;
      for (let i = 0; i < length; i++) out[at + i] = ids[i] ?? padding;
    }
  };
}
