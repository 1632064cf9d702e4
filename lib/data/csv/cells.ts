// Cells from bytes. Numbers are read digit by digit where that is exact: making a string of each and
// converting it takes ten times as long.
import { isUtf8 } from 'node:buffer';

const zero = 0x30;
const point = 0x2e;
const minus = 0x2d;
const newline = 0x0a;
const carriageReturn = 0x0d;
const quote = 0x22;

/** Powers of ten that doubles hold exactly. */
const powers = Float64Array.from({ length: 23 }, (_, i) => Number(`1e${i}`));

/**
 * Reads one cell after another from a region without quotes but those round cells. `at` is where the
 * next one begins; after a cell it is at the delimiter, or the line's end, that follows.
 */
export class Cells {
  at = 0;
  /** The region; ends with a newline. */
  bytes: Uint8Array = new Uint8Array();
  /** Whether all of it is UTF-8. */
  valid = true;
  #quoted = false;
  readonly #interned = new Interned();
  /** Whether what stands for a missing value may be a number, such as -999. */
  readonly #numbersMiss: boolean;

  constructor(
    readonly delimiter: number,
    readonly missing: ReadonlySet<string>,
  ) {
    this.#numbersMiss = [...missing].some((text) => Number.isFinite(numberOf(text, new Set())));
  }

  /** Whether native code can read the lines: they have nothing that it does not know of. */
  get plain(): boolean {
    return this.valid && !this.#quoted && !this.#numbersMiss;
  }

  /** Goes on at the beginning of another region. */
  open(bytes: Uint8Array, quoted: boolean): void {
    this.bytes = bytes;
    this.#quoted = quoted;
    this.valid = isUtf8(bytes);
    this.at = 0;
  }

  /** Whether the line ends here. */
  get atEnd(): boolean {
    const byte = this.bytes[this.at];
    return byte === newline || (byte === carriageReturn && this.bytes[this.at + 1] === newline);
  }

  /** Passes the record's end. */
  nextLine(): void {
    if (this.#quoted) {
      while (!this.atEnd) {
        this.skip();
        if (!this.atEnd) this.at++;
      }
    }
    this.at = this.bytes.indexOf(newline, this.at) + 1;
  }

  /** Passes a cell. */
  skip(): void {
    const { bytes, delimiter } = this;
    let i = this.at;
    if (bytes[i] === quote) {
      this.at = this.#closing() + 1;
      return;
    }
    for (;;) {
      const byte = bytes[i] ?? newline;
      if (byte === delimiter || byte === newline) break;
      i++;
    }
    this.at = i > this.at && bytes[i] === newline && bytes[i - 1] === carriageReturn ? i - 1 : i;
  }

  /** The quote that closes the cell that begins here. */
  #closing(): number {
    const { bytes } = this;
    let i = bytes.indexOf(quote, this.at + 1);
    while (bytes[i + 1] === quote) i = bytes.indexOf(quote, i + 2);
    return i;
  }

  /** A number; NaN for a missing one, undefined for what is none. */
  number(): number | undefined {
    const { bytes, delimiter } = this;
    let i = this.at;
    const quoted = bytes[i] === quote;
    if (quoted) i++;
    const negative = bytes[i] === minus;
    if (negative) i++;
    const begin = i;
    let mantissa = 0;
    let digit = (bytes[i] ?? 0) - zero;
    while (digit >= 0 && digit <= 9) {
      mantissa = mantissa * 10 + digit;
      digit = (bytes[++i] ?? 0) - zero;
    }
    let digits = i - begin;
    let decimals = 0;
    if (bytes[i] === point) {
      const after = ++i;
      digit = (bytes[i] ?? 0) - zero;
      while (digit >= 0 && digit <= 9) {
        mantissa = mantissa * 10 + digit;
        digit = (bytes[++i] ?? 0) - zero;
      }
      decimals = i - after;
      digits += decimals;
    }
    const end = bytes[i];
    const ends = quoted
      ? end === quote && bytes[i + 1] !== quote
      : end === delimiter ||
        end === newline ||
        (end === carriageReturn && bytes[i + 1] === newline);
    // Up to 15 digits and a power of ten are exact, so that one division rounds once:
    // Clinger, "How to Read Floating Point Numbers Accurately" (1990).
    const exact = digits > 0 && digits <= 15;
    if (!ends || !exact || this.#numbersMiss) return this.#unusual();
    this.at = quoted ? i + 1 : i;
    const value = decimals === 0 ? mantissa : mantissa / (powers[decimals] ?? 1);
    return negative ? -value : value;
  }

  /** A text; null for a missing one, undefined for one that is not UTF-8. */
  text(): string | null | undefined {
    const quoted = this.bytes[this.at] === quote ? 1 : 0;
    const begin = this.at + quoted;
    this.skip();
    const end = this.at - quoted;
    if (begin === end) return null;
    if (!this.valid && !isUtf8(this.bytes.subarray(begin, end))) return undefined;
    const raw = this.#interned.get(this.bytes, begin, end);
    const value = quoted ? undoubled(raw) : raw;
    return this.missing.has(value) ? null : value;
  }

  /** The text between two places; null for a missing one. */
  textAt(begin: number, end: number): string | null {
    if (begin === end) return null;
    const value = this.#interned.get(this.bytes, begin, end);
    return this.missing.has(value) ? null : value;
  }

  /** The cell that began at `begin` and has been read, as it is meant. */
  since(begin: number): string {
    const text = decode(this.bytes, begin, this.at);
    return text.startsWith('"') ? undoubled(text.slice(1, -1)) : text;
  }

  #unusual(): number | undefined {
    const begin = this.at;
    this.skip();
    return numberOf(this.since(begin), this.missing);
  }
}

/** What stands between quotes, with doubled ones for single ones. */
const undoubled = (text: string): string =>
  text.includes('"') ? text.replaceAll('""', '"') : text;

const decode = (bytes: Uint8Array, begin: number, end: number): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset + begin, end - begin).toString('utf8');

/** What a cell with this text is in a column of numbers: NaN if missing, undefined if no number. */
export function numberOf(text: string, missing: ReadonlySet<string>): number | undefined {
  const trimmed = text.trim();
  if (trimmed === '' || missing.has(trimmed)) return Number.NaN;
  const value = Number(trimmed);
  // Number() reads 0x10 and the like, which no CSV means.
  return Number.isNaN(value) || /^[+-]?0[xbo]/i.test(trimmed) ? undefined : value;
}

const slots = 4096;

/** Strings of bytes, most of which were seen before: categories. */
class Interned {
  readonly #strings = new Array<string | undefined>(slots);
  readonly #bytes = new Array<Uint8Array | undefined>(slots);

  get(bytes: Uint8Array, begin: number, end: number): string {
    let hash = 0;
    for (let i = begin; i < end; i++) hash = (Math.imul(hash, 31) + (bytes[i] ?? 0)) | 0;
    const slot = (hash ^ (hash >>> 12)) & (slots - 1);
    const known = this.#bytes[slot];
    if (known !== undefined && known.length === end - begin) {
      let i = 0;
      while (i < known.length && known[i] === bytes[begin + i]) i++;
      if (i === known.length) return this.#strings[slot] ?? '';
    }
    const text = decode(bytes, begin, end);
    // Long texts are hardly ever seen twice.
    if (end - begin <= 64) {
      this.#strings[slot] = text;
      // Copied: a Buffer's own slice() would keep all of the region.
      this.#bytes[slot] = new Uint8Array(bytes.subarray(begin, end));
    }
    return text;
  }
}
