// Options of fit, checked once before anything runs.
import type { Dataset } from '../data/dataset.js';
import * as is from '../is.js';
import type { Callback } from './callbacks.js';
import { checkWhole, type Data, type Feeds, type Rows, readBatchSize, readData } from './data.js';
import type { Span } from './random.js';
import { checkSignal } from './signal.js';
import { arraySupply, datasetSupply, isDataset, noRows, type Supply } from './supply.js';

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
  /** Ends training at a step boundary with ERR_ABORTED; the model keeps the steps taken. */
  signal?: AbortSignal;
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
  /** Arrays that are checked for NaN before anything runs. */
  readonly arrays: ArrayPlan;
  readonly epochs: number;
  readonly batchSize: number;
  readonly shuffle: boolean;
  readonly callbacks: readonly Callback[];
  readonly verbose: 0 | 1 | 2;
  readonly signal: AbortSignal | undefined;
}

export function planFit(
  data: Data | Dataset,
  options: FitOptions | undefined,
  feeds: Feeds,
): FitPlan {
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
  const given = isDataset(data) ? data.batchSize : undefined;
  const batchSize = readBatchSize(set.batchSize ?? given, feeds);
  if (set.validationData !== undefined && set.validationSplit !== undefined) {
    const what = 'either `validationData` or `validationSplit`';
    throw is.mismatch('ERR_ARGUMENT', what, 'options of fit', 'both');
  }
  const arrays = readArrays(data, set, feeds);
  const { training, validation } = arrays;
  return {
    training: training
      ? arraySupply(training.rows, training.which)
      : datasetSupply(data as Dataset, feeds, 'data'),
    validation: validation
      ? arraySupply(validation.rows, validation.which)
      : isDataset(set.validationData)
        ? datasetSupply(set.validationData, feeds, 'validationData')
        : undefined,
    arrays,
    epochs,
    batchSize,
    shuffle: is.boolean(set.shuffle ?? true, 'shuffle'),
    callbacks: checkCallbacks(set.callbacks),
    verbose: is.oneOf(set.verbose ?? 1, 'verbose', [0, 1, 2]),
    signal: checkSignal(set.signal),
  };
}

/** Checks all that is given as arrays. */
function readArrays(data: Data | Dataset, set: FitOptions, feeds: Feeds): ArrayPlan {
  let validation: ArrayRows | undefined;
  if (isDataset(set.validationData)) checkLength(set.validationData, feeds, 'validationData');
  else if (set.validationData !== undefined) {
    const held = readData(set.validationData, feeds, 'validationData');
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
  const rows = readData(data, feeds, 'data');
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
    for (const hook of found) {
      const method: unknown = Reflect.get(of, hook);
      if (method !== undefined && typeof method !== 'function') {
        throw is.invalid('a function', `${name}.${hook}`, method);
      }
    }
  });
  return value as Callback[];
}
