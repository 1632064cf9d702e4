// Where the rows of steps come from: arrays of users as a whole, or a dataset bit by bit.
import { isDeepStrictEqual } from 'node:util';
import type { TypedArray } from '../../bindings.js';
import type { TensorBatch } from '../data/batch.js';
import type { Chunk } from '../data/chunks.js';
import { Dataset } from '../data/dataset.js';
import { classesOf } from '../data/encoders/decode.js';
import type { EncoderState } from '../data/encoders/state.js';
import type { TandemError } from '../errors.js';
import * as is from '../is.js';
import {
  checkWidths,
  type Feeds,
  findBadRows,
  finish,
  type Later,
  type Proceed,
  type Rows,
  readData,
} from './data.js';
import { graphFor, planLengths } from './lengths.js';
import { generator, inOrder, numbersOf, type Span, shuffled } from './random.js';
import { badRow } from './reports.js';

/** Rows for some steps: `order` says which, `sizes` how many each step takes. */
export interface Piece {
  readonly rows: Rows;
  readonly order: Uint32Array;
  readonly sizes: Uint32Array;
  /** Whether none follows, where that is known. */
  readonly final?: boolean;
}

/** The rows of an epoch, in its order. */
export interface StepSource {
  /** For at most so many steps; undefined at the end. Rejects with what the data fail with. */
  next(steps: number): Promise<Piece | undefined> | Piece | undefined;
  /** Steps of the epoch, where they are known. */
  readonly steps: number | undefined;
  /** Rows of most steps. */
  readonly batchSize: number;
  /** Begins to read before the first `next`. */
  begin?(): void;
  /** Ends reading. */
  close?(): Promise<void>;
}

/** How an epoch goes through the data. */
export interface EpochPlan {
  readonly epoch: number;
  readonly batchSize: number;
  /** Batches to leave out at the beginning: where to go on. */
  readonly start: number;
  /** Undefined: in order. */
  readonly seed: number | undefined;
  /** Of what datasets draw where rows are in order. */
  readonly drawSeed?: number;
  readonly signal: AbortSignal | undefined;
  /** Of the epoch's first step, where a NaN shall be an error, in batches. */
  readonly checkFrom?: number | undefined;
  /** Batches of a step; 1 by default. */
  readonly microBatches?: number;
}

/** Rows to go through any number of times. */
export interface Supply {
  /** Makes what epochs need, which they do otherwise. Rejects where there can be none, and as `proceed` throws. */
  prepare?(proceed: Proceed): Promise<void>;
  /**
   * The same as long as epochs have the same rows: of supplies that may be read ahead, which nobody
   * but who reads takes notice of. Rejects where there is nothing to read.
   */
  version?(): Promise<string>;
  epoch(plan: EpochPlan): Promise<StepSource>;
}

/** Sizes of batches of `rows` rows: the last one may be smaller. */
export function batches(rows: number, batchSize: number): Uint32Array {
  const sizes = new Uint32Array(Math.ceil(rows / batchSize)).fill(batchSize);
  if (sizes.length > 0) sizes[sizes.length - 1] = rows - (sizes.length - 1) * batchSize;
  return sizes;
}

/** Steps on batches as a whole, which use the same numbers while batches are of one size. */
export class WholeBatches {
  #order: Uint32Array = new Uint32Array();
  #sizes = new Uint32Array(1);

