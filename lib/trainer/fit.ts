// The loop over epochs.
import { offAbort, onAbort } from '../aborts.js';
import { TandemError } from '../errors.js';
import { restored } from '../model/state.js';
import { checkMonitor } from '../schedulers.js';
import type { Trainer } from '../trainer.js';
import { EpochsAhead } from './ahead.js';
import type { Callback, Logs } from './callbacks.js';
import type { Position } from './checkpoint/contents.js';
import type { Owner } from './checkpoint/file.js';
import type { Engine, Step } from './engine.js';
import { OpenEpoch, placeBefore } from './epoch.js';
import { measure } from './evaluation.js';
import type { TrainingGraph } from './graph.js';
import { type History, makeHistory, record, validationName } from './history.js';
import { limited } from './micro-batches.js';
import { checkArrays } from './numerics.js';
import type { FitPlan } from './plan.js';
import { makeProgress, type Progress } from './progress.js';
import { countFromZero, lossOf, stepLogs } from './reports.js';
import { checkCallbacks, checkData, restoreCallbacks, typeOf } from './resume.js';
import type { RunState } from './run.js';
import { Saver } from './saver.js';
import { aborted, isAborted } from './signal.js';
import { type EpochPlan, noRows, type StepSource, type Supply } from './supply.js';
import type { Tallied } from './tally.js';
import { beginCall, beginTermination, callsNow, endTermination } from './termination.js';

export class Fit {
  readonly #history: History = makeHistory();
  readonly #saver: Saver;
  readonly #epochs: EpochsAhead;
  #firstEpoch = 0;
  #open: OpenEpoch | undefined;
  /** The numbers of an epoch that has ended and that checkpoints do not know of yet. */
  #ended: Logs | undefined;
  /** Whether SIGTERM has come. */
  #terminated = false;
  /** Callbacks of other fits, one of which may have begun this one. */
  readonly #around = callsNow();
  /** Whether an evaluation that runs is that of this run: those of others are to be whole. */
  #validating = false;
  /** Of sources to train on, which may never answer: whatever ends the run. */
  readonly #ending = new AbortController();
  /** Of those to validate on: the same but stop(), which waits for the epoch's report. */
  readonly #cutting = new AbortController();
  /** What callbacks kept in the checkpoint, until they get it back. */
  #kept: readonly unknown[] | undefined;
  /** Callbacks between their onTrainBegin and onTrainEnd. */
  readonly #begun = new Set<Callback>();

  constructor(
    readonly trainer: Trainer,
    readonly engine: Engine,
    readonly graph: TrainingGraph,
    readonly plan: FitPlan,
    readonly run: RunState,
    owner: Owner,
  ) {
    this.#saver = new Saver(engine, run, plan, owner);
    this.#epochs = new EpochsAhead(plan.training);
  }

