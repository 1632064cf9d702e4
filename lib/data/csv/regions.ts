// A CSV file's bytes, cut after whole records.
import { closeSync, createReadStream, openSync, readSync, statSync } from 'node:fs';
import { pipeline, Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { asArchiveError, badData } from '../errors.js';
import { partsOfPipe } from './pipe.js';

export const newline = 0x0a;
export const carriageReturn = 0x0d;
const quote = 0x22;

/** Records as they are in the file, the last of which ends with a newline. */
export interface Region {
  readonly bytes: Uint8Array;
  /** Whether a cell may be quoted. */
  readonly quoted: boolean;
  /** Whether no quote is anywhere but round a cell, or doubled in it. */
  readonly clean: boolean;
}

const readBytes = 2 ** 19;
/** For the beginning of a record whose end is in the next block. */
const frontBytes = 2 ** 16;

/** Of one record, so that a quote that is never closed does not fill the memory. */
const maxRecord = 2 ** 25;

/**
 * A region's bytes are there until the next one is asked for.
 * A record whose quote is never closed is its first line, which csv-parse refuses; the lines after it
 * are records again. Rejects with the file system's error, and DataError for a broken .gz file.
 */
export async function* regions(path: string, delimiter: number): AsyncGenerator<Region> {
  let rest: Buffer = Buffer.alloc(0);
  let first = true;
  for await (const chunk of chunksOf(path)) {
    let bytes = joined(rest, chunk);
    if (first && bytes.length < 3) {
      rest = bytes;
      continue;
    }
    if (first && bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf) {
      bytes = bytes.subarray(3); // a byte order mark
    }
    first = false;
    for (;;) {
      const { end, clean } = recordsEnd(bytes, delimiter);
      if (end > 0) yield region(bytes.subarray(0, end), clean);
      bytes = bytes.subarray(end);
      if (bytes.length <= maxRecord) break;
      const line = bytes.indexOf(newline) + 1;
      if (line === 0) {
        throw badData(`a record of less than ${maxRecord} bytes`, 'a longer one', { file: path });
      }
      yield region(bytes.subarray(0, line), false);
      bytes = bytes.subarray(line);
    }
    rest = bytes;
  }
  if (rest.length === 0) return;
  const last = rest.at(-1) === newline ? rest : Buffer.concat([rest, Buffer.of(newline)]);
  const { end, clean } = recordsEnd(last, delimiter);
  yield region(last, clean && end === last.length);
}

const region = (bytes: Uint8Array, clean: boolean): Region => ({
  bytes,
  quoted: bytes.includes(quote),
  clean,
});

/** Bytes that follow those before. */
interface Chunk {
  readonly bytes: Buffer;
  /** Bytes in front of them that may be written to. */
  readonly front: number;
}

function joined(rest: Buffer, { bytes, front }: Chunk): Buffer {
  if (rest.length > front) return Buffer.concat([rest, bytes]);
  const begin = bytes.byteOffset - rest.length;
  const whole = Buffer.from(bytes.buffer, begin, rest.length + bytes.length);
  whole.set(rest);
  return whole;
}

async function* chunksOf(path: string): AsyncGenerator<Chunk> {
  const archive = path.endsWith('.gz');
  const found = statSync(path);
  if (!archive && found.isFile()) {
    const file = openSync(path, 'r');
    try {
      return yield* chunksOfFile(file);
    } finally {
      closeSync(file);
    }
  }
  // What is no file, a pipe say, may be opened but once.
  const parts = found.isFIFO() ? partsOfPipe(path) : undefined;
  if (parts !== undefined && !archive) {
    for await (const bytes of parts) yield { bytes, front: 0 };
    return;
  }
  const file = parts
    ? Readable.from(parts, { objectMode: false })
    : createReadStream(path, { highWaterMark: readBytes });
  // The file's error reaches the reader of the pipeline's end, which is destroyed with it.
  const bytes = archive ? pipeline(file, createGunzip({ chunkSize: readBytes }), () => {}) : file;
  try {
    for await (const part of bytes) yield { bytes: part as Buffer, front: 0 };
  } catch (cause) {
    throw archive ? asArchiveError(cause, path) : cause;
  }
}

/**
 * Read by this thread itself, which has nothing else to do: threads of libuv would compete with the
 * event loop. Into two blocks of memory in turns, as what is left of one goes in front of the other.
 */
function* chunksOfFile(file: number): Generator<Chunk> {
  const blocks = [0, 1].map(() => Buffer.allocUnsafeSlow(frontBytes + readBytes));
  for (let i = 0; ; i = 1 - i) {
    const block = blocks[i] ?? Buffer.alloc(0);
    const count = readSync(file, block, frontBytes, readBytes, null);
    if (count === 0) return;
    yield { bytes: block.subarray(frontBytes, frontBytes + count), front: frontBytes };
  }
}

/** One record after another of a region, each with its line's end. */
export function* splitRecords(bytes: Uint8Array, delimiter: number): Generator<Uint8Array> {
  for (let rest = bytes; rest.length > 0; ) {
    let begin = 0;
    for (const end of recordEnds(rest, delimiter)) {
      yield rest.subarray(begin, end);
      begin = end;
    }
    rest = rest.subarray(begin);
    const line = rest.indexOf(newline) + 1 || rest.length;
    if (line > 0) yield rest.subarray(0, line);
    rest = rest.subarray(line);
  }
}

/** After the last record that is whole, and whether all before it are good. */
function recordsEnd(bytes: Uint8Array, delimiter: number): { end: number; clean: boolean } {
  if (!bytes.includes(quote)) return { end: bytes.lastIndexOf(newline) + 1, clean: true };
  const found = { end: 0, clean: true };
  const stray = { seen: false };
  for (const end of recordEnds(bytes, delimiter, stray)) {
    found.end = end;
    found.clean &&= !stray.seen;
  }
  return found;
}

/**
 * Where records end (RFC 4180). A quote opens a cell where it is the first in it, and closes it before
 * the cell's end; a doubled one does neither. A record with another quote is bad, and its end that of
 * a line, so that those after it are none the worse.
 */
function* recordEnds(
  bytes: Uint8Array,
  delimiter: number,
  stray: { seen: boolean } = { seen: false },
): Generator<number> {
  let begin = 0;
  let at = 0;
  let open = bytes.indexOf(quote);
  for (;;) {
    const line = bytes.indexOf(newline, at);
    if (open === -1 || (line !== -1 && line < open)) {
      if (line === -1) return;
      yield line + 1;
      begin = line + 1;
      at = begin;
      continue;
    }
    const first = open === begin || bytes[open - 1] === delimiter;
    const close = first ? closingQuote(bytes, open, delimiter) : open;
    if (close === undefined) return;
    stray.seen ||= !first || close === 'none';
    if (close === 'none') {
      const end = bytes.indexOf(newline, begin) + 1;
      if (end === 0) return;
      yield end;
      begin = end;
      at = end;
    } else at = close + 1;
    open = bytes.indexOf(quote, at);
  }
}

/** The quote that closes the one at `open`; undefined where it may be still to come. */
function closingQuote(
  bytes: Uint8Array,
  open: number,
  delimiter: number,
): number | 'none' | undefined {
  for (let at = open + 1; ; ) {
    const close = bytes.indexOf(quote, at);
    const next = close === -1 ? undefined : bytes[close + 1];
    if (next === undefined) return undefined;
    if (next === delimiter || next === newline) return close;
    if (next === carriageReturn) {
      const after = bytes[close + 2];
      return after === undefined ? undefined : after === newline ? close : 'none';
    }
    if (next !== quote) return 'none';
    at = close + 2;
  }
}
