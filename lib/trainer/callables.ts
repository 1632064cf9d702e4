// Functions of users over outputs and targets, and the names they go by in errors.
import { TandemError } from '../errors.js';
import type { NamedValue } from '../graph/describe.js';
import { Value } from '../graph/value.js';
import * as is from '../is.js';
import type { Form } from '../model/state.js';
import type { Targets } from './losses.js';

export type AnyFunction = (output: Targets, target: Targets) => Value;

/** One value alone, however it was given; several in the form of the model's outputs. */
export function inForm(values: readonly NamedValue[], form: Form): Targets {
  const [first, ...rest] = values;
  if (first !== undefined && rest.length === 0) return first.value;
  if (form === 'array') return values.map(({ value }) => value);
  return Object.fromEntries(values.map(({ name, value }) => [name, value]));
}

/** A float32 scalar from a function of a user. Throws ERR_ARGUMENT, ERR_SHAPE. */
export function callLoss(
  loss: AnyFunction,
  outputs: readonly NamedValue[],
  targets: readonly NamedValue[],
  form: Form,
  name: string,
): Value {
  const value: unknown = loss(inForm(outputs, form), inForm(targets, form));
  if (!(value instanceof Value))
    throw is.mismatch('ERR_ARGUMENT', 'a function that returns a Value', name, is.show(value));
  if (value.shape.length > 0 || value.dtype !== 'float32') {
    throw is.mismatch('ERR_SHAPE', 'a float32 scalar', name, `${value}; sum or mean reduces it`);
  }
  return value;
}

/** Says which option an error of an op comes from. */
export function inside<T>(name: string, body: () => T): T {
  try {
    return body();
  } catch (error) {
    if (!(error instanceof TandemError) || error.message.startsWith('in `')) throw error;
    throw new TandemError(error.code, `in \`${name}\`: ${error.message}`, { cause: error });
  }
}

/** Throws ERR_ARGUMENT for a name that is no output's. */
export function checkKeys(given: object, outputs: readonly NamedValue[], name: string): void {
  const names = outputs.map((output) => output.name);
  for (const key of Object.keys(given)) {
    if (!names.includes(key)) {
      const hint = is.didYouMean(key, names);
      throw is.mismatch('ERR_ARGUMENT', `outputs (${names.join(', ')})`, name, `\`${key}\`${hint}`);
    }
  }
}
