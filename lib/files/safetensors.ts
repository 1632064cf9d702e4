// The safetensors format (https://github.com/huggingface/safetensors): the length of a JSON header as
// 8 little-endian bytes, the header, then the tensors' bytes without gaps.
import { isUtf8 } from 'node:buffer';
import { writeAtomically } from './atomic.js';
import { bad, count, integer, integers, list, parseJson, record, text } from './format.js';
import type { Readable } from './model-file.js';

/** What other readers of the format allow. */
const maxHeader = 100_000_000;
/** Bytes that are read at once: most headers are shorter. */
const usualHeader = 16384;

const sizes = new Map([
  ['BOOL', 1],
  ['U8', 1],
  ['I8', 1],
  ['F8_E5M2', 1],
  ['F8_E4M3', 1],
  ['I16', 2],
  ['U16', 2],
  ['F16', 2],
  ['BF16', 2],
  ['I32', 4],
  ['U32', 4],
  ['F32', 4],
  ['F64', 8],
  ['I64', 8],
  ['U64', 8],
]);

export interface TensorEntry {
  readonly dtype: string;
  readonly shape: readonly number[];
  /** Position in the file. */
  readonly start: number;
  readonly bytes: number;
}

/** A tensor to be written. */
export interface TensorData {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data: Uint8Array;
}

export interface Header {
  readonly metadata: ReadonlyMap<string, string>;
  readonly tensors: ReadonlyMap<string, TensorEntry>;
}

/** Throws ERR_FILE_FORMAT unless a tensor is of float32 and has this shape. */
export function checkFloats(name: string, tensor: TensorEntry, shape: readonly number[]): void {
  if (tensor.dtype === 'F32' && tensor.shape.join() === shape.join()) return;
  throw bad(
    `F32 [${shape.join(', ')}] for tensor \`${name}\``,
    `${tensor.dtype} [${tensor.shape.join(', ')}]`,
  );
}

/** A tensor of these numbers, which are not copied. */
export function tensorOf(
  name: string,
  dtype: string,
  shape: readonly number[],
  values: ArrayBufferView,
): TensorData {
  const data = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  return { name, dtype, shape, data };
}

/** Writes a file of these tensors, in this order; a failed attempt leaves no trace. */
export async function writeTensors(
  path: string | URL,
  metadata: Readonly<Record<string, string>>,
  tensors: readonly TensorData[],
): Promise<void> {
  const header = encodeHeader(metadata, tensors);
  await writeAtomically(path, [header, ...tensors.map(({ data }) => data)]);
}

/** Padded so that the bytes of tensors are aligned to 8. */
function encodeHeader(
  metadata: Readonly<Record<string, string>>,
  tensors: readonly TensorData[],
): Uint8Array {
  const entries: [string, unknown][] = [['__metadata__', metadata]];
  let offset = 0;
  for (const { name, dtype, shape, data } of tensors) {
    const end = offset + data.byteLength;
    entries.push([name, { dtype, shape, data_offsets: [offset, end] }]);
    offset = end;
  }
  const json = Buffer.from(JSON.stringify(Object.fromEntries(entries)), 'utf8');
  const length = Math.ceil(json.length / 8) * 8;
  const header = Buffer.alloc(8 + length, ' ');
  header.writeBigUInt64LE(BigInt(length), 0);
  json.copy(header, 8);
  return header;
}

