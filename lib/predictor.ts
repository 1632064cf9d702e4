/// <reference lib="esnext.disposable" preserve="true" />
import type {
  Key,
  Predictor as NativePredictor,
  ProfileDescription,
  TypedArray,
} from '../bindings.js';
import type { GenerationEngine } from './generation/engine.js';
import { type GenerateOptions, readPrompt, Sequence } from './generation/sequence.js';
import { checkRange } from './graph/ranges.js';
import * as is from './is.js';
import { type Model, type Port, port } from './model.js';
import { native } from './native.js';
import {
  type Layout,
  layoutIn,
  makeArray,
  type NamedArrays,
  type PredictInput,
  type PredictOutput,
  prepare,
  prepareInputs,
  prepareOutputs,
  result,
  withoutRoom,
  zeroInputs,
} from './predictor/arrays.js';
import { Batcher } from './predictor/batch.js';
import { bindRows, type PredictorBinding } from './predictor/binding.js';
import { closed, closedError, closedPredictor } from './predictor/closed.js';
import { Lengths } from './predictor/lengths.js';
import { type Opened, openPredictor } from './predictor/open.js';
import {
  onlyOut,
  type PredictOptions,
  type PredictorOptions,
  readLoadOptions,
} from './predictor/options.js';
import { CallQueue, checkPriority, type QueueSettings } from './predictor/queue.js';
import {
  predictRows,
  type RawRow,
  RowCoder,
  type RowOptions,
  type RowPrediction,
  type RowProbabilities,
} from './predictor/rows.js';
import { bindSingle, type SingleRow } from './predictor/single.js';
import {
  checkStream,
  type StreamOptions,
  type StreamSource,
  streamed,
} from './predictor/stream.js';
import type { QuantizationReport, QuantizedModel } from './quantization.js';
import { aborted, checkSignal } from './trainer/signal.js';

export type { PredictOptions, PredictorOptions } from './predictor/options.js';

/** Elements of a row and its result that predictSync copies rather than hands over. */
const maxSingle = 4096;
/** Elements of a result that are made before it is known whether they will be filled. */
const maxMade = 256;

const isFloats = (out: PredictOutput, length: number): out is Float32Array =>
  is.isFloat32Array(out) && out.length === length;

/**
 * Serves a model: a frozen copy of its parameters, prepared for inference. Calls do not depend on
 * what happens to the model later. Close it to free its memory.
 */
export class Predictor {
  readonly inputs: readonly Port[];
  readonly outputs: readonly Port[];
  /** How each layer is computed in 8-bit integers and what that costs; undefined where none is. */
  readonly quantization: QuantizationReport | undefined;
  #native: Omit<NativePredictor, 'key'>;
  /** Undefined once closed. */
  #key: Key<NativePredictor> | undefined;
  /** For single rows without a promise; made by the first of them. */
  #single: SingleRow | undefined;
  /** Of a model that was trained on encoded rows. */
  readonly #rows: RowCoder | undefined;
  readonly #layout: Layout;
  /** Elements of a row of the only input and the only output, both float32; 0 otherwise. */
  readonly #rowIn: number;
  readonly #rowOut: number;
  /** For calls that wait: all of them where #queues, otherwise those with a signal or a priority. */
  readonly #queue: CallQueue;
  readonly #queues: boolean;
  readonly #engine: GenerationEngine | undefined;
  readonly #lengths: Lengths | undefined;

  /**
   * From a file or a model. Rejects with ERR_ARGUMENT, ERR_FILE_FORMAT, ERR_DEVICE, ERR_OUT_OF_MEMORY, or
   * an error of the file system; for precision 'int8' as `quantize` does. A model in training is copied between two steps;
   * do not write to `parameters` before the promise is settled.
   */
  static async load(
    source: string | URL | Model | QuantizedModel,
    options?: PredictorOptions,
  ): Promise<Predictor> {
    const settings = readLoadOptions(options);
    const opened = await openPredictor(source, settings);
    const predictor = new Predictor(opened, settings.queue);
    try {
      for (const rows of settings.warmup) await predictor.#warm(rows);
    } catch (error) {
      await predictor.close();
      throw error;
    }
    return predictor;
  }

