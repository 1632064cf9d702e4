// Source -> rows in the order of an epoch: selection, repetition, shuffling, and a share for each of
// several processes.
import * as is from '../is.js';
import { generator, numbersOf, shuffled } from '../trainer/random.js';
import { aborted } from '../trainer/signal.js';
import { inPieces, nextTurn, turnsBetween } from '../trainer/turns.js';
import { type Batch, concatRows, gatherRows } from './batch.js';
import { mixed, selected } from './order.js';
import { Selector, type Stage } from './select.js';
import type { Source } from './source.js';
import { type Piece, shuffledWindows } from './windows.js';

export type { Piece } from './windows.js';

/** Which of a block's rows to take how often. `random` gives integers below 2^32. */
export type Resample<B extends Batch> = (
  block: B,
  order: Uint32Array,
  random: () => number,
) => Uint32Array;

/** Leaves out rows by what is in them, after stages and before they are repeated. */
export interface Keep<B extends Batch> {
  /** How many rows it leaves, where that is known. */
  readonly length: number | undefined;
  /** Of rows in memory, all at once. */
  memory(block: B, order: Uint32Array): Promise<Uint32Array>;
  /** Of the rows of an epoch, block by block in their order. */
  stream(): (block: B, order: Uint32Array) => Uint32Array;
}

/** What an epoch is asked for. */
export interface EpochOptions {
  readonly epoch: number;
  readonly rank: number;
  readonly worldSize: number;
  readonly signal: AbortSignal | undefined;
  /** Undefined: in order. `window`, in rows, is for streams. */
  readonly shuffle: { readonly seed: number; readonly window: number } | undefined;
}

/** What a dataset makes of its source. */
export interface Plan<B extends Batch> {
  readonly source: Source<B>;
  readonly stages: readonly Stage[];
  readonly keep?: Keep<B> | undefined;
  readonly resample: Resample<B> | undefined;
  /** The file that rows come from, for errors. */
  readonly file: string | undefined;
}

/** Random numbers apart from those of shuffles. */
const resampleStream = 0x40000000;

export async function* pieces<B extends Batch>(
  plan: Plan<B>,
  options: EpochOptions,
): AsyncGenerator<Piece<B>> {
  const { rank, worldSize } = options;
  if (plan.source.kind === 'memory') {
    const block = await plan.source.all();
    yield { block, order: await share(await memoryOrder(plan, block, options), rank, worldSize) };
    return;
  }
  const rows = streamPieces(plan, options);
  yield* worldSize === 1 ? rows : strided(rows, rank, worldSize);
}

/** Every worldSize-th row from number `rank` on; the first rows again where some would have fewer. */
async function share(order: Uint32Array, rank: number, worldSize: number): Promise<Uint32Array> {
  if (worldSize === 1 || order.length === 0) return order;
  const mine = new Uint32Array(Math.ceil(order.length / worldSize));
  await inPieces(mine.length, (from, to) => {
    for (let i = from; i < to; i++) mine[i] = order[(i * worldSize + rank) % order.length] ?? 0;
  });
  return mine;
}

async function memoryOrder<B extends Batch>(
  { stages, keep, resample }: Plan<B>,
  block: B,
  { epoch, shuffle }: EpochOptions,
): Promise<Uint32Array> {
  let order = await selected(block.rows, stages);
  if (keep !== undefined) order = await keep.memory(block, order);
  if (resample !== undefined) {
    const random = generator(shuffle?.seed ?? 0, resampleStream + epoch);
    order = await inParts(order, (rows) => resample(block, rows, random));
  }
  if (shuffle === undefined) return order;
  const all = stages.length === 0 && keep === undefined && resample === undefined;
  return all
    ? await shuffled({ start: 0, count: order.length }, generator(shuffle.seed, epoch))
    : await mixed(order, { seed: shuffle.seed, epoch });
}

/** Copied in a millisecond or two. */
const partsPerTurn = 8;