  /** One step on all rows. */
  source(rows: Rows): StepSource {
    const { count } = rows;
    if (count !== this.#order.length) {
      this.#order = numbersOf({ start: 0, count });
      this.#sizes = Uint32Array.of(count);
    }
    let piece: Piece | undefined;
    if (count > 0) piece = { rows, order: this.#order, sizes: this.#sizes };
    return {
      steps: 1,
      batchSize: count,
      next() {
        const next = piece;
        piece = undefined;
        return next;
      },
    };
  }
}

/** Steps over rows in memory in this order. */
export function orderedSource(
  rows: Rows,
  order: Uint32Array,
  batchSize: number,
  start = 0,
): StepSource {
  let position = start * batchSize;
  return {
    steps: Math.ceil(order.length / batchSize),
    batchSize,
    next(steps) {
      if (position >= order.length) return undefined;
      const part = order.subarray(position, position + steps * batchSize);
      position += part.length;
      return { rows, order: part, sizes: batches(part.length, batchSize) };
    },
  };
}

/** The rows of a span of arrays; `later`: what is left to do with them. */
export function arraySupply(rows: Rows, span: Span, later: Later): Supply {
  return {
    prepare: (proceed) => finish(later, proceed),
    async epoch({ epoch, batchSize, start, seed }) {
      await finish(later);
      const order =
        seed === undefined ? await inOrder(span) : await shuffled(span, generator(seed, epoch));
      return orderedSource(rows, order, batchSize, start);
    },
  };
}

/** A dataset's rows, checked against the feeds block by block. */
export function datasetSupply(dataset: Dataset, feeds: Feeds, name: string): Supply {
  const prepare = () => planLengths(dataset, feeds);
  const { version } = dataset;
  return {
    prepare,
    ...(version && { version }),
    async epoch({ epoch, batchSize, start, seed, drawSeed, signal, checkFrom, microBatches = 1 }) {
      await prepare();
      const chunks = dataset.chunks({
        epoch,
        batchSize,
        start,
        shuffle: seed === undefined ? false : { seed },
        ...(drawSeed !== undefined && { seed: drawSeed }),
        ...(signal !== undefined && { signal }),
      });
      const count = dataset.length;
      // Each bucket may end with a smaller batch.
      const whole = count !== undefined && (dataset.lengths?.length ?? 1) === 1;
      const steps = whole ? Math.ceil(count / batchSize) : undefined;
      const read = (block: TensorBatch) => readBlock(block, feeds, name, dataset);
      const check = checkFrom === undefined ? undefined : { from: checkFrom, microBatches };
      return new ChunkSource(chunks, feeds, read, name, batchSize, steps, check);
    },
  };
}

class ChunkSource implements StepSource {
  #chunk: (Omit<Chunk<TensorBatch>, 'block'> & { readonly rows: Rows }) | undefined;
  /** Batches and rows of the chunk that are gone. */
  #batch = 0;
  #row = 0;
  /** Batches before, counted from the training's first. */
  #before: number;
  /** What was asked for ahead. */
  #first: Promise<IteratorResult<Chunk<TensorBatch>>> | undefined;

  constructor(
    readonly chunks: AsyncGenerator<Chunk<TensorBatch>>,
    readonly feeds: Feeds,
    readonly read: (block: TensorBatch) => Promise<Rows>,
    readonly name: string,
    readonly batchSize: number,
    readonly steps: number | undefined,
    readonly check: { readonly from: number; readonly microBatches: number } | undefined,
  ) {
    this.#before = check?.from ?? 0;
  }

