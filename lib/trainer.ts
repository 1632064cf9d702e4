/// <reference lib="esnext.disposable" preserve="true" />
import type { ProfileDescription } from '../bindings.js';
import type { Dataset } from './data/dataset.js';
import type { Value } from './graph/value.js';
import * as is from './is.js';
import { largerIsBetter } from './metrics/direction.js';
import { type ModelState, restored, stateOf } from './model/state.js';
import { Model } from './model.js';
import { averagedModel, checkAverages } from './trainer/averages.js';
import { type Owner, readCheckpoint, writeCheckpoint } from './trainer/checkpoint/file.js';
import { restoreSnapshot, takeSnapshot } from './trainer/checkpoint/snapshot.js';
import { makeEngine } from './trainer/create.js';
import { checkWhole, type Data, type Later, readBatchSize } from './trainer/data.js';
import type { Engine, Step } from './trainer/engine.js';
import { busyError, closedError } from './trainer/errors.js';
import {
  type EvaluateOptions,
  type Evaluation,
  evaluate,
  type Scores,
} from './trainer/evaluation.js';
import { Fit } from './trainer/fit.js';
import type { TrainingGraph } from './trainer/graph.js';
import type { History } from './trainer/history.js';
import { readRows } from './trainer/lengths.js';
import type { Targets } from './trainer/losses.js';
import { refuseBadRows } from './trainer/numerics.js';
import type { TrainerOptions } from './trainer/options.js';
import { type FitOptions, planFit } from './trainer/plan.js';
import {
  findRate,
  planRateFinder,
  type RateFinderOptions,
  type RateFinderResult,
} from './trainer/rate-finder.js';
import { countFromZero, lossOf, stepLogs } from './trainer/reports.js';
import { makeRun, type RunState } from './trainer/run.js';
import {
  arraySupply,
  datasetSupply,
  isDataset,
  type Supply,
  WholeBatches,
} from './trainer/supply.js';

/** What one optimizer step reports; `gradNorm` is the norm of all gradients before clipping. */
export interface StepResult extends Scores {
  learningRate: number;
  gradNorm: number;
}

/**
 * Trains a model's parameters in place, off the event loop. One of fit and step runs at a time, over
 * all trainers of a model: ERR_BUSY otherwise. Throws ERR_ARGUMENT, ERR_SHAPE, ERR_DTYPE for options that do not fit the
 * model, ERR_DEVICE, ERR_OUT_OF_MEMORY.
 */
export class Trainer<T extends Targets = Value> {
  readonly model: Model;
  readonly #state: ModelState;
  readonly #graph: TrainingGraph;
  readonly #engine: Engine;
  readonly #run: RunState;
  readonly #onGpu: boolean;
  /** The call that trains just now. */
  #training: Promise<unknown> | undefined;
  #fitting = false;
  /** Of step(). */
  readonly #batches = new WholeBatches();
  #closing: Promise<void> | undefined;

