// The messages of an Arrow file or stream, looked at before apache-arrow reads them.
import type { FileHandle } from 'node:fs/promises';
import { memoryOf, prefixLength, useCodec } from './compression.js';
import { checkFlatbuffer, type Table } from './flatbuffer.js';
import { footer, headers, message } from './tables.js';

const magic = Buffer.from('ARROW1');
/** The length of the footer and the magic number behind it. */
const tailLength = 4 + magic.length;
/** V4, of Arrow 0.8; what was written before has other structs. */
const oldestVersion = 3;
/** Nulls in the lists of a batch, which take no memory: so many do no harm where there are none. */
const harmlessRows = 2 ** 20;

/**
 * Comes to rest when all that apache-arrow reads up to the first record batch has been looked at, then
 * with each next one, and ends behind the last. Throws an Error for messages that are not what they say.
 */
export async function* checkMessages(handle: FileHandle): AsyncGenerator<void> {
  const found = await handle.stat();
  // apache-arrow would find nothing in it, since it has no size.
  if (found.isFIFO()) throw new Error('a pipe, of which parts cannot be read in any order');
  const messages = new Messages(handle, found.size);
  yield* (await messages.isFile()) ? messages.ofFile() : messages.ofStream();
}

interface Message {
  readonly type: number;
  /** Where the next one of a stream begins. */
  readonly end: number;
}

class Messages {
  readonly #handle: FileHandle;
  readonly #size: number;

  constructor(handle: FileHandle, size: number) {
    this.#handle = handle;
    this.#size = size;
  }

  /** As apache-arrow tells them from streams. */
  async isFile(): Promise<boolean> {
    if (this.#size < 8 + tailLength) return false;
    return magic.equals(await this.#read(0, magic.length));
  }

  async *ofFile(): AsyncGenerator<void> {
    const tail = await this.#read(this.#size - tailLength, tailLength);
    if (!magic.equals(tail.subarray(4))) throw new Error('no footer');
    const length = tail.readInt32LE(0);
    const root = checkFlatbuffer(
      await this.#read(this.#size - tailLength - length, length),
      footer,
    );
    checkVersion(root);
    checkOrder(root.table(1));
    for (const [offset = 0] of root.structs(2, 24, 1)) {
      await this.#block(offset, headers.dictionaryBatch, 'a dictionary');
    }
    for (const [offset = 0] of root.structs(3, 24, 1)) {
      await this.#block(offset, headers.recordBatch, 'a record batch');
      yield;
    }
  }

  async *ofStream(): AsyncGenerator<void> {
    let next = await this.#message(0);
    while (next !== undefined) {
      if (next.type === headers.recordBatch) yield;
      next = await this.#message(next.end);
    }
  }

  /** A message that the footer names; apache-arrow would look for one of another type forever. */
  async #block(offset: number, type: number, what: string): Promise<void> {
    const found = await this.#message(offset);
    if (found?.type !== type) throw new Error(`no message of ${what} at byte ${offset}`);
  }

  /** The message at a place; undefined for the mark at the end of a stream, and behind it. */
  async #message(at: number): Promise<Message | undefined> {
    if (at === this.#size) return undefined;
    let begin = at + 4;
    let length = (await this.#read(at, 4)).readInt32LE(0);
    // Versions before 0.15 have no mark before the length.
    if (length === -1) {
      length = (await this.#read(begin, 4)).readInt32LE(0);
      begin += 4;
    }
    if (length === 0) return undefined;
    const root = checkFlatbuffer(await this.#read(begin, length), message);
    checkVersion(root);
    const [type, body] = [root.small(1, 1), root.long(3)];
    const end = begin + length + body;
    if (body < 0 || end > this.#size) throw new Error(`a message of ${body} bytes at byte ${at}`);
    const header = root.table(2);
    if (type === headers.schema) checkOrder(header);
    const batch = type === headers.dictionaryBatch ? header?.table(1) : header;
    if (batch !== undefined && type !== headers.schema) {
      const buffers = checkBuffers(batch, body);
      const codec = batch.table(3);
      const memory = codec && (await this.#decompressed(codec, buffers, end - body, body));
      checkRows(batch, memory ?? body);
    }
    return { type, end };
  }

  /** What the buffers of a compressed body take. */
  async #decompressed(codec: Table, buffers: Buffers, begin: number, body: number) {
    const method = codec.small(1, 1);
    if (method !== 0) throw new Error(`a batch compressed by method ${method}, not by buffers`);
    await useCodec(codec.small(0, 1));
    const prefixed: [number, number][] = [];
    for (const [offset = 0, length = 0] of buffers) {
      if (length === 0) continue; // nothing, and no prefix
      if (length < prefixLength) throw new Error(`a compressed buffer of ${length} bytes`);
      const prefix = await this.#read(begin + offset, prefixLength);
      prefixed.push([length, Number(prefix.readBigInt64LE(0))]);
    }
    return memoryOf(prefixed, body);
  }

  async #read(at: number, length: number): Promise<Buffer> {
    if (at < 0 || length < 0 || at + length > this.#size) {
      throw new Error(`${length} bytes at byte ${at} of ${this.#size}`);
    }
    const bytes = Buffer.allocUnsafe(length);
    for (let done = 0; done < length; ) {
      const { bytesRead } = await this.#handle.read(bytes, done, length - done, at + done);
      if (bytesRead === 0) throw new Error('a file cut short while it is read');
      done += bytesRead;
    }
    return bytes;
  }
}

function checkVersion(root: Table): void {
  const version = root.small(0, 2);
  if (version < oldestVersion) throw new Error(`metadata of version ${version + 1}`);
}

/** apache-arrow would take numbers for little-endian all the same. */
function checkOrder(schema: Table | undefined): void {
  if (schema !== undefined && schema.small(0, 2) !== 0) throw new Error('big-endian numbers');
}

/** Offset and length of each. */
type Buffers = readonly (readonly number[])[];

function checkBuffers(batch: Table, body: number): Buffers {
  const buffers = batch.structs(2, 16, 2);
  for (const [offset = 0, length = 0] of buffers) {
    if (offset >= 0 && length >= 0 && offset + length <= body) continue;
    throw new Error(`a buffer of ${length} bytes at byte ${offset} of ${body}`);
  }
  return buffers;
}

/** Rows are believed only as far as the memory goes that the buffers take. */
function checkRows(batch: Table, memory: number): void {
  const rows = batch.long(0);
  // Where nothing takes memory, as columns of nulls, rows are what the batch says.
  const most = memory === 0 ? rows : 8 * memory;
  if (rows < 0 || rows > most) throw new Error(`a batch of ${rows} rows in ${memory} bytes`);
  const mostElements = Math.max(most, harmlessRows);
  for (const [length = 0, nulls = 0] of batch.structs(1, 16, 2)) {
    if (length >= 0 && length <= mostElements && nulls >= -1 && nulls <= length) continue;
    throw new Error(`a column of ${length} rows, ${nulls} of them null, in ${memory} bytes`);
  }
}
