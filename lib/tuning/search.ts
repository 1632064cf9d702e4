import { TandemError } from '../errors.js';
import * as is from '../is.js';
import { largerIsBetter } from '../metrics/direction.js';
import type { EpochNumbers, History } from '../trainer/history.js';
import { aborted } from '../trainer/plan.js';
import { Trainer } from '../trainer.js';
import {
  type CrossValidateOptions,
  checkCommon,
  checkFit,
  crossValidate,
  describeFit,
  type InnerFitOptions,
  withTrainer,
} from './cross-validate.js';
import { Journal } from './journal.js';
import { halvingRungs, type Rung, randomRungs } from './rungs.js';
import { checkSpace, type Sampled, type Space, sample } from './space.js';
import { show, table } from './table.js';

/** What a search tries, how often, and what it looks for. */
export interface SearchOptions<S extends Space> {
  /** Where each option is drawn from: `{ learningRate: space.logUniform(1e-4, 1e-1) }`. */
  space: S;
  /** Makes a new model and its Trainer with these options, which search closes. */
  build: (options: Sampled<S>, trial: number) => Trainer | Promise<Trainer>;
  /** What fit trains on. */
  data: Parameters<Trainer['fit']>[0];
  /** Sets of options to try; 20 by default. */
  trials?: number;
  /** Of each fit, in the last rung; 10 by default. */
  epochs?: number;
  /**
   * 'random': all trials train for all epochs (Bergstra and Bengio, "Random Search for
   * Hyper-Parameter Optimization", 2012). 'halving' (the default): successive halving, most of them
   * for a few epochs only. Each rung trains anew, so that a result depends on nothing before it.
   */
  strategy?: 'random' | 'halving';
  /** Of halving: one trial in so many goes on, with so many times the epochs; 3 by default. */
  factor?: number;
  /** Of halving: epochs of the first rung at least, of `epochs` at most; 1 by default. */
  minEpochs?: number;
  /** The number of the history, or with folds of the scores, that counts; 'valLoss' ('loss') by default. */
  monitor?: string;
  /**
   * 'auto' (the default): larger is better for names of accuracy, precision, f1 and so on, as earlyStopping has
   * them. Has to be given where a metric of another name says otherwise: see `trainer.largerIsBetter`.
   */
  mode?: 'auto' | 'min' | 'max';
  /** Validation data, batch size and so on of each fit. Callbacks are shared by all trials. */
  fit?: InnerFitOptions;
  /** Judges each trial by the mean of so many folds instead of validation data. */
  folds?: number;
  /** Of what is drawn, an integer of 0 or more; 0 by default. */
  seed?: number;
  /** Where results are kept: called again with the same file it goes on after the last of them. */
  file?: string | URL;
  /** Ends it with ERR_ABORTED; trials that were done stay in the file. */
  signal?: AbortSignal;
  /** 0: silent, by default. 1: a line a trial. */
  verbose?: 0 | 1;
}

/** What one trial came to in one rung. */
export interface TrialResult<S extends Space = Space> {
  readonly trial: number;
  /** From 0. */
  readonly rung: number;
  readonly epochs: number;
  readonly options: Sampled<S>;
  /** Of `monitor`, in the epoch where it was best; NaN for a trial that failed. */
  readonly value: number;
  /** That epoch, from 0; -1 with folds, or for a trial that failed. */
  readonly epoch: number;
  /** All numbers of that epoch. */
  readonly scores: Readonly<Record<string, number>>;
  /**
   * Why it failed: a loss that is not finite, too little memory, or options that nothing can be built
   * of fail a trial and not the search.
   */
  readonly error?: string;
  readonly seconds: number;
}

/** The results of a search. */
export interface SearchResult<S extends Space> {
  /** The best of the last rung; undefined where all of its trials failed. */
  readonly best: TrialResult<S> | undefined;
  /** All of them, in the order in which they ran. */
  readonly results: readonly TrialResult<S>[];
  /** The best first, those of later rungs before those of earlier ones, as text. */
  table(): string;
}

const known = [
  'space',
  'build',
  'data',
  'trials',
  'epochs',
  'strategy',
  'factor',
  'minEpochs',
  'monitor',
  'mode',
  'fit',
  'folds',
  'seed',
  'file',
  'signal',
  'verbose',
] as const;

/** What is kept of a result: the options follow from the trial's number. */
type Kept = Omit<TrialResult, 'options'> & { readonly options: Record<string, unknown> };

/**
 * Searches for options by trying them: draws `trials` sets from a space and trains a model with each,
 * all of which follows from the seed. Rejects with ERR_ARGUMENT, ERR_ABORTED, what fit rejects with
 * and, but for errors of this library that a trial's options are to blame for, what build does; where
 * nothing can be built of any options, with the first such error. With a file also with
 * ERR_FILE_FORMAT and errors of the file system.
 */
