// Losses: scalars, the mean over all elements (rows, for those of classes). They throw ERR_SHAPE,
// ERR_DTYPE and ERR_ARGUMENT. What a mean divides by, where that differs from batch to batch, is an
// operand of the op: a Trainer reads it there (lib/trainer/divisors.ts).
import { apply } from '../graph/apply.js';
import { asValue, constant, toValue } from '../graph/leaves.js';
import { expectFloat32, misshapen } from '../graph/operands.js';
import { type Dimension, showShape, type Value } from '../graph/value.js';
import * as is from '../is.js';
import { add, mul, neg, softplus, sub } from './elementwise.js';
import { where } from './indexing.js';
import { attributesOf, type Operand } from './make.js';
import { max, mean, reshape, sum } from './shapes.js';

/** What all losses have in common. */
export interface WeightedOptions {
  /**
   * How much each element counts, such as 0 and 1 for a mask: a float32 value of x's shape or of its
   * first axes (`[batch]`: a weight for each row), or one that broadcasts to x's shape. Losses of
   * classes have a weight for each target: of the shape of x without its last axis. The loss is the
   * mean weighted so; 0, with gradients of 0, where all weights are, and what has a weight of 0 does
   * not count even as NaN. Weights count as constant: no gradient reaches what they are computed
   * from. 1 each by default.
   *
   * A Trainer weighs by their sum where it puts batches together: means of an epoch or an evaluation
   * and steps with gradientAccumulationSteps are those of one batch of all rows.
   */
  weights?: Value;
}

