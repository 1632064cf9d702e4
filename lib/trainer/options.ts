import type { TrainerDescription } from '../../bindings.js';
import type { NamedValue } from '../graph/describe.js';
import type { Value } from '../graph/value.js';
import * as is from '../is.js';
import type { Parameter } from '../model.js';
import { adam, type Optimizer } from '../optimizers.js';
import type { LearningRateScheduler } from '../schedulers.js';
import { describeOptimizer, type ParameterGroup } from './groups.js';
import type { Loss, Metrics, Targets } from './losses.js';
import { type MixupOptions, readMixup } from './mixup.js';

/** What a Trainer minimises, by which rule, and what it reports; only `loss` has no default. */
export interface TrainerOptions<T extends Targets = Value> {
  /**
   * By name, or a function of output and target that gives a scalar. A model with several outputs
   * takes an array or a record with one for each, whose sum is minimised, or one function of all.
   * A function's target has the output's shape (float32) or is class numbers (int32), whichever the
   * function accepts.
   */
  loss: Loss<T>;
  /**
   * Factors of the losses of several outputs, by name; 1 by default. What is reported of each, as
   * `leftLoss` of an output `left`, has its factor in it: together they are `loss`.
   */
  lossWeights?: Readonly<Record<string, number>>;
  /** adam() by default. */
  optimizer?: Optimizer;
  /**
   * Names such as 'accuracy' and 'f1', objects of `metrics`, functions of output and target that give
   * a scalar, or a record of them; none by default. They are of whole epochs.
   */
  metrics?: Metrics<T>;
  /**
   * 'float32' by default. With 'bf16-mixed' the products of dense layers, attention, convolutions and
   * recurrent layers round their operands to bfloat16 and sum in float32; parameters, optimizer state,
   * norms, softmax and losses stay float32. That is faster
   * on processors with instructions for it (AVX512-BF16, AMX) and slower on others; the model's
   * parameters are float32 either way.
   *
   * 'fp16-mixed' rounds to float16, with dynamic scaling of the loss as torch.amp.GradScaler: the scale
   * begins with 65536, doubles after 2000 steps and is halved by a step whose gradients are not finite,
   * which is left out and counted in `history.skippedSteps`. ERR_NUMERIC where no scale helps. For GPUs
   * without bfloat16; a CPU gives the results, but no speed.
   */
  precision?: 'float32' | 'bf16-mixed' | 'fp16-mixed';
  /**
   * 'auto' by default: the first GPU, or the CPU where there is none, it lacks an op of the model or its
   * memory does not suffice; `profile()` and `devices()` say why.
   */
  device?: Device;
  /**
   * Bytes that the Trainer may hold on its device, a CPU or a GPU: all that `profile().memory` counts.
   * What would take more is refused with ERR_OUT_OF_MEMORY before it is allocated, by the constructor or by
   * the first step of so many rows, and smaller steps go on. As much as there is by default.
   */
  memoryLimit?: number;
  /**
   * Gradients are scaled down to this norm (L2, over all of them) when theirs is larger; none by
   * default.
   */
  maxGradNorm?: number;
  /**
   * Each gradient is cut to between -maxGradValue and maxGradValue, before maxGradNorm and the
   * reported norm; none by default.
   */
  maxGradValue?: number;
  /**
   * Batches whose gradients are averaged, weighted by what their losses divide by, to one step; 1 by
   * default. The step is that of one batch of all their rows, but for batchNorm, which sees batch by
   * batch, and for a loss that is a number and no mean, such as a sum over the batch, of which batches
   * are weighted by their rows. The last step of an epoch takes what batches are left. Where the terms of a loss divide by
   * different numbers, the batches of a step are read before it begins. Schedules, callbacks and
   * checkpoints count steps.
   */
  gradientAccumulationSteps?: number;
  /**
   * Compute values of the forward pass anew when gradients need them, in place of keeping them: less
   * memory (`profile().memory.activations`) for up to a forward pass more of time, the same bits.
   * A number: into so many segments the forward pass is cut; true: as many as need the least
   * memory. False by default.
   */
  gradientCheckpointing?: boolean | number;
  /**
   * Parameters with a weight decay or learning rate of their own, or frozen; each is in the first group
   * that it fits. None by default: all parameters are trained alike. `[noDecay]` leaves biases and
   * norms without weight decay.
   */
  parameterGroups?: readonly ParameterGroup[];
  /**
   * Keep moving averages of the parameters: after each step `decay * average + (1 - decay) *
   * parameter`, from those after the first step on, as torch.optim.swa_utils. None by default. See
   * `evaluate` and `averagedModel`.
   */
  ema?: EmaOptions;
  /**
   * Train on mixtures of two rows of a batch each, and of their targets, in the same shares: Zhang et
   * al., "mixup: Beyond Empirical Risk Minimization" (2018). Of class numbers the loss is the mean of
   * both rows' in those shares, other targets are mixed as the inputs are. `evaluate` and validation mix
   * nothing. None by default; ERR_ARGUMENT for a model with int32 inputs.
   */
  mixup?: MixupOptions;
  /** A factor on the learning rate for each step; constant 1 by default. */
  lrScheduler?: LearningRateScheduler;
  /** Of shuffles and dropout, an integer of 0 or more; 0 by default. */
  seed?: number;
  /** Threads to compute with; as many as there are processors by default. Results are the same. */
  threads?: number;
  /**
   * Throw ERR_NUMERIC, with the step and the first op that gave a NaN or an infinity, instead of
   * taking a step whose input, loss or gradient is not finite. With options, leave such steps out for
   * a while. False by default: fit then ends with ERR_NUMERIC once a loss is not finite, after the step
   * and with no op named. It makes steps a little slower. In fp16-mixed it is about inputs and losses:
   * what is wrong with gradients alone is left to the scale of the loss.
   */
  checkNumerics?: boolean | SkipOptions;
  /** Results on a CPU are deterministic either way; false by default. */
  deterministic?: boolean;
}

