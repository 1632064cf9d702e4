// The loop over epochs.
import { TandemError } from '../errors.js';
import type { Trainer } from '../trainer.js';
import type { Callback, Logs } from './callbacks.js';
import { type Feeds, findBadRows } from './data.js';
import type { Result } from './divisors.js';
import type { Engine } from './engine.js';
import { type History, Means, makeHistory, record, validationName } from './history.js';
import { aborted, type FitPlan } from './plan.js';
import { makeProgress, type Progress } from './progress.js';
import { badRow, countFromZero, smallest, stepLogs } from './reports.js';
import type { RunState } from './run.js';
import { noRows, type StepSource, type Supply } from './supply.js';
import { type Tallied, Tally, type Tracked } from './tally.js';

export class Fit {
  readonly #history: History = makeHistory();
  /** Callbacks between their onTrainBegin and onTrainEnd. */
  readonly #begun = new Set<Callback>();

  constructor(
    readonly trainer: Trainer,
    readonly engine: Engine,
    readonly feeds: Feeds,
    readonly results: readonly Result[],
    readonly tracked: readonly Tracked[],
    readonly plan: FitPlan,
    readonly run: RunState,
    /** Resolves when evaluations begun in callbacks are over. */
    readonly settled: () => Promise<unknown>,
  ) {}