  constructor(model: Model, options: TrainerOptions<T>) {
    if (!(model instanceof Model)) throw is.invalid('a Model', 'model', model);
    this.model = model;
    this.#state = stateOf(model);
    this.#run = makeRun(this.#state);
    const made = makeEngine(this.#state, model.parameters, options, this.#run);
    this.#engine = made.engine;
    this.#graph = made.graph;
    const { native: trainer } = made.engine;
    this.#onGpu = trainer.device !== 'cpu';
    if (this.#onGpu) this.#state.devices.add(trainer);
    this.#run.changing = (body) =>
      this.#engine.changing(async () => {
        await body();
        if (this.#onGpu) await this.#run.alone(() => trainer.upload());
      });
  }

  /**
   * Trains on `{ x, y }`: typed arrays of whole rows, or arrays or records of them for several
   * inputs or outputs; or on a dataset of `tandem-ml/data`. Called again it goes on: epochs, steps and optimizer state continue. Data and
   * options are checked before anything runs: ERR_SHAPE, ERR_DTYPE, ERR_ARGUMENT. Rejects with
   * ERR_ABORTED, ERR_NUMERIC for a loss that is not finite, ERR_BUSY, ERR_CLOSED; the model then keeps
   * the steps taken before.
   */
  async fit(data: Data | Dataset, options?: FitOptions): Promise<History> {
    this.#assertFree('fit');
    const { feeds } = this.#graph;
    const plan = planFit(data, options, feeds);
    const { encoder } = this.#state;
    const { step } = this.#engine.native;
    if (isDataset(data) && data.encoder !== undefined) this.#state.encoder = data.encoder;
    // Before anything waits, so that stop() acts on a call that has just been made.
    this.#fitting = true;
    try {
      return await this.#exclusively(() => {
        const fit = new Fit(this, this.#engine, this.#graph, plan, this.#run, this.#owner);
        return fit.start();
      });
    } catch (error) {
      // The parameters are still those of the rows before, and so is what encodes them.
      if (this.#engine.native.step === step) this.#state.encoder = encoder;
      throw error;
    } finally {
      this.#fitting = false;
    }
  }

  /**
   * One optimizer step on exactly this batch, whose arrays have to stay as they are until it resolves.
   * Checks and errors are those of fit.
   */
  async step(data: Data): Promise<StepResult> {
    this.#assertFree('step');
    const { feeds } = this.#graph;
    const rows = readRows(data, feeds, 'data');
    if (feeds.batch !== undefined && rows.count !== feeds.batch) {
      const what = `${feeds.batch} rows, which the inputs fix,`;
      throw is.mismatch('ERR_SHAPE', what, 'data', `${rows.count} rows`);
    }
    return await this.#exclusively(async () => {
      const { checkNumerics, skip } = this.#engine.settings.native;
      if (checkNumerics && skip === null) {
        await refuseBadRows(rows, this.#engine.native.step);
      }
      const steps: Step[] = [];
      const closed = () => this.#run.closed;
      const source = this.#batches.source(rows);
      await this.#engine.train(source, true, closed, (done) => {
        steps.push(...done);
        return true;
      });
      const [step] = steps;
      if (step === undefined) throw closedError();
      const {
        loss = Number.NaN,
        learningRate = Number.NaN,
        gradNorm = Number.NaN,
        ...metrics
      } = await stepLogs(this.#graph, step);
      return { loss, learningRate, gradNorm, ...metrics };
    });
  }

  /**
   * Loss and metrics on `{ x, y }` in inference mode: of all its rows, of crossEntropy and metrics of
   * classes over the targets that count, and of losses with weights by these, so that they are the
   * same for every batch size; but of a loss that is a number and no mean, such as a sum over the batch,
   * it is the mean of batches weighted by their rows. Also in callbacks of fit. One at a time: a source of
   * rows to evaluate that waits for another evaluation of the trainer, or for a copy of its parameters, never ends.
   * Throws ERR_SHAPE, ERR_DTYPE, ERR_ARGUMENT, ERR_NUMERIC (with checkNumerics), ERR_BUSY, ERR_CLOSED,
   * ERR_ABORTED.
   */
  async evaluate(data: Data | Dataset, options?: EvaluateOptions): Promise<Evaluation> {
    this.#assertResting('evaluate');
    const found = await evaluate(this.#engine, this.#graph, this.#run, data, options);
    if (found === undefined) throw closedError();
    return found;
  }

  /**
   * Writes all that is needed to go on with the same bits: parameters, optimizer state, averages,
   * schedule, position in the data, history. The file appears whole or not at all. Rejects with
   * ERR_BUSY while a step runs (callbacks may call it), ERR_CLOSED, or an error of the file system.
   */
  async saveCheckpoint(path: string | URL): Promise<void> {
    this.#assertResting('saveCheckpoint');
    const snapshot = await takeSnapshot(this.#engine, this.#run);
    await writeCheckpoint(path, this.#owner, snapshot);
  }

  /**
   * Reads what saveCheckpoint or fit wrote; the next fit goes on in the middle of the epoch, if that
   * is where it was. All of the file is checked before anything changes. Rejects with ERR_FILE_FORMAT,
   * also for another model's, ERR_ARGUMENT for a trainer with other options, ERR_BUSY, ERR_CLOSED, or
   * an error of the file system.
   */
  async loadCheckpoint(path: string | URL): Promise<void> {
    this.#assertFree('loadCheckpoint');
    await this.#exclusively(async () => {
      const snapshot = await readCheckpoint(path, this.#owner);
      await restoreSnapshot(snapshot, this.#engine, this.#run);
    });
  }

  /**
   * A model with the averages of the option `ema` in place of the parameters, to save, evaluate or
   * predict with. Rejects with ERR_ARGUMENT without that option, ERR_BUSY while a step runs,
   * ERR_CLOSED.
   */
  async averagedModel(): Promise<Model> {
    this.#assertResting('averagedModel');
    checkAverages(this.#engine, 'averagedModel');
    return await this.#run.alone(() => averagedModel(this.model, this.#state, this.#engine));
  }

  /**
   * Trains on `data` with a learning rate that grows from step to step, and then puts everything back
   * as it was: Smith, "Cyclical Learning Rates for Training Neural Networks" (2017). Rejects as fit.
   */
  async findLearningRate(
    data: Data | Dataset,
    options?: RateFinderOptions,
  ): Promise<RateFinderResult> {
    this.#assertFree('findLearningRate');
    const plan = planRateFinder(options);
    const { feeds } = this.#graph;
    const given = isDataset(data) ? data.batchSize : undefined;
    const batchSize = readBatchSize(plan.batchSize ?? given, feeds);
    const supply = this.#supply(data);
    const { seed } = this.#engine.settings.native;
    return await this.#exclusively(() =>
      findRate(
        this.#engine,
        plan,
        (epoch) => supply.epoch({ epoch, batchSize, start: 0, seed, signal: this.#run.ended }),
        () => this.#run.closed,
        (step) => lossOf(this.#graph, step),
      ),
    );
  }

  /** All rows of data that are checked as far as they are known. */
  #supply(data: Data | Dataset): Supply {
    const { feeds } = this.#graph;
    if (isDataset(data)) return datasetSupply(data, feeds, 'data');
    const later: Later = [];
    const rows = readRows(data, feeds, 'data', later);
    checkWhole(rows.count, feeds, 'data');
    return arraySupply(rows, { start: 0, count: rows.count }, later);
  }

  get #owner(): Owner {
    const { parameters } = this.model;
    return { native: this.#engine.native, model: this.#state, parameters };
  }

  /** Ends a running fit at the next step boundary; it resolves with the history so far. */
  stop(): void {
    if (!this.#fitting || this.#run.closed) return;
    this.#run.stopped = true;
    this.#run.interrupt?.();
    this.#engine.native.stop();
  }

  /**
   * Brings the host's copy of the parameters, which `model.parameters` shows, up to date with a GPU's.
   * fit, save and close do so by themselves; step does not. On the CPU there is one copy only.
   * Rejects with ERR_CLOSED, ERR_DEVICE.
   */
  async sync(): Promise<void> {
    if (this.#run.closed) throw closedError();
    if (!this.#onGpu) return;
    await restored(this.#state);
    await this.#run.alone(() => this.#engine.native.sync());
  }

  /**
   * Sends the parameters as the host has them to a GPU, after writing to `model.parameters`. Rejects
   * with ERR_CLOSED, ERR_BUSY while fit or step runs outside their callbacks, ERR_DEVICE.
   */
  async upload(): Promise<void> {
    this.#assertResting('upload');
    if (this.#onGpu) await this.#run.alone(() => this.#engine.native.upload());
  }

  /** Operations, memory as allocated, and the latency of steps. Throws ERR_CLOSED. */
  profile(): ProfileDescription {
    if (this.#run.closed) throw closedError();
    return this.#engine.native.profile();
  }

  /**
   * Ends what runs and frees native memory; the model and its parameters stay. Calling it again does
   * nothing more.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#run.close();
    this.#engine.native.stop(true);
    await Promise.allSettled([this.#training, this.#run.settled()]);
    const { native: trainer } = this.#engine;
    try {
      if (this.#state.devices.delete(trainer)) await trainer.sync();
    } finally {
      trainer.close();
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #assertFree(what: string): void {
    if (this.#run.closed) throw closedError();
    if (this.#state.taken !== undefined) throw busyError(what);
  }

  /**
   * Whether more of a number that epochs report is better: as its metric says, where that is one of this library
   * or has `largerIsBetter`, otherwise by its name, as `mode` of earlyStopping describes. Throws ERR_ARGUMENT.
   */
  largerIsBetter(name: string): boolean {
    return this.#graph.directions.get(is.string(name, 'name')) ?? largerIsBetter(name);
  }

  /**
   * Whether what is best is judged by the averages of `ema`.
   * @internal
   */
  get validatesAverages(): boolean {
    return this.#engine.settings.validatesAverages;
  }

  /** For what native code must not do while it trains. */
  #assertResting(what: string): void {
    if (this.#run.closed) throw closedError();
    if (this.#state.training) throw busyError(what);
  }

  async #exclusively<R>(body: () => Promise<R>): Promise<R> {
    this.#run.stopped = false;
    this.#state.taken = this.#run;
    const running = this.#run.settled().then(body);
    this.#training = running;
    try {
      return await running;
    } catch (error) {
      throw countFromZero(error);
    } finally {
      this.#training = undefined;
      this.#state.taken = undefined;
    }
  }
}
