// What a metric is: values that are computed with each batch, and what adds them up over an epoch.
import type { Value } from '../graph/value.js';
import type { LossName, Targets } from '../trainer/losses.js';

/** Rows of numbers, such as a confusion matrix. */
export type Matrix = readonly (readonly number[])[];

/** Adds up the numbers of batches. Of one epoch or one evaluation: each begins with a new one. */
export interface Accumulator {
  /**
   * The elements of the metric's values for a batch of `rows` rows, in their order. The arrays are
   * views of memory that is used again: copy what has to stay.
   */
  add(values: readonly Float64Array[], rows: number): void;
  /** The metric over everything added so far; NaN, or a matrix of zeros, where nothing counts. */
  result(): number | Matrix | Promise<number | Matrix>;
  /**
   * What `accumulate` needs to go on from here, as plain data of JSON or Float32Arrays; checkpoints
   * keep it. Without it an epoch that goes on from a checkpoint within it reports NaN.
   */
  state?(): unknown;
}

/**
 * A metric that is no mean over rows, so that the means of batches do not make it up: it is told all
 * of an epoch's batches instead.
 *
 * @example
 * // The largest error of an epoch.
 * const worst = {
 *   values: (output, target) => [max(abs(sub(output, target)))],
 *   accumulate() {
 *     let largest = Number.NaN;
 *     return {
 *       add([[error]]) { largest = largest > error ? largest : error; },
 *       result: () => largest,
 *     };
 *   },
 * };
 * new Trainer(model, { loss: 'mse', metrics: { worst } });
 */
export interface Metric<T extends Targets = Value> {
  /**
   * What is computed with each batch: values of any shape, float32 or int32, with a fixed number of
   * elements or so many for each row. Outputs and targets come as a loss gets them.
   */
  values(output: T, target: T): readonly Value[];
  /** `state`: what another accumulator's `state` gave, to go on from. */
  accumulate(state?: unknown): Accumulator;
  /**
   * Whether more of it is better, for what keeps the best and stops early; by default its name tells: see
   * `mode` of earlyStopping.
   */
  readonly largerIsBetter?: boolean;
}

/** An output of a model with its target; `loss` only where that is a name. */
export interface Pair {
  readonly output: Value;
  readonly target: Value;
  readonly loss: LossName | undefined;
  /** The output's loss itself, where it is the plain one of that name. */
  readonly lossValue: Value | undefined;
}

/** A metric of this library: one output's, made to fit its loss. */
export type BuiltIn = Mean | Summed;

interface About {
  readonly name: string;
  /** Undefined where it is no number. */
  readonly largerIsBetter: boolean | undefined;
  /** What it measures, for the error where it does not fit. */
  readonly expects: string;
  /** Whether an output with this loss has the metric; undefined where the loss does not tell. */
  fits(pair: Pair): boolean | undefined;
}

/** Its mean over rows says it all: a scalar of the graph. */
export interface Mean extends About {
  mean(pair: Pair): Value;
}

/** Needs more than a number of each batch. */
export interface Summed extends About {
  /** Throws ERR_ARGUMENT, ERR_SHAPE for options that do not fit the output. */
  build(pair: Pair): Metric;
}

const builtIns = new WeakSet<object>();

/** Marks what this library made, so that nothing else passes for it. */
export function builtIn(metric: BuiltIn): BuiltIn {
  builtIns.add(metric);
  return Object.freeze(metric);
}

export const isBuiltIn = (value: unknown): value is BuiltIn =>
  typeof value === 'object' && value !== null && builtIns.has(value);
