// Losses: scalars, the mean over all elements (rows, for crossEntropy). They throw ERR_SHAPE,
// ERR_DTYPE and ERR_ARGUMENT.
import { apply } from '../graph/apply.js';
import { constant, toValue } from '../graph/leaves.js';
import type { Value } from '../graph/value.js';
import * as is from '../is.js';
import { attributesOf, loss } from './make.js';

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
  classWeights?: readonly number[] | Float32Array;
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
  if (classWeights !== undefined) {
    if (!Array.isArray(classWeights) && !(classWeights instanceof Float32Array)) {
      throw is.invalid('an array of numbers', 'classWeights', classWeights);
    }
    const weights = Float32Array.from(classWeights, (weight, i) =>
      is.number(weight, `classWeights[${i}]`, 0),
    );
    inputs.push(constant(weights, [weights.length]));
  }
  return apply('crossEntropy', inputs, attributes);
}

/** Mean squared error of x and a target of its shape. */
export const mse = loss('mse', {});
/** Mean absolute error of x and a target of its shape. */
export const l1 = loss('l1', {});

/** Where huber turns from square to line, in the unit of the target. */
export interface HuberOptions {
  /** Where the loss turns from quadratic to linear; 1 by default. */
  delta?: number;
}

/**
 * Quadratic for errors below `delta`, linear above: Huber, "Robust Estimation of a Location
 * Parameter" (1964). As PyTorch's huber_loss.
 */
export const huber = loss<HuberOptions>('huber', { delta: is.positive });

/** How bceWithLogits weighs positive targets against negative ones. */
export interface BceWithLogitsOptions {
  /** Weight of the positive targets; 1 by default. */
  posWeight?: number;
}

/** Binary cross-entropy of logits x and targets from 0 to 1 of its shape. */
export const bceWithLogits = loss<BceWithLogitsOptions>('bceWithLogits', {
  posWeight: (value, name) => is.number(value, name, 0),
});
