import * as is from './is.js';
import { largerIsBetter } from './metrics/direction.js';
import { tookSteps } from './trainer/callbacks.js';
import type { Trainer } from './trainer.js';

/**
 * The factor on the learning rate in a step; steps count from 0, over all calls of fit and step. Any
 * function will do; those that also learn from what an epoch reported are made by reduceOnPlateau.
 */
export interface LearningRateScheduler {
  (step: number): number;
  /** A number that onEpochEnd looks at: fit refuses to begin where epochs will not report it. */
  readonly monitor?: string;
  /** Called by fit with an epoch's numbers, before the next epoch. */
  onEpochEnd?(logs: Readonly<Record<string, number>>, trainer?: Trainer): void;
  /** What onEpochEnd has learnt, as plain data for checkpoints; and back. */
  saveState?(): unknown;
  loadState?(state: unknown): void;
}

/** The part of a schedule that constant has. */
export interface ConstantOptions {
  /** Steps of linear warm-up from `warmupStart` to 1; 0 by default. */
  warmupSteps?: number;
  /** The factor in the first step of the warm-up; 0 by default. */
  warmupStart?: number;
}

/** A linear warm-up, if any, from `warmupStart` to 1; then 1 for ever. Throws ERR_ARGUMENT. */
export function constant(options?: ConstantOptions): LearningRateScheduler;
export function constant(options?: ConstantOptions, ...more: unknown[]): LearningRateScheduler {
  is.lastArgument(more, 'constant');
  const set = is.options(options, 'options of constant', ['warmupSteps', 'warmupStart']);
  const { warmup, factor } = readWarmup(set);
  return (step) => (step < warmup ? factor(step) : 1);
}

function readWarmup(set: { warmupSteps?: unknown; warmupStart?: unknown }) {
  const warmup = is.integer(set.warmupSteps ?? 0, 'warmupSteps', 0);
  const start = is.number(set.warmupStart ?? 0, 'warmupStart', 0, 1);
  return { warmup, factor: (step: number) => start + ((1 - start) * step) / warmup };
}

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
export function cosine(options: CosineOptions): LearningRateScheduler;
export function cosine(options: CosineOptions, ...more: unknown[]): LearningRateScheduler {
  is.lastArgument(more, 'cosine');
  return decay(options, 'cosine', (progress) => 0.5 * (1 + Math.cos(Math.PI * progress)));
}

/** The shape of linearDecay's line: lengths in steps, heights as factors from 0 to 1. */
export type LinearDecayOptions = CosineOptions;

/**
 * A linear warm-up from `warmupStart` to 1, then a line down to `minimum`, as Hugging Face's
 * get_linear_schedule_with_warmup. Throws ERR_ARGUMENT.
 */
export function linearDecay(options: LinearDecayOptions): LearningRateScheduler;
export function linearDecay(
  options: LinearDecayOptions,
  ...more: unknown[]
): LearningRateScheduler {
  is.lastArgument(more, 'linearDecay');
  return decay(options, 'linearDecay', (progress) => 1 - progress);
}

/** A warm-up, then from 1 to the minimum by `shape` of the progress from 0 to 1. */
function decay(
  options: CosineOptions,
  name: string,
  shape: (progress: number) => number,
): LearningRateScheduler {
  const set = is.options(options, `options of ${name}`, [
    'warmupSteps',
    'totalSteps',
    'warmupStart',
    'minimum',
  ]);
  const { warmup, factor } = readWarmup(set);
  const total = is.integer(set.totalSteps, 'totalSteps', Math.max(1, warmup));
  const minimum = is.number(set.minimum ?? 0, 'minimum', 0, 1);
  return (step) => {
    if (step < warmup) return factor(step);
    if (step >= total) return minimum;
    return minimum + (1 - minimum) * shape((step - warmup) / (total - warmup));
  };
}

/** How stepDecay goes down. */
export interface StepDecayOptions {
  /** Steps of one height, or the steps before which the factor changes, in ascending order. */
  stepSize: number | readonly number[];
  /** The factor between two heights; 0.1 by default. */
  gamma?: number;
}

/**
 * `gamma` to the power of the number of stages gone by: PyTorch's StepLR, and with a list its
 * MultiStepLR, counted in steps. Throws ERR_ARGUMENT.
 */
export function stepDecay(options: StepDecayOptions): LearningRateScheduler;
export function stepDecay(options: StepDecayOptions, ...more: unknown[]): LearningRateScheduler {
  is.lastArgument(more, 'stepDecay');
  const set = is.options(options, 'options of stepDecay', ['stepSize', 'gamma']);
  const gamma = is.number(set.gamma ?? 0.1, 'gamma', 0);
  const given: unknown = set.stepSize;
  if (!Array.isArray(given)) {
    const size = is.integer(given, 'stepSize', 1);
    return (step) => gamma ** Math.floor(step / size);
  }
  const milestones = given.map((item: unknown, i) => is.integer(item, `stepSize[${i}]`, 1));
  if (milestones.some((item, i) => i > 0 && item < (milestones[i - 1] ?? 0))) {
    throw is.invalid('steps in ascending order', 'stepSize', given);
  }
  return (step) => gamma ** milestones.filter((milestone) => step >= milestone).length;
}

