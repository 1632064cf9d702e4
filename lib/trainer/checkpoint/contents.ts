// What a checkpoint holds beside tensors, and how that is read back.
import type { TrainerProgress } from '../../../bindings.js';
import { bad, flag, integer, list, record, text } from '../../files/format.js';
import * as is from '../../is.js';
import { packMatrices, unpackMatrix } from '../../metrics/matrices.js';
import type { Matrix } from '../../metrics/metric.js';
import type { EpochNumbers, MeansState } from '../history.js';
import type { TallyState } from '../tally.js';
import { pack, unpack } from './json.js';

/** Counts changes that older readers would misread. */
export const checkpointVersion = 1;

/** Where a run stands: between two steps. */
export interface Position {
  /** The epoch that is under way, or the next one. */
  readonly epoch: number;
  /** Batches of it that are done. */
  readonly batch: number;
  /** Of those batches; undefined when there are none. */
  readonly means: MeansState | undefined;
  readonly tally: TallyState | undefined;
  /** Of the last step of them; NaN before. */
  readonly learningRate: number;
  /** Steps of them that were left out. */
  readonly skippedSteps: number;
  /** Of the call of fit: its first epoch, its reports so far, and its batch size. */
  readonly fit: FitPosition | undefined;
}

export interface FitPosition {
  readonly firstEpoch: number;
  readonly batchSize: number;
  readonly shuffle: boolean;
  readonly history: EpochNumbers;
  readonly matrices: Readonly<Record<string, Matrix>>;
  /** By the place of the callback; undefined for those that keep nothing. */
  readonly callbacks: readonly unknown[];
  /** Of those; undefined in checkpoints of before there were types. */
  readonly types: readonly string[] | undefined;
  /** What keepBest has seen; undefined before. */
  readonly best: number | undefined;
  /** Its name; undefined without keepBest, and in checkpoints of before it was kept. */
  readonly monitor: string | undefined;
  /** Rows to train on, where they are known. */
  readonly rows: number | undefined;
  /** Counts the runs in a folder that did not go on from its newest checkpoint. */
  readonly generation: number;
}

/** What has to be the same to go on with the same bits. */
export interface Setup {
  readonly optimizer: string;
  readonly slots: number;
  readonly averages: boolean;
  readonly seed: number;
  readonly microBatches: number;
  /** Alpha of mixup; 0 for none. */
  readonly mixup: number;
  /** Names of losses; undefined in checkpoints of before they were kept. */
  readonly loss: string | undefined;
  /** Undefined in checkpoints of before it was kept. */
  readonly precision: string | undefined;
}

export interface Contents {
  readonly setup: Setup;
  readonly progress: TrainerProgress;
  readonly position: Position;
  /** What the schedule keeps, if anything. */
  readonly scheduler: unknown;
}

/** The contents as JSON; arrays that callbacks and metrics keep are put into `arrays`. */
export function encode(contents: Contents, arrays: Float32Array[]): string {
  const { position } = contents;
  const fit = position.fit && { ...position.fit, matrices: packMatrices(position.fit.matrices) };
  const all = { ...contents, position: { ...position, fit } };
  return JSON.stringify(pack(all, 'checkpoint', arrays));
}

