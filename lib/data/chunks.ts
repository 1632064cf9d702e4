// Rows in the order of an epoch -> whole batches.
import { offAbort, onAbort } from '../aborts.js';
import { Ending } from '../ending.js';
import * as is from '../is.js';
import { numbersOf } from '../trainer/random.js';
import { aborted } from '../trainer/signal.js';
import { turnsBetween } from '../trainer/turns.js';
import { type Batch, checkColumns, concatRows, gatherRows } from './batch.js';
import type { Piece } from './pieces.js';

/** Batches of a block: the first `sizes[0]` rows of `order` are one, and so on. */
export interface Chunk<B extends Batch> extends Piece<B> {
  readonly sizes: Uint32Array;
}

/** Makes one batch of another, or of a piece several. */
export type Transform<B extends Batch> = (batch: B) => B | Promise<B>;

/** The same with numbers from 0 to below 1 to draw by. */
export type Augmentation<B extends Batch> = (batch: B, random: () => number) => B | Promise<B>;

/** What is done with each batch. */
export interface Step<B extends Batch> {
  readonly change: Augmentation<B>;
  /** 'augment': of rows to train on alone. */
  readonly by: 'map' | 'augment';
}

/** Cuts pieces into batches of `batchSize` rows, leaving out the first `start`; the last is smaller. */
export async function* cut<B extends Batch>(
  pieces: AsyncIterable<Piece<B>>,
  batchSize: number,
  start: number,
): AsyncGenerator<Chunk<B>> {
  let skip = start * batchSize;
  let rest: B[] = [];
  let waiting = 0;
  const join = (): Chunk<B> => {
    const block = concatRows(rest);
    rest = [];
    waiting = 0;
    const order = numbersOf({ start: 0, count: block.rows });
    return { block, order, sizes: Uint32Array.of(block.rows) };
  };
  for await (const piece of pieces) {
    const { block } = piece;
    let order = piece.order.subarray(Math.min(skip, piece.order.length));
    skip -= piece.order.length - order.length;
    if (waiting > 0) {
      const head = order.subarray(0, batchSize - waiting);
      rest.push(gatherRows(block, head));
      waiting += head.length;
      order = order.subarray(head.length);
      if (waiting === batchSize) yield join();
    }
    const whole = Math.floor(order.length / batchSize);
    if (whole > 0) {
      const sizes = new Uint32Array(whole).fill(batchSize);
      yield { block, order: order.subarray(0, whole * batchSize), sizes };
    }
    const tail = order.subarray(whole * batchSize);
    if (tail.length === 0) continue;
    rest.push(gatherRows(block, tail));
    waiting += tail.length;
  }
  if (waiting > 0) yield join();
}

/** The batches of chunks one by one, as they are given to users. */
export async function* single<B extends Batch>(chunks: AsyncIterable<Chunk<B>>): AsyncGenerator<B> {
  const turn = turnsBetween();
  for await (const { block, order, sizes } of chunks) {
    let begin = 0;
    for (const size of sizes) {
      const due = turn();
      if (due) await due;
      yield gatherRows(block, order.subarray(begin, begin + size));
      begin += size;
    }
  }
}

/** Each batch after `steps`, which draw by what `randomOf` gives for the batch of that number. */
export async function* transformed<B extends Batch>(
  batches: AsyncIterable<B>,
  steps: readonly Step<B>[],
  randomOf: (batch: number) => () => number,
): AsyncGenerator<Chunk<B>> {
  let number = 0;
  for await (const before of batches) {
    let batch = before;
    const random = randomOf(number++);
    for (const { change, by } of steps) {
      batch = checkBatch(await change(batch, random), before.rows, by);
    }
    const order = numbersOf({ start: 0, count: batch.rows });
    yield { block: batch, order, sizes: Uint32Array.of(batch.rows) };
  }
}

function checkBatch<B extends Batch>(batch: B, rows: number, by: string): B {
  const given: unknown = batch;
  if (!is.isRecord(given)) throw is.invalid('a function that returns a batch', by, given);
  const counted = given.rows === undefined ? { ...batch, rows } : batch;
  is.integer(counted.rows, `rows of the batch that ${by} returns`, 1);
  checkColumns(counted);
  return counted;
}

/** For process `rank` of `worldSize` every so manieth batch, as many for each, but for `start` ones. */
export async function* everyNth<B extends Batch>(
  chunks: AsyncIterable<Chunk<B>>,
  start: number,
  rank: number,
  worldSize: number,
): AsyncGenerator<Chunk<B>> {
  let round: Chunk<B>[] = [];
  let rounds = 0;
  for await (const { block, order, sizes } of chunks) {
    let begin = 0;
    for (const size of sizes) {
      const end = begin + size;
      round.push({ block, order: order.subarray(begin, end), sizes: Uint32Array.of(size) });
      begin = end;
      if (round.length < worldSize) continue;
      const mine = round[rank];
      round = [];
      if (rounds++ >= start && mine !== undefined) yield mine;
    }
  }
}

/**
 * Goes on reading while what was read is worked on, at most `ahead` items. The source is closed when
 * the iteration ends early, and the signal that `open` gets aborts then: what fills a window of rows
 * would else be closed when that is full. Rejects with ERR_ABORTED.
 */
export async function* prefetched<T>(
  open: (signal: AbortSignal) => AsyncIterable<T>,
  ahead: number,
  signal: AbortSignal | undefined,
): AsyncGenerator<T> {
  if (signal?.aborted) throw aborted(signal);
  const leaving = new AbortController();
  const iterator = open(leaving.signal)[Symbol.asyncIterator]();
  const waiting: Promise<IteratorResult<T>>[] = [];
  const turn = turnsBetween();
  const ending = new Ending();
  let ended = false;
  const stop = () => {
    leaving.abort(signal?.reason);
    ending.end();
  };
  if (signal) onAbort(signal, stop);
  try {
    for (;;) {
      while (waiting.length <= ahead) {
        const next = iterator.next();
        // Whoever awaits it sees the error.
        next.catch(() => {});
        waiting.push(next);
      }
      const first = waiting.shift();
      const result = await ending.unlessEnded(first);
      const due = turn();
      if (due) await due;
      if (signal?.aborted) throw aborted(signal);
      ended = result?.done === true;
      if (result === undefined || result.done === true) return;
      yield result.value;
    }
  } finally {
    if (signal) offAbort(signal, stop);
    if (!ended) leaving.abort(signal?.reason);
    const closing = Promise.resolve(iterator.return?.());
    // A source that hangs must not hold up who has ended the wait for it.
    if (signal?.aborted) closing.catch(() => {});
    else await closing;
  }
}
