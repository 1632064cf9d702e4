// How a model is quantized, as users say it.
import * as is from '../is.js';
import type { Metric } from './validate.js';

/**
 * What of the values of the calibration data an 8-bit input covers:
 * 'minMax' all of them; 'percentile' but for a share at each end; 'entropy' what keeps the
 * distribution closest by Kullback-Leibler divergence (Migacz, "8-bit Inference with TensorRT",
 * 2017); 'mse' what makes the sum of squared errors least.
 */
export type Observer = 'minMax' | 'percentile' | 'entropy' | 'mse';

/** How a model becomes one of 8-bit integers. */
export interface QuantizationOptions {
  /** 'mse' by default. */
  observer?: Observer;
  /** Of 'percentile': percent of the values other than 0 that are covered; 99.99 by default. */
  percentile?: number;
  /** Inputs of products have a zero point of their own unless true; false by default. */
  symmetric?: boolean;
  /** One scale for each output channel of a weight, or one for all of it; true by default. */
  perChannel?: boolean;
  /** Keep the first layer with weights in float32; false by default. */
  keepFirst?: boolean;
  /** Keep the last layer with weights in float32; false by default. */
  keepLast?: boolean;
  /** Names of further layers to keep in float32, as in the report; none by default. */
  keep?: readonly string[];
  /**
   * Moves outliers of normalised values into the weights behind the norm by this power, from 0 to 1,
   * or not at all with false: Xiao et al., "SmoothQuant" (2023). Needs calibration; 0.5 by default
   * where there is a norm before dense layers.
   */
  smoothQuant?: number | boolean;
  /**
   * Instead of refusing a model that loses more than `maxAccuracyLoss`, keep the layers of most noise
   * in float32, one after the other, until it does not; false by default.
   */
  auto?: boolean;
  /**
   * What `validation` counts: 'accuracy' is the share of right classes (of a single score: above 0 for
   * class 1), 'perplexity' e to the mean cross-entropy of logits, both with class numbers as targets,
   * and 'rootMeanSquaredError' takes numbers. By default 'accuracy' where targets are integers, and
   * 'rootMeanSquaredError' for a Float32Array.
   */
  metric?: Metric;
}

export interface QuantizationSettings {
  readonly observer: Observer;
  readonly percentile: number;
  readonly symmetric: boolean;
  readonly perChannel: boolean;
  readonly keepFirst: boolean;
  readonly keepLast: boolean;
  readonly keep: readonly string[];
  /** Undefined: none. */
  readonly smoothing: number | undefined;
  readonly auto: boolean;
  readonly metric: Metric | undefined;
  /** What was given of what needs calibration. */
  readonly calibrated: readonly string[];
}

const known = [
  'observer',
  'percentile',
  'symmetric',
  'perChannel',
  'keepFirst',
  'keepLast',
  'keep',
  'smoothQuant',
  'auto',
  'metric',
] as const;

const metrics = ['accuracy', 'perplexity', 'rootMeanSquaredError'] as const;

const observers = ['minMax', 'percentile', 'entropy', 'mse'] as const;

/** Throws ERR_ARGUMENT. */
export function readQuantization(options: QuantizationOptions | undefined): QuantizationSettings {
  const set = is.options(options, 'quantization', known);
  const flag = (key: 'symmetric' | 'perChannel' | 'keepFirst' | 'keepLast' | 'auto', or: boolean) =>
    is.boolean(set[key] ?? or, `quantization.${key}`);
  const { keep = [], smoothQuant = true } = set;
  if (!Array.isArray(keep)) throw is.invalid('an array of names', 'quantization.keep', keep);
  return {
    observer: is.oneOf(set.observer ?? 'mse', 'quantization.observer', observers),
    percentile: readPercentile(set),
    symmetric: flag('symmetric', false),
    perChannel: flag('perChannel', true),
    keepFirst: flag('keepFirst', false),
    keepLast: flag('keepLast', false),
    keep: keep.map((name, i) => is.string(name, `quantization.keep[${i}]`)),
    smoothing: readSmoothing(smoothQuant),
    auto: flag('auto', false),
    metric: set.metric && is.oneOf(set.metric, 'quantization.metric', metrics),
    calibrated: (['observer', 'percentile', 'symmetric', 'smoothQuant'] as const).filter(
      (name) => set[name] !== undefined && set[name] !== false,
    ),
  };
}

function readPercentile({ observer, percentile }: QuantizationOptions): number {
  if (percentile !== undefined && observer !== 'percentile') {
    throw is.invalid('"percentile" with `percentile`', 'quantization.observer', observer);
  }
  return is.number(percentile ?? 99.99, 'quantization.percentile', 50, 100);
}

function readSmoothing(value: unknown): number | undefined {
  if (typeof value === 'boolean') return value ? 0.5 : undefined;
  return is.number(value, 'quantization.smoothQuant', 0, 1);
}
