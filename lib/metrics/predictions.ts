// Outputs -> the classes they predict, computed in the graph so that a step hands over two numbers a
// row whatever the number of classes.
import { apply } from '../graph/apply.js';
import { constant } from '../graph/leaves.js';
import type { Value } from '../graph/value.js';
import { add, mul, sub } from '../ops/elementwise.js';
import { max, min } from '../ops/shapes.js';
import type { Pair } from './metric.js';

/** The length of the last axis. */
export const lastAxis = (value: Value): number => value.shape.at(-1) ?? 1;

/**
 * The number of the first largest entry along the last axis, as float32; the number of classes for a
 * row that holds NaN, which predicts no class.
 */
export function argmax(x: Value): Value {
  const count = lastAxis(x);
  const largest = apply('equal', [x, max(x, { axes: -1, keepDims: true })]);
  // The position where it is largest, and `count` more elsewhere. Exact: float32 has 2^24 integers.
  const positions = Float32Array.from({ length: count }, (_, i) => i + count);
  return min(add(mul(largest, -count), constant(positions, [count])), { axes: -1 });
}

/** 1 where a logit is above 0, 0 where it is below or NaN, 0.5 at 0. */
const isPositive = (x: Value): Value => apply('greater', [x, constant(Float32Array.of(0), [])]);

/** The same, but that NaN, which says neither yes nor no, is 2: no class. */
const decision = (x: Value): Value => add(isPositive(x), mul(sub(1, apply('equal', [x, x])), 2));

export interface Predictions {
  /** 2 for yes and no. */
  readonly classes: number;
  /** Columns that are each a question of its own, with yes and no: 1, or more for several labels. */
  readonly labels: number;
  /** What was predicted, then what it is; labels lie side by side. */
  readonly values: readonly [predicted: Value, target: Value];
}

// By target, which belongs to one trainer: several metrics of one output share what they read.
const made = new WeakMap<Value, Predictions>();

/** Predictions of an output with class numbers or bceWithLogits. */
export function predictions(pair: Pair): Predictions {
  const known = made.get(pair.target);
  if (known !== undefined) return known;
  const fresh = predict(pair);
  made.set(pair.target, fresh);
  return fresh;
}

/** Whether an output has logits of one class alone, which it always predicts. */
export const hasOneClass = ({ output, loss }: Pair): boolean =>
  loss === 'crossEntropy' && lastAxis(output) === 1;

function predict(pair: Pair): Predictions {
  const { output, target } = pair;
  const last = lastAxis(output);
  if (target.dtype === 'float32' || (last === 1 && !hasOneClass(pair))) {
    const predicted = last > 1 ? isPositive(output) : decision(output);
    return { classes: 2, labels: last, values: [predicted, target] };
  }
  return { classes: last, labels: 1, values: [argmax(output), target] };
}
