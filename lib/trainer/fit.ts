// The loop over epochs.
import { TandemError } from '../errors.js';
import * as is from '../is.js';
import type { Trainer } from '../trainer.js';
import type { Callback, Logs } from './callbacks.js';
import {
  checkWhole,
  type Data,
  type Feeds,
  findBadRows,
  type Rows,
  readBatchSize,
  readData,
} from './data.js';
import type { Result } from './divisors.js';
import type { Engine, Step } from './engine.js';
import { type History, Means, record, validationName } from './history.js';
import { makeProgress, type Progress } from './progress.js';
import { generator, inOrder, type Span, shuffled } from './random.js';

/** How fit goes through the data, what it measures, reports, and what ends it. */
export interface FitOptions {
  /** How often all rows are gone through; 1 by default. */
  epochs?: number;
  /**
   * Rows of a step; 32 by default, or the batch that the model's inputs fix. The last step of an
   * epoch takes what is left; with a fixed batch there must be nothing left.
   */
  batchSize?: number;
  /** Rows to measure after each epoch, in inference mode; none by default. */
  validationData?: Data | readonly [x: Data['x'], y: Data['y']];
  /**
   * Share of the rows, between 0 and 1, taken from the end before any shuffle, to measure after each
   * epoch; none by default.
   */
  validationSplit?: number;
  /** Whether each epoch has an order of its own, which follows from the seed; true by default. */
  shuffle?: boolean;
  /** Called in order and awaited; none by default. */
  callbacks?: readonly Callback[];
  /** 0: silent. 1 (the default): a bar on a terminal, else a line an epoch. 2: a line an epoch. */
  verbose?: 0 | 1 | 2;
  /** Ends training at a step boundary with ERR_ABORTED; the model keeps the steps taken. */
  signal?: AbortSignal;
}

/** Everything about a call of fit, checked. */
export interface FitPlan {
  readonly rows: Rows;
  /** The rows to train on. */
  readonly training: Span;
  readonly validation: { readonly rows: Rows; readonly which: Span } | undefined;
  readonly epochs: number;
  readonly batchSize: number;
  readonly shuffle: boolean;
  readonly callbacks: readonly Callback[];
  readonly verbose: 0 | 1 | 2;
  readonly signal: AbortSignal | undefined;
}

export function planFit(data: Data, options: FitOptions | undefined, feeds: Feeds): FitPlan {
  const set = is.options(
    options,
    'options of fit',
    [
      'epochs',
      'batchSize',
      'validationData',
      'validationSplit',
      'shuffle',
      'callbacks',
      'verbose',
      'signal',
    ],
    ['checkpoint', 'resumeFrom'],
  );
  const epochs = is.integer(set.epochs ?? 1, 'epochs', 1);
  const batchSize = readBatchSize(set.batchSize, feeds);
  const rows = readData(data, feeds, 'data');
  let training = rows.count;
  let validation: FitPlan['validation'];
  if (set.validationData !== undefined && set.validationSplit !== undefined) {
    const what = 'either `validationData` or `validationSplit`';
    throw is.mismatch('ERR_ARGUMENT', what, 'options of fit', 'both');
  }
  if (set.validationData !== undefined) {
    const held = readData(set.validationData, feeds, 'validationData');
    checkWhole(held.count, feeds, 'validationData');
    validation = { rows: held, which: { start: 0, count: held.count } };
  }
  if (set.validationSplit !== undefined) {
    const split = is.number(set.validationSplit, 'validationSplit', 0, 1);
    // The small number undoes the rounding of 1 - split.
    training = Math.floor(rows.count * (1 - split) + 1e-9);
    if (training === 0 || training === rows.count) {
      const what = `a share that leaves rows on both sides of ${rows.count}`;
      throw is.invalid(what, 'validationSplit', split);
    }
    checkWhole(rows.count - training, feeds, 'validationSplit');
    validation = { rows, which: { start: training, count: rows.count - training } };
  }
  checkWhole(training, feeds, 'data');
  return {
    rows,
    training: { start: 0, count: training },
    validation,
    epochs,
    batchSize,
    shuffle: is.boolean(set.shuffle ?? true, 'shuffle'),
    callbacks: checkCallbacks(set.callbacks),
    verbose: is.oneOf(set.verbose ?? 1, 'verbose', [0, 1, 2]),
    signal: checkSignal(set.signal),
  };
}

