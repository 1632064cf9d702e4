// Loss and metrics in inference mode.
import type { Dataset } from '../data/dataset.js';
import * as is from '../is.js';
import type { Matrix } from '../metrics/metric.js';
import { checkAverages } from './averages.js';
import { checkWhole, type Data, type Later, readBatchSize } from './data.js';
import type { Result } from './divisors.js';
import type { Engine } from './engine.js';
import { closedError } from './errors.js';
import type { TrainingGraph } from './graph.js';
import { Means } from './history.js';
import { readRows } from './lengths.js';
import { refuseBadRows } from './numerics.js';
import type { RunState } from './run.js';
import { checkSignal, firstOf, unlessAborted } from './signal.js';
import {
  arraySupply,
  checkEncoder,
  datasetSupply,
  isDataset,
  noRows,
  type StepSource,
  type Supply,
} from './supply.js';
import { type Tallied, Tally, type Tracked } from './tally.js';

/** Loss and metrics by name. */
export interface Scores {
  loss: number;
  [metric: string]: number;
}

/** What evaluate found. */
export type Evaluation = Scores & {
  /** Metrics that are matrices: confusion matrices by name. Not among the enumerable properties. */
  readonly matrices: Readonly<Record<string, Matrix>>;
};

/** How evaluate goes through the rows; the result is the same. */
export interface EvaluateOptions {
  /** Rows of one run; 32 by default, or the batch that the model's inputs fix. */
  batchSize?: number;
  /**
   * Whether it is of the averages that the option `ema` keeps, in place of the parameters; false by
   * default. They are a copy: the model has its own parameters meanwhile.
   */
  ema?: boolean;
  /** Rejects with ERR_ABORTED at once when it aborts; a batch that is computed then is the last. */
  signal?: AbortSignal;
}

/** Of a trainer that is open and not training. `undefined` where it was closed meanwhile. */
export async function evaluate(
  engine: Engine,
  { feeds, results, tracked }: TrainingGraph,
  run: RunState,
  data: Data | Dataset,
  options: EvaluateOptions | undefined,
): Promise<Evaluation | undefined> {
  const set = is.options(options, 'options of evaluate', ['batchSize', 'ema', 'signal']);
  const signal = checkSignal(set.signal);
  const ema = is.boolean(set.ema ?? false, 'ema');
  if (ema) checkAverages(engine, 'ema');
  const given = isDataset(data) ? data.batchSize : undefined;
  const batchSize = readBatchSize(set.batchSize ?? given, feeds);
  const later: Later = [];
  const rows = isDataset(data) ? undefined : readRows(data, feeds, 'data', later);
  if (rows) checkWhole(rows.count, feeds, 'data');
  if (isDataset(data)) checkEncoder(engine.model.encoder, data, 'data');
  const supply: Supply =
    rows === undefined
      ? datasetSupply((data as Dataset).plain, feeds, 'data')
      : arraySupply(rows, { start: 0, count: rows.count }, later);
  const { checkNumerics } = engine.settings.native;
  const ended = () => run.closed || signal?.aborted === true;
  const measuring = run.alone(async () => {
    if (ended()) return undefined;
    // Before numbers that are not finite, as where arrays are short.
    await supply.prepare?.(() => {
      // Nobody hears of it: whoever waits has been told by the signal or by close().
      if (ended()) throw closedError();
    });
    if (rows && checkNumerics) await refuseBadRows(rows);
    // Of those that wait for their turn nobody listens to the end of the run.
    const either = firstOf([run.ended, signal]);
    try {
      const source = await supply.epoch({
        epoch: 0,
        batchSize,
        start: 0,
        seed: undefined,
        signal: either.signal,
        checkFrom: checkNumerics ? 0 : undefined,
      });
      try {
        return await measure(engine, results, tracked, source, ema, ended);
      } finally {
        await source.close?.();
      }
    } finally {
      either.release();
    }
  });
  // What a source says that was told to end is of no interest.
  const found = measuring.catch((error: unknown) => {
    if (!run.closed) throw error;
  });
  const measured = await unlessAborted(signal, found);
  if (run.closed || measured === undefined) return undefined;
  const { numbers, matrices } = await unlessAborted(signal, measured());
  const { loss = Number.NaN, ...metrics } = numbers;
  return Object.defineProperty({ loss, ...metrics }, 'matrices', { value: matrices }) as Evaluation;
}

/**
 * All results over the rows of `source`, in inference mode, of the parameters or their averages; what
 * comes back gives them names.
 */
export async function measure(
  engine: Engine,
  results: readonly Result[],
  tracked: readonly Tracked[],
  source: StepSource,
  averages: boolean,
  ended: () => boolean,
): Promise<(rename?: (name: string) => string) => Promise<Tallied>> {
  const means = new Means(results);
  const tally = new Tally(tracked);
  await engine.evaluate(source, averages, ended, (part) => {
    means.add(part.values, part.offset, part.rows);
    tally.add(part);
  });
  if (means.rows === 0 && !ended()) throw noRows('data');
  return async (rename) => {
    const { numbers, matrices } = await tally.results(rename);
    return { numbers: { ...means.logs(rename), ...numbers }, matrices };
  };
}
