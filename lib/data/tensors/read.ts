// Files of one array: their headers, and all of their numbers.
import { type FileHandle, open, readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import type { TypedArray } from '../../../bindings.js';
import { readFully } from '../../files/safetensors.js';
import { nextTurn } from '../../trainer/turns.js';
import { asArchiveError, cutShort } from '../errors.js';
import { decode, makeArray } from './decode.js';
import { checkSize, type Header, headerBytes, type ParseHeader, sizes } from './header.js';

/** A file and what its header says. */
export interface TensorFile {
  readonly path: string;
  readonly header: Header;
  /** Numbers. */
  readonly count: number;
  /** Of the whole file. */
  readonly bytes: number;
}

/** An array of a file, row-major. */
export interface Tensor {
  readonly shape: readonly number[];
  readonly data: TypedArray;
}

/** Numbers that are read and decoded in one turn of the event loop. */
const pieceBytes = 2 ** 20;

/** The header of a file that is not compressed. Rejects with DataError, the file system's error. */
export async function openTensor(path: string, parse: ParseHeader): Promise<TensorFile> {
  const handle = await open(path);
  try {
    return await readHeader(handle, path, parse);
  } finally {
    await handle.close();
  }
}

async function readHeader(
  handle: FileHandle,
  path: string,
  parse: ParseHeader,
): Promise<TensorFile> {
  const { size } = await handle.stat();
  const head = Buffer.alloc(Math.min(size, headerBytes));
  await readFully(handle, head, 0, () => cutShort(path));
  const header = parse(head, path);
  return { path, header, count: checkSize(header, size, path), bytes: size };
}

/** The whole array. Rejects with DataError, ERR_OUT_OF_MEMORY, the file system's error. */
export async function readTensor(
  path: string,
  parse: ParseHeader,
  factor?: number,
): Promise<Tensor> {
  if (path.endsWith('.gz')) return await readArchive(path, parse, factor);
  const handle = await open(path);
  try {
    const { header, count } = await readHeader(handle, path, parse);
    const { start, kind } = header;
    const buffer = Buffer.alloc(Math.min(pieceBytes, count * sizes[kind]));
    return await decodeAll(header, count, path, factor, async (begin, end) => {
      const piece = buffer.subarray(0, end - begin);
      await readFully(handle, piece, start + begin, () => cutShort(path));
      return piece;
    });
  } finally {
    await handle.close();
  }
}

const unzip = promisify(gunzip);

async function readArchive(
  path: string,
  parse: ParseHeader,
  factor: number | undefined,
): Promise<Tensor> {
  let bytes: Buffer;
  try {
    bytes = await unzip(await readFile(path));
  } catch (cause) {
    throw asArchiveError(cause, path);
  }
  const header = parse(bytes, path);
  const count = checkSize(header, bytes.length, path);
  return await decodeAll(header, count, path, factor, async (begin, end) => {
    if (begin > 0) await nextTurn();
    return bytes.subarray(header.start + begin, header.start + end);
  });
}

async function decodeAll(
  { kind, littleEndian, shape }: Header,
  count: number,
  file: string,
  factor: number | undefined,
  read: (begin: number, end: number) => Promise<Uint8Array>,
): Promise<Tensor> {
  const format = { kind, littleEndian, factor };
  const data = makeArray(format, count, file);
  const size = sizes[kind];
  const rowLength = count / (shape[0] ?? 1);
  for (let begin = 0; begin < count * size; begin += pieceBytes) {
    const piece = await read(begin, Math.min(count * size, begin + pieceBytes));
    const first = begin / size;
    const place = (i: number) => ({ file, row: Math.floor((first + i) / rowLength) + 1 });
    decode(piece, format, data, first, place);
  }
  return { shape, data };
}
