// A fitted encoder as it is kept in model files and sent to worker threads: JSON.
import { bad, flag, integer, list, record, text } from '../../files/format.js';
import type { Period } from './spec.js';

/** A fitted column. */
export type ColumnState =
  | {
      readonly kind: 'number';
      readonly mean: number;
      /** Divides what is left after the mean. */
      readonly scale: number;
      /** Stands for missing numbers; null where there must be none. */
      readonly missing: number | null;
    }
  | {
      readonly kind: 'oneHot' | 'category';
      readonly values: readonly string[];
      /** Whether the values were numbers, which decoding gives back. */
      readonly numeric: boolean;
      readonly unknown: 'own' | 'zero' | 'throw';
      readonly missing: 'throw' | 'unknown';
    }
  | {
      readonly kind: 'cyclic';
      readonly periods: readonly (Period | number)[];
      readonly missing: 'throw' | 'zero';
    }
  | {
      readonly kind: 'text';
      readonly length: number;
      readonly padding: number;
      readonly missing: 'throw' | 'empty';
      /** The contents of tokenizer.json. */
      readonly tokenizer: unknown;
    };

/** Columns of one array, in order. */
export interface GroupState {
  /** Of the model's input or output; null where there is one without a name of its own. */
  readonly name: string | null;
  readonly columns: readonly (readonly [name: string, state: ColumnState])[];
}

export interface EncoderState {
  readonly x: readonly GroupState[];
  readonly y: readonly GroupState[];
}

/** Numbers a row of the column becomes. */
export function widthOf(state: ColumnState): number {
  switch (state.kind) {
    case 'oneHot':
      return state.values.length + (state.unknown === 'own' ? 1 : 0);
    case 'cyclic':
      return 2 * state.periods.length;
    case 'text':
      return state.length;
    default:
      return 1;
  }
}

/** Whether it becomes int32. */
export const isInteger = ({ kind }: ColumnState): boolean => kind === 'category' || kind === 'text';

/** Whether a file's column is read as numbers for it. */
export function isNumeric(state: ColumnState): boolean {
  if (state.kind === 'number') return true;
  if (state.kind === 'cyclic') return state.periods.every((period) => typeof period === 'number');
  return (state.kind === 'oneHot' || state.kind === 'category') && state.numeric;
}

/** From a model file, checked. Throws ERR_FILE_FORMAT. */
export function checkState(value: unknown): EncoderState {
  const { x, y } = record(value, 'encoder');
  return { x: groups(x, 'encoder.x'), y: groups(y, 'encoder.y') };
}

const groups = (value: unknown, name: string): GroupState[] =>
  list(value, name).map((item, i) => {
    const { name: label, columns } = record(item, `${name}[${i}]`);
    return {
      name: label === null ? null : text(label, `${name}[${i}].name`),
      columns: list(columns, `${name}[${i}].columns`).map((entry) => {
        const [column, state] = list(entry, `${name}[${i}].columns`);
        const called = text(column, `${name}[${i}].columns`);
        return [called, checkColumn(state, `${name}.${called}`)] as const;
      }),
    };
  });

const maxWidth = 2 ** 24;

function checkColumn(value: unknown, name: string): ColumnState {
  const state = record(value, name);
  switch (state.kind) {
    case 'number':
      return {
        kind: 'number',
        mean: finite(state.mean, `${name}.mean`),
        scale: finite(state.scale, `${name}.scale`),
        missing: state.missing === null ? null : finite(state.missing, `${name}.missing`),
      };
    case 'oneHot':
    case 'category':
      return {
        kind: state.kind,
        values: texts(state.values, `${name}.values`),
        numeric: flag(state.numeric, `${name}.numeric`),
        unknown: choice(state.unknown, `${name}.unknown`, ['own', 'zero', 'throw']),
        missing: choice(state.missing, `${name}.missing`, ['throw', 'unknown']),
      };
    case 'cyclic':
      return {
        kind: 'cyclic',
        periods: list(state.periods, `${name}.periods`).map(period),
        // Files of before there was a choice do not name it.
        missing: choice(state.missing ?? 'throw', `${name}.missing`, ['throw', 'zero']),
      };
    case 'text':
      return {
        kind: 'text',
        length: integer(state.length, `${name}.length`, 1, maxWidth),
        padding: integer(state.padding, `${name}.padding`, 0, 2 ** 31 - 1),
        missing: choice(state.missing ?? 'throw', `${name}.missing`, ['throw', 'empty']),
        tokenizer: record(state.tokenizer, `${name}.tokenizer`),
      };
    default:
      throw bad(`a known encoding for \`${name}\` in the file`, String(state.kind));
  }
}

/** There may be many: what only an error needs is made once. */
const texts = (value: unknown, name: string): string[] =>
  list(value, name).map((item) => text(item, name));

function finite(value: unknown, name: string): number {
  if (typeof value === 'number' && Number.isFinite(value)) return value;
  throw bad(`a number for \`${name}\` in the file`, String(value));
}

function choice<const T extends string>(value: unknown, name: string, choices: readonly T[]): T {
  const found = choices.find((item) => item === value);
  if (found !== undefined) return found;
  throw bad(`${choices.join(' or ')} for \`${name}\` in the file`, String(value));
}

const calendar = ['minute', 'hour', 'day', 'week', 'month', 'year'] as const;

function period(value: unknown): Period | number {
  if (typeof value === 'number' && value > 0 && Number.isFinite(value)) return value;
  return choice(value, 'period', calendar);
}