export async function search<const S extends Space>(
  options: SearchOptions<S>,
): Promise<SearchResult<S>> {
  const { set, plan, about } = readOptions(options);
  const journal = await Journal.open<Kept>(set.file, about);
  const results: TrialResult<S>[] = [];
  let running = Array.from({ length: plan.rungs[0]?.trials ?? 0 }, (_, trial) => trial);
  let last: TrialResult<S>[] = [];
  let unbuilt: TandemError | undefined;
  let built = false;
  for (const [number, rung] of plan.rungs.entries()) {
    if (number > 0) {
      running = last
        .toSorted(plan.compare)
        .slice(0, rung.trials)
        .map(({ trial }) => trial);
    }
    last = [];
    for (const trial of running) {
      const drawn = sample(options.space, plan.seed, trial);
      const key = `${number}/${trial}`;
      let kept = journal.get(key);
      if (kept === undefined) {
        if (set.signal?.aborted) throw aborted(set.signal);
        const ran = await runTrial(set, plan, { trial, number, rung, drawn });
        kept = ran.kept;
        unbuilt ??= ran.unbuilt;
        // What cannot be built is found out quickly, and may change with the code of build.
        if (ran.unbuilt === undefined) {
          built = true;
          await journal.add(key, kept);
        }
        if (plan.verbose === 1) process.stdout.write(`${line(kept, plan)}\n`);
      } else built = true;
      last.push({ ...kept, options: drawn });
    }
    if (unbuilt !== undefined && !built) throw unbuilt;
    results.push(...last);
  }
  const [best] = last.toSorted(plan.compare);
  return {
    best: best === undefined || Number.isNaN(best.value) ? undefined : best,
    results,
    table: () => makeTable(results, options.space, plan),
  };
}

type Ranked = Pick<TrialResult, 'value' | 'trial'>;

interface Plan {
  readonly rungs: readonly Rung[];
  readonly monitor: string;
  /** 1 when smaller is better, -1 when larger is. */
  readonly sign: 1 | -1;
  /** By the name alone. */
  readonly guessed: boolean;
  readonly seed: number;
  readonly folds: number | undefined;
  readonly verbose: 0 | 1;
  /** The better one first; of equal ones the earlier trial; those that failed last. */
  readonly compare: (a: Ranked, b: Ranked) => number;
}

function readOptions<S extends Space>(options: SearchOptions<S>) {
  const given = is.options<Partial<SearchOptions<S>>>(options, 'options of search', known);
  const common = checkCommon(given);
  const space = checkSpace(given.space);
  const trials = is.integer(given.trials ?? 20, 'trials', 1);
  const epochs = is.integer(given.epochs ?? 10, 'epochs', 1);
  const folds = given.folds === undefined ? undefined : is.integer(given.folds, 'folds', 2);
  const monitor = is.string(given.monitor ?? (folds === undefined ? 'valLoss' : 'loss'), 'monitor');
  const mode = is.oneOf(given.mode ?? 'auto', 'mode', ['auto', 'min', 'max']);
  const larger = mode === 'max' || (mode === 'auto' && largerIsBetter(monitor));
  const sign = larger ? -1 : 1;
  checkFit(given.fit);
  const plan: Plan = {
    rungs: readRungs(given, trials, epochs),
    monitor,
    sign,
    guessed: mode === 'auto',
    seed: is.integer(given.seed ?? 0, 'seed', 0),
    folds,
    verbose: is.oneOf(given.verbose ?? 0, 'verbose', [0, 1]),
    compare: (a, b) =>
      Number(Number.isNaN(a.value)) - Number(Number.isNaN(b.value)) ||
      sign * (a.value - b.value) ||
      a.trial - b.trial,
  };
  const described = Object.entries(space).map(([name, item]) => [name, item.describe()]);
  const about = {
    search: { space: described, rungs: plan.rungs, monitor, sign, seed: plan.seed },
    fit: describeFit(given.fit),
    folds: folds ?? null,
  };
  return { set: { ...given, ...common }, plan, about };
}

/** Throws ERR_ARGUMENT, also for options of halving where there is none. */
function readRungs(
  set: Pick<Partial<SearchOptions<Space>>, 'strategy' | 'factor' | 'minEpochs'>,
  trials: number,
  epochs: number,
): readonly Rung[] {
  const strategy = is.oneOf(set.strategy ?? 'halving', 'strategy', ['random', 'halving']);
  const factor = is.integer(set.factor ?? 3, 'factor', 2);
  const minEpochs = is.integer(set.minEpochs ?? 1, 'minEpochs', 1, epochs);
  if (strategy === 'halving') return halvingRungs(trials, epochs, factor, minEpochs);
  for (const name of ['factor', 'minEpochs'] as const) {
    if (set[name] !== undefined)
      throw is.invalid(`"halving" with \`${name}\``, 'strategy', strategy);
  }
  return randomRungs(trials, epochs);
}

interface Turn<S extends Space> {
  readonly trial: number;
  readonly number: number;
  readonly rung: Rung;
  readonly drawn: Sampled<S>;
}

interface Found {
  readonly epoch: number;
  readonly scores: Readonly<Record<string, number>>;
}

/** Errors of a model that these options do not make, or that the machine is too small for. */
const unbuildable: readonly string[] = ['ERR_SHAPE', 'ERR_ARGUMENT', 'ERR_DTYPE'];
const tooMuch: readonly string[] = ['ERR_NUMERIC', 'ERR_OUT_OF_MEMORY'];

