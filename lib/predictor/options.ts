// What Predictor.load and predict take.
import type { GenerationOptions } from '../generation/graph.js';
import * as is from '../is.js';
import type { QuantizedOptions } from '../quantization.js';
import type { Device } from '../trainer/options.js';
import type { PredictOutput } from './arrays.js';
import type { BatchingOptions } from './queue.js';

/** How a Predictor computes, and how many rows in one run. */
export interface PredictorOptions extends QuantizedOptions {
  /**
   * 'float32' by default; of a quantized file or model, its own. 'bfloat16': products of operands
   * rounded to bfloat16. 'int8': of 8-bit integers where there are kernels for them. 'int8-weights':
   * weights as 8-bit integers, products in float32.
   */
  precision?: 'float32' | 'bfloat16' | 'int8' | 'int8-weights';
  /** 'auto' by default, as of a Trainer. */
  device?: Device;
  /**
   * Bytes that the Predictor may hold on its device, a CPU or a GPU: weights, activations, workspace,
   * the cache of `generation` and, on a CPU, buffers of `bind`, as `profile().memory` counts them. What would
   * take more is refused with ERR_OUT_OF_MEMORY: `load`, `bind`, or the first prediction of so many rows, and
   * those of fewer go on. As much as there is by default.
   */
  memoryLimit?: number;
  /** Threads to compute with; as many as there are processors by default. Results are the same. */
  threads?: number;
  /** Rows of the largest run; longer calls are cut. 256 by default. */
  maxBatch?: number;
  /** Makes one run of concurrent calls of predict; each is a run of its own by default. */
  batching?: BatchingOptions;
  /**
   * Calls of predict pending at one time, and generations under way; more reject with ERR_BUSY.
   * Without a bound by default.
   */
  maxQueue?: number;
  /**
   * Numbers of rows that are run once before `load` resolves, so that the first prediction of so many
   * finds its plan and its weights in memory; with `generation` also steps of so many sequences. None
   * by default.
   */
  warmup?: readonly number[];
  /**
   * Lengths of sequences shorter than the model's, for a model of inputs [batch, time, ...]: calls with
   * a `length` run at the least of these that holds it, with zeros behind the sequence. None by default.
   */
  lengths?: readonly number[];
  /** Makes `generate` possible, for a causal model of tokens: how much its cache holds. */
  generation?: GenerationOptions;
}

/** Where one prediction puts its results, what cancels it, and whom it overtakes. */
export interface PredictOptions {
  /** Where results go: an array of their size, or a record of them; new ones by default. */
  out?: PredictOutput;
  /** Rejects with ERR_ABORTED at once, `out` untouched, and frees the place in the queue. */
  signal?: AbortSignal;
  /** Calls of a higher number run before those that wait with a lower one. 0 by default. */
  priority?: number;
  /** Of the sequences in `x`, where that is not the model's; for a Predictor with `lengths`. */
  length?: number;
}

/** Throws ERR_ARGUMENT. */
export function checkWarmup(value: readonly number[] | undefined): readonly number[] {
  return is.integers(value ?? [], 'warmup', 1);
}

/** Throws ERR_ARGUMENT for `lengths` beside what excludes them. */
export function checkLengths({ generation, lengths }: PredictorOptions): void {
  if (lengths === undefined || generation === undefined) return;
  throw is.mismatch('ERR_ARGUMENT', 'no `generation` beside', 'lengths', 'both');
}
