// What the mean of a batch divides by: rows, or the targets that count.
import { definition, type Value } from '../graph/value.js';
import { native } from '../native.js';
import type { Rows } from './data.js';

/** A number that a step computes. */
export interface Result {
  readonly name: string;
  readonly divisor: Divisor;
}

/** How the means of batches make up the mean of all rows. */
export type Divisor =
  | { readonly kind: 'rows' }
  /** A mean over the entries of a feed, each with its weight. */
  | { readonly kind: 'targets'; readonly feed: number; readonly weigh: Weigh }
  /** The sum of other results, by their numbers. */
  | { readonly kind: 'sum'; readonly of: readonly number[] };

interface Weigh {
  readonly weight: (target: number) => number;
  /** Whether every entry of 0 or more weighs 1. */
  readonly plain: boolean;
}

/** The divisor of a crossEntropy or an accuracy of an input of the graph; else rows. */
export function divisorOf(value: Value, inputs: readonly Value[]): Divisor {
  const { source } = definition(value);
  if (source.kind !== 'output') return { kind: 'rows' };
  const { op, inputs: operands, attributes } = source.node;
  if (op === 'mul') {
    const [scaled, ...others] = operands.filter((operand) => operand && !isConstant(operand));
    return scaled && others.length === 0 && scaled.shape.length === 0
      ? divisorOf(scaled, inputs)
      : { kind: 'rows' };
  }
  const feed = inputs.indexOf(origin(operands[1]) ?? value);
  if (feed === -1) return { kind: 'rows' };
  if (op === 'accuracy') {
    const weight = (target: number) => (target < 0 ? 0 : 1);
    return { kind: 'targets', feed, weigh: { weight, plain: true } };
  }
  if (op !== 'crossEntropy') return { kind: 'rows' };
  const { ignoreIndex } = attributes;
  const ignored = typeof ignoreIndex === 'number' ? ignoreIndex : -100;
  const weights = operands[2];
  if (!weights) {
    const weight = (target: number) => (target === ignored ? 0 : 1);
    return { kind: 'targets', feed, weigh: { weight, plain: ignored < 0 } };
  }
  const { source: constant } = definition(weights);
  if (constant.kind !== 'constant') return { kind: 'rows' };
  const { data } = constant;
  const weight = (target: number) => (target === ignored ? 0 : (data[target] ?? 0));
  return { kind: 'targets', feed, weigh: { weight, plain: false } };
}

const isConstant = (value: Value): boolean => definition(value).source.kind === 'constant';

/** What a value is, leaving out ops that keep all elements. */
function origin(value: Value | null | undefined): Value | undefined {
  if (!value) return undefined;
  const { source } = definition(value);
  const moves = source.kind === 'output' && /^(reshape|flatten|transpose)$/.test(source.node.op);
  return moves ? origin(source.node.inputs[0]) : value;
}

/** The weight of each row of `rows`; undefined where all rows weigh the same. */
export function weighRows(divisor: Divisor, { arrays, count }: Rows): Float64Array | undefined {
  if (divisor.kind !== 'targets') return undefined;
  const targets = arrays[divisor.feed];
  if (targets === undefined) return undefined;
  const { weight, plain } = divisor.weigh;
  if (plain && targets instanceof Int32Array && native.findOutside(targets, 0, 2 ** 31, 0) === -1) {
    return undefined;
  }
  const weights = new Float64Array(count);
  const entries = targets.length / count;
  let same = true;
  for (let row = 0; row < count; row++) {
    let sum = 0;
    for (let i = row * entries; i < (row + 1) * entries; i++) sum += weight(targets[i] ?? 0);
    weights[row] = sum;
    same &&= sum === weights[0];
  }
  return same && weights[0] !== 0 ? undefined : weights;
}
