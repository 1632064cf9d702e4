// TensorBoard's event files: records of TFRecord, each an Event of TensorFlow's event.proto in the
// wire format of protocol buffers. Only what scalars need.
import { crc32c } from './crc32c.js';

/** A number with a name at a step. */
export interface Scalar {
  readonly tag: string;
  readonly value: number;
}

/** The first record of every event file. */
export const versionRecord = (seconds: number): Buffer =>
  record(message([double(1, seconds), bytes(3, Buffer.from('brain.Event:2'))]));

/**
 * The second one: what earlier files of the run have from that step on, as those of a run that was killed
 * have behind its last checkpoint, does not count.
 */
export const startRecord = (seconds: number, step: number): Buffer =>
  record(message([double(1, seconds), varint(2, step), bytes(7, varint(1, 1))]));

/** One record with scalars of one step; `seconds` since 1970. */
export function scalarRecord(seconds: number, step: number, scalars: readonly Scalar[]): Buffer {
  const values = scalars.map(({ tag, value }) =>
    bytes(1, message([bytes(1, Buffer.from(tag)), float(2, value)])),
  );
  return record(message([double(1, seconds), varint(2, step), bytes(5, message(values))]));
}

/** Length, checksum of the length, data, checksum of the data. */
function record(data: Buffer): Buffer {
  const framed = Buffer.alloc(data.length + 16);
  framed.writeBigUInt64LE(BigInt(data.length), 0);
  framed.writeUInt32LE(masked(framed.subarray(0, 8)), 8);
  data.copy(framed, 12);
  framed.writeUInt32LE(masked(data), 12 + data.length);
  return framed;
}

/** TFRecord turns checksums, so that a checksum of data that holds one is none by chance. */
function masked(data: Uint8Array): number {
  const crc = crc32c(data);
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}

const message = (fields: readonly Buffer[]): Buffer => Buffer.concat(fields);

/** A field's key: its number, and how its value is written. */
const key = (field: number, wire: 0 | 1 | 2 | 5): number => (field << 3) | wire;

function varint(field: number, value: number): Buffer {
  return Buffer.from([key(field, 0), ...digits(value)]);
}

/** Seven bits a byte, the lowest first. */
function digits(value: number): number[] {
  const found: number[] = [];
  let rest = value;
  for (; rest >= 128; rest = Math.floor(rest / 128)) found.push((rest % 128) | 128);
  return [...found, rest];
}

function bytes(field: number, data: Buffer): Buffer {
  return Buffer.concat([Buffer.from([key(field, 2), ...digits(data.length)]), data]);
}

function double(field: number, value: number): Buffer {
  const written = Buffer.alloc(9);
  written[0] = key(field, 1);
  written.writeDoubleLE(value, 1);
  return written;
}

function float(field: number, value: number): Buffer {
  const written = Buffer.alloc(5);
  written[0] = key(field, 5);
  written.writeFloatLE(value, 1);
  return written;
}