/** Moving averages of parameters. */
export interface EmaOptions {
  /** Share of the old average in the new one, below 1; 0.999 by default. */
  decay?: number;
  /**
   * Whether validation in fit is of the averages, and with it what `earlyStopping`, `keepBest` and
   * schedules look at; `restoreBestWeights` then leaves the model with the averages of the best epoch.
   * False by default.
   */
  validate?: boolean;
}

/** What checkNumerics does about a step that is not finite, instead of throwing. */
export interface SkipOptions {
  /**
   * Leave it out: parameters and optimizer state stay, and the optimizer does not count the step, which
   * schedules, callbacks and checkpoints do.
   */
  skip: true;
  /** Factor on the learning rate after such a step; 0.5 by default, 1 for none. */
  backoff?: number;
  /** Good steps in a row that take back one such factor; 100 by default. */
  recoverySteps?: number;
  /** Steps in a row that may be left out; one more throws ERR_NUMERIC. 10 by default. */
  maxSkips?: number;
}

/** Where something computes: 'cuda' is the first GPU. */
export type Device = 'auto' | 'cpu' | 'cuda' | `cuda:${number}`;

/** The checked options that the loop needs. */
export interface Settings {
  readonly optimizer: Optimizer;
  readonly schedule: LearningRateScheduler;
  /** Batches of a step. */
  readonly microBatches: number;
  /** What is minimised, as far as it has names. */
  readonly loss: string;
  /** Whether validation is of the averages. */
  readonly validatesAverages: boolean;
  /** Alpha; undefined where batches stay as they are. */
  readonly mixup: number | undefined;
  /** Whether steps may be left out. */
  readonly skips: boolean;
  readonly native: Omit<TrainerDescription, 'divisors' | 'scales'>;
}

const precisions = ['float32', 'bf16-mixed', 'fp16-mixed'] as const;

const known = [
  'loss',
  'lossWeights',
  'optimizer',
  'metrics',
  'precision',
  'device',
  'memoryLimit',
  'maxGradNorm',
  'maxGradValue',
  'gradientAccumulationSteps',
  'gradientCheckpointing',
  'parameterGroups',
  'ema',
  'mixup',
  'lrScheduler',
  'seed',
  'threads',
  'checkNumerics',
  'deterministic',
] as const;

