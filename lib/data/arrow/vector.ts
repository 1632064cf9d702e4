// Columns of apache-arrow, which believes what a file says of their memory.

/** What is used of a column. */
export interface Vector {
  readonly length: number;
  readonly nullCount: number;
  readonly data: readonly Part[];
  get(index: number): unknown;
}

/** Memory of a column. */
interface Part {
  readonly length: number;
  readonly typeId: number;
  /** Numbers, or elements of a list of fixed size, that make up a row. */
  readonly stride: number;
  readonly values?: { readonly length: number };
  readonly valueOffsets?: ArrayLike<number | bigint>;
  readonly children: readonly Part[];
  readonly dictionary?: { readonly data: readonly Part[] };
}

/** Numbers of types: see Type of apache-arrow. */
const [bool, decimal, union, fixedSizeList] = [6, 7, 14, 16];

/** The widest are of 256 bits: of others, texts would take the square of their length in time. */
const mostDecimalWords = 8;

/** Columns whose memory holds what they say. */
export class VectorChecker {
  /** Of dictionaries, which many batches share. */
  readonly #known = new WeakSet<Part>();

  /** Throws an Error where there is no memory for so many rows, or parts of it lie outside of it. */
  check(vector: Vector | null, rows: number): void {
    const parts = vector?.data ?? [];
    const most = parts.reduce((sum, part) => sum + rowsOf(part), 0);
    if (most < rows) throw new Error(`a batch of ${rows} rows with memory for ${most}`);
    for (const part of parts) this.#part(part);
  }

  #part(part: Part): void {
    const { children, dictionary, length, typeId, stride } = part;
    if (length === 0) return; // a list without rows may lack its elements
    const most = rowsOf(part);
    if (most < length) throw new Error(`a column of ${length} rows with memory for ${most}`);
    if (typeId === decimal && stride > mostDecimalWords) {
      throw new Error(`decimals of ${32 * stride} bits`);
    }
    if (typeId !== union) checkOffsets(part);
    for (const child of children) this.#part(child);
    for (const entries of dictionary?.data ?? []) {
      if (this.#known.has(entries)) continue;
      this.#part(entries);
      this.#known.add(entries);
    }
  }
}

/** Rows that there is memory for at most; of a type without any those that it is said to have. */
function rowsOf({ length, typeId, stride, values, valueOffsets, children }: Part): number {
  if (valueOffsets) return valueOffsets.length;
  if (values) return Math.floor((values.length * (typeId === bool ? 8 : 1)) / stride);
  const [first] = children;
  if (first === undefined) return length;
  return typeId === fixedSizeList ? Math.floor(first.length / stride) : first.length;
}

/** Texts and lists begin where those before them end, and none ends behind the last element. */
function checkOffsets({ length, values, valueOffsets, children }: Part): void {
  if (valueOffsets === undefined) return;
  const most = values?.length ?? children[0]?.length ?? 0;
  let last: number | bigint = 0;
  for (let i = 0; i <= length; i++) {
    const offset = valueOffsets[i] ?? -1;
    if (offset < last || offset > most) {
      throw new Error(`an element at ${offset} behind one at ${last} of ${most}`);
    }
    last = offset;
  }
}
