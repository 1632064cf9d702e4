// What is looked at in a page before hyparquet reads its values: it believes how many there are, and how
// long their runs and blocks, and would fill memory or never come to an end.
import type { Encoding, PageHeader, ParquetType } from 'hyparquet';
import { largestPacked } from './packed.js';

/** What a column holds. */
export interface Kind {
  readonly type: ParquetType | undefined;
  /** Of FIXED_LEN_BYTE_ARRAY. */
  readonly typeLength: number | undefined;
  /** Whether values may be missing. */
  readonly optional: boolean;
  /** Of the dictionary before the page, if there is one. */
  readonly entries?: number | undefined;
}

/** A page's bytes, decompressed; the levels of pages of the second version stand before, as they are. */
export interface PageBytes {
  readonly levels: Uint8Array;
  readonly values: Uint8Array;
}

/** deltaBinaryUnpack of hyparquet. */
export type Unpack = (
  reader: { view: DataView; offset: number },
  count: number,
  output: Int32Array,
) => void;

/** Writers fill up to so many groups of eight. */
const mostPadding = 64;
const mostDeltaBlock = 2 ** 20;
/** Of a text that begins as the one before, in bytes; those of a page together. */
const mostTexts = 2 ** 30;

/** Bytes of a value at least. */
const sizes: Partial<Record<ParquetType, number>> = {
  BOOLEAN: 1 / 8,
  INT32: 4,
  FLOAT: 4,
  INT64: 8,
  DOUBLE: 8,
  INT96: 12,
  BYTE_ARRAY: 4,
};

/** Throws an Error for a page that does not hold what its header says. */
export function checkPage(header: PageHeader, page: PageBytes, kind: Kind, unpack: Unpack): void {
  const {
    data_page_header: first,
    data_page_header_v2: second,
    dictionary_page_header: dictionary,
  } = header;
  const view = viewOf(page.values);
  if (header.type === 'DICTIONARY_PAGE' && dictionary) {
    checkPlain(view, 0, dictionary.num_values, kind);
  } else if (header.type === 'DATA_PAGE' && first) {
    let [at, count] = [0, first.num_values];
    if (kind.optional) {
      const begin = 4;
      at = begin + view.getUint32(0, true);
      count = countOnes(view, begin, first.num_values);
    }
    checkValues(view, at, count, first.encoding, kind, unpack);
  } else if (header.type === 'DATA_PAGE_V2' && second) {
    const { num_values: all, num_nulls: nulls, num_rows: rows } = second;
    const at = second.repetition_levels_byte_length;
    const count = kind.optional ? countOnes(viewOf(page.levels), at, all) : all;
    if (all !== rows || all - nulls !== count) {
      throw new Error(`${all} values with ${nulls} nulls for ${count} in ${rows} rows`);
    }
    checkValues(view, 0, count, second.encoding, kind, unpack);
  } else throw new Error(`a page of type ${header.type}`);
}

const viewOf = ({ buffer, byteOffset, byteLength }: Uint8Array) =>
  new DataView(buffer, byteOffset, byteLength);

function checkValues(
  view: DataView,
  at: number,
  count: number,
  encoding: Encoding,
  kind: Kind,
  unpack: Unpack,
): void {
  if (at > view.byteLength) throw new Error('levels that end outside their page');
  if (count === 0) return;
  const left = view.byteLength - at;
  if (encoding === 'PLAIN' || encoding === 'BYTE_STREAM_SPLIT') checkPlain(view, at, count, kind);
  else if (encoding === 'RLE' && kind.type === 'BOOLEAN') checkRuns(view, at + 4, 1, count);
  else if (encoding?.endsWith('DICTIONARY') || encoding === 'RLE') {
    // No run for a dictionary of one value.
    const width = view.getUint8(at);
    if (width > 0 || left > 1) checkRuns(view, at + 1, width, count);
    if (kind.entries !== undefined) checkIndices(view, at + 1, width, count, kind.entries);
  } else if (encoding === 'DELTA_BYTE_ARRAY') checkTexts(view, at, count, unpack);
  else if (encoding?.startsWith('DELTA')) checkDelta(view, at);
  else if (count > left) throw new Error(`${count} values in ${left} bytes`);
}

function checkPlain(view: DataView, at: number, count: number, { type, typeLength }: Kind): void {
  const size = (type && sizes[type]) ?? typeLength ?? 0;
  const left = view.byteLength - at;
  if (!(count >= 0 && size > 0 && count * size <= left)) {
    throw new Error(`${count} values of ${type} in ${left} bytes`);
  }
}

