import type { TrainerDescription } from '../../bindings.js';
import type { Value } from '../graph/value.js';
import * as is from '../is.js';
import { adam, type Optimizer } from '../optimizers.js';
import type { LearningRateScheduler } from '../schedulers.js';
import type { Loss, Metrics, Targets } from './losses.js';

/** What a Trainer minimises, by which rule, and what it reports; only `loss` has no default. */
export interface TrainerOptions<T extends Targets = Value> {
  /**
   * By name, or a function of output and target that gives a scalar. A model with several outputs
   * takes an array or a record with one for each, whose sum is minimised, or one function of all.
   * A function's target has the output's shape (float32) or is class numbers (int32), whichever the
   * function accepts.
   */
  loss: Loss<T>;
  /** Factors of the losses of several outputs, by name; 1 by default. */
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
   */
  precision?: 'float32' | 'bf16-mixed';
  /**
   * 'auto' by default: the first GPU, or the CPU where there is none, it lacks an op of the model or its
   * memory does not suffice; `profile()` and `devices()` say why.
   */
  device?: Device;
  /**
   * Gradients are scaled down to this norm (L2, over all of them) when theirs is larger; none by
   * default.
   */
  maxGradNorm?: number;
  /** A factor on the learning rate for each step; constant 1 by default. */
  lrScheduler?: LearningRateScheduler;
  /** Of shuffles and dropout, an integer of 0 or more; 0 by default. */
  seed?: number;
  /** Threads to compute with; as many as there are processors by default. Results are the same. */
  threads?: number;
  /**
   * Throw ERR_NUMERIC, with the step, instead of taking a step whose input, loss or gradient is not
   * finite. False by default.
   */
  checkNumerics?: boolean;
  /** Results on a CPU are deterministic either way; false by default. */
  deterministic?: boolean;
}

/** Where something computes: 'cuda' is the first GPU. */
export type Device = 'auto' | 'cpu' | 'cuda' | `cuda:${number}`;

/** The checked options that the loop needs. */
export interface Settings {
  readonly optimizer: Optimizer;
  readonly schedule: LearningRateScheduler;
  readonly native: TrainerDescription;
}

const known = [
  'loss',
  'lossWeights',
  'optimizer',
  'metrics',
  'precision',
  'device',
  'maxGradNorm',
  'lrScheduler',
  'seed',
  'threads',
  'checkNumerics',
  'deterministic',
] as const;

export function readOptions<T extends Targets>(options: TrainerOptions<T>) {
  const set = is.options(options, 'options of Trainer', known, [
    'gradientAccumulationSteps',
    'gradientCheckpointing',
  ]);
  const precision = checkPrecision(set.precision, ['float32', 'bf16-mixed'], ['fp16-mixed']);
  const device = checkDevice(set.device);
  if (set.deterministic !== undefined) is.boolean(set.deterministic, 'deterministic');
  const optimizer = checkOptimizer(set.optimizer ?? adam());
  const { lrScheduler } = set;
  if (lrScheduler !== undefined && typeof lrScheduler !== 'function') {
    throw is.invalid('a function of the step, such as cosine({...})', 'lrScheduler', lrScheduler);
  }
  const settings: Settings = {
    optimizer,
    schedule: lrScheduler ?? (() => 1),
    native: {
      optimizer: { op: optimizer.op, attributes: optimizer.attributes },
      maxGradNorm: set.maxGradNorm === undefined ? 0 : is.positive(set.maxGradNorm, 'maxGradNorm'),
      checkNumerics: is.boolean(set.checkNumerics ?? false, 'checkNumerics'),
      seed: is.integer(set.seed ?? 0, 'seed', 0),
      threads: checkThreads(set.threads),
      precision,
      device,
    },
  };
  return { set, settings };
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

/**
 * One of `available`, its first by default. What else the contract names gets an error that says that
 * it will come `later`.
 */
export function checkPrecision<const P extends string>(
  value: unknown,
  available: readonly [P, ...P[]],
  later: readonly string[],
): P {
  if (value === undefined) return available[0];
  const found = available.find((name) => name === value);
  if (found !== undefined) return found;
  const received = is.show(value);
  const why = later.some((name) => name === value) ? ', which is not available for now' : '';
  const expected = available.map((name) => is.show(name)).join(' or ');
  throw is.mismatch('ERR_ARGUMENT', expected, 'precision', `${received}${why}`);
}

/** Whether a device can be had is for native code to find out. */
export function checkDevice(value: unknown): Device {
  if (value === undefined) return 'auto';
  if (typeof value === 'string' && /^(auto|cpu|cuda(:\d{1,4})?)$/.test(value))
    return value as Device;
  throw is.invalid('"auto", "cpu", "cuda" or "cuda:N"', 'device', value);
}
