// Texts of cells from bytes, and what they are in a column of numbers.
import { parseNumber } from '../numbers.js';

const quote = 0x22;

/** What cells say; texts that come again and again are the same string. */
export class Texts {
  readonly #interned = new Interned();

  constructor(readonly missing: ReadonlySet<string>) {}

  /** The text of a cell from its first byte to before `end`; null for a missing one. */
  of(bytes: Uint8Array, begin: number, end: number): string | null {
    const quoted = bytes[begin] === quote ? 1 : 0;
    if (end - begin === 2 * quoted) return null;
    const raw = this.#interned.get(bytes, begin + quoted, end - quoted);
    const value = quoted ? undoubled(raw) : raw;
    return this.missing.has(value) ? null : value;
  }
}

/** What stands between quotes, with doubled ones for single ones. */
const undoubled = (text: string): string =>
  text.includes('"') ? text.replaceAll('""', '"') : text;

const decode = (bytes: Uint8Array, begin: number, end: number): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset + begin, end - begin).toString('utf8');

/** The cell from its first byte to before `end`, as it is meant. */
export function cellText(bytes: Uint8Array, begin: number, end: number): string {
  const text = decode(bytes, begin, end);
  return text.startsWith('"') ? undoubled(text.slice(1, -1)) : text;
}

/**
 * What a cell with this text is in a column of numbers: NaN if missing, undefined if no number. The rule
 * is that of native code (`readCells`), for cells that are texts already.
 */
export function numberOf(text: string, missing: ReadonlySet<string>): number | undefined {
  const trimmed = text.trim();
  if (trimmed === '' || missing.has(trimmed)) return Number.NaN;
  const value = parseNumber(trimmed);
  return Number.isNaN(value) ? undefined : value;
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
