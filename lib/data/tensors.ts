// Files that hold one array: IDX, as MNIST comes in, and NumPy's .npy.
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import type { TypedArray } from '../../bindings.js';
import * as is from '../is.js';
import { elementsPerTurn, nextTurn } from '../trainer/turns.js';
import { fromArrays } from './arrays.js';
import type { TensorBatch } from './batch.js';
import type { Dataset } from './dataset.js';
import { asArchiveError, badData, type DataError } from './errors.js';

/** An array of a file, row-major. */
export interface Tensor {
  readonly shape: readonly number[];
  readonly data: TypedArray;
}

type Kind =
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

interface Header {
  readonly kind: Kind;
  readonly shape: readonly number[];
  /** Where the numbers begin. */
  readonly start: number;
  readonly littleEndian: boolean;
}

const sizes: Readonly<Record<Kind, number>> = {
  ...{ float32: 4, float64: 8, int8: 1, uint8: 1, int16: 2, uint16: 2 },
  ...{ int32: 4, uint32: 4, int64: 8, uint64: 8 },
};

/**
 * The array of an IDX file, maybe compressed (`.gz`); numbers of 64 bits become float32. Rejects with
 * DataError or the file system's error.
 */
export const readIdx = (path: string | URL): Promise<Tensor> => readTensor(path, idxHeader);

/**
 * The array of a .npy file, in C order, maybe compressed (`.gz`). float64 becomes float32 and int64
 * int32. Rejects with DataError or the file system's error.
 */
export const readNpy = (path: string | URL): Promise<Tensor> => readTensor(path, npyHeader);

/** Files of inputs and targets: one each, or records of them. */
export interface TensorFiles {
  x: string | URL | Readonly<Record<string, string | URL>>;
  y: string | URL | Readonly<Record<string, string | URL>>;
}

/** How inputs are read. */
export interface TensorFileOptions {
  /** Multiplies all inputs, which become float32: 1 / 255 for images of bytes. None by default. */
  scale?: number;
}

/**
 * Rows in memory from IDX files, whose first dimension is that of the rows. Rejects with ERR_ARGUMENT,
 * ERR_SHAPE, and as readIdx does.
 */
export const idx = (files: TensorFiles, options?: TensorFileOptions): Promise<Dataset> =>
  tensorFiles(readIdx, files, options, 'idx');

/** The same from .npy files. */
export const npy = (files: TensorFiles, options?: TensorFileOptions): Promise<Dataset> =>
  tensorFiles(readNpy, files, options, 'npy');

async function tensorFiles(
  read: (path: string | URL) => Promise<Tensor>,
  files: TensorFiles,
  options: TensorFileOptions | undefined,
  name: string,
): Promise<Dataset> {
  const { x, y } = is.options<TensorFiles>(files, 'files', ['x', 'y']);
  const { scale } = is.options<TensorFileOptions>(options, `options of ${name}`, ['scale']);
  if (scale !== undefined) is.number(scale, 'scale');
  let rows: number | undefined;
  const load = async (path: unknown, label: string, factor: number | undefined) => {
    if (!(path instanceof URL)) is.string(path, label);
    const { shape, data } = await read(path as string | URL);
    rows ??= shape[0];
    if (shape[0] !== rows) {
      throw is.mismatch(
        'ERR_SHAPE',
        `${rows} rows, as in the first file`,
        label,
        `${shape[0]} rows`,
      );
    }
    return factor === undefined ? data : await scaled(data, factor);
  };
  const group = async (of: unknown, label: string, factor: number | undefined) => {
    if (!is.isRecord(of)) return await load(of, label, factor);
    const arrays: Record<string, TypedArray> = {};
    for (const [key, path] of Object.entries(of)) {
      arrays[key] = await load(path, `${label}.${key}`, factor);
    }
    return arrays;
  };
  const arrays: Pick<TensorBatch, 'x' | 'y'> = {
    x: await group(x, 'x', scale),
    y: await group(y, 'y', undefined),
  };
  return fromArrays(arrays, { rows: rows ?? 0 });
}

async function scaled(data: TypedArray, factor: number): Promise<Float32Array> {
  const result = new Float32Array(data.length);
  for (let begin = 0; begin < data.length; begin += elementsPerTurn) {
    if (begin > 0) await nextTurn();
    const end = Math.min(data.length, begin + elementsPerTurn);
    for (let i = begin; i < end; i++) result[i] = (data[i] ?? 0) * factor;
  }
  return result;
}