  private constructor(opened: Partial<Opened> | undefined, queue: QueueSettings) {
    if (!(opened?.loaded?.predictor instanceof native.Predictor)) {
      throw is.mismatch('ERR_ARGUMENT', 'Predictor.load()', 'Predictor', 'new');
    }
    const { engine, report, buckets } = opened;
    const { inputs, outputs, encoder, predictor } = opened.loaded;
    const layout = layoutIn(predictor, opened.loaded.layout);
    this.inputs = inputs.map(port);
    this.outputs = outputs.map(port);
    this.#rows = encoder && new RowCoder(encoder);
    this.quantization = report;
    this.#layout = layout;
    this.#native = predictor;
    this.#key = predictor.key;
    const [rowIn, rowOut] = layout.simple;
    this.#rowIn = rowIn;
    this.#rowOut = rowOut;
    this.#engine = engine;
    const batcher = new Batcher(layout);
    const { batchRows } = queue;
    const joins = batchRows !== undefined && batcher.joins;
    const joined = { ...queue, batchRows: joins ? batchRows : undefined };
    this.#queue = new CallQueue(predictor, batcher, joined, engine?.places);
    this.#lengths = buckets && new Lengths(predictor, buckets, queue, this.#queue.places);
    this.#queues = batchRows !== undefined || queue.maxQueue !== Number.MAX_SAFE_INTEGER;
  }

