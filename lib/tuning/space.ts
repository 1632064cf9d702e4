/**
 * What a search draws options from: `space: { learningRate: space.logUniform(1e-4, 1e-1) }`.
 *
 * @module
 */
import * as is from '../is.js';
import { generator } from '../trainer/random.js';

/** Where one option comes from: `at` turns a number in [0, 1), drawn evenly, into a value. */
export interface Parameter<T = unknown> {
  readonly kind: 'uniform' | 'logUniform' | 'int' | 'choice';
  at(share: number): T;
  /** What tells it from others, as JSON; choices other than texts, numbers and so on by number. */
  describe(): unknown;
  /** How a table and a file show a value. */
  show(value: T): unknown;
}

/** The options of a search, by name. */
export type Space = Readonly<Record<string, Parameter>>;
/** One set of options of a space. */
export type Sampled<S extends Space> = {
  readonly [K in keyof S]: S[K] extends Parameter<infer T> ? T : never;
};

function parameter<T>(
  kind: Parameter['kind'],
  limits: readonly unknown[],
  at: (share: number) => T,
  show: (value: T) => unknown = (value) => value,
): Parameter<T> {
  return Object.freeze({ kind, at, show, describe: () => [kind, ...limits] });
}

function range(low: unknown, high: unknown, name: string) {
  const from = is.number(low, `${name}: low`);
  return [from, is.number(high, `${name}: high`, from)] as const;
}

/** Numbers from `low` to `high`, all alike. Throws ERR_ARGUMENT. */
export function uniform(low: number, high: number): Parameter<number> {
  const [from, to] = range(low, high, 'uniform');
  return parameter('uniform', [from, to], (share) => from + share * (to - from));
}

/**
 * Numbers from `low`, above 0, to `high` whose logarithms are all alike: for learning rates and other
 * options that matter by their order of magnitude. Throws ERR_ARGUMENT.
 */
export function logUniform(low: number, high: number): Parameter<number> {
  const from = is.positive(low, 'logUniform: low');
  const to = is.number(high, 'logUniform: high', from);
  const at = (share: number) => Math.min(to, from * (to / from) ** share);
  return parameter('logUniform', [from, to], at);
}

/** How int draws. */
export interface IntOptions {
  /** Whether logarithms are all alike, as of logUniform; false by default. */
  log?: boolean;
}

/** Integers from `low` to `high`, both among them. Throws ERR_ARGUMENT. */
export function int(low: number, high: number, options?: IntOptions): Parameter<number> {
  const { log = false } = is.options(options, 'options of int', ['log']);
  is.boolean(log, 'log');
  const from = is.integer(low, 'int: low', log ? 1 : undefined);
  const to = is.integer(high, 'int: high', from);
  const at = log
    ? (share: number) => Math.floor(from * ((to + 1) / from) ** share)
    : (share: number) => from + Math.floor(share * (to - from + 1));
  return parameter('int', [from, to, log], (share) => Math.min(to, at(share)));
}

/** One of some values of any kind. Throws ERR_ARGUMENT for none. */
export function choice<const T>(values: readonly T[]): Parameter<T> {
  if (!Array.isArray(values) || values.length === 0) {
    throw is.invalid('an array of one value or more', 'choice', values);
  }
  const all: readonly T[] = [...values];
  const plain = (value: unknown) => value === null || /string|number|boolean/.test(typeof value);
  const show = (value: T) => (plain(value) ? value : `#${all.indexOf(value)}`);
  const at = (share: number) => all[Math.floor(share * all.length)] as T;
  return parameter('choice', all.map(show), at, show);
}

/** Throws ERR_ARGUMENT for what is no space. */
export function checkSpace(space: unknown): Space {
  if (!is.isRecord(space) || Object.keys(space).length === 0) {
    throw is.invalid('a record of what `space` makes', 'space', space);
  }
  for (const [name, item] of Object.entries(space)) {
    const of: object = typeof item === 'object' && item !== null ? item : {};
    if (
      typeof Reflect.get(of, 'at') !== 'function' ||
      typeof Reflect.get(of, 'kind') !== 'string'
    ) {
      throw is.invalid('uniform, logUniform, int or choice of `space`', `space.${name}`, item);
    }
  }
  return space as Space;
}

/** The options of a trial: they follow from seed, number and space alone. */
export function sample<S extends Space>(space: S, seed: number, trial: number): Sampled<S> {
  const random = generator(seed, trial);
  const drawn = Object.entries(space).map(([name, item]) => {
    // 53 bits of two words.
    const share = ((random() >>> 5) * 2 ** 26 + (random() >>> 6)) / 2 ** 53;
    return [name, item.at(share)] as const;
  });
  return Object.fromEntries(drawn) as Sampled<S>;
}
