// The tables of Arrow's Message.fbs, Schema.fbs and File.fbs, as far as apache-arrow reads them.
import type { TableOf } from './flatbuffer.js';

const keyValue: TableOf = () => ['string', 'string'];
const metadata = { each: keyValue };

const nothing: TableOf = () => [];
const integer: TableOf = () => [4, 1];
const decimal: TableOf = () => [4, 4, 4];
const unit: TableOf = () => [2];
const time: TableOf = () => [2, 4];
const timestamp: TableOf = () => [2, 'string'];
const union: TableOf = () => [2, { each: 4 }];
const size: TableOf = () => [4];
const map: TableOf = () => [1];
// biome-ignore format: by the numbers of the types, those from LargeBinary on have nothing to read
const types: readonly (TableOf | undefined)[] = [
  undefined, nothing, integer, unit, nothing, nothing, nothing, // Null, Int, FloatingPoint, ... Bool
  decimal, unit, time, timestamp, unit, // Decimal, Date, Time, Timestamp, Interval
  nothing, nothing, union, size, size, map, unit, // List, Struct, Union, FixedSizeBinary, ... Duration
];

const dictionaryEncoding: TableOf = () => [8, integer, 1, 2];
const field: TableOf = () => [
  'string',
  1,
  1,
  { types },
  dictionaryEncoding,
  { each: field },
  metadata,
];
const schema: TableOf = () => [2, { each: field }, metadata, { each: 8 }];

const compression: TableOf = () => [1, 1];
const recordBatch: TableOf = () => [8, { each: 16 }, { each: 16 }, compression, { each: 8 }];
const dictionaryBatch: TableOf = () => [8, recordBatch, 1];

/** Slots: version, type of the header, header, length of the body. */
export const message: TableOf = () => [
  2,
  1,
  { types: [undefined, schema, dictionaryBatch, recordBatch] },
  8,
  metadata,
];

/** Slots: version, schema, blocks of dictionaries, blocks of record batches. */
export const footer: TableOf = () => [2, schema, { each: 24 }, { each: 24 }, metadata];

/** What `message` has as the type of its header. */
export const headers = { schema: 1, dictionaryBatch: 2, recordBatch: 3 } as const;
