// What the ops' functions are made from.
import type { Attributes } from '../../bindings.js';
import { apply } from '../graph/apply.js';
import { toValue } from '../graph/leaves.js';
import { Value } from '../graph/value.js';
import * as is from '../is.js';
import { type Layer, makeLayer } from '../layers/layer.js';

/** A value of a graph, or a number, which stands for a scalar constant. */
export type Operand = Value | number;

/** A function of one value. Without one it is the layer that applies it. */
export interface Unary {
  (): Layer;
  (x: Operand): Value;
}

/** A function of one value with options. Without a value it is the layer that applies it. */
export interface UnaryWith<O> {
  (options?: O): Layer;
  (x: Operand, options?: O): Value;
}

/** How an option becomes an attribute: a check that returns what native code gets. */
export type Check = (value: unknown, name: string) => number | boolean | readonly number[];
export type Checks<O> = { readonly [K in keyof O & string]-?: Check };

export const isOperand = (value: unknown): value is Operand =>
  value instanceof Value || typeof value === 'number';

export function attributesOf<O extends object>(
  op: string,
  options: O | undefined,
  checks: Checks<O>,
): Attributes {
  const known = Object.keys(checks) as (keyof O & string)[];
  const set = is.options(options, `options of ${op}`, known);
  const attributes: Record<string, number | boolean | readonly number[]> = {};
  for (const name of known) {
    if (set[name] !== undefined) attributes[name] = checks[name](set[name], name);
  }
  return attributes;
}

/** An elementwise op, or any other that keeps to one value, with its layer form. */
export function unary(op: string): Unary {
  return unaryWith<Record<never, never>>(op, {});
}

export function unaryWith<O extends object>(op: string, checks: Checks<O>): UnaryWith<O> {
  return unaryOf(op, (options: O | undefined) => [op, attributesOf(op, options, checks)]);
}

/** The same where options choose the op: `resolve` turns them into op and attributes. */
export function unaryOf<O extends object>(
  type: string,
  resolve: (options: O | undefined) => readonly [op: string, attributes: Attributes],
): UnaryWith<O> {
  function call(options?: O): Layer;
  function call(x: Operand, options?: O): Value;
  function call(first?: Operand | O, options?: O, ...more: unknown[]): Layer | Value {
    is.lastArgument(more, type);
    if (isOperand(first)) {
      const [op, attributes] = resolve(options);
      return apply(op, [toValue(first, 'x')], attributes);
    }
    if (options !== undefined) is.lastArgument([options], type);
    const [op, attributes] = resolve(first);
    return makeLayer(type, undefined, (_, x) => apply(op, [x], attributes));
  }
  return call;
}

/** An op of one value without a layer form. */
export function reduction<O extends object>(
  op: string,
  checks: Checks<O>,
): (x: Operand, options?: O) => Value {
  return (x, options) => apply(op, [toValue(x, 'x')], attributesOf(op, options, checks));
}

export function binary(op: string): (a: Operand, b: Operand) => Value {
  return (a, b) => apply(op, [toValue(a, 'a'), toValue(b, 'b')]);
}