/** Throws ERR_FILE_FORMAT. */
export function decode(json: unknown, arrays: readonly Float32Array[]): Contents {
  const all = record(unpack(json, arrays), 'state');
  const setup = record(all.setup, 'setup');
  const progress = record(all.progress, 'progress');
  const position = record(all.position, 'position');
  const steps = integer(progress.step, 'progress.step', 0);
  return {
    setup: {
      optimizer: text(setup.optimizer, 'setup.optimizer'),
      slots: integer(setup.slots, 'setup.slots', 0),
      averages: flag(setup.averages, 'setup.averages'),
      seed: integer(setup.seed, 'setup.seed', 0),
      microBatches: integer(setup.microBatches, 'setup.microBatches', 1),
      // Checkpoints of before there was mixup are of training without it.
      mixup: number(setup.mixup ?? 0, 'setup.mixup'),
      loss: setup.loss === undefined ? undefined : text(setup.loss, 'setup.loss'),
      precision:
        setup.precision === undefined ? undefined : text(setup.precision, 'setup.precision'),
    },
    progress: {
      step: steps,
      backoff: number(progress.backoff, 'progress.backoff'),
      goodSteps: integer(progress.goodSteps, 'progress.goodSteps', 0, 2 ** 31 - 1),
      skips: integer(progress.skips, 'progress.skips', 0, 2 ** 31 - 1),
      // Checkpoints of before there was fp16-mixed have none of these.
      skipped: integer(progress.skipped ?? 0, 'progress.skipped', 0, steps),
      lossScale: power(progress.lossScale ?? 2 ** 16, 'progress.lossScale'),
      scaleSteps: integer(progress.scaleSteps ?? 0, 'progress.scaleSteps', 0, 1999),
    },
    position: {
      epoch: integer(position.epoch, 'position.epoch', 0),
      batch: integer(position.batch, 'position.batch', 0),
      means: position.means === undefined ? undefined : readMeans(position.means),
      tally: position.tally === undefined ? undefined : record(position.tally, 'position.tally'),
      learningRate: number(position.learningRate, 'position.learningRate'),
      skippedSteps: integer(position.skippedSteps, 'position.skippedSteps', 0),
      fit: position.fit === undefined ? undefined : readFit(position.fit),
    },
    scheduler: all.scheduler,
  };
}

function readMeans(value: unknown): MeansState {
  const means = record(value, 'means');
  return {
    rows: integer(means.rows, 'means.rows', 0),
    sums: numbers(means.sums, 'means.sums'),
    totals: numbers(means.totals, 'means.totals'),
  };
}

function readFit(value: unknown): FitPosition {
  const fit = record(value, 'fit');
  const matrices: Record<string, Matrix> = {};
  for (const [name, item] of Object.entries(record(fit.matrices, 'fit.matrices'))) {
    matrices[name] = unpackMatrix(item, `fit.matrices.${name}`);
  }
  const history: EpochNumbers = { epochs: [], loss: [], learningRate: [] };
  for (const [name, item] of Object.entries(record(fit.history, 'fit.history'))) {
    history[name] = numbers(item, `fit.history.${name}`);
  }
  return {
    firstEpoch: integer(fit.firstEpoch, 'fit.firstEpoch', 0),
    batchSize: integer(fit.batchSize, 'fit.batchSize', 1),
    shuffle: flag(fit.shuffle, 'fit.shuffle'),
    history,
    matrices,
    callbacks: list(fit.callbacks, 'fit.callbacks'),
    types:
      fit.types === undefined
        ? undefined
        : list(fit.types, 'fit.types').map((type, i) => text(type, `fit.types[${i}]`)),
    best: fit.best === undefined ? undefined : number(fit.best, 'fit.best'),
    monitor: fit.monitor === undefined ? undefined : text(fit.monitor, 'fit.monitor'),
    rows: fit.rows === undefined ? undefined : integer(fit.rows, 'fit.rows', 0),
    generation: integer(fit.generation ?? 0, 'fit.generation', 0),
  };
}

function number(value: unknown, name: string): number {
  if (typeof value === 'number') return value;
  throw bad(`a number for \`${name}\` in the file`, is.show(value));
}

function power(value: unknown, name: string): number {
  const exponent = Math.log2(number(value, name));
  if (Number.isInteger(exponent) && Math.abs(exponent) < 128) return 2 ** exponent;
  throw bad(`a power of two for \`${name}\` in the file`, is.show(value));
}

const numbers = (value: unknown, name: string): number[] =>
  list(value, name).map((item, i) => number(item, `${name}[${i}]`));
