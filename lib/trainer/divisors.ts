// What the means of batches divide by, as the graph says: how they make up the mean of all rows.
//
// A loss is taken apart into terms, of which each is a mean with a divisor of its own: those of sums
// and of products with other numbers. Of a term with a divisor the graph has the value; any other counts
// as a mean over rows.
import { apply } from '../graph/apply.js';
import { constant } from '../graph/leaves.js';
import { definition, elements, isFree, type Node, type Value } from '../graph/value.js';
import { add, div, mul, neg } from '../ops/elementwise.js';
import { slice } from '../ops/shapes.js';

/** A number that a step computes, as the sum of terms. */
export interface Result {
  readonly name: string;
  readonly terms: readonly Term[];
}

/** A mean of a batch: numbers of the step's results. */
export interface Term {
  readonly value: number;
  /** What it divides by; undefined: the rows of the batch. */
  readonly divisor: number | undefined;
  /** What `value` has been divided by, where that is not the divisor. */
  readonly by: number | undefined;
  /** What a mean is divided by at least. */
  readonly least: number;
  /** Of the mean where nothing counts: 0 or NaN. */
  readonly nothing: number;
  /** Whether times its divisor it is a whole number, which rounding to float32 hides. */
  readonly counts: boolean;
}

/** A term of a value. */
export interface Part {
  readonly value: Value;
  /** Undefined: a mean over rows. */
  readonly divisor: Value | undefined;
  /** The term divided by another number than the divisor, if it has one. */
  readonly over: ((by: Value) => Value) | undefined;
  /** What a mean is divided by at least; 0 by default. */
  readonly least?: number;
  /** Whether there may be something to divide that the divisor, 0 or less than `least`, does not say. */
  readonly partial: boolean;
  /** Of the mean where nothing counts: 0 or NaN. */
  readonly nothing: number;
  /** Whether it is the share of what counts; false by default. */
  readonly counts?: boolean;
}

/** The terms that `value` is the sum of, no two of which have one divisor. */
export function partsOf(value: Value): Part[] {
  const parts = new Map<string, Part>();
  for (const part of split(value)) {
    const key = part.divisor ? `${keyOf(part.divisor)} ${part.least ?? 0}` : '';
    const before = parts.get(key);
    parts.set(key, before ? sumOf(before, part) : part);
  }
  const all = [...parts.values()];
  const [only] = all;
  return only && all.length === 1 ? [{ ...only, value }] : all;
}

/** The same for values that are computed alike. */
function keyOf(value: Value): string {
  const { serial, source } = definition(value);
  if (source.kind !== 'output') return `${serial}`;
  const { op, inputs, attributes } = source.node;
  const operands = inputs.map((input) => input && definition(input).serial);
  return JSON.stringify([op, operands, attributes]);
}

const sumOf = (a: Part, b: Part): Part => ({
  value: add(a.value, b.value),
  divisor: a.divisor,
  ...(a.least !== undefined && { least: a.least }),
  over: a.over && b.over && join(a.over, b.over),
  partial: a.partial || b.partial,
  nothing: a.nothing + b.nothing,
});

const join =
  (a: (by: Value) => Value, b: (by: Value) => Value) =>
  (by: Value): Value =>
    add(a(by), b(by));

function changed(part: Part, change: (value: Value) => Value): Part {
  const { over } = part;
  const value = change(part.value);
  return { ...part, value, over: over && ((by) => change(over(by))), counts: false };
}

function split(value: Value): Part[] {
  const { source } = definition(value);
  const rows = [
    { value, divisor: undefined, over: undefined, partial: false, nothing: Number.NaN },
  ];
  if (source.kind !== 'output' || !isNumber(value)) return rows;
  const { node } = source;
  const [a, b] = node.inputs;
  if (!a) return rows;
  const each = (of: Value, change: (part: Value) => Value): Part[] =>
    split(of).map((part) => changed(part, change));
  switch (node.op) {
    case 'reshape':
    case 'flatten':
    case 'sum':
    case 'mean':
      return isNumber(a) ? split(a) : rows;
    case 'neg':
      return each(a, neg);
    case 'add':
      return b ? [...split(a), ...split(b)] : rows;
    case 'sub':
      return b ? [...split(a), ...each(b, neg)] : rows;
    case 'mul':
      if (b && isFactor(b)) return each(a, (part) => mul(part, b));
      return b && isFactor(a) ? each(b, (part) => mul(a, part)) : rows;
    case 'div': {
      const divisor = b && totalOf(a, b);
      if (!divisor) return b && isFactor(b) ? each(a, (part) => div(part, b)) : rows;
      const nothing = divisor === b ? Number.NaN : 0;
      const least = leastOf(b);
      const partial = least > 0;
      return [{ value, divisor, over: (by) => div(a, by), least, partial, nothing }];
    }
    case 'accuracy': {
      const divisor = b ? apply('countTargets', [b], { ignoreNegative: true }) : undefined;
      return [
        { value, divisor, over: undefined, partial: false, nothing: Number.NaN, counts: true },
      ];
    }
    default:
      return lossOf(value, node) ?? rows;
  }
}

/** The operand that the mean of a loss of this library divides by. */
const divisorAt: Readonly<Record<string, number>> = {
  crossEntropy: 4,
  mse: 3,
  l1: 3,
  huber: 3,
  bceWithLogits: 3,
  distillation: 3,
};

