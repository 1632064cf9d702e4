// Models of 8-bit integers, for Predictor.load.
import type { Dataset } from './data/dataset.js';
import { TandemError } from './errors.js';
import { readFloatModel } from './files/load.js';
import { filePathOf } from './files/paths.js';
import { writeTensors } from './files/safetensors.js';
import * as is from './is.js';
import { stateOf } from './model/state.js';
import { Model } from './model.js';
import { compact } from './quantization/bytes.js';
import { readCalibration, readValidation } from './quantization/data.js';
import { openQuantized, readQuantized } from './quantization/file.js';
import {
  type QuantizationOptions,
  type QuantizationSettings,
  readQuantization,
} from './quantization/options.js';
import { type Quantized, type QuantizeRequest, quantize as run } from './quantization/quantize.js';
import type { QuantizationReport } from './quantization/report.js';
import { fileOf, type QuantizedFile } from './quantization/save.js';
import { fromFile, fromMemory, type Served } from './quantization/serve.js';
import type { Arrays, Data } from './trainer/data.js';
import { checkThreads } from './trainer/options.js';
import { checkSignal } from './trainer/signal.js';

export type { Observer, QuantizationOptions } from './quantization/options.js';
export type { LayerReport, QuantizationReport, ValidationReport } from './quantization/report.js';

/** Rows of the model's inputs. */
export interface CalibrationBatch {
  x: Arrays;
}

/** What quantization takes beside the model. */
export interface QuantizedOptions {
  /**
   * Rows like those that are to be predicted, some hundred of them: the ranges of all inputs of
   * layers come from them. `{ x }`, an iterable of such batches, or a dataset. Without, every row of an input of
   * a dense layer has the range of its own numbers, and convolutions stay float32.
   */
  calibration?:
    | CalibrationBatch
    | Dataset
    | Iterable<CalibrationBatch>
    | AsyncIterable<CalibrationBatch>;
  /** Rows with targets: class numbers as integers, or the numbers themselves. */
  validation?: Data | Dataset;
  /**
   * What may be lost on `validation`: accuracy from 0 to 1, or the growth of the root of the mean
   * squared error as a share of it. ERR_NUMERIC beyond, with the `report`. None by default.
   */
  maxAccuracyLoss?: number;
  quantization?: QuantizationOptions;
  /** Ends calibration and comparison, and waiting for their data: rejects with ERR_ABORTED. */
  signal?: AbortSignal;
}

export const quantizedOptions = [
  'calibration',
  'validation',
  'maxAccuracyLoss',
  'quantization',
  'signal',
] as const;

/** An option that is about making a model of 8-bit integers. */
const givenOption = (set: QuantizedOptions): string | undefined =>
  quantizedOptions.find((name) => name !== 'signal' && set[name] !== undefined);

let construct: (quantized: Quantized) => QuantizedModel;
let read: (model: QuantizedModel) => Quantized;

/** A model of 8-bit integers, made by `quantize` or read from a file. `Predictor.load` serves it. */
export class QuantizedModel {
  /** How each layer is computed and what that costs. */
  readonly report: QuantizationReport;
  readonly #quantized: Quantized;
  /** How many calls of save are copying the parameters. */
  #copying = 0;
  #closed = false;

  private constructor(quantized: Quantized | undefined) {
    if (quantized === undefined) {
      const what = '`quantize`, or a file that QuantizedModel.load reads,';
      throw is.mismatch('ERR_ARGUMENT', what, 'QuantizedModel', 'new');
    }
    this.report = quantized.report;
    this.#quantized = quantized;
  }

