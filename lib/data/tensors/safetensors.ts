// Files of many arrays under names: safetensors, as models of other tools come in.
import type { FileHandle } from 'node:fs/promises';
import { bad } from '../../files/format.js';
import { readFully, readHeader, type TensorEntry } from '../../files/safetensors.js';
import { type Kind, sizes } from './header.js';
import { opened } from './opened.js';
import { decodeAll, pieceBytes, type Tensor } from './read.js';

const kinds: ReadonlyMap<string, Kind> = new Map([
  ['BOOL', 'uint8'],
  ['U8', 'uint8'],
  ['I8', 'int8'],
  ['I16', 'int16'],
  ['U16', 'uint16'],
  ['F16', 'float16'],
  ['BF16', 'bfloat16'],
  ['I32', 'int32'],
  ['U32', 'uint32'],
  ['F32', 'float32'],
  ['F64', 'float64'],
  ['I64', 'int64'],
  ['U64', 'uint64'],
]);

/** All arrays of a file, in the order of its header. Rejects as readSafetensors does. */
export async function readTensors(path: string): Promise<Map<string, Tensor>> {
  return await opened(path, async (handle) => {
    const { tensors } = await readHeader(handle);
    const found = new Map<string, Tensor>();
    for (const [name, entry] of tensors) {
      found.set(name, await readEntry(handle, path, name, entry));
    }
    return found;
  });
}

async function readEntry(
  handle: FileHandle,
  path: string,
  name: string,
  { dtype, shape, start, bytes }: TensorEntry,
): Promise<Tensor> {
  const kind = kinds.get(dtype);
  if (kind === undefined) {
    throw bad(`integers, booleans or floats of 16 to 64 bits for tensor \`${name}\``, dtype);
  }
  const buffer = Buffer.alloc(Math.min(pieceBytes, bytes));
  const format = { kind, shape, littleEndian: true };
  const where = { file: path, column: name };
  return await decodeAll(format, bytes / sizes[kind], where, undefined, async (begin, end) => {
    const piece = buffer.subarray(0, end - begin);
    await readFully(handle, piece, start + begin);
    return piece;
  });
}