  async start(): Promise<History> {
    const { plan, run, trainer } = this;
    const stop = () => this.engine.native.stop();
    plan.signal?.addEventListener('abort', stop);
    const progress = await makeProgress(plan.verbose, run.epoch + plan.epochs);
    try {
      this.#throwIfEnded();
      await this.#checkNumerics();
      const reports = this.#reports();
      await this.#call((callback) => {
        this.#begun.add(callback);
        return callback.onTrainBegin?.(trainer, reports);
      });
      for (let i = 0; i < plan.epochs && !run.stopped; i++) await this.#epoch(progress);
      await this.#call((callback) => this.#trainEnd(callback));
      await this.#toGpu();
      return this.#history;
    } catch (thrown) {
      const error = countFromZero(thrown);
      await this.#cleanUp(error);
      throw error;
    } finally {
      plan.signal?.removeEventListener('abort', stop);
      progress.end();
    }
  }

  /** The names in an epoch's logs. */
  #reports(): string[] {
    const names = [...this.results, ...this.tracked].map(({ name }) => name);
    const validated = this.plan.validation === undefined ? [] : names.map(validationName);
    return [...names, ...validated, 'learningRate'];
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
    await quietly(() => this.#fromGpu());
    for (const callback of this.plan.callbacks) {
      await quietly(() => Promise.race([this.#trainEnd(callback, error), this.run.whenClosed]));
    }
    await quietly(() => this.#toGpu());
    await this.settled();
  }

  async #epoch(progress: Progress): Promise<void> {
    const { plan, run, engine, trainer } = this;
    const epoch = run.epoch;
    const source = await this.#open(plan.training, epoch);
    const means = new Means(this.results);
    const tally = new Tally(this.tracked);
    const singly = plan.callbacks.some(({ onBatchEnd }) => onBatchEnd !== undefined);
    let learningRate = Number.NaN;
    try {
      await this.#call((callback) => callback.onEpochBegin?.(epoch, trainer));
      progress.epochBegin(epoch, source.steps ?? 0);
      await engine.train(source, singly, this.#halted, async (steps) => {
        for (const step of steps) {
          means.add(step.values, step.offset, step.which, step.of);
          tally.add(step.values, step.offset, step.which.length);
          learningRate = step.learningRate;
        }
        const last = steps.at(-1);
        progress.step(steps.length, last?.values[last.offset] ?? Number.NaN);
        if (!singly) return true;
        for (const step of steps) {
          const logs = await stepLogs(this.results, this.tracked, step);
          await this.#call((callback) => callback.onBatchEnd?.(step.step, logs, trainer));
        }
        return !run.stopped;
      });
    } finally {
      await source.close?.();
    }
    this.#throwIfEnded();
    if (means.rows === 0) {
      if (!run.stopped) throw noRows('data');
      // Stopped before the epoch's first step: there is nothing to report.
      return;
    }
    run.epoch++;
    const { numbers, matrices } = await tally.results();
    const held = await this.#validate();
    const logs: Logs = { ...means.logs(), ...numbers, ...held.numbers, learningRate };
    const tables = { ...matrices, ...held.matrices };
    record(this.#history, epoch, logs, tables);
    progress.epochEnd(epoch, logs);
    await this.#fromGpu();
    await this.#call((callback) => callback.onEpochEnd?.(epoch, logs, trainer, tables));
  }

  /** An epoch's end shows the parameters to callbacks, and to whoever ends the fit there. */
  async #fromGpu(): Promise<void> {
    const { native } = this.engine;
    if (native.device !== 'cpu') await native.sync();
  }

  /** The last callbacks may have set parameters, as earlyStopping does. */
  async #toGpu(): Promise<void> {
    const { native } = this.engine;
    if (native.device !== 'cpu' && this.plan.callbacks.length > 0) await native.upload();
  }

  async #validate(): Promise<Tallied> {
    const { validation } = this.plan;
    if (validation === undefined) return { numbers: {}, matrices: {} };
    const ended = () => this.run.closed || this.plan.signal?.aborted === true;
    const { engine, results, tracked } = this;
    const source = await this.#open(validation, 0);
    try {
      const measured = await measure(engine, results, tracked, source, ended);
      this.#throwIfEnded();
      return await measured(validationName);
    } finally {
      await source.close?.();
    }
  }

  /** The rows of an epoch: the same order whenever seed and epoch are; `supply` may be held back. */
  #open(supply: Supply, epoch: number): Promise<StepSource> {
    const { plan, engine } = this;
    const { seed, checkNumerics } = engine.settings.native;
    const training = supply === plan.training;
    return supply.epoch({
      epoch,
      batchSize: plan.batchSize,
      seed: training && plan.shuffle ? seed : undefined,
      signal: plan.signal,
      checkFrom: checkNumerics ? engine.native.step : undefined,
    });
  }

  readonly #halted = (): boolean =>
    this.run.stopped || this.run.closed || this.plan.signal?.aborted === true;

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
      // A callback that closes the trainer and awaits that must not wait for itself.
      const result = await Promise.race([hook(callback), this.run.whenClosed]);
      if (result === false) this.run.stopped = true;
    }
    await this.settled();
    this.#throwIfEnded();
  }

  /** With checkNumerics: the first step that would meet a NaN in arrays, before any step runs. */
  async #checkNumerics(): Promise<void> {
    const { plan, engine, run, feeds } = this;
    if (!engine.settings.native.checkNumerics) return;
    const { training, validation } = plan.arrays;
    const bad = training ? await findBadRows(training.rows, feeds) : new Map<number, string>();
    if (bad.size > 0) {
      const source = await this.#open(plan.training, run.epoch);
      const order = (await source.next(source.steps ?? 0))?.order ?? new Uint32Array();
      const position = order.findIndex((row) => bad.has(row));
      if (position !== -1) {
        const step = engine.native.step + Math.floor(position / plan.batchSize);
        throw badRow(bad, order[position] ?? 0, '', step);
      }
    }
    if (validation === undefined) return;
    const apart = validation.rows !== training?.rows;
    const held = apart ? await findBadRows(validation.rows, feeds) : bad;
    const { start, count } = validation.which;
    const row = smallest(held.keys(), start, start + count);
    if (row !== undefined)
      throw badRow(held, row, apart ? 'validationData: ' : 'validationSplit: ');
  }
}

/** All results over the rows of `source`, in inference mode; what comes back gives them names. */
export async function measure(
  engine: Engine,
  results: readonly Result[],
  tracked: readonly Tracked[],
  source: StepSource,
  ended: () => boolean,
): Promise<(rename?: (name: string) => string) => Promise<Tallied>> {
  const means = new Means(results);
  const tally = new Tally(tracked);
  await engine.evaluate(source, ended, (values, offset, which, rows) => {
    means.add(values, offset, which, rows);
    tally.add(values, offset, which.length);
  });
  if (means.rows === 0 && !ended()) throw noRows('data');
  return async (rename) => {
    const { numbers, matrices } = await tally.results(rename);
    return { numbers: { ...means.logs(rename), ...numbers }, matrices };
  };
}
