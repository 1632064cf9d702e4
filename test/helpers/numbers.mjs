// Comparing and making numbers.
import { input } from 'tandem-ml';

/** The 2-norm of `actual - expected` over that of `expected`; NaN or another length is no match. */
export function relativeError(actual, expected) {
  if (actual.length !== expected.length) return Number.POSITIVE_INFINITY;
  let [distance, norm] = [0, 0];
  for (let i = 0; i < expected.length; i++) {
    distance += (actual[i] - expected[i]) ** 2;
    norm += expected[i] ** 2;
  }
  if (Number.isNaN(distance)) return Number.POSITIVE_INFINITY;
  return distance === 0 ? 0 : Math.sqrt(distance / norm);
}

/** Uniform numbers from 0 to 1 that follow from the seed: mulberry32. */
export function generator(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Numbers from `low` to `high`. */
export const uniform = (length, random, low = -1, high = 1) =>
  Float32Array.from({ length }, () => low + (high - low) * random());

/** An input whose shape, batch included, is `shape`. */
export function fixed([batch, ...row], dtype = 'float32', name = undefined) {
  return input(row, { batch, dtype, ...(name !== undefined && { name }) });
}