  async next(steps: number): Promise<Piece | undefined> {
    if (this.#chunk === undefined || this.#batch >= this.#chunk.sizes.length) {
      if (!(await this.#pull())) return undefined;
    }
    const chunk = this.#chunk;
    if (chunk === undefined) return undefined;
    const sizes = chunk.sizes.subarray(this.#batch, this.#batch + steps);
    const rows = sizes.reduce((sum, size) => sum + size, 0);
    const order = chunk.order.subarray(this.#row, this.#row + rows);
    this.#batch += sizes.length;
    this.#row += rows;
    this.#before += sizes.length;
    return { rows: chunk.rows, order, sizes };
  }

  begin(): void {
    this.#first ??= this.chunks.next();
    // Whoever awaits it sees the error.
    this.#first.catch(() => {});
  }

  async close(): Promise<void> {
    await this.chunks.return(undefined);
  }

  async #pull(): Promise<boolean> {
    const first = this.#first;
    this.#first = undefined;
    const { value, done } = await (first ?? this.chunks.next());
    if (done === true || value === undefined) return false;
    const rows = await this.read(value.block);
    const { order, sizes } = value;
    const { batch } = this.feeds;
    const odd = batch === undefined ? undefined : sizes.find((size) => size !== batch);
    if (odd !== undefined) {
      const what = `whole batches of ${batch} rows, which the inputs fix,`;
      throw is.mismatch('ERR_SHAPE', what, this.name, `one of ${odd} rows`);
    }
    if (this.check) await this.#refuseBad(rows, order, sizes, this.check.microBatches);
    this.#chunk = { rows, order, sizes };
    this.#batch = 0;
    this.#row = 0;
    return true;
  }

  async #refuseBad(
    rows: Rows,
    order: Uint32Array,
    sizes: Uint32Array,
    microBatches: number,
  ): Promise<void> {
    const bad = await findBadRows(rows);
    if (bad.size === 0) return;
    let end = 0;
    let before = this.#before;
    for (const size of sizes) {
      const row = order.subarray(end, end + size).find((item) => bad.has(item));
      if (row !== undefined)
        throw badRow(bad, row, `${this.name}: `, Math.floor(before / microBatches));
      end += size;
      before++;
    }
  }
}

/**
 * Targets of one column with two categories, 0 and 1, in float32 where the loss takes that, as
 * bceWithLogits does.
 */
function binaryAsFloats(
  y: TensorBatch['y'],
  feeds: Feeds,
  encoder: EncoderState,
): TensorBatch['y'] {
  const convert = (array: TypedArray, name: string | null): TypedArray => {
    const feed = feeds.y.find((item) => name === null || item.name === name);
    const group = encoder.y.find((item) => item.name === name);
    const [only, ...others] = group?.columns ?? [];
    const [, state] = only ?? [];
    const binary = state?.kind === 'category' && classesOf(state) <= 2 && others.length === 0;
    return binary && feed?.dtype === 'float32' ? Float32Array.from(array) : array;
  };
  if (is.isTypedArray(y)) return convert(y, null);
  const entries = Object.entries(y as Readonly<Record<string, TypedArray>>);
  return Object.fromEntries(entries.map(([name, array]) => [name, convert(array, name)] as const));
}

/** Blocks that are the same in every epoch are checked once. */
const checked = new WeakMap<TensorBatch, { readonly rows: Rows; readonly by: Feeds }>();

async function readBlock(
  block: TensorBatch,
  by: Feeds,
  name: string,
  { encoder, lengths = [] }: Dataset,
): Promise<Rows> {
  const known = checked.get(block);
  if (known?.by === by) return known.rows;
  if ('columns' in block) {
    const what = 'rows as arrays, which `encoder.encode(table)` makes,';
    throw is.mismatch('ERR_ARGUMENT', what, name, 'a table');
  }
  const { x, rows: count } = block;
  const y = encoder === undefined ? block.y : binaryAsFloats(block.y, by, encoder);
  const { graph, feeds } = graphFor(x, count, by, lengths);
  // An encoder knows how many rows there are, where arrays can only be divided by what the model takes.
  if (encoder !== undefined) checkWidths({ x, y }, feeds, name, count);
  const later: Later = [];
  const rows = { ...readData({ x, y }, feeds, name, later), graph };
  if (rows.count !== count) {
    // What counts rows by targets of one number does not know of several.
    const received = `arrays of ${rows.count} rows; \`rows\` of fromArrays or of a batch says how many`;
    throw is.mismatch('ERR_SHAPE', `${count} rows`, name, received);
  }
  await finish(later);
  checked.set(block, { rows, by });
  return rows;
}

export const isDataset = (data: unknown): data is Dataset => data instanceof Dataset;

/**
 * Throws ERR_ARGUMENT where rows are of another encoder than those that are learnt from: their numbers
 * would not compare.
 */
export function checkEncoder(
  learnt: EncoderState | undefined,
  { encoder }: Dataset,
  name: string,
): void {
  if (encoder === undefined || learnt === undefined) return;
  if (isDeepStrictEqual(encoder, learnt)) return;
  const what = 'rows of the encoder that the training data are of';
  throw is.mismatch('ERR_ARGUMENT', what, name, 'rows of another one');
}

/** The error for a dataset that came to its end without a row. */
export const noRows = (name: string): TandemError =>
  is.mismatch('ERR_SHAPE', 'one row or more', name, 'a dataset without rows');