/** A number of up to 32 bits in groups of seven, and where it ends. */
function integerAt(view: DataView, begin: number): readonly [number, number] {
  let value = 0;
  for (let at = begin; at < begin + 5; at++) {
    const digit = view.getUint8(at);
    value += (digit % 128) * 128 ** (at - begin);
    if (digit < 128) return [value, at + 1];
  }
  throw new Error('an integer of more than 32 bits');
}

/** Throws unless runs of equal or of packed numbers are no longer than `count`. */
function checkRuns(view: DataView, begin: number, width: number, count: number): void {
  if (width > 32) throw new Error(`numbers of ${width} bits`);
  for (const _ of runs(view, begin, width, count)) {
    // Throws itself.
  }
}

/** Throws unless all numbers are below `entries`: hyparquet takes others for missing ones, or for 0. */
function checkIndices(
  view: DataView,
  begin: number,
  width: number,
  count: number,
  entries: number,
): void {
  let largest = 0;
  if (width > 0) {
    for (const { at, length, packed } of runs(view, begin, width, count)) {
      // Packed numbers have no more bits than that; those of runs are whole bytes.
      if (length === 0 || (packed && 2 ** width <= entries)) continue;
      const most = packed ? largestPacked(view, at, length, width) : littleEndian(view, at, width);
      largest = Math.max(largest, most);
    }
  }
  if (largest >= entries) throw new Error(`index ${largest} of a dictionary of ${entries} values`);
}

/** A number in as many bytes as its bits need. */
function littleEndian(view: DataView, at: number, bits: number): number {
  let value = 0;
  for (let i = 0; 8 * i < bits; i++) value += view.getUint8(at + i) * 2 ** (8 * i);
  return value;
}

/** How many of so many numbers of one bit are 1. Throws as checkRuns. */
function countOnes(view: DataView, begin: number, count: number): number {
  let ones = 0;
  for (const { at, length, packed } of runs(view, begin, 1, count)) {
    if (!packed) ones += view.getUint8(at) === 1 ? length : 0;
    else ones += onesIn(view, at, length);
  }
  return ones;
}

function onesIn(view: DataView, begin: number, bits: number): number {
  let ones = 0;
  const whole = begin + (bits >> 3);
  for (let at = begin; at < whole; at++) ones += onesOf(view.getUint8(at));
  return bits % 8 === 0 ? ones : ones + onesOf(view.getUint8(whole) & ((1 << (bits % 8)) - 1));
}

function onesOf(byte: number): number {
  const pairs = byte - ((byte >> 1) & 0x55);
  const nibbles = (pairs & 0x33) + ((pairs >> 2) & 0x33);
  return (nibbles + (nibbles >> 4)) & 0x0f;
}

/** Where runs begin, and how many of the `count` numbers they have. */
function* runs(view: DataView, begin: number, width: number, count: number) {
  let [at, left] = [begin, count];
  while (left > 0) {
    const [head, next] = integerAt(view, at);
    const packed = head % 2 === 1;
    const number = Math.floor(head / 2);
    const length = packed ? Math.min(left, 8 * number) : number;
    const tooLong = packed ? number > left / 8 + mostPadding : number > left;
    if (tooLong) throw new Error(`a run of ${packed ? 8 * number : number} in ${left} values`);
    yield { at: next, length, packed };
    left -= length;
    // hyparquet reads a byte of packed numbers of no bits, too.
    at = next + (packed ? Math.max(1, number * width) : (width + 7) >> 3);
  }
}

/** Blocks of anything but whole small ones would be read backwards. */
function checkDelta(view: DataView, at: number): void {
  const [block, next] = integerAt(view, at);
  const [parts] = integerAt(view, next);
  const whole = block > 0 && parts > 0 && block % 8 === 0 && block % parts === 0;
  if (whole && block <= mostDeltaBlock) return;
  throw new Error(`blocks of ${block} differences in ${parts} parts`);
}

/** Each of them begins with a part of the one before, which takes no bytes in the page. */
function checkTexts(view: DataView, at: number, count: number, unpack: Unpack): void {
  const reader = { view, offset: at };
  const [prefixes, rests] = [new Int32Array(count), new Int32Array(count)];
  for (const lengths of [prefixes, rests]) {
    checkDelta(view, reader.offset);
    unpack(reader, count, lengths);
  }
  let [before, all] = [0, 0];
  for (let i = 0; i < count; i++) {
    const [prefix, rest] = [prefixes[i] ?? 0, rests[i] ?? 0];
    if (prefix < 0 || prefix > before || rest < 0) throw new Error(`a text of ${prefix} + ${rest}`);
    before = prefix + rest;
    all += before;
  }
  if (all > mostTexts)
    throw new Error(`texts of ${all} bytes, where ${mostTexts} are read at most`);
}
