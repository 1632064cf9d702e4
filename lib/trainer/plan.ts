// Options of fit, checked once before anything runs.
import { TandemError } from '../errors.js';
import * as is from '../is.js';
import type { Callback } from './callbacks.js';
import { checkWhole, type Data, type Feeds, type Rows, readBatchSize, readData } from './data.js';
import type { Span } from './random.js';

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