/** What crossEntropy counts, and how much. */
export interface CrossEntropyOptions extends WeightedOptions {
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
 * cross_entropy: the mean over the targets that count. NaN where none does, as PyTorch's, and 0
 * where `weights` say that none does; with gradients of 0 either way, also where it is `classWeights`
 * of 0 that let none count.
 */
export function crossEntropy(x: Value, target: Value, options?: CrossEntropyOptions): Value;
export function crossEntropy(
  x: Value,
  target: Value,
  options?: CrossEntropyOptions,
  ...more: unknown[]
): Value {
  is.lastArgument(more, 'crossEntropy');
  const { classWeights, weights, ...rest } = is.options(options, 'options of crossEntropy', [
    'labelSmoothing',
    'ignoreIndex',
    'classWeights',
    'weights',
  ]);
  const attributes = attributesOf('crossEntropy', rest, {
    labelSmoothing: (value, name) => is.number(value, name, 0, 1),
    ignoreIndex: (value, name) => is.integer(value, name, -(2 ** 31), 2 ** 31 - 1),
  });
  const [logits, classes] = [toValue(x, 'x'), toValue(target, 'target')];
  const ofClass = classWeights === undefined ? null : numbers(classWeights, 'classWeights');
  const own =
    weights === undefined ? null : fitWeights('crossEntropy', weights, classes, () => classes);
  const { ignoreIndex } = attributes;
  const ignoring = ignoreIndex === undefined ? {} : { ignoreIndex };
  const divisor = apply('countTargets', [classes, ofClass, own], ignoring);
  return apply('crossEntropy', [logits, classes, ofClass, own, divisor], attributes);
}

/**
 * Weights as the fused ops take them: with the first axes of `like`. `whole` is a value of its shape.
 */
function fitWeights(
  op: string,
  given: unknown,
  like: { shape: Value['shape'] },
  whole: () => Value,
): Value {
  const weights = asValue(given, 'weights');
  const { shape } = weights;
  expectFloat32(op, { weights });
  const rank = shape.length;
  const fits = (length: Dimension, i: number) => length === like.shape[i];
  if (rank > 0 && rank <= like.shape.length) {
    if (shape.every(fits)) return weights;
    if (rank === like.shape.length && shape.every((length, i) => length === 1 || fits(length, i))) {
      return where(whole(), weights, weights);
    }
  }
  const expected = `weights ${showShape(whole())}, its first axes, or 1 in place of some`;
  throw misshapen(op, expected, { weights });
}

/** A loss of two values of one shape, with weights if they are given. */
function pointwise(op: string, x: Operand, target: Operand, weights: unknown, attributes = {}) {
  const [a, b] = [toValue(x, 'x'), toValue(target, 'target')];
  const plain = apply(op, [a, b], attributes);
  if (weights === undefined) return plain;
  const own = fitWeights(op, weights, a, () => a);
  return apply(op, [a, b, own, sum(own)], attributes);
}

/** Mean squared error of x and a target of its shape. */
export function mse(x: Operand, target: Operand, options?: WeightedOptions): Value;
export function mse(
  x: Operand,
  target: Operand,
  options?: WeightedOptions,
  ...more: unknown[]
): Value {
  is.lastArgument(more, 'mse');
  const { weights } = is.options(options, 'options of mse', ['weights']);
  return pointwise('mse', x, target, weights);
}

/** Mean absolute error of x and a target of its shape. */
export function l1(x: Operand, target: Operand, options?: WeightedOptions): Value;
export function l1(
  x: Operand,
  target: Operand,
  options?: WeightedOptions,
  ...more: unknown[]
): Value {
  is.lastArgument(more, 'l1');
  const { weights } = is.options(options, 'options of l1', ['weights']);
  return pointwise('l1', x, target, weights);
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
export function huber(x: Operand, target: Operand, options?: HuberOptions): Value;
export function huber(
  x: Operand,
  target: Operand,
  options?: HuberOptions,
  ...more: unknown[]
): Value {
  is.lastArgument(more, 'huber');
  const set = is.options(options, 'options of huber', ['delta', 'weights']);
  const delta = set.delta === undefined ? 1 : is.positive(set.delta, 'delta');
  return pointwise('huber', x, target, set.weights, { delta });
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
export function bceWithLogits(x: Operand, target: Operand, options?: BceWithLogitsOptions): Value;
export function bceWithLogits(
  x: Operand,
  target: Operand,
  options?: BceWithLogitsOptions,
  ...more: unknown[]
): Value {
  is.lastArgument(more, 'bceWithLogits');
  const set = is.options(options, 'options of bceWithLogits', ['posWeight', 'weights']);
  const { posWeight = 1, weights } = set;
  if (typeof posWeight === 'number') {
    const single = is.number(posWeight, 'posWeight', 0);
    return pointwise('bceWithLogits', x, target, weights, { posWeight: single });
  }
  const vector = numbers(posWeight, 'posWeight');
  const [a, b] = [toValue(x, 'x'), toValue(target, 'target')];
  apply('bceWithLogits', [a, b]);
  if (a.shape.at(-1) !== vector.shape[0]) {
    throw misshapen('bceWithLogits', 'posWeight [n] for x [..., n]', { x: a, posWeight: vector });
  }
  if (weights === undefined) {
    const positive = mul(add(mul(b, sub(vector, 1)), 1), softplus(neg(a)));
    return mean(add(mul(sub(1, b), a), positive));
  }
  // All losses by the weights of positive targets, and what is left of those of negative ones.
  const own = fitWeights('bceWithLogits', weights, a, () => a);
  const behind = a.shape.slice(own.shape.length).map(() => 1);
  const rows = reshape(own, [...own.shape.map((length) => length ?? -1), ...behind]);
  const each = where(a, rows, rows);
  const divisor = sum(each);
  const part = (weighed: Value, single: number) =>
    apply('bceWithLogits', [a, b, weighed, divisor], { posWeight: single });
  return add(part(mul(each, vector), 1), part(mul(each, sub(1, vector)), 0));
}

/** How distillation softens logits, and how rows count. */
export interface DistillationOptions extends WeightedOptions {
  /** What both logits are divided by, above 0; 1 by default. */
  temperature?: number;
}

/**
 * `temperature^2` times the mean over rows of the divergence of softmax(x / temperature) from
 * softmax(teacher / temperature), both logits `[..., classes]`: Hinton, Vinyals and Dean, "Distilling
 * the Knowledge in a Neural Network" (2015). The teacher counts as constant.
 */
export function distillation(x: Value, teacher: Value, options?: DistillationOptions): Value;
export function distillation(
  x: Value,
  teacher: Value,
  options?: DistillationOptions,
  ...more: unknown[]
): Value {
  is.lastArgument(more, 'distillation');
  const { weights, ...rest } = is.options(options, 'options of distillation', [
    'temperature',
    'weights',
  ]);
  const attributes = attributesOf('distillation', rest, { temperature: is.positive });
  const [student, other] = [toValue(x, 'x'), toValue(teacher, 'teacher')];
  const plain = apply('distillation', [student, other], attributes);
  if (weights === undefined) return plain;
  const rows = { shape: student.shape.slice(0, -1) };
  const own = fitWeights('distillation', weights, rows, () => max(student, { axes: [-1] }));
  return apply('distillation', [student, other, own, sum(own)], attributes);
}

/** A constant vector of numbers of 0 or more. */
function numbers(given: unknown, name: string): Value {
  if (!Array.isArray(given) && !is.isOf(given, Float32Array) && !is.isOf(given, Float64Array)) {
    throw is.invalid('an array of numbers', name, given);
  }
  const data = Float32Array.from(given, (item: unknown, i) => is.float32(item, `${name}[${i}]`, 0));
  return constant(data, [data.length]);
}
