// Losses: scalars, the mean over all elements (rows, for those of classes). They throw ERR_SHAPE,
// ERR_DTYPE and ERR_ARGUMENT.
import { apply } from '../graph/apply.js';
import { constant, toValue } from '../graph/leaves.js';
import { Value } from '../graph/value.js';
import * as is from '../is.js';
import { abs, add, clamp, div, mul, neg, softplus, square, sub } from './elementwise.js';
import { where } from './indexing.js';
import { attributesOf, type Operand } from './make.js';
import { mean, sum } from './shapes.js';

/** What crossEntropy counts, and how much. */
export interface CrossEntropyOptions {
  /**
   * Share of the target that is spread over all classes, from 0 (the default) to 1: Szegedy et al.,
   * "Rethinking the Inception Architecture for Computer Vision" (2016).
   */
  labelSmoothing?: number;
  /** Rows with this target do not count; -100 by default. */
  ignoreIndex?: number;
  /** One weight of 0 or more a class, 1 each by default; the mean is weighted by the targets'. */
  classWeights?: readonly number[] | Float32Array | Float64Array;
}

/**
 * Softmax cross-entropy of logits x `[..., classes]` with class numbers `[...]` (int32), as PyTorch's
 * cross_entropy.
 */
export function crossEntropy(x: Value, target: Value, options?: CrossEntropyOptions): Value {
  const { classWeights, ...rest } = is.options(options, 'options of crossEntropy', [
    'labelSmoothing',
    'ignoreIndex',
    'classWeights',
  ]);
  const attributes = attributesOf('crossEntropy', rest, {
    labelSmoothing: (value, name) => is.number(value, name, 0, 1),
    ignoreIndex: (value, name) => is.integer(value, name, -(2 ** 31), 2 ** 31 - 1),
  });
  const inputs = [toValue(x, 'x'), toValue(target, 'target')];
  if (classWeights !== undefined) inputs.push(numbers(classWeights, 'classWeights'));
  return apply('crossEntropy', inputs, attributes);
}

/** What the losses of two values of one shape have in common. */
export interface WeightedOptions {
  /**
   * How much each element counts, such as 0 and 1 for a mask: a value of x's shape or of its first
   * axes (`[batch]`: a weight for each row). The loss is the mean weighted so; 0, with gradients of
   * 0, where all weights are. 1 each by default.
   */
  weights?: Value;
}

/** The losses of single elements, for weights that the fused ops do not take. */
const elementLosses = {
  mse: (x: Value, t: Value) => square(sub(x, t)),
  l1: (x: Value, t: Value) => abs(sub(x, t)),
  huber: (x: Value, t: Value, delta: number) => {
    const distance = sub(x, t);
    const near = clamp(distance, { min: -delta, max: delta });
    return mul(near, sub(distance, mul(near, 0.5)));
  },
  bceWithLogits: (x: Value, t: Value, posWeight: Operand) =>
    add(mul(sub(1, t), x), mul(add(mul(t, sub(posWeight, 1)), 1), softplus(neg(x)))),
};

/** The mean of `losses`, each weighted. Throws ERR_ARGUMENT, ERR_SHAPE. */
function weightedMean(losses: Value, weights: unknown): Value {
  if (weights === undefined) return mean(losses);
  if (!(weights instanceof Value)) throw is.invalid('a Value', 'weights', weights);
  const rank = weights.shape.length;
  const fits = weights.shape.every((length, i) => length === losses.shape[i]);
  if (rank === 0 || rank > losses.shape.length || !fits) {
    const expected = `the shape of ${losses} or its first axes`;
    throw is.mismatch('ERR_SHAPE', expected, 'weights', weights.toString());
  }
  const rest = losses.shape.map((_, i) => i).slice(rank);
  const each = rest.length === 0 ? losses : mean(losses, { axes: rest });
  const total = sum(weights);
  return div(sum(mul(each, weights)), where(total, total, 1));
}

/** Two values of one shape, checked as the fused op checks them, which is `plain`. */
function operands(x: Operand, target: Operand, plain: (x: Value, t: Value) => Value) {
  const [a, b] = [toValue(x, 'x'), toValue(target, 'target')];
  return { a, b, fused: plain(a, b) };
}