  /**
   * Writes one safetensors file with weights as 8-bit integers, their scales, and what calibration
   * found. It appears whole or not at all. Rejects with ERR_CLOSED, or with an error of the file system.
   */
  async save(path: string | URL): Promise<void> {
    const target = filePathOf(path, 'path');
    const quantized = this.#open();
    this.#copying++;
    let file: QuantizedFile;
    try {
      file = await fileOf(quantized);
    } finally {
      this.#copying--;
      if (this.#closed) this.#release();
    }
    await writeTensors(target, file.metadata, file.tensors);
  }

  /** Reads what `save` wrote. Rejects with ERR_FILE_FORMAT, or with an error of the file system. */
  static async load(path: string | URL): Promise<QuantizedModel> {
    const quantized = await readQuantized(path);
    if (quantized !== undefined) return construct(quantized);
    throw new TandemError(
      'ERR_FILE_FORMAT',
      'expected a quantized model, received one in float32; Model.load reads it',
    );
  }

  /**
   * Gives its memory back, a byte a weight; those who have loaded it go on. Later uses reject with
   * ERR_CLOSED. Throws ERR_BUSY while a Predictor is being loaded of it; while `save` copies it, its memory
   * goes when that is done.
   */
  close(): void {
    if (this.#copying === 0) this.#quantized.parameters.release();
    this.#closed = true;
  }

  /** After a copy of a model that was closed meanwhile. */
  #release(): void {
    if (this.#copying > 0) return;
    try {
      this.#quantized.parameters.release();
    } catch {
      // A Predictor that is still being loaded of it: the memory goes when nobody refers to it.
    }
  }

  #open(): Quantized {
    if (!this.#closed) return this.#quantized;
    throw new TandemError('ERR_CLOSED', 'expected an open QuantizedModel, received a closed one');
  }

  [Symbol.dispose](): void {
    this.close();
  }

  static {
    construct = (quantized) => new QuantizedModel(quantized);
    read = (model) => model.#open();
  }
}

export const quantizedOf = (model: QuantizedModel): Quantized => read(model);

/**
 * Makes a model of 8-bit integers out of a copy of `model`; it does not depend on the model later. Steps
 * of training wait until the copy is whole; do not write to `parameters` before the promise is settled.
 * Rejects with ERR_ARGUMENT, ERR_DTYPE and ERR_SHAPE for data that do not fit, with ERR_NUMERIC for
 * calibration data that are not finite and for a model that loses more than `maxAccuracyLoss`, and
 * with ERR_BUSY while a step is training the model.
 *
 * @example
 * const small = await quantize(model, { calibration: { x }, validation, maxAccuracyLoss: 0.003 });
 * await small.save('model-int8.safetensors');
 */
export async function quantize(
  model: Model,
  options?: QuantizedOptions & { precision?: 'int8' | 'int8-weights'; threads?: number },
): Promise<QuantizedModel> {
  const set = is.options(options, 'options of quantize', [
    'precision',
    'threads',
    ...quantizedOptions,
  ]);
  if (!(model instanceof Model)) throw is.invalid('a Model', 'model', model);
  const precision = is.oneOf(set.precision ?? 'int8', 'precision', ['int8', 'int8-weights']);
  const request = requestOf(set, precision, checkThreads(set.threads));
  return construct(await compact(await run(model, request)));
}

function requestOf(
  set: QuantizedOptions,
  precision: QuantizeRequest['precision'],
  threads: number,
): QuantizeRequest {
  const { calibration, validation, maxAccuracyLoss } = set;
  const settings = readQuantization(set.quantization);
  const signal = checkSignal(set.signal);
  if (maxAccuracyLoss !== undefined) {
    is.number(maxAccuracyLoss, 'maxAccuracyLoss', 0);
    if (validation === undefined) {
      throw is.invalid('{ x, y } with `maxAccuracyLoss`', 'validation', validation);
    }
  }
  checkUses(set, settings, precision);
  return {
    precision,
    settings,
    threads,
    signal,
    calibration: calibration && ((frozen) => readCalibration(calibration, frozen, signal)),
    validation:
      validation && ((frozen) => readValidation(validation, frozen, settings.metric, signal)),
    maxAccuracyLoss,
  };
}

/** What would be ignored is a mistake: a user would believe in it. Throws ERR_ARGUMENT. */
function checkUses(
  { calibration, validation, maxAccuracyLoss }: QuantizedOptions,
  { auto, metric, calibrated }: QuantizationSettings,
  precision: QuantizeRequest['precision'],
): void {
  if (auto && maxAccuracyLoss === undefined) {
    throw is.invalid('a number with `quantization.auto`', 'maxAccuracyLoss', maxAccuracyLoss);
  }
  if (metric !== undefined && validation === undefined) {
    throw is.invalid('{ x, y } with `quantization.metric`', 'validation', validation);
  }
  if (calibration !== undefined && precision !== 'int8') {
    throw is.invalid('"int8" with `calibration`', 'precision', precision);
  }
  if (calibrated.length > 0 && calibration === undefined) {
    const what = `rows with \`quantization.${calibrated[0]}\``;
    throw is.invalid(what, 'calibration', calibration);
  }
}

/** Whether a precision is one of 8-bit integers. */
export const isQuantized = (precision: string | undefined): precision is 'int8' | 'int8-weights' =>
  precision === 'int8' || precision === 'int8-weights';

/** Whether options ask for 8-bit integers: of a file in float32 nothing else does. */
export const quantizes = (set: QuantizedOptions & { precision?: string }): boolean =>
  isQuantized(set.precision) || givenOption(set) !== undefined;

/** What a Predictor is to serve in 8-bit integers: `source` is one, a file of one, or made one. */
export async function findQuantized(
  source: Model | QuantizedModel | string | URL,
  set: QuantizedOptions & { precision?: string },
  threads: number,
): Promise<Served | undefined> {
  if (source instanceof QuantizedModel) {
    const quantized = quantizedOf(source);
    checkOptions(set, quantized.report.precision);
    return fromMemory(quantized, false);
  }
  const opened = source instanceof Model ? undefined : await openQuantized(source);
  if (opened !== undefined) {
    try {
      checkOptions(set, opened.report.precision);
    } catch (error) {
      await opened.file.close();
      throw error;
    }
    return fromFile(opened);
  }
  const { precision } = set;
  if (!quantizes(set)) return undefined;
  if (!isQuantized(precision)) {
    throw is.invalid(`"int8" with \`${givenOption(set)}\``, 'precision', precision);
  }
  const request = requestOf(set, precision, threads);
  if (source instanceof Model) return fromMemory(await run(source, request), true);
  const model = await readFloatModel(source, (options) => new Model(options));
  // Between the two looks at it, the file was replaced by a quantized one.
  if (model === undefined) return await findQuantized(source, set, threads);
  try {
    return fromMemory(await run(model, request), true);
  } finally {
    stateOf(model).native.release();
  }
}

/** What may be said of a model that is quantized already. Throws ERR_ARGUMENT. */
function checkOptions(
  set: QuantizedOptions & { precision?: string },
  own: QuantizationReport['precision'],
): void {
  const { precision } = set;
  const given = givenOption(set);
  if (precision !== undefined && precision !== own) {
    throw is.invalid(`"${own}", as the model has been quantized,`, 'precision', precision);
  }
  if (given !== undefined) throw is.invalid('a model in float32', given, 'one for a quantized one');
}
