// What Predictor.load and predict take.
import type { GenerationOptions } from '../generation/graph.js';
import * as is from '../is.js';
import { type QuantizedOptions, quantizedOptions } from '../quantization.js';
import { checkDevice, checkMemoryLimit, checkThreads, type Device } from '../trainer/options.js';
import { aborted, checkSignal } from '../trainer/signal.js';
import type { PredictOutput } from './arrays.js';
import { type BatchingOptions, type QueueSettings, queueSettings } from './queue.js';

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
   * Calls of predict pending at one time and generations under way, both together; one more rejects
   * with ERR_BUSY. Without a bound by default.
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

/** Where results go, of options that hold nothing else; undefined otherwise. */
export function onlyOut(options: PredictOptions): PredictOutput | undefined {
  const given: unknown = options;
  if (!is.isRecord(given)) return undefined;
  const names = Object.keys(given);
  return names.length === 1 && names[0] === 'out' ? options.out : undefined;
}

/** What Predictor.load was told, checked. */
export interface LoadSettings {
  readonly set: PredictorOptions;
  readonly plain: {
    readonly maxBatch: number;
    readonly threads: number;
    readonly device: Device;
    readonly memoryLimit: number;
  };
  readonly queue: QueueSettings;
  readonly warmup: readonly number[];
}

const usualBatch = 256;

/** Where nothing was told: there is nothing to check then, which a server that starts waits for. */
const unset: LoadSettings = {
  set: {},
  plain: { maxBatch: usualBatch, threads: 0, device: 'auto', memoryLimit: 0 },
  queue: { batchRows: undefined, delayMs: 0, maxQueue: Number.MAX_SAFE_INTEGER },
  warmup: [],
};

const precisions = ['float32', 'bfloat16', 'int8', 'int8-weights'] as const;

/** Throws ERR_ARGUMENT, and ERR_ABORTED for a signal that was aborted. */
export function readLoadOptions(options: PredictorOptions | undefined): LoadSettings {
  if (options === undefined) return unset;
  const set = is.options(options, 'options of Predictor.load', [
    ...(['precision', 'device', 'memoryLimit', 'threads', 'maxBatch'] as const),
    ...(['batching', 'maxQueue', 'warmup', 'generation', 'lengths'] as const),
    ...quantizedOptions,
  ]);
  const signal = checkSignal(set.signal);
  if (signal?.aborted) throw aborted(signal);
  is.oneOf(set.precision ?? 'float32', 'precision', precisions);
  const device = checkDevice(set.device);
  const memoryLimit = checkMemoryLimit(set.memoryLimit);
  const threads = checkThreads(set.threads);
  const maxBatch = is.integer(set.maxBatch ?? usualBatch, 'maxBatch', 1, 2 ** 31 - 1);
  const queue = queueSettings(set.batching, set.maxQueue, maxBatch);
  const warmup = is.integers(set.warmup ?? [], 'warmup', 1);
  checkLengths(set);
  return { set, plain: { maxBatch, threads, device, memoryLimit }, queue, warmup };
}

/** Throws ERR_ARGUMENT for `lengths` beside what excludes them. */
function checkLengths({ generation, lengths }: PredictorOptions): void {
  if (lengths === undefined || generation === undefined) return;
  throw is.mismatch('ERR_ARGUMENT', 'no `generation` beside', 'lengths', 'both');
}