/** Mean squared error of x and a target of its shape. */
export function mse(x: Operand, target: Operand, options?: WeightedOptions): Value {
  const { weights } = is.options(options, 'options of mse', ['weights']);
  const { a, b, fused } = operands(x, target, (v, t) => apply('mse', [v, t]));
  return weights === undefined ? fused : weightedMean(elementLosses.mse(a, b), weights);
}

/** Mean absolute error of x and a target of its shape. */
export function l1(x: Operand, target: Operand, options?: WeightedOptions): Value {
  const { weights } = is.options(options, 'options of l1', ['weights']);
  const { a, b, fused } = operands(x, target, (v, t) => apply('l1', [v, t]));
  return weights === undefined ? fused : weightedMean(elementLosses.l1(a, b), weights);
}

/** Where huber turns from square to line, in the unit of the target, and how elements count. */
export interface HuberOptions extends WeightedOptions {
  /** Where the loss turns from quadratic to linear; 1 by default. */
  delta?: number;
}

/**
 * Quadratic for errors below `delta`, linear above: Huber, "Robust Estimation of a Location
 * Parameter" (1964). As PyTorch's huber_loss.
 */
export function huber(x: Operand, target: Operand, options?: HuberOptions): Value {
  const set = is.options(options, 'options of huber', ['delta', 'weights']);
  const delta = set.delta === undefined ? 1 : is.positive(set.delta, 'delta');
  const { a, b, fused } = operands(x, target, (v, t) => apply('huber', [v, t], { delta }));
  if (set.weights === undefined) return fused;
  return weightedMean(elementLosses.huber(a, b, delta), set.weights);
}

/** How bceWithLogits weighs positive targets against negative ones, and elements. */
export interface BceWithLogitsOptions extends WeightedOptions {
  /** Weight of the positive targets: one, or one for each index of the last axis; 1 by default. */
  posWeight?: number | readonly number[] | Float32Array | Float64Array;
}

/**
 * Binary cross-entropy of logits x and targets from 0 to 1 of its shape, as PyTorch's
 * binary_cross_entropy_with_logits.
 */
export function bceWithLogits(x: Operand, target: Operand, options?: BceWithLogitsOptions): Value {
  const set = is.options(options, 'options of bceWithLogits', ['posWeight', 'weights']);
  const { posWeight = 1, weights } = set;
  const single = typeof posWeight === 'number' ? is.number(posWeight, 'posWeight', 0) : undefined;
  const { a, b, fused } = operands(x, target, (v, t) =>
    apply('bceWithLogits', [v, t], { posWeight: single ?? 1 }),
  );
  if (single !== undefined) {
    if (weights === undefined) return fused;
    return weightedMean(elementLosses.bceWithLogits(a, b, single), weights);
  }
  const vector = numbers(posWeight, 'posWeight');
  if (a.shape.at(-1) !== vector.shape[0]) {
    const expected = `as many numbers as the last axis of ${a}`;
    throw is.mismatch('ERR_SHAPE', expected, 'posWeight', `${vector.shape[0]}`);
  }
  return weightedMean(elementLosses.bceWithLogits(a, b, vector), weights);
}

/** How distillation softens logits. */
export interface DistillationOptions {
  /** What both logits are divided by, above 0; 1 by default. */
  temperature?: number;
}

/**
 * `temperature^2` times the mean over rows of the divergence of softmax(x / temperature) from
 * softmax(teacher / temperature), both logits `[..., classes]`: Hinton, Vinyals and Dean, "Distilling
 * the Knowledge in a Neural Network" (2015). The teacher counts as constant.
 */
export function distillation(x: Value, teacher: Value, options?: DistillationOptions): Value {
  const attributes = attributesOf('distillation', options, { temperature: is.positive });
  return apply('distillation', [toValue(x, 'x'), toValue(teacher, 'teacher')], attributes);
}

/** A constant vector of numbers of 0 or more. */
function numbers(given: unknown, name: string): Value {
  const floats = given instanceof Float32Array || given instanceof Float64Array;
  if (!Array.isArray(given) && !floats) throw is.invalid('an array of numbers', name, given);
  const data = Float32Array.from(given, (item: unknown, i) => is.number(item, `${name}[${i}]`, 0));
  return constant(data, [data.length]);
}
