// A Parquet file: its bytes, and the metadata at its end.
import { fstatSync, readSync } from 'node:fs';
import type { AsyncBuffer, FileMetaData } from 'hyparquet';
import { withPath } from '../../files/paths.js';
import { badData, optional, type Place } from '../errors.js';
import { loadCodecs } from './codecs.js';
import type { Source } from './column.js';
import { endOfStruct } from './thrift.js';

export interface ParquetFile extends Source {
  readonly path: string;
}

const format = 0x50415231; // PAR1
/** What the format ends with: the length of the metadata, and its name. */
const endBytes = 8;

/** Rejects with DataError, the file system's error, and ERR_ARGUMENT where a package is missing. */
export async function openParquet(path: string): Promise<ParquetFile> {
  const { asyncBufferFromFile } = await hyparquet();
  try {
    return await withMetadata(path, await asyncBufferFromFile(path));
  } catch (error) {
    throw withPath(error, path);
  }
}

export async function withMetadata(path: string, buffer: AsyncBuffer): Promise<ParquetFile> {
  const { parquetMetadata } = await hyparquet();
  try {
    const metadata = parquetMetadata(await readFooter(buffer));
    checkCounts(metadata, path);
    checkSchema(metadata.schema);
    return { path, buffer, metadata, codecs: await loadCodecs(metadata) };
  } catch (cause) {
    throw asDataError('a Parquet file', cause, { file: path });
  }
}

/** With what ends the file: the length and the name of the format. Rejects with an Error. */
async function readFooter(buffer: AsyncBuffer): Promise<ArrayBuffer> {
  const { byteLength } = buffer;
  if (byteLength < endBytes) throw new Error(`${byteLength} bytes`);
  const end = new DataView(await buffer.slice(byteLength - endBytes, byteLength));
  const length = end.getUint32(0, true) + endBytes;
  if (end.getUint32(4) !== format) throw new Error('a file that does not end with PAR1');
  if (length > byteLength) throw new Error(`metadata of ${length} bytes in ${byteLength}`);
  const footer = await buffer.slice(byteLength - length, byteLength);
  endOfStruct(new DataView(footer), 0);
  return footer;
}

/**
 * The bytes of an open file, read by this thread itself, which has nothing else to do: threads of libuv
 * would compete with the event loop.
 */
export function bytesOf(file: number): AsyncBuffer {
  const byteLength = fstatSync(file).size;
  return {
    byteLength,
    slice(start, end = byteLength) {
      if (end > byteLength) throw new Error(`bytes up to ${end} of ${byteLength}`);
      const bytes = new Uint8Array(Math.max(0, end - start));
      for (let done = 0; done < bytes.length; ) {
        const count = readSync(file, bytes, done, bytes.length - done, start + done);
        if (count === 0) throw new Error('a file that was cut short meanwhile');
        done += count;
      }
      return bytes.buffer;
    },
  };
}

/** A file that lacks row groups must not pass for a smaller one. */
function checkCounts({ row_groups: groups, num_rows: rows }: FileMetaData, file: string): void {
  const found = groups.reduce((sum, { num_rows: count }) => sum + Number(count), 0);
  if (found === Number(rows)) return;
  throw badData(`row groups of ${rows} rows, as its footer says`, `${found} rows`, { file });
}

/** Throws an Error unless elements have as many children as they say. */
function checkSchema(schema: FileMetaData['schema']): void {
  // Of the elements around the next one, how many children are still to come.
  const open: number[] = [];
  for (const { num_children: children = 0 } of schema) {
    if (!(children >= 0 && children <= schema.length)) throw new Error(`${children} children`);
    open.push(children);
    while (open.at(-1) === 0) {
      open.pop();
      const last = open.length - 1;
      if (last >= 0) open[last] = (open[last] ?? 0) - 1;
    }
  }
  if (open.length > 0) throw new Error('a schema that lacks columns');
}

const hyparquet = () => optional(() => import('hyparquet'), 'hyparquet', 'Parquet files');

export function asDataError(what: string, cause: unknown, place: Place): unknown {
  if (!(cause instanceof Error) || 'syscall' in cause || 'place' in cause) return cause;
  if (cause.name === 'TandemError') return cause;
  return badData(what, cause.message, place, { cause });
}
