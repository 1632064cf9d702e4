// The checks of everything that users pass in, and the one shape of their messages:
// "expected X for `name`, received Y".
import { type ErrorCode, TandemError } from './errors.js';
import { anyArray, showView } from './views.js';

export { isFloat32Array, isOf, isTypedArray } from './views.js';

/** How an error shows what it received: short, and with the type where it says more. */
export function show(value: unknown): string {
  if (typeof value === 'string') {
    return JSON.stringify(value.length > 60 ? `${value.slice(0, 57)}...` : value);
  }
  if (typeof value === 'function') return 'a function';
  if (typeof value === 'bigint') return `${value}n`;
  if (typeof value !== 'object' || value === null) return String(value);
  if (ArrayBuffer.isView(value)) return showView(value);
  if (value instanceof Date) {
    return Number.isNaN(value.getTime()) ? 'an invalid Date' : `the date ${value.toISOString()}`;
  }
  if (Array.isArray(value)) {
    const plain = value.length <= 8 && value.every((item) => typeof item !== 'object');
    return plain ? `[${value.map(show).join(', ')}]` : `an array of length ${value.length}`;
  }
  if (value instanceof anyArray)
    return 'an object that inherits from a typed array or is a Proxy of one';
  const name: unknown = value.constructor?.name;
  return typeof name === 'string' && name !== 'Object' ? `an instance of ${name}` : 'an object';
}

/** The error for a value other than `what`; `received` is shown as it is. */
export function mismatch(
  code: ErrorCode,
  what: string,
  name: string,
  received: string,
): TandemError {
  return new TandemError(code, `expected ${what} for \`${name}\`, received ${received}`);
}

export function invalid(what: string, name: string, value: unknown): TandemError {
  const received = show(value);
  const [, found] = /^an instance of (\w+)$/.exec(received) ?? [];
  const alike = found !== undefined && new RegExp(`\\ba ${found}\\b`).test(what);
  const copy = alike ? ' of another class, such as that of another copy of tandem-ml' : '';
  return mismatch('ERR_ARGUMENT', what, name, `${received}${copy}`);
}

export function number(
  value: unknown,
  name: string,
  min = Number.NEGATIVE_INFINITY,
  max = Number.POSITIVE_INFINITY,
): number {
  if (typeof value === 'number' && Number.isFinite(value) && value >= min && value <= max) {
    return value;
  }
  const range =
    max !== Number.POSITIVE_INFINITY
      ? ` from ${min} to ${max}`
      : min !== Number.NEGATIVE_INFINITY
        ? ` of ${min} or more`
        : '';
  throw invalid(`a finite number${range}`, name, value);
}

/** A number above zero. */
export function positive(value: unknown, name: string): number {
  if (typeof value === 'number' && Number.isFinite(value) && value > 0) return value;
  throw invalid('a number above 0', name, value);
}

export function integer(
  value: unknown,
  name: string,
  min = Number.MIN_SAFE_INTEGER,
  max = Number.MAX_SAFE_INTEGER,
): number {
  if (Number.isSafeInteger(value) && Number(value) >= min && Number(value) <= max) {
    return Number(value);
  }
  const range =
    max !== Number.MAX_SAFE_INTEGER
      ? ` from ${min} to ${max}`
      : min !== Number.MIN_SAFE_INTEGER
        ? ` of ${min} or more`
        : '';
  throw invalid(`an integer${range}`, name, value);
}

/** A number as `number` takes it that float32 holds as neither infinite nor 0. */
export function float32(value: unknown, name: string, min?: number, max?: number): number {
  const given = number(value, name, min, max);
  const narrow = Math.fround(given);
  if (Number.isFinite(narrow) && (narrow !== 0 || given === 0)) return given;
  const as = narrow === 0 ? '0' : 'infinite';
  const received = `${given}, which is ${as} in float32`;
  throw mismatch('ERR_ARGUMENT', 'a number within the range of float32', name, received);
}

export function boolean(value: unknown, name: string): boolean {
  if (typeof value === 'boolean') return value;
  throw invalid('true or false', name, value);
}

/** A string of at least one character. */
export function string(value: unknown, name: string): string {
  if (typeof value === 'string' && value !== '') return value;
  throw invalid('a string of at least one character', name, value);
}

export function integers(value: unknown, name: string, min?: number): readonly number[] {
  if (!Array.isArray(value)) throw invalid('an array of integers', name, value);
  return value.map((item: unknown, i) => integer(item, `${name}[${i}]`, min));
}

export function oneOf<const T extends string | number>(
  value: unknown,
  name: string,
  choices: readonly T[],
): T {
  const found = choices.find((choice) => choice === value);
  if (found !== undefined) return found;
  const hint = typeof value === 'string' ? didYouMean(value, choices.map(String)) : '';
  throw mismatch('ERR_ARGUMENT', choices.map(show).join(' or '), name, `${show(value)}${hint}`);
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  // Object.prototype of this realm or of another one, such as that of a test runner's sandbox.
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

/** A record, or an instance of a class that holds values by name, as database clients give rows. */
export function isRow(value: unknown): value is Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
  return !(ArrayBuffer.isView(value) || Symbol.iterator in value || value instanceof Date);
}

/**
 * Checks an options object against the names that it may have and returns a copy of what was set:
 * `undefined` and `null` count as left out. `later` are names of the public contract that do nothing yet.
 */
export function options<T extends object>(
  value: T | undefined,
  name: string,
  known: readonly (keyof T & string)[],
  later: readonly string[] = [],
): T {
  const given: unknown = value ?? {};
  if (!isRecord(given)) throw invalid('an object of options', name, value);
  const set: Record<string, unknown> = {};
  for (const [key, item] of Object.entries(given)) {
    if (item === undefined || item === null) continue;
    if (later.includes(key)) {
      throw mismatch('ERR_ARGUMENT', `no \`${key}\``, name, 'an option that this version lacks');
    }
    if (!known.some((entry) => entry === key)) {
      const hint = didYouMean(key, known);
      const names = known.length === 0 ? 'no options' : `only ${known.join(', ')}`;
      throw mismatch('ERR_ARGUMENT', names, name, `\`${key}\`${hint}`);
    }
    set[key] = item;
  }
  return set as T;
}

/** Throws ERR_ARGUMENT for arguments behind the last one of `call`, which would do nothing. */
export function lastArgument(more: readonly unknown[], call: string): void {
  if (more.length > 0) throw mismatch('ERR_ARGUMENT', 'no more arguments', call, show(more[0]));
}

/** "; did you mean `x`?" when one of `names` is close to `name`, or ''. */
export function didYouMean(name: string, names: readonly string[]): string {
  let best = '';
  let least = Math.max(2, Math.floor(name.length / 3)) + 1;
  for (const candidate of names) {
    const distance = editDistance(name.toLowerCase(), candidate.toLowerCase());
    if (distance < least) {
      best = candidate;
      least = distance;
    }
  }
  return best === '' ? '' : `; did you mean \`${best}\`?`;
}

/** Levenshtein, "Binary codes capable of correcting deletions, insertions and reversals" (1966). */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const swap = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(swap, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
