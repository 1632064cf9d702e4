// What files say of their arrays: IDX and NumPy's .npy.
import { badData, type DataError } from '../errors.js';

/** Types of numbers in such files. */
export type Kind =
  | 'float16'
  | 'bfloat16'
  | 'float32'
  | 'float64'
  | 'int8'
  | 'uint8'
  | 'int16'
  | 'uint16'
  | 'int32'
  | 'uint32'
  | 'int64'
  | 'uint64';

export interface Header {
  readonly kind: Kind;
  readonly shape: readonly number[];
  /** Where the numbers begin. */
  readonly start: number;
  readonly littleEndian: boolean;
}

/** Bytes of a number. */
export const sizes: Readonly<Record<Kind, number>> = {
  ...{ float16: 2, bfloat16: 2, float32: 4, float64: 8 },
  ...{ int8: 1, uint8: 1, int16: 2, uint16: 2 },
  ...{ int32: 4, uint32: 4, int64: 8, uint64: 8 },
};

/** A header is within so many bytes. */
export const headerBytes = 2 ** 20;

/** Reads a header at the beginning of a file. Throws DataError. */
export type ParseHeader = (bytes: Uint8Array, file: string) => Header;

const countOf = ({ shape }: Header): number =>
  shape.reduce((product, length) => product * length, 1);

/** Of a file with this header. */
export const neededBytes = (header: Header): number =>
  header.start + countOf(header) * sizes[header.kind];

/** For a file of another size than its header says. */
export function wrongSize(header: Header, received: string, file: string): DataError {
  const { kind, shape } = header;
  const what = `${neededBytes(header)} bytes for [${shape.join(', ')}] of ${kind}`;
  return badData(what, received, { file });
}

/** How many numbers there are in a file of `bytes` bytes. Throws DataError where they do not fit. */
export function checkSize(header: Header, bytes: number, file: string): number {
  const needed = neededBytes(header);
  if (!Number.isSafeInteger(needed) || bytes !== needed) throw wrongSize(header, `${bytes}`, file);
  if (header.shape.length === 0) throw badData('one dimension or more', 'a number', { file });
  return countOf(header);
}

const asBuffer = ({ buffer, byteOffset, length }: Uint8Array): Buffer =>
  Buffer.from(buffer, byteOffset, length);

const describe = (text: string): string => text.trim().slice(0, 80);

const idxKinds: ReadonlyMap<number, Kind> = new Map([
  [0x08, 'uint8'],
  [0x09, 'int8'],
  [0x0b, 'int16'],
  [0x0c, 'int32'],
  [0x0d, 'float32'],
  [0x0e, 'float64'],
]);

/** Two zeros, the type, the number of dimensions, then their lengths, all big-endian. */
export function idxHeader(given: Uint8Array, file: string): Header {
  const bytes = asBuffer(given);
  const kind = idxKinds.get(bytes[2] ?? 0);
  const dimensions = bytes[3] ?? 0;
  const start = 4 + 4 * dimensions;
  if (bytes[0] !== 0 || bytes[1] !== 0 || kind === undefined || bytes.length < start) {
    throw badData('an IDX file', 'something else', { file });
  }
  const shape = Array.from({ length: dimensions }, (_, i) => bytes.readUInt32BE(4 + 4 * i));
  return { kind, shape, start, littleEndian: false };
}

const npyKinds: ReadonlyMap<string, Kind> = new Map([
  ['f2', 'float16'],
  ['f4', 'float32'],
  ['f8', 'float64'],
  ['i1', 'int8'],
  ['u1', 'uint8'],
  ['b1', 'uint8'],
  ['i2', 'int16'],
  ['u2', 'uint16'],
  ['i4', 'int32'],
  ['u4', 'uint32'],
  ['i8', 'int64'],
  ['u8', 'uint64'],
]);

/** https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html */
export function npyHeader(given: Uint8Array, file: string): Header {
  const bytes = asBuffer(given);
  const fail = (what: string, received: string): DataError => badData(what, received, { file });
  if (bytes.length < 10 || bytes.toString('latin1', 0, 6) !== '\x93NUMPY') {
    throw fail('a .npy file', 'something else');
  }
  const long = (bytes[6] ?? 1) > 1;
  if (long && bytes.length < 12) throw fail('a .npy file', 'one that ends early');
  const start = long ? 12 + bytes.readUInt32LE(8) : 10 + bytes.readUInt16LE(8);
  if (start > bytes.length) throw fail('a header within the file', 'one that goes beyond it');
  const text = bytes.toString('latin1', long ? 12 : 10, start);
  const [, order = '', type = ''] = /'descr':\s*'([<>|=])([a-z]\d+)'/.exec(text) ?? [];
  const kind = npyKinds.get(type);
  if (kind === undefined)
    throw fail('integers, booleans or floats of 16 to 64 bits', describe(text));
  if (/'fortran_order':\s*True/.test(text)) {
    throw fail('an array in C order', 'Fortran order; numpy.ascontiguousarray converts it');
  }
  const dimensions = /'shape':\s*\(([\d,\s]*)\)/.exec(text)?.[1];
  if (dimensions === undefined) throw fail('a shape', describe(text));
  const shape = dimensions
    .split(',')
    .filter((item) => item.trim() !== '')
    .map(Number);
  return { kind, shape, start, littleEndian: order !== '>' };
}
