// Numbers of a few bits each, one behind the other from the lowest bit of each byte on.

/** What fits in 32 bits with what is left of a byte before. */
const mostFast = 24;

/** The largest of `count` numbers of `width` bits. Throws a RangeError where they end outside the view. */
export function largestPacked(view: DataView, at: number, count: number, width: number): number {
  return width > mostFast
    ? largestWide(view, at, count, width)
    : largestNarrow(view, at, count, width);
}

function largestNarrow(view: DataView, begin: number, count: number, width: number): number {
  const mask = 2 ** width - 1;
  let [at, held, bits, largest] = [begin, 0, 0, 0];
  for (let i = 0; i < count; i++) {
    while (bits < width) {
      held |= view.getUint8(at++) << bits;
      bits += 8;
    }
    const value = held & mask;
    if (value > largest) largest = value;
    held >>>= width;
    bits -= width;
  }
  return largest;
}

function largestWide(view: DataView, begin: number, count: number, width: number): number {
  const beyond = 2 ** width;
  let [at, held, bits, largest] = [begin, 0, 0, 0];
  for (let i = 0; i < count; i++) {
    while (bits < width) {
      held += view.getUint8(at++) * 2 ** bits;
      bits += 8;
    }
    largest = Math.max(largest, held % beyond);
    held = Math.floor(held / beyond);
    bits -= width;
  }
  return largest;
}