const unzip = promisify(gunzip);

async function unpack(bytes: Buffer, file: string): Promise<Buffer> {
  try {
    return await unzip(bytes);
  } catch (cause) {
    throw asArchiveError(cause, file);
  }
}

async function readTensor(
  path: string | URL,
  parse: (bytes: Buffer, file: string) => Header,
): Promise<Tensor> {
  const file = path instanceof URL ? fileURLToPath(path) : is.string(path, 'path');
  const raw = await readFile(file);
  const bytes = file.endsWith('.gz') ? await unpack(raw, file) : raw;
  const header = parse(bytes, file);
  let count = 1;
  for (const length of header.shape) count *= length;
  const needed = header.start + count * sizes[header.kind];
  if (!Number.isSafeInteger(needed) || bytes.length !== needed) {
    const what = `${needed} bytes for [${header.shape.join(', ')}] of ${header.kind}`;
    throw badData(what, `${bytes.length}`, { file });
  }
  if (header.shape.length === 0) throw badData('one dimension or more', 'a number', { file });
  return { shape: header.shape, data: await decode(bytes, header, count, file) };
}

async function decode(
  bytes: Buffer,
  { kind, start, littleEndian }: Header,
  count: number,
  file: string,
): Promise<TypedArray> {
  const view = new DataView(bytes.buffer, bytes.byteOffset + start, bytes.length - start);
  const result = makeArray(kind, count);
  const get = getter(view, kind, littleEndian);
  for (let begin = 0; begin < count; begin += elementsPerTurn) {
    if (begin > 0) await nextTurn();
    const end = Math.min(count, begin + elementsPerTurn);
    for (let i = begin; i < end; i++) {
      const value = get(i);
      result[i] = value;
      if (result instanceof Int32Array && result[i] !== value) {
        throw badData('integers that int32 holds', `${value} at position ${i}`, { file });
      }
    }
  }
  return result;
}

function makeArray(kind: Kind, count: number): TypedArray {
  const types = {
    ...{ float32: Float32Array, float64: Float32Array, int8: Int8Array, uint8: Uint8Array },
    ...{ int16: Int16Array, uint16: Uint16Array, int32: Int32Array, uint32: Uint32Array },
    ...{ int64: Int32Array, uint64: Int32Array },
  };
  return new types[kind](count);
}

function getter(view: DataView, kind: Kind, little: boolean): (i: number) => number {
  switch (kind) {
    case 'float32':
      return (i) => view.getFloat32(4 * i, little);
    case 'float64':
      return (i) => view.getFloat64(8 * i, little);
    case 'int8':
      return (i) => view.getInt8(i);
    case 'uint8':
      return (i) => view.getUint8(i);
    case 'int16':
      return (i) => view.getInt16(2 * i, little);
    case 'uint16':
      return (i) => view.getUint16(2 * i, little);
    case 'int32':
      return (i) => view.getInt32(4 * i, little);
    case 'uint32':
      return (i) => view.getUint32(4 * i, little);
    case 'int64':
      return (i) => Number(view.getBigInt64(8 * i, little));
    default:
      return (i) => Number(view.getBigUint64(8 * i, little));
  }
}

const idxKinds: ReadonlyMap<number, Kind> = new Map([
  [0x08, 'uint8'],
  [0x09, 'int8'],
  [0x0b, 'int16'],
  [0x0c, 'int32'],
  [0x0d, 'float32'],
  [0x0e, 'float64'],
]);

/** Two zeros, the type, the number of dimensions, then their lengths, all big-endian. */
function idxHeader(bytes: Buffer, file: string): Header {
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
function npyHeader(bytes: Buffer, file: string): Header {
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
  if (kind === undefined) throw fail('numbers of 64 bits or less', text.trim().slice(0, 80));
  if (/'fortran_order':\s*True/.test(text)) {
    throw fail('an array in C order', 'Fortran order; numpy.ascontiguousarray converts it');
  }
  const dimensions = /'shape':\s*\(([\d,\s]*)\)/.exec(text)?.[1];
  if (dimensions === undefined) throw fail('a shape', text.trim().slice(0, 80));
  const shape = dimensions
    .split(',')
    .filter((item) => item.trim() !== '')
    .map(Number);
  return { kind, shape, start, littleEndian: order !== '>' };
}