  /** A run of zeros, for the plans that predict and predictSync (of one row) will use. */
  async #warm(rows: number): Promise<void> {
    try {
      const arrays = zeroInputs(this.#layout, rows);
      await this.#native.predict(rows, null, ...arrays);
    } catch (error) {
      throw withoutRoom(error, 'warmup', `${rows} rows`);
    }
    await this.#engine?.warm(rows);
    if (rows === 1 && this.#rowIn > 0 && this.#rowIn + this.#rowOut <= maxSingle) {
      this.#single = bindSingle(this.#native);
      native.runSync(this.#single.key);
    }
  }

  /**
   * The outputs for n rows, without a promise: the shortest path. `x` is one typed array of n rows
   * (one input), an array of them in the order of inputs, or a record of names. The result is one
   * array (one output) or a record, and is `out` when that is given, which may overlap `x`. `length` is as
   * of predict. Throws ERR_SHAPE, ERR_DTYPE, ERR_ARGUMENT, ERR_CLOSED, ERR_OUT_OF_MEMORY.
   */
  predictSync(x: Float32Array, out?: Float32Array): Float32Array;
  predictSync(x: TypedArray, out?: Float32Array | Int32Array): Float32Array | Int32Array;
  predictSync(
    x: PredictInput,
    out?: PredictOutput,
    options?: Pick<PredictOptions, 'length'>,
  ): PredictOutput;
  predictSync(
    x: PredictInput,
    out?: PredictOutput,
    options?: Pick<PredictOptions, 'length'>,
  ): PredictOutput {
    if (options !== undefined) {
      const { length } = is.options(options, 'options of predictSync', ['length']);
      if (length !== undefined) return this.#ofLengths().predictSync(x, out, length);
    }
    if (this.#rowIn !== 0 && is.isFloat32Array(x)) {
      const rows = x.length / this.#rowIn;
      const length = rows * this.#rowOut;
      if (Number.isInteger(rows) && rows > 0) {
        if (rows === 1 && (out === undefined || isFloats(out, length))) {
          const row = this.#runSingle(x, out);
          if (row !== undefined) return row;
        }
        if (out === undefined) {
          const made = makeArray(Float32Array, length, this.#layout.outputs[0]?.name ?? 'y');
          native.predictSync(this.#key ?? closed(), rows, x, made);
          return made;
        }
        if (isFloats(out, length)) {
          native.predictSync(this.#key ?? closed(), rows, x, out);
          return out;
        }
      }
    }
    const { rows, arrays, outputs } = prepare(this.#layout, x, out);
    native.predictSync(this.#key ?? closed(), rows, ...arrays, ...outputs);
    return result(this.#layout, outputs);
  }

  /**
   * predictSync of one row through a binding: copying a small row takes less time than asking
   * Node-API where two arrays lie. Undefined when it is not small, or when `out` may belong to a
   * pending call.
   */
  #runSingle(x: Float32Array, out: Float32Array | undefined): Float32Array | undefined {
    let single = this.#single;
    if (single === undefined) {
      if (this.#rowIn + this.#rowOut > maxSingle) return undefined;
      single = bindSingle(this.#native);
      this.#single = single;
    }
    single.x.set(x);
    const writing = native.runSync(single.key);
    if (out === undefined) return new Float32Array(single.y);
    if (writing) return undefined;
    out.set(single.y);
    return out;
  }

  /**
   * The same off the event loop, but for a call that takes less time than the way to another thread
   * and back. Inputs are copied at once and may be changed afterwards; `out` is written just before
   * the promise resolves. Rejects as predictSync throws, with ERR_ABORTED, and
   * with ERR_BUSY when another pending call writes to the same `out`, or `maxQueue` calls are pending
   * and generations under way.
   */
  predict(
    x: Float32Array,
    options?: PredictOptions & { out?: Float32Array },
  ): Promise<Float32Array>;
  predict(x: TypedArray, options?: PredictOptions): Promise<Float32Array | Int32Array>;
  predict<O extends PredictOutput = PredictOutput>(
    x: PredictInput,
    options?: PredictOptions,
  ): Promise<O>;
  predict(x: PredictInput, options?: PredictOptions): Promise<PredictOutput> {
    try {
      return this.#predictFloats(x, options) ?? this.#predict(x, options);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /**
   * Of rows of floats, with no option but `out`: what servers do a thousand times in a turn of the event
   * loop, and so nothing but what has to be done. Undefined for other calls.
   */
  #predictFloats(
    x: PredictInput,
    options: PredictOptions | undefined,
  ): Promise<Float32Array> | undefined {
    if (this.#rowIn === 0 || !is.isFloat32Array(x)) return undefined;
    const rows = x.length / this.#rowIn;
    const length = rows * this.#rowOut;
    // Sizes that memory may not hold are left to the path that can say so.
    if (!Number.isInteger(rows) || rows === 0 || length >= 2 ** 31) return undefined;
    if (options === undefined) return this.#predictNew(rows, x, length);
    const out = this.#queues ? undefined : onlyOut(options);
    if (out === undefined || !isFloats(out, length)) return undefined;
    return this.#predictInto(out, rows, x);
  }

  #predictNew(rows: number, x: Float32Array, length: number): Promise<Float32Array> {
    if (this.#queues && this.#key !== undefined) {
      return this.#queue.pushRows(rows, x) as Promise<Float32Array>;
    }
    if (length <= maxMade) {
      const made = new Float32Array(length);
      if (this.#predictHere(rows, x, made)) return Promise.resolve(made);
    }
    return this.#native.predict(rows, null, x) as Promise<Float32Array>;
  }

  #predictInto(out: Float32Array, rows: number, x: Float32Array): Promise<Float32Array> {
    if (this.#predictHere(rows, x, out)) return Promise.resolve(out);
    return this.#native.predict(rows, null, x, out).then(() => out);
  }

  /**
   * Whether it has predicted, as it does where that takes no time worth speaking of: JavaScript makes a
   * promise, and an array, in a tenth of the time that Node-API takes.
   */
  #predictHere(rows: number, x: Float32Array, y: Float32Array): boolean {
    return this.#key !== undefined && native.predictHere(this.#key, rows, x, y);
  }

  async #predict(x: PredictInput, options: PredictOptions | undefined): Promise<PredictOutput> {
    const { out, signal, priority, length } = is.options(options, 'options of predict', [
      'out',
      'signal',
      'priority',
      'length',
    ]);
    checkSignal(signal);
    const rank = checkPriority(priority);
    if (signal?.aborted) throw aborted(signal);
    if (this.#key === undefined) closed();
    if (length !== undefined) {
      return await this.#ofLengths().predict(x, { out, signal, priority: rank, length });
    }
    if (this.#queues || signal !== undefined || priority !== undefined) {
      const { rows, arrays } = prepareInputs(this.#layout, x);
      const outputs = prepareOutputs(this.#layout, out, rows);
      return await this.#queue.push({ rows, arrays, outputs, signal, priority: rank });
    }
    const { rows, arrays, outputs } = prepare(this.#layout, x, out);
    await this.#native.predict(rows, null, ...arrays, ...outputs);
    return result(this.#layout, outputs);
  }

  /** For a call with a `length`. Throws ERR_ARGUMENT, ERR_CLOSED. */
  #ofLengths(): Lengths {
    if (this.#key === undefined) closed();
    if (this.#lengths !== undefined) return this.#lengths;
    const what = '`lengths` among the options of Predictor.load for a call with';
    throw is.mismatch('ERR_ARGUMENT', what, 'length', 'none');
  }

  /**
   * The outputs for each item of an iterable, in order: what predict gives for it. Several are
   * computed at one time, and no more than that is read ahead of whoever reads the results. An item is
   * copied before the next is asked for, so that a source may fill one array again and again. An error
   * of the source or of a prediction is thrown where its result would have been, and closes the
   * source. Throws ERR_ARGUMENT; iterating throws as predict rejects.
   *
   * @example for await (const y of predictor.stream(rows, { signal })) await write(y);
   */
  stream(
    source: AsyncIterable<Float32Array> | Iterable<Float32Array>,
    options?: StreamOptions,
  ): AsyncGenerator<Float32Array, void>;
  stream<O extends PredictOutput = PredictOutput>(
    source: StreamSource,
    options?: StreamOptions,
  ): AsyncGenerator<O, void>;
  stream(source: StreamSource, options?: StreamOptions): AsyncGenerator<PredictOutput, void> {
    if (this.#key === undefined) closed();
    const { batchRows, maxQueue } = this.#queue.settings;
    const set = checkStream(source, options, Math.min(2 * (batchRows ?? 1), maxQueue));
    const { signal, priority } = set;
    const call = {
      ...(signal !== undefined && { signal }),
      ...(priority !== undefined && { priority }),
    };
    const predict = (x: PredictInput) => this.#predict(x, call);
    return streamed(source, { predict, places: this.#queue.places }, set);
  }

  /**
   * The tokens that follow a prompt, one by one, as a causal model foretells them; the Predictor was
   * loaded with `generation`. Each step computes new tokens alone: keys and values of earlier ones are
   * kept. Generations that run at one time share their steps. Throws ERR_ARGUMENT, ERR_CLOSED;
   * iterating throws ERR_ABORTED, ERR_NUMERIC, ERR_CLOSED, ERR_OUT_OF_MEMORY, and ERR_BUSY where `maxQueue`
   * has no place for it.
   *
   * @example for await (const token of predictor.generate(prompt, { temperature: 0.8 })) write(token);
   */
  generate(
    prompt: Int32Array | readonly number[],
    options?: GenerateOptions,
  ): AsyncGenerator<number, void> {
    if (this.#key === undefined) closed();
    const engine = this.#engine;
    if (engine === undefined) {
      const what = '`generation` among the options of Predictor.load';
      throw is.mismatch('ERR_ARGUMENT', what, 'generate', 'none');
    }
    const tokens = readPrompt(prompt);
    const range = this.#layout.inputs[0]?.range;
    checkRange(tokens, 'prompt', range);
    return engine.run(new Sequence(tokens, options, engine.plan.length, range?.count));
  }

  /**
   * Predictions for rows as the training data had them, by the encoder that came with the model:
   * the value of the target in each, a category by its name, or a record of several targets. Columns
   * of targets may be missing. With `probabilities` categories have one each. Rejects as predict does,
   * with DataError for a row that cannot be encoded, and with ERR_ARGUMENT for a model without an encoder.
   *
   * @example await predictor.predictRows([{ hour: 8, weather: 'rain' }]);
   */
  predictRows(
    rows: readonly RawRow[],
    options?: RowOptions & { probabilities?: false },
  ): Promise<RowPrediction[]>;
  predictRows<P extends RowProbabilities = Readonly<Record<string, number>>>(
    rows: readonly RawRow[],
    options: RowOptions & { probabilities: true },
  ): Promise<P[]>;
  predictRows(
    rows: readonly RawRow[],
    options: RowOptions | undefined,
  ): Promise<(RowPrediction | RowProbabilities)[]>;
  async predictRows(
    rows: readonly RawRow[],
    options?: RowOptions,
  ): Promise<(RowPrediction | RowProbabilities)[]> {
    if (this.#key === undefined) closed();
    return await predictRows(this.#rows, rows, options, (x, call) => this.predict(x, call));
  }

  /**
   * Fixed native buffers for `batch` rows and a plan that reads and writes them: nothing is copied
   * or looked up in a run. Where the inputs have a fixed batch it is theirs. Throws ERR_ARGUMENT, ERR_SHAPE, ERR_CLOSED, ERR_OUT_OF_MEMORY.
   *
   * @example const io = predictor.bind(1); io.inputs.x.set(row); io.runSync(); io.outputs.y;
   */
  bind<
    I extends NamedArrays = Readonly<Record<'x', Float32Array>>,
    O extends NamedArrays = Readonly<Record<'y', Float32Array>>,
  >(batch: number): PredictorBinding<I, O> {
    return bindRows<I, O>(this.#native, this.#layout, batch);
  }

  /**
   * Operations, memory as allocated, and the latency of predictions and steps of generation. With
   * `generation`, `memory.cache` is what keys and values take, all of it from `load` on. Throws
   * ERR_CLOSED.
   */
  profile(): ProfileDescription {
    const profile = this.#native.profile();
    return this.#engine?.profile(profile) ?? profile;
  }

  /**
   * Frees its memory once pending calls are over; those that wait in the queue run before the promise
   * resolves. Calling it again does nothing more.
   */
  async close(): Promise<void> {
    const predictor = this.#native;
    if (this.#key !== undefined) this.#engine?.close(closedError());
    this.#native = closedPredictor;
    this.#key = undefined;
    this.#single = undefined;
    if (!this.#queue.idle) await this.#queue.drain();
    await this.#lengths?.close();
    predictor.close();
  }

  [Symbol.dispose](): void {
    void this.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
