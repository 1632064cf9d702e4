// Normalisations whose weights are values, or null where one is left out before another. They throw
// ERR_SHAPE, ERR_DTYPE and ERR_ARGUMENT.
import { apply } from '../graph/apply.js';
import { asOptional, asValue } from '../graph/leaves.js';
import type { Value } from '../graph/value.js';
import * as is from '../is.js';

const epsilon = (value: unknown, otherwise = 1e-5): number =>
  value === undefined ? otherwise : is.number(value, 'eps', 0);

/** Values by name, checked; null where an optional one is left out or null, none behind the last. */
function operands(values: Readonly<Record<string, unknown>>, required: string): (Value | null)[] {
  const list = Object.entries(values).map(([name, value]) =>
    name === required ? asValue(value, name) : asOptional(value, name),
  );
  while (list.at(-1) === null) list.pop();
  return list;
}

/** The statistics of functional.batchNorm. */
export interface BatchNormOptions {
  /** Added to the variance; 1e-5 by default. */
  eps?: number;
  /** The mean of each channel, [channels]; the batch's by default. */
  mean?: Value | null;
  /** The variance of each channel, [channels], given with `mean`; the batch's by default. */
  variance?: Value | null;
}

/**
 * `(x - mean) / sqrt(variance + eps) * w + b` for each channel of x `[batch, channels, ...]`; w and b
 * are [channels] or left out. Statistics that are not given are those of the batch, over all axes but
 * the channels', and are differentiated through: Ioffe and Szegedy, "Batch Normalization" (2015).
 */
export function batchNorm(
  x: Value,
  w?: Value | null,
  b?: Value | null,
  options?: BatchNormOptions,
): Value {
  const { eps, mean, variance } = is.options(options, 'options of batchNorm', [
    'eps',
    'mean',
    'variance',
  ]);
  return apply('batchNorm', operands({ x, w, b, mean, variance }, 'x'), { eps: epsilon(eps) });
}

/** The option of functional.layerNorm. */
export interface LayerNormOptions {
  /** Added to the variance; 1e-5 by default. */
  eps?: number;
}

/**
 * `(x - mean) / sqrt(variance + eps) * w + b` over the last axes of x, those that w and b have; over
 * the last one when both are left out: Ba, Kiros and Hinton, "Layer Normalization" (2016).
 */
export function layerNorm(
  x: Value,
  w?: Value | null,
  b?: Value | null,
  options?: LayerNormOptions,
): Value {
  const { eps } = is.options(options, 'options of layerNorm', ['eps']);
  return apply('layerNorm', operands({ x, w, b }, 'x'), { eps: epsilon(eps) });
}

/** The option of functional.rmsNorm. */
export interface RmsNormOptions {
  /** Added to the mean of squares; 1e-6 by default. */
  eps?: number;
}

/**
 * `x / sqrt(mean of squares + eps) * w` over the last axes of x, those that w has; over the last one
 * when it is left out: Zhang and Sennrich, "Root Mean Square Layer Normalization" (2019).
 */
export function rmsNorm(x: Value, w?: Value | null, options?: RmsNormOptions): Value {
  const { eps } = is.options(options, 'options of rmsNorm', ['eps']);
  return apply('rmsNorm', operands({ x, w }, 'x'), { eps: epsilon(eps, 1e-6) });
}

/** The options of functional.groupNorm. */
export interface GroupNormOptions {
  /** Into how many groups the channels are divided. */
  groups: number;
  /** Added to the variance; 1e-5 by default. */
  eps?: number;
}

/**
 * As batchNorm, for each sample of x `[batch, channels, ...]` by the statistics of its own channels in
 * `groups` groups; w and b are [channels] or left out: Wu and He, "Group Normalization" (2018).
 */
export function groupNorm(
  x: Value,
  w: Value | null | undefined,
  b: Value | null | undefined,
  options: GroupNormOptions,
): Value {
  const set = is.options(options, 'options of groupNorm', ['groups', 'eps']);
  const groups = is.integer(set.groups, 'groups', 1);
  return apply('groupNorm', operands({ x, w, b }, 'x'), { groups, eps: epsilon(set.eps) });
}