/** How exponential goes down. */
export interface ExponentialOptions {
  /** The factor from one step to the next, above 0. */
  gamma: number;
}

/** `gamma` to the power of the step, as PyTorch's ExponentialLR. Throws ERR_ARGUMENT. */
export function exponential(options: ExponentialOptions): LearningRateScheduler;
export function exponential(
  options: ExponentialOptions,
  ...more: unknown[]
): LearningRateScheduler {
  is.lastArgument(more, 'exponential');
  const set = is.options(options, 'options of exponential', ['gamma']);
  const gamma = is.positive(set.gamma, 'gamma');
  return (step) => gamma ** step;
}

/** The shape of oneCycle's curve, with the defaults of PyTorch's OneCycleLR. */
export interface OneCycleOptions {
  /** All steps of the cycle; the factor stays at its end after them. */
  totalSteps: number;
  /** The share of steps that the rate rises in; 0.3 by default. */
  pctStart?: number;
  /** 'cos' by default. */
  annealStrategy?: 'cos' | 'linear';
  /** The first factor is 1 / divFactor; 25 by default. */
  divFactor?: number;
  /** The last factor is the first one / finalDivFactor; 1e4 by default. */
  finalDivFactor?: number;
  /** Down to the first factor as steeply as up, and then on to the last one; false by default. */
  threePhase?: boolean;
}

/**
 * Up to the optimizer's learning rate, which is the largest, and down to almost nothing: Smith and
 * Topin, "Super-Convergence: Very Fast Training of Neural Networks Using Large Learning Rates"
 * (2018), as PyTorch's OneCycleLR, but that momentum stays as it is. Throws ERR_ARGUMENT.
 */
export function oneCycle(options: OneCycleOptions): LearningRateScheduler;
export function oneCycle(options: OneCycleOptions, ...more: unknown[]): LearningRateScheduler {
  is.lastArgument(more, 'oneCycle');
  const set = is.options(options, 'options of oneCycle', [
    'totalSteps',
    'pctStart',
    'annealStrategy',
    'divFactor',
    'finalDivFactor',
    'threePhase',
  ]);
  const total = is.integer(set.totalSteps, 'totalSteps', 2);
  const rise = is.number(set.pctStart ?? 0.3, 'pctStart', 0, 1);
  const strategy = is.oneOf(set.annealStrategy ?? 'cos', 'annealStrategy', ['cos', 'linear']);
  const first = 1 / is.positive(set.divFactor ?? 25, 'divFactor');
  const last = first / is.positive(set.finalDivFactor ?? 1e4, 'finalDivFactor');
  const three = is.boolean(set.threePhase ?? false, 'threePhase');
  const top = rise * total - 1;
  const phases = three
    ? [
        { end: top, from: first, to: 1 },
        { end: 2 * rise * total - 2, from: 1, to: first },
        { end: total - 1, from: first, to: last },
      ]
    : [
        { end: top, from: first, to: 1 },
        { end: total - 1, from: 1, to: last },
      ];
  const anneal = (from: number, to: number, share: number) =>
    strategy === 'linear'
      ? from + (to - from) * share
      : to + ((from - to) / 2) * (1 + Math.cos(Math.PI * share));
  return (step) => {
    let begin = 0;
    for (const { end, from, to } of phases) {
      // A phase of no steps is at its end.
      if (step <= end) return anneal(from, to, end > begin ? (step - begin) / (end - begin) : 1);
      begin = end;
    }
    return last;
  };
}

/** When reduceOnPlateau lowers the rate, with the defaults of PyTorch's ReduceLROnPlateau. */
export interface ReduceOnPlateauOptions {
  /** What should improve, of the names that history has; 'valLoss' by default. */
  monitor?: string;
  /**
   * 'auto' (the default): as the metric says, if it is one of this library's or has `largerIsBetter`; otherwise
   * larger is better for names that end in accuracy, precision, recall, f1, auc, r2, or top and a number,
   * as `top3`.
   */
  mode?: 'auto' | 'min' | 'max';
  /** On the learning rate each time; 0.1 by default. */
  factor?: number;
  /**
   * Epochs without improvement that are still waited for; 10 by default. Those whose steps were all left
   * out do not count.
   */
  patience?: number;
  /** Smaller changes are no improvement; 1e-4 by default. */
  threshold?: number;
  /** Whether `threshold` is a share of the best value ('rel', the default) or a difference ('abs'). */
  thresholdMode?: 'rel' | 'abs';
  /** Epochs after a change during which nothing is counted; 0 by default. */
  cooldown?: number;
  /** Below this the factor does not go; 0 by default. */
  minimum?: number;
  /** Smaller changes of the factor are not made; 1e-8 by default. */
  eps?: number;
}

