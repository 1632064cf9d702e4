import * as is from '../is.js';
import { generator } from '../trainer/random.js';
import type { Batch, TableBatch, TensorBatch } from './batch.js';
import { type BucketOptions, bucketed, checkBuckets, type SequenceBatch } from './buckets.js';
import {
  type Augmentation,
  type Chunk,
  cut,
  everyNth,
  prefetched,
  type Step,
  single,
  type Transform,
  transformed,
} from './chunks.js';
import { oversampling } from './classes.js';
import { encodedSource } from './encode.js';
import type { EncoderState } from './encoders/state.js';
import { loadRows } from './load.js';
import { type Keep, type Piece, type Plan, pieces } from './pieces.js';
import { countKept, type Stage } from './select.js';
import type { ErrorPolicy, Source, StreamOptions, StreamSource } from './source.js';

/** Rows that a shuffled stream keeps in memory, unless `shuffle` says otherwise. */
export const defaultWindow = 16384;

/** Which batches of which epoch. All of it together says where training stands in the data. */
export interface BatchesOptions {
  /** Rows of a batch; 32 by default, or what `batch` said. The last one has what is left. */
  batchSize?: number;
  /** Orders of a shuffled dataset differ by it; 0 by default. */
  epoch?: number;
  /** How many batches to leave out at the beginning: where to go on; 0 by default. */
  start?: number;
  /** Which of `worldSize` processes this is, from 0; 0 by default. */
  rank?: number;
  /**
   * Processes that share the rows; 1 by default. All get the same number of rows: where that does
   * not come out even, the first rows once more.
   */
  worldSize?: number;
  /** Shuffle with this seed where the dataset has no shuffle of its own; false by default. */
  shuffle?: false | { seed: number };
  /** Of the numbers that `augment` draws where rows stay in order; 0 by default. */
  seed?: number;
  /** Ends the iteration with ERR_ABORTED. */
  signal?: AbortSignal;
}

/** How a dataset is shuffled. */
export interface ShuffleOptions {
  /** An integer of 0 or more; that of the trainer by default. */
  seed?: number;
  /**
   * Rows that a stream keeps in memory to draw from, 16,384 by default: a row moves about so far.
   * Datasets in memory are shuffled as a whole.
   */
  window?: number;
}

const batchesOptions = [
  'batchSize',
  'epoch',
  'start',
  'rank',
  'worldSize',
  'shuffle',
  'seed',
  'signal',
] as const;

/** What a stream may have ready beyond what is worked on. */
const chunksAhead = 2;

interface Settings<B extends Batch> extends Plan<B> {
  readonly transforms: readonly Step<B>[];
  readonly regroup: Regroup<B> | undefined;
  /** Of the sequences that regroup makes. */
  readonly lengths: readonly number[] | undefined;
  readonly shuffle: ShuffleOptions | false | undefined;
  readonly batchSize: number | undefined;
  readonly encoder: EncoderState | undefined;
}

/** Makes batches of its own of rows in order, as bucketing by length does. */
export type Regroup<B extends Batch> = (
  pieces: AsyncIterable<Piece<B>>,
  batchSize: number,
) => AsyncGenerator<Chunk<B>>;

/**
 * Rows to train on or to look at, in memory or read while they are used: `fit` and `evaluate` take
 * one, `batches` goes through it. It is a description and holds no file open; its methods return
 * new ones and leave it as it is.
 */
export class Dataset<B extends Batch = TensorBatch> {
  /** Number of rows, where it is known before reading them. */
  readonly length: number | undefined;
  readonly #settings: Settings<B>;

