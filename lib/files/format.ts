// Untrusted data, one typed look at a time. Everything wrong is ERR_FILE_FORMAT.
import { TandemError } from '../errors.js';
import * as is from '../is.js';

export function bad(what: string, received: string): TandemError {
  return new TandemError('ERR_FILE_FORMAT', `expected ${what}, received ${received}`);
}

export function record(value: unknown, name: string): Record<string, unknown> {
  if (is.isRecord(value)) return value;
  throw bad(`an object for \`${name}\` in the file`, is.show(value));
}

export function list(value: unknown, name: string): readonly unknown[] {
  if (Array.isArray(value)) return value;
  throw bad(`an array for \`${name}\` in the file`, is.show(value));
}

export function text(value: unknown, name: string): string {
  if (typeof value === 'string') return value;
  throw bad(`a string for \`${name}\` in the file`, is.show(value));
}

export function flag(value: unknown, name: string): boolean {
  if (typeof value === 'boolean') return value;
  throw bad(`true or false for \`${name}\` in the file`, is.show(value));
}

export function integer(
  value: unknown,
  name: string,
  min: number,
  max = Number.MAX_SAFE_INTEGER,
): number {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= min && value <= max) {
    return value;
  }
  throw bad(`an integer from ${min} to ${max} for \`${name}\` in the file`, is.show(value));
}

export function integers(value: unknown, name: string, min: number): number[] {
  return list(value, name).map((item, i) => integer(item, `${name}[${i}]`, min));
}

/** Checked product of a shape from a file. */
export function count(shape: readonly number[], name: string): number {
  let product = 1;
  for (const length of shape) product *= length;
  if (Number.isSafeInteger(product * 8)) return product;
  throw bad(
    `a tensor of less than 2^50 elements for \`${name}\` in the file`,
    `[${shape.join(', ')}]`,
  );
}

/** JSON without duplicate keys, which parsers read differently. */
export function parseJson(source: string, name: string): unknown {
  let value: unknown;
  try {
    value = JSON.parse(source);
  } catch (error) {
    const reason = error instanceof Error ? error.message : 'an error';
    throw new TandemError('ERR_FILE_FORMAT', `expected JSON in ${name}, received ${reason}`);
  }
  if (isOurs(value, source)) return value;
  const twice = duplicateKey(source);
  if (twice !== undefined) throw bad(`different keys in ${name}`, `${is.show(twice)} twice`);
  return value;
}

/** Whether JSON is written as we write it, and so has each key once. */
function isOurs(value: unknown, source: string): boolean {
  try {
    return JSON.stringify(value) === source.trimEnd();
  } catch {
    return false; // nested too deep for that
  }
}

/** The first key that an object of this JSON, which parses, has twice. */
function duplicateKey(source: string): string | undefined {
  const open: (Set<string> | undefined)[] = [];
  for (let at = 0; at < source.length; at++) {
    const character = source[at];
    if (character === '{') open.push(new Set());
    else if (character === '[') open.push(undefined);
    else if (character === '}' || character === ']') open.pop();
    else if (character === '"') {
      const start = at++;
      while (source[at] !== '"') at += source[at] === '\\' ? 2 : 1;
      const keys = open.at(-1);
      if (keys === undefined || !/\s*:/y.test(source.slice(at + 1, at + 65))) continue;
      const key = String(JSON.parse(source.slice(start, at + 1)));
      if (keys.has(key)) return key;
      keys.add(key);
    }
  }
  return undefined;
}
