// Streams of rows in another order, within what memory holds of them.
import { generator, shuffled } from '../trainer/random.js';
import { type Batch, concatInTurns, gatherRows, sliceRows } from './batch.js';

/** Rows `order` of a block, in that order. */
export interface Piece<B extends Batch> {
  readonly block: B;
  readonly order: Uint32Array;
}

/** The order of a stream's rows in an epoch; `window` is how many rows are mixed. */
export interface WindowShuffle {
  readonly seed: number;
  readonly epoch: number;
  readonly window: number;
}

/** Random numbers apart from those of other shuffles, which are numbered by epochs, too. */
const windowStream = 0x20000000;

/** The rows of `pieces`, window by window, each shuffled as a whole. */
export async function* shuffledWindows<B extends Batch>(
  pieces: AsyncIterable<Piece<B>>,
  { seed, epoch, window }: WindowShuffle,
): AsyncGenerator<Piece<B>> {
  const random = generator(seed, windowStream + epoch);
  // Windows that begin elsewhere in each epoch let rows move on from one to the next.
  let size = Math.ceil((window * (1 + random() / 2 ** 32)) / 2);
  let parts: B[] = [];
  let rows = 0;
  const mix = async (): Promise<Piece<B>> => {
    const block = await concatInTurns(parts);
    parts = [];
    rows = 0;
    size = window;
    return { block, order: await shuffled({ start: 0, count: block.rows }, random) };
  };
  for await (const { block, order } of pieces) {
    const part = order.length === block.rows ? block : gatherRows(block, order);
    for (let begin = 0; begin < part.rows; ) {
      const end = Math.min(part.rows, begin + size - rows);
      parts.push(sliceRows(part, begin, end));
      rows += end - begin;
      begin = end;
      if (rows >= size) yield await mix();
    }
  }
  if (rows > 0) yield await mix();
}
