/**
 * Data to train on: from memory, files and streams, as batches of typed arrays.
 *
 * @module
 */
export { fromArrays, fromSequences, fromTable } from './data/arrays.js';
export type { Batch, Column, Columns, TableBatch, TensorBatch } from './data/batch.js';
export type { BucketOptions, Sequence, SequenceBatch } from './data/buckets.js';
export type { Augmentation, Transform } from './data/chunks.js';
export { classWeights } from './data/classes.js';
export type { CellType } from './data/csv/read.js';
export { type BatchesOptions, Dataset, type ShuffleOptions } from './data/dataset.js';
export {
  type EncodeOptions,
  fitEncoder,
  type InputEncodings,
  RowEncoder,
  type RowEncodings,
  type Widths,
} from './data/encoder.js';
export {
  type CategoryOptions,
  type ColumnEncoding,
  type ColumnEncodings,
  category,
  cyclic,
  type EncodingName,
  type MissingNumber,
  minMax,
  type NumberOptions,
  number,
  oneHot,
  type Period,
  standard,
  text,
  type UnknownCategory,
} from './data/encoders/spec.js';
export { DataError, type OnError } from './data/errors.js';
export { arrow, type CsvOptions, csv, parquet, type TableFileOptions } from './data/files.js';
export { fromBatches, fromRows, type IterableOptions, type Rows } from './data/iterables.js';
export {
  idx,
  npy,
  readIdx,
  readNpy,
  readSafetensors,
  type Tensor,
  type TensorFileOptions,
  type TensorFiles,
} from './data/tensors.js';