function lossOf(value: Value, { op, inputs, attributes }: Node): Part[] | undefined {
  const at = divisorAt[op];
  const divisor = at === undefined ? undefined : inputs[at];
  if (!divisor) return undefined;
  const over = (by: Value) => apply(op, inputs.with(at ?? 0, by), attributes);
  if (op !== 'crossEntropy') return [{ value, divisor, over, partial: false, nothing: 0 }];
  // Smoothing spreads targets over other classes than their own, which may have no weight.
  const partial = inputs[2] !== null && Number(attributes.labelSmoothing ?? 0) > 0;
  return [{ value, divisor, over, partial, nothing: inputs[3] === null ? Number.NaN : 0 }];
}

const isNumber = (value: Value): boolean =>
  definition(value).samples.every((shape) => elements(shape) === 1);

/** Numbers that come with the rows of a batch and are the same for all of them. */
const common = new WeakSet<Value>();

/** Says of a value that all rows of a batch have it in common, though an input has a part in it. */
export function haveInCommon(value: Value): Value {
  common.add(value);
  return value;
}

/** A number that is the same for all rows: a constant, a parameter, or what is computed from those. */
const isFactor = (value: Value): boolean => isNumber(value) && !readsRows(value);

/** Whether an input of the graph has a part in a value. */
function readsRows(value: Value, seen = new Set<Node>()): boolean {
  const { source } = definition(value);
  if (common.has(value)) return false;
  if (source.kind !== 'output') return source.kind === 'input';
  if (seen.has(source.node)) return false;
  seen.add(source.node);
  return source.node.inputs.some((input) => input && readsRows(input, seen));
}

/** A number that is the same in every batch. */
const isConstant = (value: Value): boolean =>
  isNumber(value) && definition(value).source.kind === 'constant';

/** The sum that a sum is divided by, as in `div(sum(mul(losses, mask)), sum(mask))`. */
function totalOf(numerator: Value, denominator: Value): Value | undefined {
  const total = unguarded(denominator);
  return isSum(numerator) && isSum(total) ? total : undefined;
}

/** Without what keeps it from 0: `where(n, n, 1)`, `maximum(n, 1)` and `add(n, 1e-8)`. */
function unguarded(value: Value): Value {
  const { source } = definition(value);
  if (source.kind !== 'output') return value;
  const [a, b, c] = source.node.inputs;
  if (!a || !b) return value;
  if (source.node.op === 'where' && a === b && c && isConstant(c)) return a;
  const { op } = source.node;
  if (op === 'add') return isTiny(b) ? a : isTiny(a) ? b : value;
  if (op !== 'maximum') return value;
  if (isConstant(b)) return a;
  return isConstant(a) ? b : value;
}

/** The constant of `maximum(n, 1)`, which sums of weights may be less than; 0 where there is none. */
function leastOf(value: Value): number {
  const { source } = definition(value);
  if (source.kind !== 'output' || source.node.op !== 'maximum') return 0;
  const least = source.node.inputs.find((input) => input && isConstant(input));
  if (!least || isTiny(least)) return 0;
  const { source: of } = definition(least);
  return of.kind === 'constant' ? Math.max(0, of.data[0] ?? 0) : 0;
}

/** A constant that changes no sum of weights but one of 0. */
function isTiny(value: Value): boolean {
  const { source } = definition(value);
  return isConstant(value) && source.kind === 'constant' && Math.abs(source.data[0] ?? 1) <= 1e-6;
}

/** The sum of a whole value with an axis for the batch, maybe by a constant. */
function isSum(value: Value): boolean {
  const { source } = definition(value);
  if (source.kind !== 'output' || !isNumber(value)) return false;
  const { op, inputs } = source.node;
  const [a, b] = inputs;
  if (op === 'sum') return a ? isFree(a) : false;
  if (op === 'neg' || op === 'reshape' || op === 'flatten') return a ? isSum(a) : false;
  if (!a || !b) return false;
  if (op === 'add' || op === 'sub') return isSum(a) && isSum(b);
  if (op === 'mul') return (isSum(a) && isConstant(b)) || (isConstant(a) && isSum(b));
  return op === 'div' && isSum(a) && isConstant(b);
}

/**
 * The sum of terms for a micro-batch, divided or multiplied by their numbers in `scales`: what the
 * terms divide by in the whole step, or, of means over rows, the share of the micro-batch.
 */
export function scaled(parts: readonly Part[], scales: Value): { sum: Value; terms: Scaled[] } {
  const terms = parts.map((part, i): Scaled => {
    const by = slice(scales, { axis: 0, start: i, end: i + 1 });
    if (part.over === undefined) return { ...part, result: mul(part.value, by), by: undefined };
    const value = part.over(by);
    return { ...part, value, result: value, by };
  });
  const [first, ...rest] = terms;
  if (first === undefined) throw new TypeError('a loss without terms');
  return { sum: rest.reduce((sum, { result }) => add(sum, result), first.result), terms };
}

/** A term, and what its value has been divided by where that is not its divisor. */
export interface Scaled extends Part {
  readonly result: Value;
  readonly by: Value | undefined;
}

/** A term whose value is the sum that is to be divided, where the divisor would lose some of it. */
export function undivided(part: Part): Omit<Scaled, 'result'> {
  if (!part.partial || part.over === undefined) return { ...part, by: undefined };
  const one = constant(Float32Array.of(1), []);
  return { ...part, value: part.over(one), by: one };
}
