// Zstandard frames -> bytes, by fzstd, which believes them: they are looked at before.
import { optional } from '../errors.js';

const magic = 0xfd2fb528;
const mostBlock = 1 << 17;
/** Of the size of the content, by the flag of the header; the first is one byte if there is no window. */
const sizeBytes = [0, 2, 4, 8] as const;
/** Bytes before the Huffman code of literals, by the format of their sizes. */
const literalsHeader = [3, 3, 4, 5] as const;
/** Types of blocks; the one before is not compressed. */
const [repeated, compressed] = [1, 2];

/**
 * What one frame holds, so many bytes. Rejects with ERR_ARGUMENT where the package is missing that `what`
 * needs.
 */
export async function loadZstd(
  what: string,
): Promise<(bytes: Uint8Array, length: number) => Uint8Array> {
  const { decompressZstd } = await optional(
    () => import('hyparquet-compressors'),
    'hyparquet-compressors',
    what,
  );
  return (bytes, length) => {
    checkZstd(bytes, length);
    const output = new Uint8Array(length);
    // fzstd compares it with 1, which would make a text of all its numbers.
    Object.defineProperty(output, 'toString', { value: () => 'output' });
    return decompressZstd(bytes, output);
  };
}

/**
 * Throws an Error for what is not one whole frame, cannot be of `length` bytes, or would never come to an
 * end.
 */
function checkZstd(frame: Uint8Array, length: number): void {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  if (view.byteLength < 6 || view.getUint32(0, true) !== magic) throw new Error('no ZSTD frame');
  const flags = view.getUint8(4);
  if ((flags & 0b1011) !== 0) throw new Error('an unknown ZSTD frame, or one with a dictionary');
  const single = (flags >> 5) % 2;
  const bytes = sizeBytes[(flags >> 6) as 0 | 1 | 2 | 3] || single;
  const size = contentSize(view, 6 - single, bytes);
  if (bytes > 0 && size !== length) throw new Error(`${size} bytes of ZSTD instead of ${length}`);
  const { end, least, most } = checkBlocks(view, 6 - single + bytes);
  if (length < least || length > most) {
    throw new Error(`${length} bytes in ZSTD blocks of ${least} to ${most}`);
  }
  if (end + (flags & 4) !== view.byteLength) throw new Error('bytes behind the ZSTD frame');
}

function contentSize(view: DataView, at: number, bytes: number): number {
  if (bytes === 1) return view.getUint8(at);
  if (bytes === 2) return view.getUint16(at, true) + 256;
  if (bytes === 4) return view.getUint32(at, true);
  return bytes === 8 ? Number(view.getBigUint64(at, true)) : 0;
}

/** Where the last block ends, and the bytes that they hold at least and at most. */
function checkBlocks(view: DataView, begin: number) {
  let [at, least, most, last] = [begin, 0, 0, false];
  while (!last) {
    const header = view.getUint16(at, true) + (view.getUint8(at + 2) << 16);
    const [type, size] = [(header >> 1) & 3, header >> 3];
    last = header % 2 === 1;
    const end = at + 3 + (type === repeated ? 1 : size);
    if (type > compressed || size > mostBlock || end > view.byteLength) {
      throw new Error(`a ZSTD block of ${size} bytes`);
    }
    if (type === compressed) checkLiterals(view, at + 3);
    least += type === compressed ? 0 : size;
    most += type === compressed ? mostBlock : size;
    at = end;
  }
  return { end: at, least, most };
}

/** No encoder writes a code of weights with one symbol of no bits, which fzstd reads forever. */
function checkLiterals(view: DataView, at: number): void {
  const header = view.getUint8(at);
  if (header % 4 !== 2) return; // no code, or that of the block before
  const code = at + literalsHeader[((header >> 2) & 3) as 0 | 1 | 2 | 3];
  if (view.getUint8(code) < 128 && hasOneSymbol(view, code + 1)) {
    throw new Error('a ZSTD block with a code of one symbol');
  }
}

/** Of a table of probabilities: zeros with their repetitions first, then one that takes all. */
function hasOneSymbol(view: DataView, at: number): boolean {
  let place = 8 * at;
  const read = (bits: number) => {
    let value = 0;
    for (let i = 0; i < bits; i++, place++)
      value |= ((view.getUint8(place >> 3) >> (place & 7)) & 1) << i;
    return value;
  };
  const log = read(4) + 5;
  // Of numbers up to all + 1, small ones have a bit less; 1 is the probability 0.
  for (let value = read(log); ; value = read(log)) {
    if (value !== 1) return value === (1 << log) - 1 && read(1) === 1;
    while (read(2) === 3) {} // as many zeros, and more of them
  }
}