  async start(): Promise<History> {
    const { plan, run } = this;
    const stop = () => {
      this.engine.native.stop(this.#validating);
      this.#interrupt();
    };
    const terminate = () => {
      this.#terminated = true;
      beginTermination();
      stop();
    };
    run.interrupt = () => this.#interrupt();
    if (plan.signal) onAbort(plan.signal, stop);
    if (plan.exitOnSigterm) process.once('SIGTERM', terminate);
    let progress: Progress | undefined;
    let failed = false;
    try {
      this.#throwIfEnded();
      await this.#begin();
      const last = this.#firstEpoch + plan.epochs;
      progress = await makeProgress(plan.verbose, last);
      while (run.epoch < last && !run.stopped && !this.#terminated) await this.#epoch(progress);
      await this.#saver.save();
      await this.#call((callback) => this.#trainEnd(callback));
      await this.#toGpu();
      await this.#saver.settled();
      return this.#history;
    } catch (thrown) {
      const error = countFromZero(thrown);
      failed = true;
      await this.#cleanUp(error);
      throw error;
    } finally {
      run.locate = undefined;
      run.interrupt = undefined;
      if (plan.signal) offAbort(plan.signal, stop);
      process.off('SIGTERM', terminate);
      progress?.end();
      // Not to wait for what nobody wants any more.
      if (this.#epochs.pending) this.#ending.abort();
      await this.#epochs.close();
      if (this.#terminated) await endTermination(!failed, this.#around);
    }
  }

  /** Up to the first epoch, where a checkpoint or the start of this call has it. */
  async #begin(): Promise<void> {
    const { run, plan, trainer } = this;
    const proceed = () => this.#throwIfEnded();
    for (const supply of [plan.training, plan.validation]) await supply?.prepare?.(proceed);
    proceed();
    const reports = this.#reports();
    const { monitor } = this.engine.settings.schedule;
    if (monitor !== undefined) checkMonitor(monitor, reports);
    const check = (position: Position) => {
      checkData(position, plan);
      if (position.fit) checkCallbacks(position.fit, plan);
    };
    const mayRefuse = plan.callbacks.length > 0 || this.#throwsOnBadRows;
    const resumed = (await this.#saver.begin(reports, check, mayRefuse))?.fit;
    if (run.resume) checkData(run.resume, plan);
    this.#firstEpoch = resumed?.firstEpoch ?? run.epoch;
    if (resumed) {
      Object.assign(this.#history, resumed.history);
      Object.assign(this.#history.matrices, resumed.matrices);
      this.#kept = resumed.callbacks;
    }
    run.locate = () => this.#position();
    this.#readAhead(run.epoch, run.resume?.batch ?? 0);
    if (this.#throwsOnBadRows) {
      const open = () => this.#openSource(plan.training, run.epoch, run.resume?.batch ?? 0);
      await checkArrays(plan, this.engine, open);
    }
    // Their memory is taken now, so that where there is none no epoch is in vain.
    if (plan.validation !== undefined && this.engine.settings.validatesAverages)
      await run.alone(() => this.engine.native.copyAverages());
    await this.#call((callback) => {
      this.#begun.add(callback);
      return callback.onTrainBegin?.(trainer, reports);
    });
    if (resumed && restoreCallbacks(plan.callbacks, resumed)) run.stopped = true;
    this.#kept = undefined;
    this.#saver.begun();
    await this.#saver.claimBest(trainer);
  }

  /** Where this call is, for checkpoints. */
  #position(): Position {
    const { run, plan } = this;
    return {
      // One that has just been resumed may not have been opened.
      ...(this.#open?.place ?? run.resume ?? placeBefore(run.epoch)),
      fit: {
        firstEpoch: this.#firstEpoch,
        batchSize: plan.batchSize,
        shuffle: plan.shuffle,
        history: { ...this.#history },
        matrices: this.#history.matrices,
        callbacks: plan.callbacks.map(
          (callback, i) => (this.#kept ? this.#kept[i] : callback.saveState?.()) ?? null,
        ),
        types: plan.callbacks.map(typeOf),
        best: this.#saver.best,
        monitor: this.#saver.monitor,
        rows: plan.rows,
        generation: this.#saver.generation,
      },
    };
  }

  /** The names in an epoch's logs. */
  #reports(): string[] {
    const { results, tracked } = this.graph;
    const names = [...results, ...tracked].map(({ name }) => name);
    const validated = this.plan.validation === undefined ? [] : names.map(validationName);
    const skipped = this.#skips ? ['skippedSteps'] : [];
    return [...names, ...validated, 'learningRate', ...skipped];
  }

  #trainEnd(callback: Callback, ...error: [error?: unknown]): unknown {
    if (!this.#begun.delete(callback)) return undefined;
    return callback.onTrainEnd?.(this.trainer, ...error);
  }

  /** After an error: the end of training for callbacks that have not seen it. */
  async #cleanUp(error: unknown): Promise<void> {
    const quietly = async (action: () => unknown) => {
      try {
        await action();
      } catch {
        // The first error is the one to report.
      }
    };
    const interrupted = this.plan.signal?.aborted === true || this.#terminated;
    // What it fails with is reported in place of the abort: somebody relies on the checkpoint.
    let failure: { readonly error: unknown } | undefined;
    if (interrupted && this.run.locate && !this.run.closed) {
      try {
        await this.#saveEpoch();
        await this.#saver.save();
      } catch (reason) {
        failure = { error: reason };
      }
    }
    try {
      await this.#saver.settled();
    } catch (reason) {
      failure ??= { error: reason };
    }
    await quietly(() => this.#fromGpu());
    for (const callback of this.plan.callbacks) {
      await quietly(() => this.run.unlessClosed(this.#trainEnd(callback, error)));
      // A trainer that is closed meanwhile ends with them, too.
      await restored(this.engine.model);
    }
    await quietly(() => this.#toGpu());
    await this.run.settled();
    if (!interrupted && !this.run.closed) await this.#saver.undo();
    if (interrupted && failure) throw failure.error;
  }

  async #epoch(progress: Progress): Promise<void> {
    const { plan, run, trainer } = this;
    const place = run.resume ?? placeBefore(run.epoch);
    run.resume = undefined;
    const { checkNumerics } = this.engine.settings.native;
    const open = new OpenEpoch(this.graph, place, this.#skips, checkNumerics);
    this.#open = open;
    const next = this.#epochPlan(plan.training, open.epoch, open.batch);
    let source = await this.#epochs.open(next);
    try {
      await this.#call((callback) => callback.onEpochBegin?.(open.epoch, trainer));
      source = await this.#epochs.afresh(next, source);
      const { microBatches } = this.engine.settings;
      progress.epochBegin(open.epoch, Math.ceil((source.steps ?? 0) / microBatches));
      const noticed = this.#epochs.noticing(source, () => this.#readAhead(open.epoch + 1));
      await this.#train(noticed, open, progress);
    } finally {
      if (this.#halted()) this.#interrupt();
      await source.close?.();
    }
    this.#throwIfEnded();
    if (this.#terminated) return;
    if (open.batch === 0) {
      this.#open = undefined;
      if (!run.stopped) throw noRows('data');
      // Stopped before the epoch's first step: there is nothing to report.
      return;
    }
    const validated = await this.#validate();
    if (this.#terminated) return;
    run.epoch++;
    await this.#epochEnd(open, validated, progress);
  }

  /** The steps of an epoch, with checkpoints between them. */
  async #train(source: StepSource, open: OpenEpoch, progress: Progress): Promise<void> {
    const { plan, engine } = this;
    const { microBatches } = engine.settings;
    const singly = plan.callbacks.some(({ onBatchEnd }) => onBatchEnd !== undefined);
    for (;;) {
      const part = limited(source, this.#saver.stepsLeft * microBatches);
      await engine.train(part, singly, this.#halted, (steps) =>
        this.#onSteps(steps, open, singly, progress),
      );
      if (part.ended || this.#halted()) return;
      await this.#saver.save();
    }
  }

  async #onSteps(
    steps: readonly Step[],
    open: OpenEpoch,
    singly: boolean,
    progress: Progress,
  ): Promise<boolean> {
    open.add(steps);
    const last = steps.at(-1);
    progress.step(steps.length, last ? lossOf(this.graph, last) : Number.NaN);
    if (!singly) return true;
    for (const step of steps) {
      const logs = await stepLogs(this.graph, step);
      await this.#call((callback) => callback.onBatchEnd?.(step.step, logs, this.trainer));
    }
    return !this.run.stopped;
  }

  async #epochEnd(open: OpenEpoch, validated: Tallied, progress: Progress): Promise<void> {
    const { epoch } = open;
    const { logs, matrices } = await open.results(validated);
    record(this.#history, epoch, logs, matrices);
    progress.epochEnd(epoch, logs);
    await this.#fromGpu();
    this.engine.settings.schedule.onEpochEnd?.(logs, this.trainer);
    this.#open = undefined;
    this.#ended = logs;
    await this.#call((callback) => callback.onEpochEnd?.(epoch, logs, this.trainer, matrices));
    await this.#saveEpoch();
  }

  /** Also where a callback's abort is the end: the epoch may be the best one. */
  async #saveEpoch(): Promise<void> {
    const logs = this.#ended;
    this.#ended = undefined;
    if (logs !== undefined) await this.#saver.epochEnd(logs, this.trainer);
  }

  get #skips(): boolean {
    return this.engine.settings.skips;
  }

  get #throwsOnBadRows(): boolean {
    const { checkNumerics, skip } = this.engine.settings.native;
    return checkNumerics && skip === null;
  }

  /** Begins to read an epoch that will be trained on, if nothing ends the run before. */
  #readAhead(epoch: number, start = 0): void {
    if (epoch >= this.#firstEpoch + this.plan.epochs || this.#halted()) return;
    this.#epochs.begin(this.#epochPlan(this.plan.training, epoch, start));
  }

  #openSource(supply: Supply, epoch: number, start: number): Promise<StepSource> {
    return supply.epoch(this.#epochPlan(supply, epoch, start));
  }

  /** The rows of an epoch: the same order whenever seed and epoch are; `supply` may be held back. */
  #epochPlan(supply: Supply, epoch: number, start: number): EpochPlan {
    const { plan, engine } = this;
    const { seed } = engine.settings.native;
    const training = supply === plan.training;
    const microBatches = training ? engine.settings.microBatches : 1;
    return {
      epoch,
      batchSize: plan.batchSize,
      start,
      seed: training && plan.shuffle ? seed : undefined,
      drawSeed: seed,
      signal: (training ? this.#ending : this.#cutting).signal,
      checkFrom: this.#throwsOnBadRows ? engine.native.step * microBatches : undefined,
      microBatches,
    };
  }

  /** An epoch's end shows the parameters to callbacks, and to whoever ends the fit there. */
  async #fromGpu(): Promise<void> {
    const { native } = this.engine;
    if (native.device !== 'cpu') await this.run.alone(() => native.sync());
  }

  /** The last callbacks may have set parameters, as earlyStopping does. */
  async #toGpu(): Promise<void> {
    const { native } = this.engine;
    if (native.device === 'cpu' || this.plan.callbacks.length === 0) return;
    await this.run.alone(() => native.upload());
  }

  async #validate(): Promise<Tallied> {
    const { validation } = this.plan;
    if (validation === undefined) return { numbers: {}, matrices: {} };
    const ended = () => this.run.closed || this.plan.signal?.aborted === true || this.#terminated;
    const { results, tracked } = this.graph;
    const { validatesAverages } = this.engine.settings;
    const source = await this.#openSource(validation, 0, 0);
    try {
      const measured = await this.run.alone(async () => {
        this.#validating = true;
        try {
          return await measure(this.engine, results, tracked, source, validatesAverages, ended);
        } finally {
          this.#validating = false;
        }
      });
      this.#throwIfEnded();
      return await measured(validationName);
    } catch (error) {
      this.#throwIfEnded();
      if (this.#terminated && isAborted(error)) return { numbers: {}, matrices: {} };
      throw error;
    } finally {
      await source.close?.();
    }
  }

  /** Ends what is waited for: for the reason of the user's signal, if it has one. */
  #interrupt(): void {
    const { signal } = this.plan;
    this.#ending.abort(signal?.reason);
    if (this.run.closed || this.#terminated || signal?.aborted) this.#cutting.abort(signal?.reason);
  }

  readonly #halted = (): boolean =>
    this.run.stopped || this.run.closed || this.plan.signal?.aborted === true || this.#terminated;

  #throwIfEnded(): void {
    if (this.run.closed) {
      throw new TandemError(
        'ERR_CLOSED',
        'expected an open Trainer, received one closed during fit',
      );
    }
    if (this.plan.signal?.aborted) throw aborted(this.plan.signal);
  }

  async #call(hook: (callback: Callback) => unknown): Promise<void> {
    for (const callback of this.plan.callbacks) {
      const end = this.plan.exitOnSigterm ? beginCall() : undefined;
      try {
        // A callback that closes the trainer and awaits that must not wait for itself.
        const result = await this.run.unlessClosed(hook(callback));
        if (result === false) this.run.stopped = true;
      } finally {
        end?.();
      }
    }
    await this.run.settled();
    this.#throwIfEnded();
  }
}
