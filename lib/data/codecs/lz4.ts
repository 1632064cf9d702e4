// LZ4 -> bytes: the frames of Arrow files, whose blocks may go back to the blocks before them, and the
// blocks of Parquet files, which stand alone. Checksums are not looked at.

const magic = 0x184d2204;
/** By the number in the header of a frame; those below 4 are none. */
const blockSizes = [0, 0, 0, 0, 1 << 16, 1 << 18, 1 << 20, 1 << 22];
/** What a byte of a block can become at most: one of the many that tell the length of a match. */
const mostPerByte = 255;
/** Below, a loop is faster than a call. */
const fewBytes = 32;

interface Block {
  readonly begin: number;
  readonly end: number;
  /** Not compressed. */
  readonly stored: boolean;
}

/** What one frame holds. Throws an Error unless that is `length` bytes, before it takes them if it can. */
export function decodeLz4(frame: Uint8Array, length: number): Uint8Array<ArrayBuffer> {
  const { blocks, linked, most } = readFrame(frame, length);
  if (length > most) throw new Error(`${length} bytes in LZ4 blocks of at most ${most}`);
  const decoder = new Decoder(frame, length);
  for (const block of blocks) decoder.block(block, linked);
  return decoder.finish();
}

/** What one block without a frame holds. Throws as decodeLz4. */
export function decodeLz4Block(bytes: Uint8Array, length: number): Uint8Array<ArrayBuffer> {
  return decodeBlocks(bytes, [{ begin: 0, end: bytes.length, stored: false }], length);
}

/**
 * What blocks hold that each have their length before them, with and without compression, as Hadoop
 * writes them; or one block alone, as other writers do. Throws as decodeLz4.
 */
export function decodeHadoopLz4(bytes: Uint8Array, length: number): Uint8Array<ArrayBuffer> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const blocks: Block[] = [];
  let [at, total] = [0, 0];
  while (at + 8 <= bytes.length) {
    const begin = at + 8;
    const end = begin + view.getUint32(at + 4);
    total += view.getUint32(at);
    if (end > bytes.length) break;
    blocks.push({ begin, end, stored: false });
    at = end;
  }
  if (at < bytes.length || total !== length) return decodeLz4Block(bytes, length);
  return decodeBlocks(bytes, blocks, length);
}

function decodeBlocks(bytes: Uint8Array, blocks: readonly Block[], length: number) {
  const most = mostPerByte * bytes.length;
  if (length > most) throw new Error(`${length} bytes in LZ4 blocks of at most ${most}`);
  const decoder = new Decoder(bytes, length);
  for (const block of blocks) decoder.block(block, false);
  return decoder.finish();
}

function readFrame(frame: Uint8Array, length: number) {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  if (view.byteLength < 7 || view.getUint32(0, true) !== magic) throw new Error('no LZ4 frame');
  const [flags, size] = [view.getUint8(4), blockSizes[view.getUint8(5) >> 4]];
  const has = (bit: number) => (flags >> bit) % 2;
  if (flags >> 6 !== 1 || has(0) || !size) throw new Error('an unknown LZ4 frame');
  const [linked, sums, sized, sum] = [!has(5), 4 * has(4), has(3), 4 * has(2)];
  if (sized && view.getBigUint64(6, true) !== BigInt(length)) {
    throw new Error(`an LZ4 frame of other than ${length} bytes`);
  }
  const blocks: Block[] = [];
  let at = 7 + 8 * sized;
  let most = 0;
  for (let word = view.getUint32(at, true); word !== 0; word = view.getUint32(at, true)) {
    const [begin, bytes, stored] = [at + 4, word & 0x7fffffff, word >>> 31 === 1];
    at = begin + bytes + sums;
    if (bytes > size || at > frame.length) throw new Error(`an LZ4 block of ${bytes} bytes`);
    blocks.push({ begin, end: begin + bytes, stored });
    most += stored ? bytes : Math.min(size, mostPerByte * bytes);
  }
  if (at + 4 + sum !== frame.length) throw new Error('bytes behind the LZ4 frame');
  return { blocks, linked, most };
}

class Decoder {
  readonly #input: Uint8Array;
  readonly #output: Uint8Array<ArrayBuffer>;
  /** The next byte of the input, the last one of its block, and the next byte of the output. */
  #at = 0;
  #end = 0;
  #to = 0;

  constructor(input: Uint8Array, length: number) {
    this.#input = input;
    this.#output = new Uint8Array(length);
  }

  block({ begin, end, stored }: Block, linked: boolean): void {
    this.#at = begin;
    this.#end = end;
    if (stored) {
      this.#literals(end - begin);
      return;
    }
    const oldest = linked ? 0 : this.#to;
    while (this.#at < end) {
      const token = this.#byte();
      this.#literals(this.#length(token >> 4));
      // The last sequence has no match.
      if (this.#at < end) this.#match(token & 15, oldest);
    }
  }

  finish(): Uint8Array<ArrayBuffer> {
    const [found, length] = [this.#to, this.#output.length];
    if (found !== length) throw new Error(`${found} bytes of LZ4 instead of ${length}`);
    return this.#output;
  }

  #byte(): number {
    if (this.#at >= this.#end) throw new Error('an LZ4 block cut short');
    return this.#input[this.#at++] as number;
  }

  #length(nibble: number): number {
    let length = nibble;
    if (nibble === 15) {
      let more = 255;
      while (more === 255) {
        more = this.#byte();
        length += more;
      }
    }
    return length;
  }

  #literals(length: number): void {
    const [from, to] = [this.#at, this.#to];
    if (from + length > this.#end) throw new Error('an LZ4 block cut short');
    this.#advance(length);
    this.#at += length;
    if (length > fewBytes) this.#output.set(this.#input.subarray(from, from + length), to);
    else for (let i = 0; i < length; i++) this.#output[to + i] = this.#input[from + i] as number;
  }

  #match(nibble: number, oldest: number): void {
    const offset = this.#byte() + 256 * this.#byte();
    const length = this.#length(nibble) + 4;
    const to = this.#to;
    const from = to - offset;
    if (offset === 0 || from < oldest) throw new Error(`an LZ4 match ${offset} bytes before ${to}`);
    this.#advance(length);
    if (length <= fewBytes) {
      for (let i = 0; i < length; i++) this.#output[to + i] = this.#output[from + i] as number;
      return;
    }
    // A match may reach into itself: what is there is copied, then twice as much.
    for (let done = 0; done < length; ) {
      const part = Math.min(offset + done, length - done);
      this.#output.copyWithin(to + done, from, from + part);
      done += part;
    }
  }

  #advance(length: number): void {
    this.#to += length;
    if (this.#to > this.#output.length) {
      throw new Error(`more than ${this.#output.length} bytes of LZ4`);
    }
  }
}
