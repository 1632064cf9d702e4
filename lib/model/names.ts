import type { NamedValue } from '../graph/describe.js';
import { asValue } from '../graph/leaves.js';
import { Value } from '../graph/value.js';
import * as is from '../is.js';
import type { Form } from './state.js';

/** One value, an array of them, or a record (or Map) of names. */
export type Values =
  | Value
  | readonly Value[]
  | Readonly<Record<string, Value>>
  | ReadonlyMap<string, Value>;

/**
 * The values of `given` with their names: a record's keys, a value's own name, or `fallback` with a
 * number from the second one on. Throws ERR_ARGUMENT.
 */
export function nameValues(
  given: Values,
  what: string,
  fallback: string,
): { named: NamedValue[]; form: Form } {
  const unnamed = collectValues(given, what);
  const names = new Set<string>();
  const named = unnamed.entries.map(([key, value]): NamedValue => {
    const own = key ?? value.name;
    let name = own ?? fallback;
    for (let i = 1; own === undefined && names.has(name); i++) name = `${fallback}_${i}`;
    if (names.has(name)) {
      throw is.mismatch('ERR_ARGUMENT', 'different names', what, `\`${name}\` twice`);
    }
    names.add(name);
    return { name, value };
  });
  return { named, form: unnamed.form };
}

function collectValues(
  given: Values,
  what: string,
): { entries: [string | undefined, Value][]; form: Form } {
  if (given instanceof Value) return { entries: [[undefined, given]], form: 'single' };
  const form = Array.isArray(given) ? 'array' : 'record';
  const items: [string | undefined, unknown][] = Array.isArray(given)
    ? given.map((value: unknown) => [undefined, value])
    : given instanceof Map
      ? [...given]
      : is.isRecord(given)
        ? Object.entries(given)
        : [];
  if (items.length === 0) {
    throw is.invalid('a Value, an array of them or a record of names', what, given);
  }
  const entries = items.map(([key, value], i): [string | undefined, Value] => [
    key,
    asValue(value, `${what}${key === undefined ? `[${i}]` : `.${key}`}`),
  ]);
  return { entries, form };
}
