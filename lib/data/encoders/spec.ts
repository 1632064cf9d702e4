// How columns become numbers, as users say it: data, which fitting completes.
import * as is from '../../is.js';

/** A step of a clock or calendar that a date goes through again and again, in UTC. */
export type Period = 'minute' | 'hour' | 'day' | 'week' | 'month' | 'year';

const periods: readonly Period[] = ['minute', 'hour', 'day', 'week', 'month', 'year'];

/** What stands for a missing number. */
export type MissingNumber = 'throw' | 'mean' | number;

/** What happens to a category that was not there, or too rarely, when the encoder was fitted. */
export type UnknownCategory = 'own' | 'zero' | 'throw';

/** How one column becomes numbers. */
export type ColumnEncoding =
  | { readonly kind: 'number' | 'standard' | 'minMax'; readonly missing: MissingNumber }
  | {
      readonly kind: 'oneHot' | 'category';
      readonly unknown: UnknownCategory | undefined;
      readonly minCount: number;
      readonly missing: 'throw' | 'unknown';
    }
  | {
      readonly kind: 'cyclic';
      readonly periods: readonly (Period | number)[];
      readonly missing: 'throw' | 'zero';
    }
  | {
      readonly kind: 'text';
      readonly tokenizer: string | URL;
      readonly length: number;
      readonly missing: 'throw' | 'empty';
    };

/** What the functions below have made: a column may be called "kind", too. */
const made = new WeakSet<object>();

function mark<T extends ColumnEncoding>(encoding: T): T {
  made.add(encoding);
  return encoding;
}

/** Whether a value is an encoding, not a record of columns. */
export const isEncoding = (value: unknown): value is ColumnEncoding =>
  typeof value === 'object' && value !== null && made.has(value);

/** For numbers. */
export interface NumberOptions {
  /** 'throw' by default; 'mean' is that of the rows that the encoder is fitted on. */
  missing?: MissingNumber;
}

/** For categories. */
export interface CategoryOptions {
  /**
   * 'own': a number of its own, which comes last. 'zero' (oneHot only): no number is 1. 'throw': an
   * error with file, row and column, by default for targets. For inputs the default is 'own' where it
   * can be learnt, from rows fitted on with rare or missing categories; without such rows 'zero' for
   * oneHot. For category it is 'own' even then, whose embedding is what it was initialised with.
   */
  unknown?: UnknownCategory;
  /** Values in fewer rows than this count as unknown, so that there are rows to learn it from; 1. */
  minCount?: number;
  /** What an empty cell is: 'throw' by default. */
  missing?: 'throw' | 'unknown';
}

function numbers(kind: 'number' | 'standard' | 'minMax', options: NumberOptions | undefined) {
  const { missing = 'throw' } = is.options<NumberOptions>(options, `options of ${kind}`, [
    'missing',
  ]);
  if (typeof missing === 'number') is.number(missing, 'missing');
  else is.oneOf(missing, 'missing', ['throw', 'mean']);
  return mark({ kind, missing });
}

/** A number as it is. Throws ERR_ARGUMENT. */
export const number = (options?: NumberOptions): ColumnEncoding => numbers('number', options);

/** A number less its mean, divided by its standard deviation over the rows fitted on. */
export const standard = (options?: NumberOptions): ColumnEncoding => numbers('standard', options);

/** A number moved so that those of the rows fitted on are from 0 to 1. */
export const minMax = (options?: NumberOptions): ColumnEncoding => numbers('minMax', options);

function categories(kind: 'oneHot' | 'category', options: CategoryOptions | undefined) {
  const names = ['unknown', 'minCount', 'missing'] as const;
  const set = is.options<CategoryOptions>(options, `options of ${kind}`, names);
  const choices =
    kind === 'oneHot' ? (['own', 'zero', 'throw'] as const) : (['own', 'throw'] as const);
  return mark({
    kind,
    unknown: set.unknown && is.oneOf<UnknownCategory>(set.unknown, 'unknown', choices),
    minCount: is.integer(set.minCount ?? 1, 'minCount', 1),
    missing: is.oneOf(set.missing ?? 'throw', 'missing', ['throw', 'unknown']),
  });
}

/** A number for each category, 1 where it is the row's and 0 elsewhere. Throws ERR_ARGUMENT. */
export const oneHot = (options?: CategoryOptions): ColumnEncoding => categories('oneHot', options);

/** The category's number, for embeddings and as a class of crossEntropy (int32). */
export const category = (options?: CategoryOptions): ColumnEncoding =>
  categories('category', options);

/**
 * Sine and cosine of where a date is in a period of a clock or a calendar, or a number in a period of
 * that length; of several periods one pair each. Dates are Date, milliseconds since 1970 or what
 * `Date.parse` reads, in UTC where they name no zone. `missing`: 'throw' (the default), or 'zero', both
 * numbers 0 for an empty cell, which no date has. Throws ERR_ARGUMENT.
 */
export function cyclic(options: {
  period: Period | number | readonly (Period | number)[];
  missing?: 'throw' | 'zero';
}): ColumnEncoding {
  const names = ['period', 'missing'] as const;
  const set = is.options<{ period: unknown; missing?: unknown }>(
    options,
    'options of cyclic',
    names,
  );
  const { period } = set;
  const list: readonly unknown[] = Array.isArray(period) ? period : [period];
  if (list.length === 0) throw is.invalid('one period or more', 'period', period);
  const checked = list.map((item) =>
    typeof item === 'number' ? is.positive(item, 'period') : is.oneOf(item, 'period', periods),
  );
  if (new Set(checked.map((item) => typeof item)).size > 1) {
    throw is.invalid('periods of dates or of numbers', 'period', period);
  }
  const missing = is.oneOf(set.missing ?? 'throw', 'missing', ['throw', 'zero']);
  return mark({ kind: 'cyclic', periods: checked, missing });
}

/**
 * The numbers of the tokens of a text (int32), cut or padded to `length`. `tokenizer` is the path of
 * a `tokenizer.json` as Hugging Face's models have it; needs the package `@huggingface/tokenizers`.
 * `missing`: 'throw' (the default), or 'empty', padding alone for an empty cell. Throws ERR_ARGUMENT.
 */
export function text(options: TextOptions): ColumnEncoding {
  const names = ['tokenizer', 'length', 'missing'] as const;
  const set = is.options<TextOptions>(options, 'options of text', names);
  const { tokenizer } = set;
  return mark({
    kind: 'text',
    tokenizer: tokenizer instanceof URL ? tokenizer : is.string(tokenizer, 'tokenizer'),
    length: is.integer(set.length, 'length', 1, 2 ** 24),
    missing: is.oneOf(set.missing ?? 'throw', 'missing', ['throw', 'empty']),
  });
}

interface TextOptions {
  tokenizer: string | URL;
  length: number;
  missing?: 'throw' | 'empty';
}

/** Encodings without options may be given by their names. */
export type EncodingName = 'number' | 'standard' | 'minMax' | 'oneHot' | 'category';

const byName = { number, standard, minMax, oneHot, category };

/** Columns by name, in the order of the numbers they become. */
export type ColumnEncodings = Readonly<Record<string, ColumnEncoding | EncodingName>>;

export function checkEncoding(value: unknown, name: string): ColumnEncoding {
  if (typeof value === 'string') {
    return byName[is.oneOf(value, name, Object.keys(byName) as EncodingName[])]();
  }
  if (isEncoding(value)) return value;
  throw is.invalid('an encoding such as standard() or "oneHot"', name, value);
}
