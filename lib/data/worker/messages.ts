// What a reading thread and the one that uses the rows tell each other.
import type { ArrowJob } from '../arrow/read.js';
import type { Batch } from '../batch.js';
import type { CsvJob } from '../csv/read.js';
import type { EncoderState } from '../encoders/state.js';
import type { OnError, PlainError } from '../errors.js';
import type { ParquetJob } from '../parquet/read.js';
import type { TensorJob } from '../tensors/rows.js';
import type { WindowShuffle } from '../windows.js';

/** What to read. */
export type Job =
  | ({ readonly kind: 'csv' } & CsvJob)
  | ({ readonly kind: 'parquet' } & ParquetJob)
  | ({ readonly kind: 'arrow' } & ArrowJob);

/** Arrays, which no encoder makes anything of. */
export type ArrayJob = { readonly kind: 'tensors' } & TensorJob;

/** What to read and how. */
export interface Reading {
  readonly job: Job | ArrayJob;
  /** Makes arrays of the rows where it is given. */
  readonly encoder: EncoderState | undefined;
  /** Of encoding. */
  readonly onError: OnError;
  /** Of tables; undefined: in order. */
  readonly shuffle: WindowShuffle | undefined;
}

/** One reading from beginning to end; a thread does one at a time. */
export interface Start extends Omit<Reading, 'encoder'> {
  /** 'same': that of the reading before. */
  readonly encoder: EncoderState | 'same' | undefined;
  /** One number: how many more blocks may be sent. */
  readonly credit: Int32Array;
}

/**
 * What a reading thread sends, 'end' or 'error' as the last; `skipped` are the first errors of the rows
 * left out before it.
 */
export type Message =
  | { readonly kind: 'block'; readonly block: Batch; readonly skipped: readonly PlainError[] }
  | { readonly kind: 'end'; readonly skipped: readonly PlainError[] }
  | { readonly kind: 'error'; readonly error: PlainError };