const hooks = ['onTrainBegin', 'onTrainEnd', 'onEpochBegin', 'onEpochEnd', 'onBatchEnd'] as const;

function checkCallbacks(value: unknown): readonly Callback[] {
  if (value === undefined) return [];
  if (!Array.isArray(value)) throw is.invalid('an array of callbacks', 'callbacks', value);
  value.forEach((item: unknown, i) => {
    const name = `callbacks[${i}]`;
    const of: object = typeof item === 'object' && item !== null ? item : {};
    const found = hooks.filter((hook) => hook in of);
    if (found.length === 0) throw is.invalid(`an object with ${hooks.join(' or ')}`, name, item);
    for (const hook of found) {
      const method: unknown = Reflect.get(of, hook);
      if (method !== undefined && typeof method !== 'function') {
        throw is.invalid('a function', `${name}.${hook}`, method);
      }
    }
  });
  return value as Callback[];
}

export function checkSignal(value: unknown): AbortSignal | undefined {
  if (value === undefined || value instanceof AbortSignal) return value;
  throw is.invalid('an AbortSignal', 'signal', value);
}

export function aborted(signal: AbortSignal): TandemError {
  const cause: unknown = signal.reason;
  return new TandemError('ERR_ABORTED', 'expected to finish, received an abort by `signal`', {
    cause,
  });
}

/** What ends a run early. */
export interface RunState {
  stopped: boolean;
  readonly closed: boolean;
  /** Resolves once closed. */
  readonly whenClosed: Promise<void>;
  close(): void;
  /** The next epoch's number. */
  epoch: number;
}

export function makeRun(): RunState {
  let closed = false;
  let resolve = () => {};
  const whenClosed = new Promise<void>((done) => {
    resolve = done;
  });
  return {
    stopped: false,
    get closed() {
      return closed;
    },
    whenClosed,
    close() {
      closed = true;
      resolve();
    },
    epoch: 0,
  };
}

export class Fit {
  readonly #history: History = { epochs: [], loss: [], learningRate: [] };
  /** Callbacks between their onTrainBegin and onTrainEnd. */
  readonly #begun = new Set<Callback>();

