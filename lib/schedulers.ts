import * as is from './is.js';

/** The factor on the learning rate in a step; steps count from 0, over all calls of fit and step. */
export type LearningRateScheduler = (step: number) => number;

/** The shape of cosine's curve: lengths in steps, heights as factors from 0 to 1. */
export interface CosineOptions {
  /** Steps of linear warm-up before the cosine; 0 by default. */
  warmupSteps?: number;
  /** All steps, warm-up included; the factor stays at `minimum` after them. */
  totalSteps: number;
  /** The factor in the first step of the warm-up; 0 by default. */
  warmupStart?: number;
  /** The factor at the end; 0 by default. */
  minimum?: number;
}

/**
 * A linear warm-up from `warmupStart` to 1, then half a cosine down to `minimum`: Loshchilov and
 * Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts" (2017), without the restarts. The
 * same as PyTorch's SequentialLR of LinearLR and CosineAnnealingLR. Throws ERR_ARGUMENT.
 */
export function cosine(options: CosineOptions): LearningRateScheduler {
  const set = is.options(options, 'options of cosine', [
    'warmupSteps',
    'totalSteps',
    'warmupStart',
    'minimum',
  ]);
  const warmup = is.integer(set.warmupSteps ?? 0, 'warmupSteps', 0);
  const total = is.integer(set.totalSteps, 'totalSteps', Math.max(1, warmup));
  const start = is.number(set.warmupStart ?? 0, 'warmupStart', 0, 1);
  const minimum = is.number(set.minimum ?? 0, 'minimum', 0, 1);
  return (step) => {
    if (step < warmup) return start + ((1 - start) * step) / warmup;
    if (step >= total) return minimum;
    const progress = (step - warmup) / (total - warmup);
    return minimum + (1 - minimum) * 0.5 * (1 + Math.cos(Math.PI * progress));
  };
}
