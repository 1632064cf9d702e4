// Options of fit, checked once before anything runs.
import type { Dataset } from '../data/dataset.js';
import { pathOf } from '../files/paths.js';
import * as is from '../is.js';
import type { Callback } from './callbacks.js';
import { checkWhole, type Data, type Feeds, type Later, type Rows, readBatchSize } from './data.js';
import { readRows } from './lengths.js';
import type { Span } from './random.js';
import { retrying } from './retry.js';
import { checkSignal } from './signal.js';
import {
  arraySupply,
  checkEncoder,
  datasetSupply,
  isDataset,
  noRows,
  type Supply,
} from './supply.js';

export { aborted, checkSignal } from './signal.js';

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
  validationData?: Data | Dataset | readonly [x: Data['x'], y: Data['y']];
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
  /**
   * Ends training at a step boundary with ERR_ABORTED; the model keeps the steps taken. With
   * `checkpoint`, one is saved before. A callback that runs is waited for, since it may be saving:
   * `trainer.close()` ends fit without it.
   */
  signal?: AbortSignal;
  /** Save all that is needed to go on with the same bits; nothing is saved by default. */
  checkpoint?: CheckpointOptions;
  /**
   * Go on from a checkpoint: a file, a folder (its newest), or 'latest': the newest of
   * `checkpoint.dir`, from the beginning where there is none. `epochs` then counts from the first epoch
   * of the call of fit that saved it, and the history has its reports, too. Data and options have to be
   * the same; the order of rows, dropout, schedules and optimizer go on as if nothing had been.
   */
  resumeFrom?: string | URL;
  /**
   * On SIGTERM, end the step, save a checkpoint and exit the process with code 0; needs `checkpoint`.
   * Worker threads get no signals. False by default: the signal ends the process at once.
   */
  exitOnSigterm?: boolean;
  /** Read on where a dataset's source fails for a while; by default fit rejects with its error. */
  retry?: RetryOptions;
}

/** When and where fit saves checkpoints, off the event loop and each whole or not at all. */
export interface CheckpointOptions {
  /** The folder, which is made where it is not there; files are `step-<steps>.safetensors`. */
  dir: string | URL;
  /** Steps between two checkpoints; by default there is one at the end of each epoch. The end of fit has one too. */
  everySteps?: number;
  /** How many of them stay, the newest ones; 3 by default. */
  keep?: number;
  /**
   * The name of a number of an epoch's history, such as 'valLoss': `best.safetensors` is the checkpoint
   * of the epoch where it was best: the largest where `trainer.largerIsBetter` of it, else the smallest.
   * None by default.
   */
  keepBest?: string;
}

/** How often and when a source is tried again. Bad data are not: they would be as bad again. */
export interface RetryOptions {
  /** Tries after the first one that failed, in a row; 3 by default. */
  attempts?: number;
  /** Milliseconds before the first of them, twice as many before each further one; 1000 by default. */
  delay?: number;
}

/** Rows of arrays. */
interface ArrayRows {
  readonly rows: Rows;
  readonly which: Span;
}

interface ArrayPlan {
  readonly training: ArrayRows | undefined;
  readonly validation: ArrayRows | undefined;
}

/** Everything about a call of fit, checked. */
export interface FitPlan {
  /** The rows to train on. */
  readonly training: Supply;
  readonly validation: Supply | undefined;
  /** How many there are, where that is known. */
  readonly rows: number | undefined;
  /** Arrays that are checked for NaN before anything runs. */
  readonly arrays: ArrayPlan;
  readonly epochs: number;
  readonly batchSize: number;
  readonly shuffle: boolean;
  readonly callbacks: readonly Callback[];
  readonly verbose: 0 | 1 | 2;
  readonly signal: AbortSignal | undefined;
  readonly checkpoint: CheckpointPlan | undefined;
  readonly resumeFrom: string | undefined;
  readonly exitOnSigterm: boolean;
}

export interface CheckpointPlan {
  readonly dir: string;
  readonly everySteps: number | undefined;
  readonly keep: number;
  readonly keepBest: string | undefined;
}

