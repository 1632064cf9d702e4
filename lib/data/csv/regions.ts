// A CSV file's bytes, cut after whole records.
import { createReadStream } from 'node:fs';
import { pipeline } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { badData } from '../errors.js';

const newline = 0x0a;
const quote = 0x22;

/** Records as they are in the file, the last of which ends with a newline. */
export interface Region {
  readonly bytes: Uint8Array;
  /** Whether a cell may be quoted. */
  readonly quoted: boolean;
}

const readBytes = 2 ** 19;

/** Of one record, so that a quote that is never closed does not fill the memory. */
const maxRecord = 2 ** 25;

/** Rejects with the file system's error, and with zlib's for a broken .gz file. */
export async function* regions(path: string): AsyncGenerator<Region> {
  const file = createReadStream(path, { highWaterMark: readBytes });
  // Its error reaches the reader of the pipeline's end, which is destroyed with it.
  const source: AsyncIterable<Buffer> = path.endsWith('.gz')
    ? pipeline(file, createGunzip({ chunkSize: readBytes }), () => {})
    : file;
  let rest: Buffer = Buffer.alloc(0);
  let first = true;
  for await (const chunk of source) {
    let bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    if (first && bytes.length < 3) {
      rest = bytes;
      continue;
    }
    if (first && bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf) {
      bytes = bytes.subarray(3); // a byte order mark
    }
    first = false;
    const quoted = bytes.includes(quote);
    const end = quoted ? recordsEnd(bytes) : bytes.lastIndexOf(newline) + 1;
    rest = bytes.subarray(end);
    if (rest.length > maxRecord) {
      const what = `a record of less than ${maxRecord} bytes`;
      throw badData(what, 'a longer one; is a quote not closed?', { file: path });
    }
    if (end > 0) yield { bytes: bytes.subarray(0, end), quoted };
  }
  if (rest.length === 0) return;
  const ended = rest.at(-1) === newline ? rest : Buffer.concat([rest, Buffer.of(newline)]);
  yield { bytes: ended, quoted: ended.includes(quote) };
}

/** After the last newline that is outside quotes. A doubled quote leaves them and enters them again. */
function recordsEnd(bytes: Uint8Array): number {
  let end = 0;
  let at = 0;
  for (;;) {
    const open = bytes.indexOf(quote, at);
    const plain = open === -1 ? bytes.length : open;
    const last = bytes.lastIndexOf(newline, plain - 1);
    if (last >= at) end = last + 1;
    if (open === -1) return end;
    const close = bytes.indexOf(quote, open + 1);
    if (close === -1) return end;
    at = close + 1;
  }
}