/**
 * A factor that goes down when a number of the epochs stops improving, as PyTorch's
 * ReduceLROnPlateau, called once an epoch. It belongs to one Trainer, and another refuses it. Throws
 * ERR_ARGUMENT, before the first step of fit also for a `monitor` that epochs will not report.
 */
export function reduceOnPlateau(options?: ReduceOnPlateauOptions): LearningRateScheduler;
export function reduceOnPlateau(
  options?: ReduceOnPlateauOptions,
  ...more: unknown[]
): LearningRateScheduler {
  is.lastArgument(more, 'reduceOnPlateau');
  const set = is.options(options, 'options of reduceOnPlateau', [
    'monitor',
    'mode',
    'factor',
    'patience',
    'threshold',
    'thresholdMode',
    'cooldown',
    'minimum',
    'eps',
  ]);
  const monitor = is.string(set.monitor ?? 'valLoss', 'monitor');
  const mode = is.oneOf(set.mode ?? 'auto', 'mode', ['auto', 'min', 'max']);
  const factor = is.number(set.factor ?? 0.1, 'factor', 0, 1);
  if (factor === 1) throw is.invalid('a number below 1', 'factor', factor);
  const patience = is.integer(set.patience ?? 10, 'patience', 0);
  const threshold = is.number(set.threshold ?? 1e-4, 'threshold', 0);
  const relative = is.oneOf(set.thresholdMode ?? 'rel', 'thresholdMode', ['rel', 'abs']) === 'rel';
  const cooldown = is.integer(set.cooldown ?? 0, 'cooldown', 0);
  const minimum = is.number(set.minimum ?? 0, 'minimum', 0, 1);
  const eps = is.number(set.eps ?? 1e-8, 'eps', 0);
  // Null is worse than everything, as an infinite number of the wrong sign would be.
  let state = { current: 1, best: null as number | null, bad: 0, wait: 0 };
  const improves = (value: number, larger: boolean) => {
    const sign = larger ? -1 : 1;
    if (state.best === null) return sign * value < Number.POSITIVE_INFINITY;
    const margin = relative ? threshold * state.best : threshold;
    return sign * value < sign * state.best - margin;
  };
  const isLarger = (trainer: Trainer | undefined) =>
    mode === 'auto'
      ? (trainer?.largerIsBetter(monitor) ?? largerIsBetter(monitor))
      : mode === 'max';
  const onEpochEnd = (logs: Readonly<Record<string, number>>, trainer?: Trainer) => {
    checkMonitor(monitor, Object.keys(logs));
    const value = logs[monitor] ?? Number.NaN;
    const better = improves(value, isLarger(trainer));
    if (!better && !tookSteps(logs)) return;
    if (better) state.best = value;
    state.bad = better ? 0 : state.bad + 1;
    if (state.wait > 0) {
      state.wait--;
      state.bad = 0;
    }
    if (state.bad <= patience) return;
    const next = Math.max(state.current * factor, minimum);
    if (state.current - next > eps) state.current = next;
    state.wait = cooldown;
    state.bad = 0;
  };
  const loadState = (saved: unknown) => {
    if (!is.isRecord(saved)) throw is.invalid('what saveState gave', 'state', saved);
    const { best } = saved;
    state = {
      current: is.number(saved.current, 'state.current', 0, 1),
      best: best === null ? null : readBest(best),
      bad: is.integer(saved.bad, 'state.bad', 0),
      wait: is.integer(saved.wait, 'state.wait', 0),
    };
  };
  const parts = { monitor, onEpochEnd, saveState: () => ({ ...state }), loadState };
  const scheduler = Object.assign(() => state.current, parts);
  learning.add(scheduler);
  return scheduler;
}

/** Infinite where nothing can be better. */
function readBest(value: unknown): number {
  if (typeof value === 'number' && !Number.isNaN(value)) return value;
  throw is.invalid('a number', 'state.best', value);
}

/** Throws ERR_ARGUMENT for a number that is not among the `reported` ones. */
export function checkMonitor(monitor: string, reported: readonly string[]): void {
  if (reported.includes(monitor)) return;
  const received = `${is.show(monitor)}${is.didYouMean(monitor, reported)}`;
  throw is.mismatch('ERR_ARGUMENT', `one of ${reported.join(', ')}`, 'monitor', received);
}

/** Schedulers that know how training went, and those of them that a Trainer has. */
const learning = new WeakSet<LearningRateScheduler>();
const taken = new WeakSet<LearningRateScheduler>();

/** Throws ERR_ARGUMENT for one that has learnt from another training. */
export function claim(scheduler: LearningRateScheduler): void {
  if (taken.has(scheduler)) {
    const what = 'a scheduler of its own, which each call of reduceOnPlateau makes,';
    throw is.mismatch('ERR_ARGUMENT', what, 'lrScheduler', "another Trainer's");
  }
  if (learning.has(scheduler)) taken.add(scheduler);
}