export function planFit(
  data: Data | Dataset,
  options: FitOptions | undefined,
  feeds: Feeds,
): FitPlan {
  const set = is.options(options, 'options of fit', known);
  const epochs = is.integer(set.epochs ?? 1, 'epochs', 1);
  const given = isDataset(data) ? data.batchSize : undefined;
  const batchSize = readBatchSize(set.batchSize ?? given, feeds);
  if (set.validationData !== undefined && set.validationSplit !== undefined) {
    const what = 'either `validationData` or `validationSplit`';
    throw is.mismatch('ERR_ARGUMENT', what, 'options of fit', 'both');
  }
  const later: Later = [];
  const arrays = readArrays(data, set, feeds, later);
  const { training, validation } = arrays;
  const retry = readRetry(set.retry);
  const checkpoint = readCheckpointOptions(set.checkpoint);
  const exitOnSigterm = is.boolean(set.exitOnSigterm ?? false, 'exitOnSigterm');
  if (exitOnSigterm && checkpoint === undefined) {
    throw is.mismatch('ERR_ARGUMENT', '`checkpoint`', 'exitOnSigterm', 'true without it');
  }
  const resumeFrom =
    set.resumeFrom === undefined ? undefined : pathOf(set.resumeFrom, 'resumeFrom');
  if (resumeFrom === 'latest' && checkpoint === undefined) {
    throw is.mismatch('ERR_ARGUMENT', '`checkpoint.dir`', 'resumeFrom', '"latest" without it');
  }
  return {
    training: training
      ? arraySupply(training.rows, training.which, later)
      : retrying(datasetSupply(data as Dataset, feeds, 'data'), retry),
    validation: validation
      ? arraySupply(validation.rows, validation.which, later)
      : isDataset(set.validationData)
        ? retrying(datasetSupply(set.validationData.plain, feeds, 'validationData'), retry)
        : undefined,
    rows: training ? training.which.count : (data as Dataset).length,
    checkpoint,
    resumeFrom,
    exitOnSigterm,
    arrays,
    epochs,
    batchSize,
    shuffle: is.boolean(set.shuffle ?? true, 'shuffle'),
    callbacks: checkCallbacks(set.callbacks),
    verbose: is.oneOf(set.verbose ?? 1, 'verbose', [0, 1, 2]),
    signal: checkSignal(set.signal),
  };
}

const known = [
  'epochs',
  'batchSize',
  'validationData',
  'validationSplit',
  'shuffle',
  'callbacks',
  'verbose',
  'signal',
  'checkpoint',
  'resumeFrom',
  'exitOnSigterm',
  'retry',
] as const;

function readCheckpointOptions(given: unknown): CheckpointPlan | undefined {
  if (given === undefined) return undefined;
  const names = ['dir', 'everySteps', 'keep', 'keepBest'] as const;
  const set = is.options(given as CheckpointOptions, 'checkpoint', names);
  const { everySteps, keepBest } = set;
  return {
    dir: pathOf(set.dir, 'checkpoint.dir'),
    everySteps:
      everySteps === undefined ? undefined : is.integer(everySteps, 'checkpoint.everySteps', 1),
    keep: is.integer(set.keep ?? 3, 'checkpoint.keep', 1),
    keepBest: keepBest === undefined ? undefined : is.string(keepBest, 'checkpoint.keepBest'),
  };
}

function readRetry(given: unknown): Required<RetryOptions> {
  if (given === undefined) return { attempts: 0, delay: 0 };
  const set = is.options(given as RetryOptions, 'retry', ['attempts', 'delay']);
  return {
    attempts: is.integer(set.attempts ?? 3, 'retry.attempts', 0, 2 ** 20),
    delay: is.number(set.delay ?? 1000, 'retry.delay', 0, 2 ** 31 - 1),
  };
}

/** Checks all that is given as arrays. */
function readArrays(data: Data | Dataset, set: FitOptions, feeds: Feeds, later: Later): ArrayPlan {
  let validation: ArrayRows | undefined;
  if (isDataset(set.validationData)) {
    checkLength(set.validationData, feeds, 'validationData');
    if (isDataset(data)) checkEncoder(data.encoder, set.validationData, 'validationData');
  } else if (set.validationData !== undefined) {
    const held = readRows(set.validationData, feeds, 'validationData', later);
    checkWhole(held.count, feeds, 'validationData');
    validation = { rows: held, which: { start: 0, count: held.count } };
  }
  if (isDataset(data)) {
    if (set.validationSplit !== undefined) {
      const what = 'none with a dataset, whose `split` gives two,';
      throw is.invalid(what, 'validationSplit', set.validationSplit);
    }
    checkLength(data, feeds, 'data');
    return { training: undefined, validation };
  }
  const rows = readRows(data, feeds, 'data', later);
  let training = rows.count;
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
  return { training: { rows, which: { start: 0, count: training } }, validation };
}

/** As far as it is known before reading. */
function checkLength({ length }: Dataset, feeds: Feeds, name: string): void {
  if (length !== undefined) checkWhole(length, feeds, name);
  if (length === 0) throw noRows(name);
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
    checkSpelling(of, name);
    for (const hook of found) {
      const method: unknown = Reflect.get(of, hook);
      if (method !== undefined && typeof method !== 'function') {
        throw is.invalid('a function', `${name}.${hook}`, method);
      }
    }
  });
  return value as Callback[];
}

/** Without what tells camelCase and snake_case apart; an underscore in front marks something else. */
const plain = (name: string): string => name.toLowerCase().replace(/(?<=.)_/g, '');

/** Throws ERR_ARGUMENT for a hook in other letters, which would never be called. */
function checkSpelling(callback: object, name: string): void {
  const seen = new Set<object>(); // a proxy may say that it is its own prototype
  for (let of = callback; of !== null && !seen.has(of); of = Object.getPrototypeOf(of) as object) {
    seen.add(of);
    for (const member of Object.getOwnPropertyNames(of)) {
      const hook = hooks.find((each) => plain(each) === plain(member));
      if (hook === undefined || hook in callback) continue;
      throw is.mismatch('ERR_ARGUMENT', hook, name, `\`${member}\``);
    }
  }
}
