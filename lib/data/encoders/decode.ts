// What a model puts out -> values as the columns of its targets had them.
import * as is from '../../is.js';
import { type ColumnState, type GroupState, isInteger, isNumeric, widthOf } from './state.js';

/** Of a target's categories, by their names. */
export type Probabilities = Readonly<Record<string, number>>;

/** A target's value of a row: a number, or a category as it was in the data. */
export type Decoded = number | string | Probabilities;

/** Numbers of an output as a value of the column. */
export type DecodeColumn = (state: ColumnState, numbers: Float32Array | Int32Array) => Decoded;

/**
 * Values of the target columns in each of `rows` rows of an output, each by `decode`. Throws ERR_SHAPE,
 * and ERR_ARGUMENT for a target that cannot be read back.
 */
export function decodeGroup(
  { columns }: GroupState,
  output: Float32Array | Int32Array,
  { rows, name, decode }: { rows: number; name: string; decode: DecodeColumn },
): Record<string, Decoded>[] {
  const dated = columns.find(([, state]) => state.kind === 'cyclic' && !isNumeric(state));
  if (dated !== undefined) {
    const received = 'one of dates, of which a period tells but a part';
    throw is.mismatch('ERR_ARGUMENT', 'a target that can be read back', dated[0], received);
  }
  const width = output.length / rows;
  const widths = columns.map(([, state]) =>
    outputsOf(state, columns.length === 1 ? width : undefined),
  );
  const expected = widths.reduce((sum, item) => sum + item, 0);
  if (expected !== width) {
    const what = `${expected} numbers a row, as the columns of the target need,`;
    throw is.mismatch('ERR_SHAPE', what, name, `${width}`);
  }
  return Array.from({ length: rows }, (_, row) => {
    let at = row * width;
    return Object.fromEntries(
      columns.map(([column, state], i) => {
        const numbers = output.subarray(at, at + (widths[i] ?? 0));
        at += numbers.length;
        return [column, decode(state, numbers)] as const;
      }),
    );
  });
}

/** A class has a logit for each category, or one for the second of two. */
function outputsOf(state: ColumnState, width: number | undefined): number {
  if (!isInteger(state) || state.kind !== 'category') return widthOf(state);
  return width === 1 && state.values.length === 2 ? 1 : classesOf(state);
}

/** Class numbers that a category column can have. */
export const classesOf = (state: Extract<ColumnState, { kind: 'oneHot' | 'category' }>): number =>
  state.values.length + (state.unknown === 'own' ? 1 : 0);

/** The value that is likeliest. */
export function decodeColumn(
  state: ColumnState,
  numbers: Float32Array | Int32Array,
): number | string {
  const [first = Number.NaN] = numbers;
  if (state.kind === 'number') return first * state.scale + state.mean;
  if (state.kind === 'cyclic') return numberAt(state, numbers);
  if (state.kind === 'text') return first;
  // One logit of two categories says which by its sign; an only category is always the one.
  const best = isBinary(state.values, numbers) && first > 0 ? 1 : largest(numbers);
  // None is that of what was never seen, which is behind them all.
  const value = state.values[best];
  return state.numeric ? Number(value ?? Number.NaN) : (value ?? '');
}

/** Whether one logit tells two categories apart. */
const isBinary = (values: readonly string[], numbers: ArrayLike<number>): boolean =>
  numbers.length === 1 && values.length === 2;

/** The same, but of a category column what the logits say of each. */
export function probabilitiesOf(
  state: ColumnState,
  numbers: Float32Array | Int32Array,
): number | string | Probabilities {
  if (state.kind !== 'category') return decodeColumn(state, numbers);
  const { values } = state;
  const [first = Number.NaN] = numbers;
  const logits = isBinary(values, numbers) ? [0, first] : [...numbers];
  // There may be more than a call may have arguments.
  const top = logits.reduce((a, b) => Math.max(a, b));
  const odds = logits.map((logit) => (logit === top ? 1 : Math.exp(logit - top)));
  const sum = odds.reduce((total, odd) => total + odd, 0);
  return Object.fromEntries(odds.map((odd, i) => [values[i] ?? '', odd / sum]));
}

/** The number, from 0 to below the longest of its periods, that its sine and cosine point at. */
function numberAt(
  { periods }: Extract<ColumnState, { kind: 'cyclic' }>,
  numbers: Float32Array | Int32Array,
): number {
  const longest = Math.max(...periods.map(Number));
  const [sine = Number.NaN, cosine = Number.NaN] = numbers.subarray(2 * periods.indexOf(longest));
  const turns = Math.atan2(sine, cosine) / (2 * Math.PI);
  // A turn less next to nothing is rounded to a whole one.
  return (turns < 0 ? longest * (turns + 1) : longest * turns) % longest;
}

/** The first of the largest numbers; -1 where one is none, which says nothing of the others. */
function largest(numbers: Float32Array | Int32Array): number {
  let best = 0;
  for (let i = 0; i < numbers.length; i++) {
    if (Number.isNaN(numbers[i])) return -1;
    if ((numbers[i] ?? 0) > (numbers[best] ?? 0)) best = i;
  }
  return best;
}
