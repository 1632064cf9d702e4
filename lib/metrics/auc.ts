// The area under the ROC curve from ranks, on the event loop in pieces.
import { elementsPerTurn, inPieces, nextTurn } from '../trainer/turns.js';

/**
 * The share of pairs of a score of `yes` and one of `no` where the first is larger, equal ones
 * counting a half: the statistic of Mann and Whitney (1947) by the number of pairs. NaN where a score
 * is. Both hold at least one score. What they and `spare`, as long as both, hold is gone then.
 */
export async function areaUnderRoc(
  yes: Float32Array,
  no: Float32Array,
  spare: Uint32Array,
): Promise<number> {
  const above = await sortedKeys(yes, spare.subarray(0, yes.length));
  const below = await sortedKeys(no, spare.subarray(yes.length));
  if (above === undefined || below === undefined) return Number.NaN;
  const pairs = new Pairs(above, below);
  while (!pairs.count(elementsPerTurn)) await nextTurn();
  return pairs.won / 2 / (above.length * below.length);
}

/** A walk through two sorted lists. */
class Pairs {
  /** Twice the pairs whose first is larger, and those that are equal once. */
  won = 0;
  #next = 0;
  /** How many of `below` are less than the next of `above`, and how many no more. */
  #less = 0;
  #upTo = 0;

  constructor(
    readonly above: Uint32Array,
    readonly below: Uint32Array,
  ) {}

  /** Walks on past about so many integers; whether that was all. */
  count(integers: number): boolean {
    const { above, below } = this;
    let [won, next, less, upTo] = [this.won, this.#next, this.#less, this.#upTo];
    for (let left = integers; left > 0 && next < above.length; ) {
      const key = above[next] ?? 0;
      const before = less + upTo;
      const lastLess = Math.min(below.length, less + left);
      while (less < lastLess && (below[less] ?? 0) < key) less++;
      upTo = Math.max(upTo, less);
      const lastEqual = Math.min(below.length, upTo + left);
      while (upTo < lastEqual && below[upTo] === key) upTo++;
      left -= less + upTo - before + 1;
      // Else it may not have come to the end of either.
      if (left > 0) {
        won += less + upTo;
        next++;
      }
    }
    [this.won, this.#next, this.#less, this.#upTo] = [won, next, less, upTo];
    return next === above.length;
  }
}

const digitBits = 11;
const digits = 2 ** digitBits;
const lowest = digits - 1;
const shifts = [0, digitBits, 2 * digitBits] as const;

/**
 * Integers in the order of the numbers, sorted; undefined where there is a NaN. By radix, Seward
 * (1954), as a pass can stop anywhere for a turn of the event loop.
 */
async function sortedKeys(
  numbers: Float32Array,
  spare: Uint32Array,
): Promise<Uint32Array | undefined> {
  const count = numbers.length;
  let keys = new Uint32Array(numbers.buffer, numbers.byteOffset, count);
  const counts = shifts.map(() => new Uint32Array(digits));
  let largest = 0;
  await inPieces(count, (from, to) => {
    largest = Math.max(largest, findKeys(keys, counts, from, to));
  });
  if (largest > infinity) return undefined;
  let sorted = spare.subarray(0, count);
  for (const [pass, places] of counts.entries()) {
    const shift = shifts[pass] ?? 0;
    let sum = 0;
    for (let digit = 0; digit < digits; digit++) {
      const own = places[digit] ?? 0;
      places[digit] = sum;
      sum += own;
    }
    await inPieces(count, (from, to) => moveKeys(keys, sorted, places, shift, from, to));
    [keys, sorted] = [sorted, keys];
  }
  return keys;
}

/** Bits of the float; those of a NaN without its sign are more. */
const infinity = 0x7f800000;

/**
 * Makes keys of the bits of floats, and counts the digits; the most that bits are without their sign.
 * A key is the bits of a number, those of one below 0 the other way round.
 */
function findKeys(
  keys: Uint32Array,
  [low, middle, high]: readonly Uint32Array[],
  from: number,
  to: number,
): number {
  if (!low || !middle || !high) return 0;
  let largest = 0;
  for (let i = from; i < to; i++) {
    // Without the sign of a zero.
    const word = keys[i] === negativeZero ? 0 : (keys[i] ?? 0);
    largest = Math.max(largest, word & 0x7fffffff);
    const key = (word ^ ((word >> 31) | negativeZero)) >>> 0;
    keys[i] = key;
    count(low, key & lowest);
    count(middle, (key >>> digitBits) & lowest);
    count(high, key >>> (2 * digitBits));
  }
  return largest;
}

const negativeZero = 0x80000000;

function count(counts: Uint32Array, digit: number): void {
  counts[digit] = (counts[digit] ?? 0) + 1;
}

/** To where those with the same digit come next. */
function moveKeys(
  keys: Uint32Array,
  sorted: Uint32Array,
  places: Uint32Array,
  shift: number,
  from: number,
  to: number,
): void {
  for (let i = from; i < to; i++) {
    const key = keys[i] ?? 0;
    const digit = (key >>> shift) & lowest;
    const place = places[digit] ?? 0;
    sorted[place] = key;
    places[digit] = place + 1;
  }
}
