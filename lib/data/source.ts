// Where rows come from. A source knows nothing of batches, orders and epochs.
import type { Batch } from './batch.js';

/** How a stream of rows is asked for. */
export interface StreamOptions {
  /** From 0; sources that are the same every time take no notice. */
  readonly epoch: number;
  readonly signal: AbortSignal | undefined;
}

/** Rows that are read in order, in blocks of any size, as often as asked. */
export interface StreamSource<B extends Batch> {
  /** Undefined where it is known only at the end. */
  readonly length: number | undefined;
  /** Each call reads from the beginning. Ending the iteration frees what it holds. */
  stream(options: StreamOptions): AsyncIterable<B>;
}

/** Rows in memory, by number. */
export interface MemorySource<B extends Batch> {
  readonly length: number;
  /** All rows; the same each time. */
  all(): Promise<B> | B;
}

export type Source<B extends Batch> =
  | ({ readonly kind: 'stream' } & StreamSource<B>)
  | ({ readonly kind: 'memory' } & MemorySource<B>);