/** What `change` makes of the parts of `order`, one after another, with turns of the event loop between. */
async function inParts(
  order: Uint32Array,
  change: (part: Uint32Array) => Uint32Array,
): Promise<Uint32Array> {
  const parts: Uint32Array[] = [];
  await inPieces(order.length, (from, to) => {
    parts.push(change(order.subarray(from, to)));
  });
  const all = new Uint32Array(parts.reduce((sum, { length }) => sum + length, 0));
  let begin = 0;
  for (const [i, part] of parts.entries()) {
    if (i % partsPerTurn === partsPerTurn - 1) await nextTurn();
    all.set(part, begin);
    begin += part.length;
  }
  return all;
}

async function* streamPieces<B extends Batch>(
  plan: Plan<B>,
  options: EpochOptions,
): AsyncGenerator<Piece<B>> {
  const { shuffle, epoch } = options;
  const kept = keptPieces(plan, options);
  if (shuffle === undefined || shufflesItself(plan)) yield* kept;
  else yield* shuffledWindows(kept, { ...shuffle, epoch });
}

/** What looks at rows of a stream one after another needs them in their order. */
const shufflesItself = <B extends Batch>({ source, keep, resample }: Plan<B>): boolean =>
  source.kind === 'stream' &&
  source.shuffles === true &&
  keep === undefined &&
  resample === undefined;

/** The rows that the stages leave, repeated as the plan says. */
export async function* keptPieces<B extends Batch>(
  plan: Plan<B>,
  { epoch, signal, shuffle }: EpochOptions,
): AsyncGenerator<Piece<B>> {
  const { source, stages, keep, resample } = plan;
  if (source.kind === 'memory') return;
  const left = source.selects ? [] : stages;
  const selector = new Selector(left);
  const random = generator(shuffle?.seed ?? 0, resampleStream + epoch);
  const kept = keep?.stream();
  if (new Selector(stages).done) return;
  let seen = 0;
  const order = shufflesItself(plan) ? shuffle : undefined;
  const turn = turnsBetween();
  for await (const block of source.stream({ epoch, signal, stages, shuffle: order })) {
    const due = turn();
    if (due) await due;
    if (signal?.aborted) throw aborted(signal);
    seen += block.rows;
    const selected =
      left.length === 0 ? numbersOf({ start: 0, count: block.rows }) : selector.next(block.rows);
    const wanted = kept === undefined ? selected : kept(block, selected);
    const order = resample === undefined ? wanted : resample(block, wanted, random);
    // A block of no rows would not say how wide they are.
    if (order.length > 0) {
      yield resample === undefined
        ? { block, order }
        : {
            block: gatherRows(block, order),
            order: numbersOf({ start: 0, count: order.length }),
          };
    }
    if (selector.done) return;
  }
  if (source.selects || source.length === undefined || seen === source.length) return;
  const what = `${source.length} rows, its length,`;
  throw is.mismatch('ERR_SHAPE', what, 'dataset', `${seen} rows`);
}

async function* strided<B extends Batch>(
  all: AsyncIterable<Piece<B>>,
  rank: number,
  worldSize: number,
): AsyncGenerator<Piece<B>> {
  let seen = 0;
  let first: B[] = [];
  for await (const { block, order } of all) {
    if (seen < worldSize) {
      first.push(gatherRows(block, order.subarray(0, worldSize - seen)));
      if (first.length > 1) first = [concatRows(first)];
    }
    const begin = (((rank - seen) % worldSize) + worldSize) % worldSize;
    seen += order.length;
    const mine = order.filter((_, i) => i % worldSize === begin);
    if (mine.length > 0) yield { block, order: mine };
  }
  const extra = rank - (seen % worldSize);
  const [head] = first;
  if (seen % worldSize === 0 || extra < 0 || head === undefined) return;
  yield { block: head, order: Uint32Array.of(extra % head.rows) };
}