  constructor(
    readonly trainer: Trainer,
    readonly engine: Engine,
    readonly feeds: Feeds,
    readonly results: readonly Result[],
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
    const names = this.results.map(({ name }) => name);
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
    const order = await this.#order(epoch);
    await this.#call((callback) => callback.onEpochBegin?.(epoch, trainer));
    progress.epochBegin(epoch, Math.ceil(order.length / plan.batchSize));
    const means = new Means(this.results, plan.rows);
    const singly = plan.callbacks.some(({ onBatchEnd }) => onBatchEnd !== undefined);
    let learningRate = Number.NaN;
    let position = 0;
    await engine.train(plan.rows, order, plan.batchSize, singly, this.#halted, async (steps) => {
      for (const step of steps) {
        means.add(step.values, step.offset, order.subarray(position, position + step.rows));
        position += step.rows;
        learningRate = step.learningRate;
      }
      progress.step(steps.length, steps.at(-1)?.values.at(-1 - this.results.length) ?? Number.NaN);
      if (!singly) return true;
      for (const step of steps) {
        const logs = stepLogs(this.results, step);
        await this.#call((callback) => callback.onBatchEnd?.(step.step, logs, trainer));
      }
      return !run.stopped;
    });
    this.#throwIfEnded();
    // Stopped before the epoch's first step: there is nothing to report.
    if (means.rows === 0) return;
    run.epoch++;
    const logs: Logs = { ...means.logs(), ...(await this.#validate()), learningRate };
    record(this.#history, epoch, logs);
    progress.epochEnd(epoch, logs);
    await this.#fromGpu();
    await this.#call((callback) => callback.onEpochEnd?.(epoch, logs, trainer));
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

  async #validate(): Promise<Logs> {
    const { validation, batchSize } = this.plan;
    if (validation === undefined) return {};
    const ended = () => this.run.closed || this.plan.signal?.aborted === true;
    const { rows, which } = validation;
    const means = await measure(this.engine, this.results, rows, which, batchSize, ended);
    this.#throwIfEnded();
    return means.logs(validationName);
  }

  /** The rows in the order of this epoch: the same whenever seed and epoch are. */
  #order(epoch: number): Promise<Uint32Array> {
    const { plan, engine } = this;
    if (!plan.shuffle) return inOrder(plan.training);
    return shuffled(plan.training, generator(engine.settings.native.seed, epoch));
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

  /** With checkNumerics: the first step that would meet a NaN, before any step runs. */
  async #checkNumerics(): Promise<void> {
    const { plan, engine, run, feeds } = this;
    if (!engine.settings.native.checkNumerics) return;
    const bad = await findBadRows(plan.rows, feeds);
    const order = bad.size > 0 ? await this.#order(run.epoch) : new Uint32Array();
    const position = order.findIndex((row) => bad.has(row));
    if (position !== -1) {
      const step = engine.native.step + Math.floor(position / plan.batchSize);
      throw badRow(bad, order[position] ?? 0, '', step);
    }
    const { validation } = plan;
    if (validation === undefined) return;
    const apart = validation.rows !== plan.rows;
    const held = apart ? await findBadRows(validation.rows, feeds) : bad;
    const { start, count } = validation.which;
    const row = smallest(held.keys(), start, start + count);
    if (row !== undefined)
      throw badRow(held, row, apart ? 'validationData: ' : 'validationSplit: ');
  }
}

/** The smallest of `rows` from `begin` to before `end`, if there is one. */
export function smallest(
  rows: Iterable<number>,
  begin = 0,
  end = Number.POSITIVE_INFINITY,
): number | undefined {
  let found: number | undefined;
  for (const row of rows) {
    if (row >= begin && row < end && !(found !== undefined && found < row)) found = row;
  }
  return found;
}

/** The error for a row with a NaN; `step` is the one that would meet it. */
export function badRow(
  bad: ReadonlyMap<number, string>,
  row: number,
  where = '',
  step?: number,
): TandemError {
  const which = step === undefined ? '' : `, which step ${step} would meet`;
  const received = `a NaN or an infinity in row ${row}${which}`;
  const name = `${where}${bad.get(row)}`;
  const message = `expected finite numbers for \`${name}\`, received ${received}`;
  return new TandemError('ERR_NUMERIC', message, step === undefined ? {} : { step });
}

/** The means of all results over the rows of `span`, in inference mode. */
export async function measure(
  engine: Engine,
  results: readonly Result[],
  rows: Rows,
  span: Span,
  batchSize: number,
  ended: () => boolean,
): Promise<Means> {
  const which = await inOrder(span);
  const means = new Means(results, rows);
  let position = 0;
  await engine.evaluate(rows, which, batchSize, ended, (values, offset, count) => {
    means.add(values, offset, which.subarray(position, position + count));
    position += count;
  });
  return means;
}

/** What a step reports. */
export function stepLogs(results: readonly Result[], step: Step): Record<string, number> {
  const logs: Record<string, number> = {};
  results.forEach(({ name }, i) => {
    logs[name] = step.values[step.offset + i] ?? Number.NaN;
  });
  logs.learningRate = step.learningRate;
  logs.gradNorm = step.values[step.offset + results.length] ?? Number.NaN;
  return logs;
}

/** Native code counts steps from 1 in its messages, callbacks count from 0. */
export function countFromZero(error: unknown): unknown {
  if (!(error instanceof TandemError) || error.code !== 'ERR_NUMERIC' || error.step !== undefined) {
    return error;
  }
  const [found, digits] = /\bat step (\d+)/.exec(error.message) ?? [];
  if (found === undefined) return error;
  const step = Number(digits) - 1;
  const message = error.message.replace(found, `at step ${step}`);
  return new TandemError(error.code, message, { cause: error, step });
}