async function runTrial<S extends Space>(
  set: ReturnType<typeof readOptions<S>>['set'],
  plan: Plan,
  { trial, number, rung, drawn }: Turn<S>,
): Promise<{ kept: Kept; unbuilt: TandemError | undefined }> {
  const start = performance.now();
  let unbuilt: TandemError | undefined;
  const build = async () => {
    let trainer: Trainer;
    try {
      trainer = await set.build(drawn, trial);
    } catch (error) {
      if (error instanceof TandemError && unbuildable.includes(error.code)) unbuilt = error;
      throw error;
    }
    if (plan.guessed) await checkDirection(trainer, plan);
    return trainer;
  };
  let found: Found = { epoch: -1, scores: {} };
  let failure: { error: string } | undefined;
  try {
    found = await measure(set, plan, rung.epochs, build);
  } catch (error) {
    const failed = error instanceof TandemError && tooMuch.includes(error.code);
    if (!failed && (unbuilt === undefined || error !== unbuilt)) throw error;
    failure = { error: (error as TandemError).message };
  }
  const space = set.space as Space;
  const shown = Object.entries(drawn).map(([name, value]) => [name, space[name]?.show(value)]);
  const kept: Kept = {
    trial,
    rung: number,
    epochs: rung.epochs,
    options: Object.fromEntries(shown),
    value: found.scores[plan.monitor] ?? Number.NaN,
    ...found,
    ...failure,
    seconds: (performance.now() - start) / 1000,
  };
  return { kept, unbuilt };
}

/** Closes the trainer and throws ERR_ARGUMENT where its metric says other than the name that was gone by. */
async function checkDirection(trainer: unknown, { monitor, sign }: Plan): Promise<void> {
  if (!(trainer instanceof Trainer)) return;
  const larger = sign === -1;
  if (trainer.largerIsBetter(monitor) === larger) return;
  await trainer.close();
  const what = `${larger ? '"min"' : '"max"'} for ${is.show(monitor)}, as its metric has it,`;
  throw is.mismatch('ERR_ARGUMENT', what, 'mode', '"auto", which goes by the name');
}

async function measure<S extends Space>(
  { fit = {}, signal, data }: ReturnType<typeof readOptions<S>>['set'],
  plan: Plan,
  epochs: number,
  build: () => Promise<Trainer>,
): Promise<Found> {
  const { folds } = plan;
  const common = { epochs, ...(signal && { signal }) };
  if (folds === undefined) {
    return await withTrainer(build, async (trainer) => {
      const history = await trainer.fit(data, { ...fit, ...common, verbose: 0 });
      return bestEpoch(history, plan);
    });
  }
  const options = { build, data, folds, fit, ...common } as CrossValidateOptions;
  const { mean } = await crossValidate(options);
  return { epoch: -1, scores: checkScores(mean, plan) };
}

function bestEpoch(history: History, plan: Plan): Found {
  const values = history[plan.monitor];
  if (values === undefined) throw unknownMonitor(plan, Object.keys(history));
  let epoch = -1;
  for (const [i, value] of values.entries()) {
    if (Number.isNaN(value)) continue;
    if (epoch === -1 || plan.sign * (value - (values[epoch] ?? 0)) < 0) epoch = i;
  }
  const { epochs: _, ...numbers }: EpochNumbers = history;
  const scores = Object.entries(numbers).map(([name, list]) => [name, list[epoch] ?? Number.NaN]);
  return { epoch, scores: Object.fromEntries(scores) };
}

function checkScores(scores: Readonly<Record<string, number>>, plan: Plan) {
  if (!(plan.monitor in scores)) throw unknownMonitor(plan, Object.keys(scores));
  return scores;
}

function unknownMonitor({ monitor }: Plan, names: readonly string[]): TandemError {
  const reported = names.filter((name) => name !== 'epochs');
  const received = `${is.show(monitor)}${is.didYouMean(monitor, reported)}`;
  return is.mismatch('ERR_ARGUMENT', `one of ${reported.join(', ')}`, 'monitor', received);
}

function line({ trial, epochs, value, options }: Kept, { rungs, monitor }: Plan): string {
  const drawn = Object.entries(options).map(([name, item]) => `${name} ${show(item)}`);
  const of = `trial ${trial + 1}/${rungs[0]?.trials}`;
  return [of, `${epochs} epochs`, `${monitor} ${show(value)}`, ...drawn].join('  ');
}

function makeTable<S extends Space>(
  results: readonly TrialResult<S>[],
  space: S,
  plan: Plan,
): string {
  const names = Object.keys(space);
  const sorted = results.toSorted((a, b) => b.rung - a.rung || plan.compare(a, b));
  const rows = sorted.map((result) => [
    String(result.trial + 1),
    result.epochs,
    result.error === undefined ? result.value : 'failed',
    ...names.map((name) => {
      const value = result.options[name as keyof S];
      return space[name]?.show(value as never);
    }),
    Number(result.seconds.toFixed(1)),
  ]);
  return table(['trial', 'epochs', plan.monitor, ...names, 'seconds'], rows);
}
