// Compressed buffers of record batches: apache-arrow has a register of codecs, with none in it.
import { mostOf } from '../codecs/limits.js';
import { decodeLz4 } from '../codecs/lz4.js';
import { loadZstd } from '../codecs/zstd.js';

/** What stands before each compressed buffer: how long it is without compression, in 64 bits. */
export const prefixLength = 8;
/** In place of a length: the buffer is not compressed. */
const stored = -1;

type Decode = (bytes: Uint8Array, length: number) => Uint8Array;

/** By the number in a batch. */
const codecs = [
  { name: 'LZ4_FRAME', load: async (): Promise<Decode> => decodeLz4 },
  { name: 'ZSTD', load: () => loadZstd('Arrow files compressed with ZSTD') },
] as const;

/** Makes apache-arrow read batches with this codec. Throws an Error for one that is unknown. */
export async function useCodec(number: number): Promise<void> {
  const codec = codecs[number];
  if (codec === undefined) {
    const known = codecs.map(({ name }, i) => `${name} (${i})`).join(' and ');
    throw new Error(`a batch compressed with codec ${number}; ${known} can be read`);
  }
  const { compressionRegistry } = await import('apache-arrow');
  if (compressionRegistry.get(number) !== null) return;
  const decode = await codec.load();
  compressionRegistry.set(number, { decode: (bytes) => decode(bytes, lengthBefore(bytes)) });
}

/**
 * What compressed buffers of a body of so many bytes take, by their lengths and prefixes. Throws an Error
 * for what none can have, or is not to be believed.
 */
export function memoryOf(buffers: readonly (readonly [number, number])[], body: number): number {
  const most = mostOf(body);
  let memory = 0;
  for (const [length, prefix] of buffers) {
    if (prefix < stored) throw new Error(`a buffer of ${prefix} bytes that is compressed`);
    memory += prefix === stored ? length - prefixLength : prefix;
  }
  if (memory <= most) return memory;
  throw new Error(`${memory} bytes compressed to ${body}, where ${most} are read at most`);
}

/** apache-arrow reads the prefix, but does not tell it to the codec. */
function lengthBefore(bytes: Uint8Array): number {
  const prefix = new DataView(bytes.buffer, bytes.byteOffset - prefixLength, prefixLength);
  return Number(prefix.getBigInt64(0, true));
}
