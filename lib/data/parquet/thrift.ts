// What is looked at in Thrift's compact protocol before hyparquet parses it: it would add up integers of
// any number of bytes, which takes the square of that number.

const [bool, otherBool, byte, short, int, long, double, binary, list, struct] = [
  1, 2, 3, 4, 5, 6, 7, 8, 9, 12,
];
/** Of an integer of 64 bits. */
const mostBytes = 10;
/** More than any format nests. */
const mostDepth = 32;

/** Where the struct that begins at `at` ends. Throws an Error for what is none, or lies. */
export function endOfStruct(view: DataView, at: number): number {
  return new Walker(view, at).struct(0);
}

class Walker {
  constructor(
    readonly view: DataView,
    public at: number,
  ) {}

  struct(depth: number): number {
    if (depth > mostDepth) throw new Error(`${depth} structs in one another`);
    for (;;) {
      const head = this.view.getUint8(this.at++);
      if (head % 16 === 0) return this.at;
      if (head < 16) this.#integer();
      this.#value(head % 16, depth, false);
    }
  }

  #value(type: number, depth: number, inList: boolean): void {
    if (type === bool || type === otherBool) this.at += inList ? 1 : 0;
    else if (type === byte) this.at++;
    else if (type === short || type === int || type === long) this.#integer();
    else if (type === double) this.at += 8;
    else if (type === binary) this.#skip(this.#integer());
    else if (type === list) this.#list(depth);
    else if (type === struct) this.struct(depth + 1);
    else throw new Error(`a field of type ${type}`);
  }

  #list(depth: number): void {
    const head = this.view.getUint8(this.at++);
    const length = head < 240 ? head >> 4 : this.#integer();
    // Elements have a byte each, or more.
    if (length > this.view.byteLength - this.at) throw new Error(`a list of ${length} elements`);
    for (let i = 0; i < length; i++) this.#value(head % 16, depth, true);
  }

  #skip(bytes: number): void {
    this.at += bytes;
    if (this.at > this.view.byteLength) throw new Error(`a text of ${bytes} bytes`);
  }

  #integer(): number {
    const begin = this.at;
    let value = 0;
    for (;;) {
      const digit = this.view.getUint8(this.at++);
      value += (digit % 128) * 128 ** (this.at - begin - 1);
      if (digit < 128) return value;
      if (this.at - begin >= mostBytes)
        throw new Error(`an integer of more than ${mostBytes} bytes`);
    }
  }
}
