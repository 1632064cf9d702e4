// Plain data with numbers that JSON lacks, and arrays, in a form that comes back bit for bit.
import { bad } from '../../files/format.js';
import * as is from '../../is.js';

const odd = new Map<string, number>([
  ['NaN', Number.NaN],
  ['Infinity', Number.POSITIVE_INFINITY],
  ['-Infinity', Number.NEGATIVE_INFINITY],
  ['-0', -0],
]);

/** Of arrays and records in each other: what reads and writes JSON calls itself at each. */
const mostLevels = 500;

/**
 * JSON of plain data: numbers, strings, booleans, null, arrays and records of them, and Float32Arrays,
 * which are put into `arrays`, not copied. Throws ERR_ARGUMENT for anything else, naming it by `name`,
 * and for what contains itself.
 */
export function pack(value: unknown, name: string, arrays: Float32Array[], level = 0): unknown {
  if (typeof value === 'number') {
    if (Number.isFinite(value) && !Object.is(value, -0)) return value;
    return { $number: Object.is(value, -0) ? '-0' : String(value) };
  }
  if (value === null || typeof value === 'string' || typeof value === 'boolean') return value;
  if (value instanceof Float32Array) return { $array: arrays.push(value) - 1 };
  if (level > mostLevels) throw tooDeep(name);
  if (Array.isArray(value)) {
    return value.map((item, i) => pack(item, `${name}[${i}]`, arrays, level + 1));
  }
  const prototype: unknown = typeof value === 'object' ? Object.getPrototypeOf(value) : undefined;
  if (is.isRecord(value) && (prototype === Object.prototype || prototype === null)) {
    const entries = Object.entries(value).filter(([, item]) => item !== undefined);
    return Object.fromEntries(
      entries.map(([key, item]) => [escaped(key), pack(item, `${name}.${key}`, arrays, level + 1)]),
    );
  }
  throw is.invalid('plain data', name, value);
}

function tooDeep(name: string): Error {
  const what = `plain data of ${mostLevels} levels or fewer`;
  const received = 'deeper data, which may contain themselves';
  return is.mismatch('ERR_ARGUMENT', what, `${name.slice(0, 80)}...`, received);
}

/** Keys of records, told apart from `$number` and `$array`. */
const escaped = (key: string): string => (key.startsWith('$') ? `$${key}` : key);
const unescaped = (key: string): string => (key.startsWith('$$') ? key.slice(1) : key);

/** What pack was given. Throws ERR_FILE_FORMAT. */
export function unpack(value: unknown, arrays: readonly Float32Array[]): unknown {
  if (Array.isArray(value)) return value.map((item: unknown) => unpack(item, arrays));
  if (!is.isRecord(value)) return value;
  if (typeof value.$number === 'string') {
    const number = odd.get(value.$number);
    if (number === undefined) throw bad('a number', is.show(value.$number));
    return number;
  }
  if (typeof value.$array === 'number') {
    const array = arrays[value.$array];
    if (array === undefined) throw bad('an array of the file', `number ${value.$array}`);
    return array;
  }
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [unescaped(key), unpack(item, arrays)]),
  );
}
