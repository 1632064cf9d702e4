import type { Dataset } from '../data/dataset.js';
import { filePathOf } from '../files/paths.js';
import * as is from '../is.js';
import type { Matrix } from '../metrics/metric.js';
import type { Port } from '../model.js';
import type { Data } from '../trainer/data.js';
import { aborted, checkSignal, type FitOptions } from '../trainer/plan.js';
import { unlessAborted } from '../trainer/signal.js';
import { isDataset } from '../trainer/supply.js';
import { Trainer } from '../trainer.js';
import { type Folds, foldArrays, foldDataset } from './folds.js';
import { Journal } from './journal.js';
import { table } from './table.js';

/**
 * Options of the fits inside: all but those that the caller around them has, and checkpoints, which
 * would be of one model after another; `file` keeps results.
 */
export type InnerFitOptions = Omit<
  FitOptions,
  'epochs' | 'verbose' | 'signal' | 'checkpoint' | 'resumeFrom' | 'exitOnSigterm'
>;

/** What crossValidate trains, on what, and how often. */
export interface CrossValidateOptions {
  /** Makes a new model and its Trainer for a fold, which crossValidate closes. */
  build: (fold: number) => Trainer | Promise<Trainer>;
  /** All rows. A dataset is gone through for each fold, and of a stream each time all rows are read. */
  data: Data | Dataset;
  /** Parts of the data, each of which is tested on once; 5 by default. */
  folds?: number;
  /**
   * Whether each fold has as many rows of each class as can be; by default where the only target is
   * one integer a row. Rows that are read one after another are dealt as they come, so that folds have
   * as many of each class to one row, and in sum may differ by one for each class.
   */
  stratified?: boolean;
  /** Of the rows' order, an integer of 0 or more; 0 by default. */
  seed?: number;
  /** Of each fit; 1 by default. */
  epochs?: number;
  /** Batch size, callbacks and so on of each fit. Callbacks are shared by all folds. */
  fit?: InnerFitOptions;
  /** Where results are kept: called again with the same file it goes on after the last of them. */
  file?: string | URL;
  /** Ends it with ERR_ABORTED; folds that were done stay in the file. */
  signal?: AbortSignal;
}

/** What one fold came to. */
export interface FoldResult {
  readonly fold: number;
  readonly rows: number;
  /** Loss and metrics on the rows of the fold, after training on all others. */
  readonly scores: Readonly<Record<string, number>>;
  /** Metrics that are matrices, such as confusion matrices, by name, where there are some. */
  readonly matrices?: Readonly<Record<string, Matrix>>;
}

/** The results of all folds. */
export interface CrossValidation {
  readonly folds: readonly FoldResult[];
  /** The mean of each score over the folds. */
  readonly mean: Readonly<Record<string, number>>;
  /** The standard deviation of each score between folds, with n - 1. */
  readonly deviation: Readonly<Record<string, number>>;
  /** Everything as text. */
  table(): string;
}

const known = [
  'build',
  'data',
  'folds',
  'stratified',
  'seed',
  'epochs',
  'fit',
  'file',
  'signal',
] as const;

/**
 * k-fold cross-validation: trains k models, each on all rows but one part, and tests it on that part.
 * Stone, "Cross-Validatory Choice and Assessment of Statistical Predictions" (1974). The parts follow
 * from the seed. Rejects with ERR_ARGUMENT, ERR_SHAPE, ERR_ABORTED, and what fit rejects with; with a
 * file also with ERR_FILE_FORMAT and errors of the file system.
 */
export async function crossValidate(options: CrossValidateOptions): Promise<CrossValidation> {
  const set = is.options<Partial<CrossValidateOptions>>(options, 'options of crossValidate', known);
  const { build, data, signal, file } = checkCommon(set);
  const folds = is.integer(set.folds ?? 5, 'folds', 2);
  const seed = is.integer(set.seed ?? 0, 'seed', 0);
  const epochs = is.integer(set.epochs ?? 1, 'epochs', 1);
  checkFit(set.fit);
  let split: Promise<Folds> | undefined;
  const stratified = set.stratified ?? null;
  const about = { crossValidate: { folds, stratified, seed, epochs, fit: describeFit(set.fit) } };
  const journal = await Journal.open<FoldResult>(file, about);
  const results: FoldResult[] = [];
  for (let fold = 0; fold < folds; fold++) {
    let result = journal.get(String(fold));
    if (result === undefined) {
      if (signal?.aborted) throw aborted(signal);
      result = await withTrainer(
        () => build(fold),
        async (trainer) => {
          split ??= deal(trainer, data, folds, seed, set.stratified);
          return await testFold(trainer, await split, fold, { ...set.fit, epochs, signal });
        },
      );
      await journal.add(String(fold), result);
    }
    results.push(result);
  }
  return summarize(results);
}