/** Reads and checks a header. Takes memory only for what the file really holds. */
export async function readHeader(file: Readable): Promise<Header> {
  // Most headers are in the first piece: each request is a way to another thread and back.
  const piece = new Uint8Array(usualHeader);
  const [{ size }, { bytesRead }] = await Promise.all([
    file.stat(),
    file.read(piece, 0, piece.length, 0),
  ]);
  if (size < 8 || bytesRead < 8) throw bad('a safetensors file', `a file of ${size} bytes`);
  const claimed = new DataView(piece.buffer).getBigUint64(0, true);
  if (claimed > BigInt(Math.min(maxHeader, size - 8))) {
    throw bad(
      'a safetensors header within the file',
      `a header of ${claimed} bytes in a file of ${size} bytes`,
    );
  }
  let bytes = piece.subarray(8, 8 + Number(claimed));
  if (8 + Number(claimed) > bytesRead) {
    bytes = new Uint8Array(Number(claimed));
    await readFully(file, bytes, 8);
  }
  if (!isUtf8(bytes)) throw bad('a header in UTF-8', 'other bytes');
  const json = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('utf8');
  return parseHeader(json, 8 + bytes.length, size);
}

function parseHeader(json: string, dataStart: number, fileSize: number): Header {
  if (!json.startsWith('{')) throw bad('a header that begins with {', 'another character');
  const metadata = new Map<string, string>();
  const tensors = new Map<string, TensorEntry>();
  for (const [name, value] of Object.entries(record(parseJson(json, 'the header'), 'header'))) {
    if (name === '__metadata__') {
      for (const [key, item] of Object.entries(record(value, name))) {
        metadata.set(key, text(item, `${name}.${key}`));
      }
    } else {
      tensors.set(name, parseTensor(name, value, dataStart, fileSize));
    }
  }
  checkRanges(tensors, dataStart, fileSize);
  return { metadata, tensors };
}

function parseTensor(
  name: string,
  value: unknown,
  dataStart: number,
  fileSize: number,
): TensorEntry {
  const entry = record(value, name);
  const dtype = text(entry.dtype, `${name}.dtype`);
  const size = sizes.get(dtype);
  if (size === undefined) throw bad(`a known dtype for tensor \`${name}\``, dtype);
  const shape = integers(entry.shape, `${name}.shape`, 0);
  const offsets = list(entry.data_offsets, `${name}.data_offsets`);
  if (offsets.length !== 2) throw bad(`two offsets for tensor \`${name}\``, `${offsets.length}`);
  const begin = integer(offsets[0], `${name}.data_offsets[0]`, 0, fileSize - dataStart);
  const end = integer(offsets[1], `${name}.data_offsets[1]`, begin, fileSize - dataStart);
  const bytes = count(shape, name) * size;
  if (bytes !== end - begin) {
    throw bad(
      `${bytes} bytes for tensor \`${name}\` (${dtype} [${shape.join(', ')}])`,
      `${end - begin}`,
    );
  }
  return { dtype, shape, start: dataStart + begin, bytes };
}

/** Tensors must cover the rest of the file, without overlaps and holes. */
function checkRanges(
  tensors: ReadonlyMap<string, TensorEntry>,
  dataStart: number,
  fileSize: number,
): void {
  const sorted = [...tensors].sort(([, a], [, b]) => a.start - b.start || a.bytes - b.bytes);
  let end = dataStart;
  for (const [name, { start, bytes }] of sorted) {
    if (start !== end) {
      const what = start < end ? 'an overlap' : 'a hole';
      throw bad(`tensors that follow each other`, `${what} before tensor \`${name}\``);
    }
    end = start + bytes;
  }
  if (end !== fileSize) throw bad(`a file of ${end} bytes`, `one of ${fileSize} bytes`);
}

/** Fills `target` from `position`. Rejects with `ended()`, ERR_FILE_FORMAT, when the file ends before that. */
export async function readFully(
  file: Readable,
  target: Uint8Array,
  position: number,
  ended: () => Error = () => bad('a whole file', 'one that ends early'),
): Promise<void> {
  // Reads of more than 2 GiB are refused by some systems.
  const most = 2 ** 30;
  for (let done = 0; done < target.length; ) {
    const length = Math.min(most, target.length - done);
    const { bytesRead } = await file.read(target, done, length, position + done);
    if (bytesRead === 0) throw ended();
    done += bytesRead;
  }
}
