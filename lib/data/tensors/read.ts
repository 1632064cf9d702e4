// Files of one array: their headers, and all of their numbers.
import type { FileHandle } from 'node:fs/promises';
import { promisify } from 'node:util';
import { createGunzip, gunzip } from 'node:zlib';
import type { TypedArray } from '../../../bindings.js';
import { readFully } from '../../files/safetensors.js';
import { nextTurn } from '../../trainer/turns.js';
import { mostOf } from '../codecs/limits.js';
import { asArchiveError, cutShort } from '../errors.js';
import { decode, type FilePlace, makeArray } from './decode.js';
import {
  checkSize,
  type Header,
  headerBytes,
  neededBytes,
  type ParseHeader,
  sizes,
  wrongSize,
} from './header.js';
import { opened } from './opened.js';

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
export const pieceBytes = 2 ** 20;

/** The header of a file that is not compressed. Rejects with DataError, the file system's error. */
export async function openTensor(path: string, parse: ParseHeader): Promise<TensorFile> {
  return await opened(path, (handle) => readHeader(handle, path, parse));
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
  return await opened(path, async (handle) => {
    const { header, count } = await readHeader(handle, path, parse);
    const { start, kind } = header;
    const buffer = Buffer.alloc(Math.min(pieceBytes, count * sizes[kind]));
    return await decodeAll(header, count, { file: path }, factor, async (begin, end) => {
      const piece = buffer.subarray(0, end - begin);
      await readFully(handle, piece, start + begin, () => cutShort(path));
      return piece;
    });
  });
}

const unzip = promisify(gunzip);

async function readArchive(
  path: string,
  parse: ParseHeader,
  factor: number | undefined,
): Promise<Tensor> {
  const packed = await opened(path, (handle) => handle.readFile()).catch((cause: unknown) => {
    throw asArchiveError(cause, path);
  });
  const header = parse(await unpackedHead(packed, path), path);
  const bytes = await unpacked(packed, header, path);
  const count = checkSize(header, bytes.length, path);
  return await decodeAll(header, count, { file: path }, factor, async (begin, end) => {
    if (begin > 0) await nextTurn();
    return bytes.subarray(header.start + begin, header.start + end);
  });
}

/** As many bytes as a header has at most. */
async function unpackedHead(packed: Buffer, path: string): Promise<Buffer> {
  const parts: Buffer[] = [];
  let left = headerBytes;
  try {
    for await (const part of createGunzip({ chunkSize: headerBytes }).end(packed)) {
      parts.push(part as Buffer);
      left -= (part as Buffer).length;
      if (left <= 0) break;
    }
  } catch (cause) {
    throw asArchiveError(cause, path);
  }
  return Buffer.concat(parts);
}

/** All of them, but for a file of more than its header says. */
async function unpacked(packed: Buffer, header: Header, path: string): Promise<Buffer> {
  const [most, needed] = [mostOf(packed.length), neededBytes(header)];
  try {
    return await unzip(packed, { maxOutputLength: needed < most ? needed + 1 : most });
  } catch (cause) {
    const isLarge = cause instanceof Error && 'code' in cause && cause.code === tooLarge;
    if (!isLarge) throw asArchiveError(cause, path);
    const unread = `more than ${most} in a .gz file of ${packed.length}; unpack it`;
    throw wrongSize(header, needed < most ? 'more' : unread, path);
  }
}

const tooLarge = 'ERR_BUFFER_TOO_LARGE';

/**
 * An array of `count` numbers, which are `where`, and whose bytes `read` gets piece by piece. Rejects with DataError and
 * ERR_OUT_OF_MEMORY, and as `read` does.
 */
export async function decodeAll(
  { kind, littleEndian, shape }: Pick<Header, 'kind' | 'littleEndian' | 'shape'>,
  count: number,
  where: FilePlace,
  factor: number | undefined,
  read: (begin: number, end: number) => Promise<Uint8Array>,
): Promise<Tensor> {
  const format = { kind, littleEndian, factor };
  const data = makeArray(format, count, where);
  const size = sizes[kind];
  const rowLength = count / (shape[0] ?? 1);
  for (let begin = 0; begin < count * size; begin += pieceBytes) {
    const piece = await read(begin, Math.min(count * size, begin + pieceBytes));
    const first = begin / size;
    const place = (i: number) => ({ ...where, row: Math.floor((first + i) / rowLength) + 1 });
    decode(piece, format, data, first, place);
  }
  return { shape, data };
}
