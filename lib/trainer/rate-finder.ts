// The learning rate range test.
import * as is from '../is.js';
import type { Engine, Step } from './engine.js';
import type { StepSource } from './supply.js';
import { loadState } from './weights.js';

/** How findLearningRate goes through learning rates. */
export interface RateFinderOptions {
  /** The first learning rate; 1e-7 by default. */
  min?: number;
  /** The last one; 1 by default. */
  max?: number;
  /** Steps from the first to the last, each by the same factor; 100 by default. */
  steps?: number;
  /** Rows of a step; 32 by default, or the batch that the model's inputs fix. */
  batchSize?: number;
  /** Share of the old value in the smoothed loss; 0.9 by default. */
  smoothing?: number;
  /** It ends early where the smoothed loss is so many times the smallest one; 4 by default. */
  divergence?: number;
}

/** Learning rates, and the loss that each led to. */
export interface RateFinderResult {
  learningRates: number[];
  /** Of each step's batch, as it is before the step. */
  losses: number[];
  /** The rate at which the smoothed loss fell most steeply, undefined where it never did. */
  suggestion: number | undefined;
}

export interface RateFinderPlan {
  readonly min: number;
  readonly max: number;
  readonly steps: number;
  readonly batchSize: number | undefined;
  readonly smoothing: number;
  readonly divergence: number;
}

export function planRateFinder(options: RateFinderOptions | undefined): RateFinderPlan {
  const set = is.options(options, 'options of findLearningRate', [
    'min',
    'max',
    'steps',
    'batchSize',
    'smoothing',
    'divergence',
  ]);
  const min = is.positive(set.min ?? 1e-7, 'min');
  const max = is.positive(set.max ?? 1, 'max');
  if (max <= min) throw is.invalid(`a number above ${min}`, 'max', max);
  const smoothing = is.number(set.smoothing ?? 0.9, 'smoothing', 0, 1);
  if (smoothing === 1) throw is.invalid('a number below 1', 'smoothing', smoothing);
  return {
    min,
    max,
    steps: is.integer(set.steps ?? 100, 'steps', 3, 2 ** 20),
    batchSize: set.batchSize,
    smoothing,
    divergence: is.number(set.divergence ?? 4, 'divergence', 1),
  };
}

/** Trains with growing rates, epoch by epoch of `open`, and puts everything back as it was. */
export async function findRate(
  engine: Engine,
  plan: RateFinderPlan,
  open: (epoch: number) => Promise<StepSource>,
  halted: () => boolean,
  lossOf: (step: Step) => number,
): Promise<RateFinderResult> {
  const { native } = engine;
  const before = new Float32Array(await native.saveState());
  const { progress } = native;
  const growth = (plan.max / plan.min) ** (1 / (plan.steps - 1));
  const curve = new Curve(plan);
  const rateOf = (step: number) => plan.min * growth ** (step - progress.step);
  engine.ownSchedule = rateOf;
  try {
    for (let epoch = 0; !curve.ended && !halted(); epoch++) {
      const source = await open(epoch);
      const begun = curve.losses.length;
      try {
        await engine.train(source, true, halted, (steps) => {
          for (const step of steps) {
            // One that was left out says 0.
            curve.add(step.learningRate || rateOf(step.step), lossOf(step));
          }
          return !curve.ended;
        });
      } finally {
        await source.close?.();
      }
      // A source without rows would never end it.
      if (curve.losses.length === begun) break;
    }
  } finally {
    engine.ownSchedule = undefined;
    await engine.changing(() => loadState(native, before, progress));
  }
  return curve.result;
}

class Curve {
  readonly learningRates: number[] = [];
  readonly losses: number[] = [];
  readonly #smooth: number[] = [];
  #mean = 0;
  #best = Number.POSITIVE_INFINITY;
  ended = false;

  constructor(readonly plan: RateFinderPlan) {}

  add(rate: number, loss: number): void {
    if (this.ended) return;
    const { smoothing, steps, divergence } = this.plan;
    this.learningRates.push(rate);
    this.losses.push(loss);
    this.#mean = smoothing * this.#mean + (1 - smoothing) * loss;
    const smooth = this.#mean / (1 - smoothing ** this.losses.length);
    this.#smooth.push(smooth);
    this.#best = Math.min(this.#best, smooth);
    const diverged = !(smooth <= divergence * Math.abs(this.#best) || this.losses.length < 10);
    this.ended = diverged || !Number.isFinite(loss) || this.losses.length === steps;
  }

  get result(): RateFinderResult {
    const { learningRates, losses } = this;
    return { learningRates, losses, suggestion: this.#steepest() };
  }

  /**
   * Rates grow by equal factors, so differences are slopes over their logarithm. The first tenth of
   * the steps moves nothing yet, and what is smoothed there is noise.
   */
  #steepest(): number | undefined {
    let found: number | undefined;
    let steepest = 0;
    for (let i = 1 + Math.floor(this.plan.steps / 10); i + 1 < this.#smooth.length; i++) {
      const slope = (this.#smooth[i + 1] ?? 0) - (this.#smooth[i - 1] ?? 0);
      if (slope >= steepest) continue;
      steepest = slope;
      found = this.learningRates[i];
    }
    return found;
  }
}
