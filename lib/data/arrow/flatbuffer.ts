// Flatbuffers that are not trusted. What apache-arrow reads them with believes every length and offset:
// a vector of some billion fields in a file of a kilobyte keeps it busy for minutes.

/** The tables of a schema by what their slots hold; a function, since tables may hold their own kind. */
export type TableOf = () => readonly Slot[];

/** A number of so many bytes, a string, a table, a vector, or a table of the type in the slot before. */
export type Slot = number | 'string' | TableOf | Vector | Union;

/** Of structs or numbers of so many bytes, or of tables. */
export interface Vector {
  readonly each: number | TableOf;
}

/** By the number of the type; undefined where there is no table to read. */
export interface Union {
  readonly types: readonly (TableOf | undefined)[];
}

/** Tables within tables. */
const mostDepth = 128;

/** A table whose slots have been checked. What it does not have is 0 or undefined. */
export class Table {
  readonly #view: DataView;
  readonly #at: number;

  constructor(view: DataView, at: number) {
    this.#view = view;
    this.#at = at;
  }

  /** A number of one or two bytes. */
  small(slot: number, bytes: 1 | 2): number {
    const at = place(this.#view, this.#at, slot);
    if (at === 0) return 0;
    return bytes === 1 ? this.#view.getUint8(at) : this.#view.getInt16(at, true);
  }

  /** One of eight bytes, as near as a double comes. */
  long(slot: number): number {
    const at = place(this.#view, this.#at, slot);
    return at === 0 ? 0 : Number(this.#view.getBigInt64(at, true));
  }

  table(slot: number): Table | undefined {
    const at = place(this.#view, this.#at, slot);
    return at === 0 ? undefined : new Table(this.#view, at + this.#view.getUint32(at, true));
  }

  /** Numbers of eight bytes, from the first of each struct of `each` bytes on, `count` of them. */
  structs(slot: number, each: number, count: number): number[][] {
    const at = place(this.#view, this.#at, slot);
    if (at === 0) return [];
    const vector = at + this.#view.getUint32(at, true);
    const long = (offset: number) => Number(this.#view.getBigInt64(vector + 4 + offset, true));
    return Array.from({ length: this.#view.getUint32(vector, true) }, (_, i) =>
      Array.from({ length: count }, (_, k) => long(i * each + 8 * k)),
    );
  }
}

/** The root of a flatbuffer all of which lies within `bytes`. Throws an Error for others. */
export function checkFlatbuffer(bytes: Uint8Array, root: TableOf): Table {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const checker = new Checker(view);
  return new Table(view, checker.follow(0, root, 0));
}

/** Where a slot of a table is; 0 where the table does not have it. */
function place(view: DataView, at: number, slot: number): number {
  const slots = at - view.getInt32(at, true);
  const entry = 4 + 2 * slot;
  if (entry >= view.getUint16(slots, true)) return 0;
  const offset = view.getUint16(slots + entry, true);
  return offset === 0 ? 0 : at + offset;
}

class Checker {
  readonly #view: DataView;
  /**
   * Bytes that may still be looked at: some times those that there are. Parts may be shared, but where
   * each table leads to the next one over and over, ways through them are without number.
   */
  #left: number;

  constructor(view: DataView) {
    this.#view = view;
    this.#left = 8 * view.byteLength;
  }

  /** The table that the offset at `at` leads to. */
  follow(at: number, of: TableOf, depth: number): number {
    const table = this.#leap(at);
    this.#table(table, of(), depth);
    return table;
  }

  #table(at: number, slots: readonly Slot[], depth: number): void {
    if (depth > mostDepth) throw new Error(`tables within tables, more than ${mostDepth} deep`);
    this.#within(at, 4);
    const entries = at - this.#view.getInt32(at, true);
    this.#within(entries, 4);
    const length = this.#view.getUint16(entries, true);
    if (length < 4) throw new Error('a table without slots');
    this.#within(entries, length);
    slots.forEach((slot, i) => {
      const found = place(this.#view, at, i);
      if (found === 0) return;
      if (typeof slot === 'number') this.#within(found, slot);
      else if (slot === 'string') this.#vector(found, 1);
      else if (typeof slot === 'function') this.follow(found, slot, depth + 1);
      else if ('each' in slot) this.#each(found, slot.each, depth);
      else this.#union(found, place(this.#view, at, i - 1), slot, depth);
    });
  }

  #each(at: number, each: number | TableOf, depth: number): void {
    const [start, length] = this.#vector(at, typeof each === 'number' ? each : 4);
    if (typeof each === 'number') return;
    for (let i = 0; i < length; i++) this.follow(start + 4 * i, each, depth + 1);
  }

  #union(at: number, type: number, { types }: Union, depth: number): void {
    const table = type === 0 ? undefined : types[this.#view.getUint8(type)];
    if (table !== undefined) this.follow(at, table, depth + 1);
  }

  /** Begin and length of the vector that the offset at `at` leads to. */
  #vector(at: number, each: number): readonly [start: number, length: number] {
    const vector = this.#leap(at);
    this.#within(vector, 4);
    const length = this.#view.getUint32(vector, true);
    this.#within(vector + 4, each * length);
    return [vector + 4, length];
  }

  #leap(at: number): number {
    this.#within(at, 4);
    return at + this.#view.getUint32(at, true);
  }

  #within(at: number, bytes: number): void {
    this.#left -= bytes;
    if (at >= 0 && at + bytes <= this.#view.byteLength && this.#left >= 0) return;
    throw new Error(`${bytes} bytes at byte ${at} of a header of ${this.#view.byteLength}`);
  }
}
