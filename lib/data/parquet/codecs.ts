// What decompresses pages. Those that come from elsewhere believe what they read, so that it is looked at
// before.
import { brotliDecompressSync, gunzipSync, inflateRawSync } from 'node:zlib';
import type { CompressionCodec, FileMetaData } from 'hyparquet';
import { decodeHadoopLz4, decodeLz4Block } from '../codecs/lz4.js';
import { loadZstd } from '../codecs/zstd.js';
import { optional } from '../errors.js';

/** What compressed bytes are, so many of them. Throws an Error. */
export type Decode = (bytes: Uint8Array, length: number) => Uint8Array;

export type Codecs = ReadonlyMap<CompressionCodec, Decode>;

/** Two bytes copy up to 11, three up to 64. */
const snappyMost = 32;

const codecs: Partial<Record<CompressionCodec, () => Promise<Decode>>> = {
  SNAPPY: loadSnappy,
  GZIP: async () => inflate,
  BROTLI: async () => (bytes, length) => brotliDecompressSync(bytes, sized(length)),
  ZSTD: () => loadZstd('Parquet files compressed with ZSTD'),
  LZ4: async () => decodeHadoopLz4,
  LZ4_RAW: async () => decodeLz4Block,
};

/** Those of a file. Rejects with ERR_ARGUMENT where a package is missing; what is unknown is left out. */
export async function loadCodecs({ row_groups: groups }: FileMetaData): Promise<Codecs> {
  const loaded = new Map<CompressionCodec, Decode>();
  for (const { columns } of groups) {
    for (const { meta_data: data } of columns) {
      if (data === undefined || loaded.has(data.codec)) continue;
      const decode = await codecs[data.codec]?.();
      if (decode !== undefined) loaded.set(data.codec, decode);
    }
  }
  return loaded;
}

const sized = (length: number) => ({
  maxOutputLength: length,
  chunkSize: Math.min(Math.max(64, length), 2 ** 20),
});

/** Of some writers without a header. */
const inflate: Decode = (bytes, length) =>
  bytes[0] === 31 && bytes[1] === 139
    ? gunzipSync(bytes, sized(length))
    : inflateRawSync(bytes, sized(length));

/** In WebAssembly, where that package is there: hyparquet's own takes more than twice as long. */
async function loadSnappy(): Promise<Decode> {
  const fast = await import('hyparquet-compressors').catch(() => undefined);
  const { snappyUncompress } = await optional(
    () => import('hyparquet'),
    'hyparquet',
    'Parquet files',
  );
  const decode = fast?.compressors.SNAPPY;
  return (bytes, length) => {
    checkSnappy(bytes, length);
    if (decode !== undefined) return decode(bytes, length);
    const page = new Uint8Array(length);
    snappyUncompress(bytes, page);
    return page;
  };
}

/** The code in WebAssembly writes as many bytes as the data say. */
function checkSnappy(bytes: Uint8Array, length: number): void {
  let [said, at] = [0, 0];
  for (let digit = 128; digit >= 128; at++) {
    digit = bytes[at] ?? Number.NaN;
    said += (digit % 128) * 128 ** at;
  }
  if (said !== length) throw new Error(`${said} bytes of Snappy instead of ${length}`);
  const most = snappyMost * bytes.length;
  if (length > most) throw new Error(`${length} bytes in Snappy of at most ${most}`);
}