export function readOptions<T extends Targets>(
  options: TrainerOptions<T>,
  parameters: ReadonlyMap<string, Parameter>,
  inputs: readonly NamedValue[],
) {
  const set = is.options(options, 'options of Trainer', known);
  const precision = checkPrecision(set.precision, precisions);
  const device = checkDevice(set.device);
  if (set.deterministic !== undefined) is.boolean(set.deterministic, 'deterministic');
  const optimizer = checkOptimizer(set.optimizer ?? adam());
  const { lrScheduler } = set;
  if (lrScheduler !== undefined && typeof lrScheduler !== 'function') {
    throw is.invalid('a function of the step, such as cosine({...})', 'lrScheduler', lrScheduler);
  }
  const steps = set.gradientAccumulationSteps ?? 1;
  const microBatches = is.integer(steps, 'gradientAccumulationSteps', 1, 2 ** 20);
  const ema = readAverages(set.ema);
  const skip = readSkip(set.checkNumerics);
  const settings: Omit<Settings, 'loss'> = {
    optimizer,
    schedule: lrScheduler ?? (() => 1),
    microBatches,
    validatesAverages: ema.validate,
    mixup: readMixup(set.mixup, inputs),
    skips: skip !== null || precision === 'fp16-mixed',
    native: {
      optimizer: describeOptimizer(optimizer, set.parameterGroups, parameters),
      maxGradNorm: set.maxGradNorm === undefined ? 0 : is.positive(set.maxGradNorm, 'maxGradNorm'),
      maxGradValue:
        set.maxGradValue === undefined ? 0 : is.positive(set.maxGradValue, 'maxGradValue'),
      averageDecay: ema.decay,
      accumulates: microBatches > 1,
      segments: readSegments(set.gradientCheckpointing),
      checkNumerics: set.checkNumerics !== undefined && set.checkNumerics !== false,
      skip,
      seed: is.integer(set.seed ?? 0, 'seed', 0),
      threads: checkThreads(set.threads),
      precision,
      device,
      memoryLimit: checkMemoryLimit(set.memoryLimit),
    },
  };
  return { set, settings };
}

/**
 * Of a loss that has been found to be names and functions: these have no more to tell them by than that
 * they are some.
 */
export const describeLoss = (loss: unknown): string =>
  typeof loss === 'string'
    ? loss
    : JSON.stringify(loss, (_, item: unknown) => (typeof item === 'function' ? 'function' : item));

/** A decay of 0 for none. */
function readAverages(ema: unknown): Required<EmaOptions> {
  if (ema === undefined) return { decay: 0, validate: false };
  const { decay = 0.999, validate } = is.options(ema as EmaOptions, 'ema', ['decay', 'validate']);
  if (typeof decay !== 'number' || !(decay > 0 && decay < 1)) {
    throw is.invalid('a number between 0 and 1', 'ema.decay', decay);
  }
  return { decay, validate: is.boolean(validate ?? false, 'ema.validate') };
}

/** 0 for none, -1 for as many as need the least memory. */
function readSegments(given: unknown): number {
  if (given === undefined || given === false) return 0;
  return given === true ? -1 : is.integer(given, 'gradientCheckpointing', 2, 4096);
}

function readSkip(given: unknown): TrainerDescription['skip'] {
  if (given === undefined || typeof given === 'boolean') return null;
  const names = ['skip', 'backoff', 'recoverySteps', 'maxSkips'] as const;
  const set = is.options(given as SkipOptions, 'checkNumerics', names);
  if (set.skip !== true) throw is.invalid('true', 'checkNumerics.skip', set.skip);
  const backoff = is.positive(set.backoff ?? 0.5, 'checkNumerics.backoff');
  return {
    backoff: is.number(backoff, 'checkNumerics.backoff', 0, 1),
    recoverySteps: is.integer(set.recoverySteps ?? 100, 'checkNumerics.recoverySteps', 1, 2 ** 30),
    maxSkips: is.integer(set.maxSkips ?? 10, 'checkNumerics.maxSkips', 0, 2 ** 30),
  };
}

function checkOptimizer(value: unknown): Optimizer {
  if (typeof value === 'object' && value !== null && 'op' in value && 'attributes' in value) {
    return value as Optimizer;
  }
  throw is.invalid('an optimizer, such as adamw({...})', 'optimizer', value);
}

/** 0 for as many as the pool has. */
export function checkThreads(value: unknown): number {
  return value === undefined ? 0 : is.integer(value, 'threads', 1, 1024);
}

/** One of `available`, its first by default. */
export function checkPrecision<const P extends string>(
  value: unknown,
  available: readonly [P, ...P[]],
): P {
  return value === undefined ? available[0] : is.oneOf(value, 'precision', available);
}

/** Bytes; 0 for no limit. */
export function checkMemoryLimit(value: unknown): number {
  return value === undefined ? 0 : is.integer(value, 'memoryLimit', 1);
}

/** Whether a device can be had is for native code to find out. */
export function checkDevice(value: unknown): Device {
  if (value === undefined) return 'auto';
  if (typeof value === 'string' && /^(auto|cpu|cuda(:\d{1,4})?)$/.test(value))
    return value as Device;
  throw is.invalid('"auto", "cpu", "cuda" or "cuda:N"', 'device', value);
}
