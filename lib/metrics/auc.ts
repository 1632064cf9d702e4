// The area under the ROC curve from ranks, on the event loop in pieces.
import { elementsPerTurn, nextTurn } from '../trainer/turns.js';

/**
 * The share of pairs of a score of `yes` and one of `no` where the first is larger, equal ones
 * counting a half: the statistic of Mann and Whitney (1947) by the number of pairs. NaN where a score
 * is. Both hold at least one score.
 */
export async function areaUnderRoc(yes: Float32Array, no: Float32Array): Promise<number> {
  const above = await sortedKeys(yes);
  const below = await sortedKeys(no);
  if (above === undefined || below === undefined) return Number.NaN;
  let won = 0;
  let less = 0;
  let upTo = 0;
  let steps = 0;
  // Walks through both lists once.
  for (const key of above) {
    while (less < below.length && (below[less] ?? 0) < key) {
      less++;
      if (++steps % elementsPerTurn === 0) await nextTurn();
    }
    upTo = Math.max(upTo, less);
    while (upTo < below.length && below[upTo] === key) {
      upTo++;
      if (++steps % elementsPerTurn === 0) await nextTurn();
    }
    won += (less + upTo) / 2;
    if (++steps % elementsPerTurn === 0) await nextTurn();
  }
  return won / (above.length * below.length);
}

/**
 * Integers in the order of the numbers, sorted; undefined where there is a NaN. By radix, Seward
 * (1954), as a pass can stop anywhere for a turn of the event loop.
 */
async function sortedKeys(numbers: Float32Array): Promise<Uint32Array | undefined> {
  const count = numbers.length;
  let keys = new Uint32Array(count);
  const bits = new Uint32Array(1);
  const float = new Float32Array(bits.buffer);
  for (let i = 0; i < count; i++) {
    // The sum makes -0 the same as 0.
    float[0] = (numbers[i] ?? Number.NaN) + 0;
    const word = bits[0] ?? 0;
    if (Number.isNaN(float[0])) return undefined;
    keys[i] = word >>> 31 === 1 ? ~word : word | 0x80000000;
    if ((i + 1) % elementsPerTurn === 0) await nextTurn();
  }
  let sorted = new Uint32Array(count);
  for (const shift of [0, 11, 22]) {
    const places = await starts(keys, shift);
    for (let i = 0; i < count; i++) {
      const key = keys[i] ?? 0;
      const digit = (key >>> shift) & 2047;
      const place = places[digit] ?? 0;
      sorted[place] = key;
      places[digit] = place + 1;
      if ((i + 1) % elementsPerTurn === 0) await nextTurn();
    }
    [keys, sorted] = [sorted, keys];
  }
  return keys;
}

/** Where the keys of each digit begin. */
async function starts(keys: Uint32Array, shift: number): Promise<Uint32Array> {
  const counts = new Uint32Array(2049);
  for (let i = 0; i < keys.length; i++) {
    const next = (((keys[i] ?? 0) >>> shift) & 2047) + 1;
    counts[next] = (counts[next] ?? 0) + 1;
    if ((i + 1) % elementsPerTurn === 0) await nextTurn();
  }
  for (let digit = 1; digit < counts.length; digit++) {
    counts[digit] = (counts[digit] ?? 0) + (counts[digit - 1] ?? 0);
  }
  return counts;
}