async function deal(
  { model }: Trainer,
  data: Data | Dataset,
  folds: number,
  seed: number,
  stratified: unknown,
): Promise<Folds> {
  if (isDataset(data)) return foldDataset(data, folds, seed, stratified);
  return await foldArrays(data, model.inputs[0] as Port, folds, seed, stratified);
}

async function testFold(
  trainer: Trainer,
  folds: Folds,
  fold: number,
  { signal, ...fit }: Omit<FitOptions, 'signal'> & { signal: AbortSignal | undefined },
): Promise<FoldResult> {
  const train = await folds.train(fold);
  await trainer.fit(train, { ...fit, verbose: 0, ...(signal && { signal }) });
  const { data, rows } = await folds.test(fold);
  const { batchSize } = fit;
  const options = batchSize === undefined ? {} : { batchSize };
  // Closing the trainer ends an evaluation whose rows may never come.
  const scores = await unlessAborted(signal, trainer.evaluate(data, options));
  const { matrices } = scores;
  const some = Object.keys(matrices).length > 0;
  return { fold, rows: rows(), scores: { ...scores }, ...(some && { matrices }) };
}

function summarize(results: readonly FoldResult[]): CrossValidation {
  const names = Object.keys(results[0]?.scores ?? {});
  const values = (name: string) => results.map(({ scores }) => scores[name] ?? Number.NaN);
  const over = (statistic: (numbers: readonly number[]) => number) =>
    Object.fromEntries(names.map((name) => [name, statistic(values(name))]));
  const mean = over(meanOf);
  const deviation = over((numbers) => {
    const center = meanOf(numbers);
    const squares = numbers.reduce((sum, value) => sum + (value - center) ** 2, 0);
    return Math.sqrt(squares / (numbers.length - 1));
  });
  const row = (what: unknown, rows: unknown, scores: Readonly<Record<string, number>>) => [
    what,
    rows,
    ...names.map((name) => scores[name]),
  ];
  return {
    folds: results,
    mean,
    deviation,
    table: () =>
      table(
        ['fold', 'rows', ...names],
        [
          ...results.map(({ fold, rows, scores }) => row(String(fold + 1), rows, scores)),
          row('mean', undefined, mean),
          row('deviation', undefined, deviation),
        ],
      ),
  };
}

const meanOf = (numbers: readonly number[]): number =>
  numbers.reduce((sum, value) => sum + value, 0) / numbers.length;

/** Checks what crossValidate and search have in common. */
export function checkCommon<B, D>(set: {
  build?: B;
  data?: D;
  file?: string | URL;
  signal?: AbortSignal;
}) {
  const { build, data, file } = set;
  if (typeof build !== 'function') {
    throw is.invalid('a function that makes a Trainer', 'build', build);
  }
  if (data === undefined) throw is.invalid('{ x, y }', 'data', data);
  const path = file === undefined ? undefined : filePathOf(file, 'file');
  return { build, data, file: path, signal: checkSignal(set.signal) };
}

const own = ['epochs', 'verbose', 'signal'];
const ofOneModel = ['checkpoint', 'resumeFrom', 'exitOnSigterm'];

/** The other options of fit are checked by fit. */
export function checkFit(fit: unknown): void {
  if (fit === undefined) return;
  if (!is.isRecord(fit)) throw is.invalid('an object of options', 'fit', fit);
  for (const name of own) {
    if (name in fit) {
      throw is.mismatch('ERR_ARGUMENT', `no \`${name}\``, 'fit', 'an option of the call around it');
    }
  }
  for (const name of ofOneModel) {
    if (!(name in fit)) continue;
    const received = 'an option for one model; `file` keeps the results of all of them';
    throw is.mismatch('ERR_ARGUMENT', `no \`${name}\``, 'fit', received);
  }
}

/** What of the options of fit tells one search from another. */
export function describeFit(fit: InnerFitOptions | undefined): Record<string, unknown> {
  const plain = Object.entries(fit ?? {}).filter(([, value]) =>
    /number|boolean|string/.test(typeof value),
  );
  return Object.fromEntries(plain.sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** Models that have seen rows, which none may be tested on that another call of build made. */
const trained = new WeakSet<object>();

/** Makes a trainer, and closes it however `use` ends. */
export async function withTrainer<R>(
  build: () => unknown,
  use: (trainer: Trainer) => Promise<R>,
): Promise<R> {
  const trainer = await build();
  if (!(trainer instanceof Trainer)) throw is.invalid('a Trainer', 'build()', trainer);
  try {
    const { model } = trainer;
    if (trained.has(model)) {
      const received = 'one that has been trained by another call of it';
      throw is.mismatch('ERR_ARGUMENT', 'a new model each time', 'build()', received);
    }
    trained.add(model);
    return await use(trainer);
  } finally {
    await trainer.close();
  }
}