  /** @internal */
  constructor(source: Source<B>, settings: Partial<Settings<B>> = {}) {
    this.#settings = {
      stages: [],
      keep: undefined,
      resample: undefined,
      transforms: [],
      regroup: undefined,
      lengths: undefined,
      shuffle: undefined,
      batchSize: undefined,
      encoder: undefined,
      file: undefined,
      ...settings,
      source,
    };
    const { stages, keep, resample } = this.#settings;
    const left = keep === undefined ? countKept(source.length, stages) : keep.length;
    this.length = resample === undefined ? left : undefined;
  }

  /** Whether rows lie in memory, so that shuffles are of all of them. */
  get inMemory(): boolean {
    return this.#settings.source.kind === 'memory';
  }

  #with(change: Partial<Settings<B>>): Dataset<B> {
    return new Dataset(this.#settings.source, { ...this.#settings, ...change });
  }

  #select(...stages: readonly Stage[]): Dataset<B> {
    if (this.#settings.resample !== undefined) {
      throw is.mismatch(
        'ERR_ARGUMENT',
        'take, skip and split before oversampling',
        'dataset',
        'them after it',
      );
    }
    return this.#with({ stages: [...this.#settings.stages, ...stages] });
  }

  /**
   * Another order in each epoch, which follows from the seed. `false`: rows stay in order also where
   * fit would shuffle. Throws ERR_ARGUMENT.
   */
  shuffle(options: ShuffleOptions | false = {}): Dataset<B> {
    if (options === false) return this.#with({ shuffle: false });
    const set = is.options<ShuffleOptions>(options, 'options of shuffle', ['seed', 'window']);
    if (set.seed !== undefined) is.integer(set.seed, 'seed', 0);
    if (set.window !== undefined) is.integer(set.window, 'window', 1, 2 ** 31);
    return this.#with({ shuffle: set });
  }

  /** The first `count` rows, before any shuffle. Throws ERR_ARGUMENT. */
  take(count: number): Dataset<B> {
    const end = is.integer(count, 'count', 1);
    return this.#select({ kind: 'range', begin: 0, end });
  }

  /** All but the first `count` rows, before any shuffle. Throws ERR_ARGUMENT. */
  skip(count: number): Dataset<B> {
    const begin = is.integer(count, 'count', 0);
    return this.#select({ kind: 'range', begin, end: Number.POSITIVE_INFINITY });
  }

  /**
   * Two datasets without a row in common: the first has `share` (between 0 and 1) of the rows. With
   * a seed each row is assigned at random, so that its size is near the share; otherwise the first
   * has the first rows, which needs a dataset of known length. Throws ERR_ARGUMENT.
   */
  split(share: number, options?: { seed?: number }): [Dataset<B>, Dataset<B>] {
    const set = is.options<{ seed?: number }>(options, 'options of split', ['seed']);
    if (!(is.number(share, 'share', 0, 1) > 0 && share < 1)) {
      throw is.invalid('a number between 0 and 1', 'share', share);
    }
    if (set.seed !== undefined) {
      const seed = is.integer(set.seed, 'seed', 0);
      return [
        this.#select({ kind: 'share', seed, low: 0, high: share }),
        this.#select({ kind: 'share', seed, low: share, high: 1 }),
      ];
    }
    if (this.length === undefined) {
      const what =
        'a `seed` for a dataset whose length is not known, or `await dataset.load()` before';
      throw is.mismatch('ERR_ARGUMENT', what, 'split', 'neither');
    }
    // The small number undoes the rounding of products such as 0.7 * 10.
    const count = Math.floor(this.length * share + 1e-9);
    if (count === 0) {
      throw is.invalid(`a share that leaves rows on both sides of ${this.length}`, 'share', share);
    }
    return [this.take(count), this.skip(count)];
  }

  /**
   * Each batch as `change` returns it, which may take its time. It is called with every batch on its
   * way to training, on the event loop. What comes after it works on batches before it. A model that
   * is trained on it keeps no encoder, which would not know of the change; where it may, as of noise,
   * set `model.encoder`.
   */
  map(change: Transform<B>): Dataset<B> {
    // A function may have a second parameter of its own.
    return this.#changed({ change: (batch) => change(batch), by: 'map' }, change, undefined);
  }

  /**
   * Each batch to train on as `change` returns it: crops and noise, say. `evaluate`, validation data, what
   * `crossValidate` tests on, `classWeights` and `quantize` leave it out, and a model keeps its encoder.
   * `random` gives numbers from 0 to below 1 that follow from the seed of the shuffle (of the trainer, where
   * rows stay in order), the epoch and the batch, so that training that was interrupted goes on with the same
   * ones. Throws ERR_ARGUMENT.
   *
   * @example fromArrays({ x, y }).augment(({ x, y, rows }, random) => ({ x: cropped(x, random), y, rows }))
   */
  augment(this: Dataset<TensorBatch>, change: Augmentation<TensorBatch>): Dataset<TensorBatch> {
    return this.#changed({ change, by: 'augment' }, change, this.#settings.encoder);
  }

  #changed(step: Step<B>, given: unknown, encoder: EncoderState | undefined): Dataset<B> {
    if (typeof given !== 'function') throw is.invalid('a function of a batch', step.by, given);
    return this.#with({ transforms: [...this.#settings.transforms, step], encoder });
  }

  /**
   * Rows of rare classes more often, in every epoch others: `weights` is what `classWeights` returns.
   * Comes after take, skip and split. Throws ERR_ARGUMENT.
   */
  oversample(this: Dataset<TensorBatch>, weights: ArrayLike<number>): Dataset<TensorBatch> {
    return this.#with({ resample: oversampling(weights) });
  }

  /**
   * Batches of sequences of about the same length, padded to one of `lengths`. A model whose inputs
   * are as long as the longest of them, and which computes at any length, trains on all of them: each
   * batch takes the time of its own length. Throws ERR_ARGUMENT.
   */
  bucketByLength(this: Dataset<SequenceBatch>, options: BucketOptions): Dataset<TensorBatch> {
    const set = checkBuckets(options);
    const regroup = (rows: AsyncIterable<Piece<SequenceBatch>>, batchSize: number) =>
      bucketed(rows, batchSize, set);
    // Its batches are of another kind than its source's, which nothing behind it sees.
    const { lengths } = set;
    return this.#with({ regroup: regroup as never, lengths }) as unknown as Dataset<TensorBatch>;
  }

  /** Sets the batch size for whoever does not give one. Throws ERR_ARGUMENT. */
  batch(size: number): Dataset<B> {
    return this.#with({ batchSize: is.integer(size, 'size', 1, 2 ** 32 - 1) });
  }

  /**
   * Some of the rows: take, skip and split came before.
   * @internal
   */
  keep(keep: Keep<B>): Dataset<B> {
    return this.#with({ keep });
  }

  /**
   * The rows in order, each once.
   * @internal
   */
  get asTheyAre(): Dataset<B> {
    return this.plain.#with({ resample: undefined, shuffle: false });
  }

  /**
   * The rows without what `augment` does.
   * @internal
   */
  get plain(): Dataset<B> {
    const { transforms } = this.#settings;
    const kept = transforms.filter(({ by }) => by === 'map');
    return kept.length === transforms.length ? this : this.#with({ transforms: kept });
  }

  /**
   * The rows with at least these columns, where the source can leave out others.
   * @internal
   */
  narrowed(columns: readonly string[]): Dataset<B> {
    const { source, transforms, regroup, keep } = this.#settings;
    if (source.kind === 'memory' || source.narrowed === undefined) return this;
    if (transforms.length > 0 || regroup !== undefined || keep !== undefined) return this;
    return new Dataset({ kind: 'stream', ...source.narrowed(columns) }, this.#settings);
  }

  /**
   * The rows as an encoder makes them.
   * @internal
   */
  encoded(
    this: Dataset<TableBatch>,
    encoder: EncoderState,
    policy: ErrorPolicy,
  ): Dataset<TensorBatch> {
    const { transforms, regroup, keep, resample, shuffle, batchSize, file } = this.#settings;
    const chosen = keep !== undefined || resample !== undefined;
    const changed = transforms.length > 0 || regroup !== undefined || chosen;
    const made = encodedSource(changed ? this.#asPlan() : this.#settings, encoder, policy);
    return new Dataset<TensorBatch>(made.source, {
      stages: made.stages,
      shuffle,
      batchSize,
      encoder,
      file,
    });
  }

  /** Rows after everything that changes batches. */
  #asPlan(): Plan<B> {
    const stream = ({ epoch, signal }: StreamOptions) =>
      this.shuffle(false).batches({ batchSize: 1024, epoch, ...(signal && { signal }) });
    const source: StreamSource<B> = { length: undefined, stream };
    const plain = { stages: [], resample: undefined, file: this.#settings.file };
    const plan: Plan<B> = { ...plain, source: { kind: 'stream', ...source } };
    if (!this.inMemory) return plan;
    let all: Promise<B> | undefined;
    const load = () => {
      all ??= loadRows(plan);
      return all;
    };
    return { ...plain, source: { kind: 'memory', length: undefined, all: load } };
  }

  /**
   * What made the rows of a table, if something did.
   * @internal
   */
  get encoder(): EncoderState | undefined {
    return this.#settings.encoder;
  }

  /**
   * The file that rows come from, for errors.
   * @internal
   */
  get file(): string | undefined {
    return this.#settings.file;
  }

  /**
   * Tells whether its rows have changed, where they come from files and nothing of the user's is called
   * with them.
   * @internal
   */
  get version(): (() => Promise<string>) | undefined {
    const { source, transforms } = this.#settings;
    return source.kind === 'stream' && transforms.length === 0 ? source.version : undefined;
  }

  /**
   * Of the sequences in its batches, where buckets make them.
   * @internal
   */
  get lengths(): readonly number[] | undefined {
    return this.#settings.lengths;
  }

  /**
   * Whether batches are changed by `map` or `augment`.
   * @internal
   */
  get isMapped(): boolean {
    return this.#settings.transforms.length > 0;
  }

  /** What `batch` said. */
  get batchSize(): number | undefined {
    return this.#settings.batchSize;
  }

  /**
   * Reads all rows into memory, where they are shuffled as a whole and not read again. What `map` and
   * `augment` do is still done batch by batch. Rejects with ERR_SHAPE for no rows at all.
   */
  async load(): Promise<Dataset<B>> {
    const all = await loadRows(this.#settings);
    return new Dataset<B>(
      { kind: 'memory', length: all.rows, all: () => all },
      { ...this.#settings, stages: [], keep: undefined },
    );
  }

  /**
   * The batches of an epoch from number `start` on, each with copies of its rows. Reading goes on
   * while one is looked at, within bounds. Throws ERR_ARGUMENT; rejects with ERR_ABORTED, and with
   * what the source fails with.
   *
   * @example for await (const batch of dataset.batches({ batchSize: 64 })) await trainer.step(batch);
   */
  batches(options?: BatchesOptions): AsyncGenerator<B> {
    return single(this.chunks(options));
  }

  /**
   * The same for who takes several batches at once: blocks of rows and their order.
   * @internal
   */
  chunks(options?: BatchesOptions): AsyncGenerator<Chunk<B>> {
    const { epoch, batchSize, start, seed } = this.#read(options);
    const { regroup, transforms } = this.#settings;
    const { rank, worldSize } = epoch;
    const open = (signal: AbortSignal): AsyncGenerator<Chunk<B>> => {
      let chunks: AsyncGenerator<Chunk<B>>;
      if (regroup === undefined) {
        chunks = cut(pieces(this.#settings, { ...epoch, signal }), batchSize, start);
      } else {
        const all = pieces(this.#settings, { ...epoch, signal, rank: 0, worldSize: 1 });
        chunks = everyNth(regroup(all, batchSize), start, rank, worldSize);
      }
      if (transforms.length === 0) return chunks;
      return transformed(single(chunks), transforms, (batch) =>
        randomOf(seed, epoch.epoch, (start + batch) * worldSize + rank),
      );
    };
    const ready = this.inMemory && transforms.length === 0 && regroup === undefined;
    return prefetched(open, ready ? 0 : chunksAhead, epoch.signal);
  }

  #read(options: BatchesOptions | undefined) {
    const set = is.options(options, 'options of batches', batchesOptions);
    const worldSize = is.integer(set.worldSize ?? 1, 'worldSize', 1, 2 ** 16);
    const rank = is.integer(set.rank ?? 0, 'rank', 0, worldSize - 1);
    const epoch = is.integer(set.epoch ?? 0, 'epoch', 0, 2 ** 31);
    const start = is.integer(set.start ?? 0, 'start', 0);
    const size = set.batchSize ?? this.#settings.batchSize ?? 32;
    const batchSize = is.integer(size, 'batchSize', 1, 2 ** 32 - 1);
    const given = set.shuffle;
    const outer = given ? { seed: is.integer(given.seed, 'shuffle.seed', 0) } : undefined;
    const own = this.#settings.shuffle;
    const shuffle =
      own === false || (own === undefined && outer === undefined)
        ? undefined
        : {
            seed: own?.seed ?? outer?.seed ?? 0,
            window: own?.window ?? defaultWindow,
          };
    const { signal } = set;
    const ordered = is.integer(set.seed ?? 0, 'seed', 0);
    const seed = shuffle?.seed ?? outer?.seed ?? ordered;
    return { batchSize, start, seed, epoch: { epoch, rank, worldSize, signal, shuffle } };
  }
}

/** Numbers of `augment` apart from those of shuffles. */
const augmentStream = 0x60000000;

/** From 0 to below 1, for one batch of an epoch. */
function randomOf(seed: number, epoch: number, batch: number): () => number {
  const random = generator(generator(seed, augmentStream + epoch)(), batch);
  return () => random() / 2 ** 32;
}
