// Where rows come from. A source knows nothing of batches, orders and epochs.
import type { Batch, TensorBatch } from './batch.js';
import type { EncoderState } from './encoders/state.js';
import type { DataError, OnError } from './errors.js';
import type { Stage } from './select.js';

/** How a stream of rows is asked for. */
export interface StreamOptions {
  /** From 0; sources that are the same every time take no notice. */
  readonly epoch: number;
  readonly signal: AbortSignal | undefined;
  /** The rows that the dataset takes; sources without `selects` may take no notice. */
  readonly stages: readonly Stage[];
  /** Of `shuffles`: in the order that follows from it and the epoch, `window` rows mixed at a time. */
  readonly shuffle: { readonly seed: number; readonly window: number } | undefined;
}

/** Rows that are read in order, in blocks of any size, as often as asked. */
export interface StreamSource<B extends Batch> {
  /** Undefined where it is known only at the end. */
  readonly length: number | undefined;
  /** Whether only rows that the stages keep come, so that others need not be read. */
  readonly selects?: boolean;
  /**
   * Whether it shuffles its rows itself, as streams are shuffled or, where it can be read in any order,
   * as a whole.
   */
  readonly shuffles?: boolean;
  /**
   * The same as long as the rows are, of sources that nobody notices being read. Rejects with the file
   * system's error.
   */
  version?(): Promise<string>;
  /** The same rows with these columns alone. */
  narrowed?(columns: readonly string[]): StreamSource<B>;
  /** The same rows encoded where they are read, off the event loop. */
  encoded?(encoder: EncoderState, policy: ErrorPolicy): StreamSource<TensorBatch>;
  /** Each call reads from the beginning. Ending the iteration frees what it holds. */
  stream(options: StreamOptions): AsyncIterable<B>;
}

/** Rows in memory, by number. */
export interface MemorySource<B extends Batch> {
  readonly length: number | undefined;
  /** All rows; the same each time. */
  all(): Promise<B> | B;
}

export type Source<B extends Batch> =
  | ({ readonly kind: 'stream' } & StreamSource<B>)
  | ({ readonly kind: 'memory' } & MemorySource<B>);

/** What happens to bad rows. */
export interface ErrorPolicy {
  readonly onError: OnError;
  readonly onSkip: ((error: DataError) => void) | undefined;
}
