/**
 * Data to train on: from memory, files and streams, as batches of typed arrays.
 *
 * @module
 */
export { fromArrays, fromTable } from './data/arrays.js';
export type { Batch, Column, Columns, TableBatch, TensorBatch } from './data/batch.js';
export { type BatchesOptions, Dataset, type ShuffleOptions } from './data/dataset.js';
