// From the values that calibration sees to the range that 256 steps cover.
import { turnsBetween } from '../trainer/turns.js';
import type { Observer } from './options.js';

/**
 * Numbers between `low` and `high`, which take in 0, counted in bins of one width. 0 itself, which
 * every choice of steps has, is not counted.
 */
export interface Histogram {
  readonly low: number;
  readonly high: number;
  readonly counts: Float64Array;
}

export interface Interval {
  readonly low: number;
  readonly high: number;
}

export type Numbers = Float32Array | Int32Array;

const bins = 4096;

/** The interval of what has been seen so far, 0 included, extended by `values`. */
export function extend(seen: Interval, values: Numbers): Interval {
  let { low, high } = seen;
  for (let i = 0; i < values.length; i++) {
    const value = values[i] as number;
    if (value < low) low = value;
    else if (value > high) high = value;
  }
  return { low, high };
}

export const emptyHistogram = ({ low, high }: Interval): Histogram => ({
  low,
  high,
  counts: new Float64Array(bins),
});

export function count({ low, high, counts }: Histogram, values: Numbers): void {
  const perBin = counts.length / (high - low);
  if (!Number.isFinite(perBin)) return;
  const last = counts.length - 1;
  for (let i = 0; i < values.length; i++) {
    const value = values[i] as number;
    if (value === 0) continue;
    const bin = ((value - low) * perBin) | 0;
    const at = bin < last ? bin : last;
    counts[at] = (counts[at] as number) + 1;
  }
}

/** What of the histogram the steps cover; 0 is always part of it. The event loop has its turns. */
export async function cover(
  histogram: Histogram,
  observer: Observer,
  percentile: number,
): Promise<Interval> {
  const { low, high } = histogram;
  if (observer === 'minMax' || !(high > low)) return { low, high };
  if (observer === 'percentile') return atPercentile(histogram, percentile / 100);
  const cost = observer === 'mse' ? squaredError : divergence;
  const counted = observer === 'mse' ? histogram : coarser(histogram);
  let best: Interval = { low, high };
  let least = Number.POSITIVE_INFINITY;
  const turn = turnsBetween();
  for (const candidate of candidates(best)) {
    await turn();
    const found = cost(counted, candidate);
    if (found < least) {
      least = found;
      best = candidate;
    }
  }
  return best;
}

/** The whole interval, and narrower ones: each end alone, where it is further out, or both. */
function candidates({ low, high }: Interval): Interval[] {
  const steps = 100;
  const reach = Math.max(-low, high);
  return Array.from({ length: steps - 1 }, (_, i) => {
    const end = (reach * (steps - i)) / steps;
    return { low: Math.max(low, -end), high: Math.min(high, end) };
  });
}

function atPercentile({ low, high, counts }: Histogram, share: number): Interval {
  const width = (high - low) / counts.length;
  const total = counts.reduce((sum, one) => sum + one, 0);
  const left = total * (1 - share);
  let above = 0;
  let last = counts.length;
  while (last > 0 && above + (counts[last - 1] ?? 0) <= left) above += counts[--last] ?? 0;
  let below = 0;
  let first = 0;
  while (first < last && below + (counts[first] ?? 0) <= left) below += counts[first++] ?? 0;
  return { low: Math.min(0, low + first * width), high: Math.max(0, low + last * width) };
}

/** With bins that count some numbers each, as far as that leaves two for a step. */
function coarser({ low, high, counts }: Histogram): Histogram {
  const total = counts.reduce((sum, one) => sum + one, 0);
  let merged = counts;
  while (merged.length > 512 && total < 8 * merged.length) {
    const finer = merged;
    merged = new Float64Array(finer.length / 2).map(
      (_, i) => (finer[2 * i] ?? 0) + (finer[2 * i + 1] ?? 0),
    );
  }
  return { low, high, counts: merged };
}

/** Within the interval a step's own error, uniform; beyond it the distance to its end. */
function squaredError({ low, high, counts }: Histogram, interval: Interval): number {
  const width = (high - low) / counts.length;
  const step = (interval.high - interval.low) / 255;
  const within = (step * step) / 12;
  let sum = 0;
  for (let i = 0; i < counts.length; i++) {
    const value = low + (i + 0.5) * width;
    const beyond = Math.max(interval.low - value, value - interval.high, 0);
    sum += (counts[i] as number) * (beyond > 0 ? beyond * beyond : within);
  }
  return sum;
}

/**
 * Of the distribution within the interval, with what is beyond added to its ends, from the one that
 * 256 steps can tell apart. Few numbers in many bins differ from even ones by chance: that much, by
 * Miller, "Note on the bias of information estimates" (1955), does not count.
 */
function divergence({ low, high, counts }: Histogram, interval: Interval): number {
  const width = (high - low) / counts.length;
  const first = Math.round((interval.low - low) / width);
  const last = Math.max(first + 1, Math.round((interval.high - low) / width));
  const inside = counts.slice(first, last);
  const wanted = inside.slice();
  const sum = (from: number, to: number) =>
    counts.subarray(from, to).reduce((total, one) => total + one, 0);
  wanted[0] = (wanted[0] ?? 0) + sum(0, first);
  wanted[wanted.length - 1] = (wanted.at(-1) ?? 0) + sum(last, counts.length);
  const { given, steps } = spreadOverSteps(inside);
  const [all, seen] = [sum(0, counts.length), sum(first, last)];
  let found = 0;
  wanted.forEach((amount, i) => {
    if (amount === 0) return;
    // A bin that only what lies beyond fills has no counterpart.
    const other = Math.max((given[i] ?? 0) / (seen || 1), 1e-9);
    found += (amount / all) * Math.log(amount / all / other);
  });
  const filled = inside.reduce((total, one) => (one > 0 ? total + 1 : total), 0);
  return found - (filled - steps) / (2 * all);
}

/**
 * What each of 256 steps counts, spread evenly over its bins that are not empty; and how many steps
 * are not.
 */
function spreadOverSteps(counts: Float64Array): { given: Float64Array; steps: number } {
  const steps = Math.min(256, counts.length);
  let used = 0;
  const out = new Float64Array(counts.length);
  for (let step = 0; step < steps; step++) {
    const from = Math.floor((step * counts.length) / steps);
    const to = Math.floor(((step + 1) * counts.length) / steps);
    let total = 0;
    let filled = 0;
    for (let i = from; i < to; i++) {
      total += counts[i] ?? 0;
      if (counts[i] !== 0) filled++;
    }
    if (filled > 0) used++;
    for (let i = from; i < to; i++) if (counts[i] !== 0) out[i] = total / filled;
  }
  return { given: out, steps: used };
}

/** (byte - zero) * scale. */
export interface Steps {
  readonly scale: number;
  readonly zero: number;
}

/** Any number serves where all values are 0. */
const scaleOf = (range: number, steps: number): number => {
  const scale = Math.fround(range / steps);
  return scale > 1e-36 ? scale : 1;
};

/** 256 steps over an interval that takes in 0. Symmetric: 0 in the middle where both signs occur. */
export function stepsOf({ low, high }: Interval, symmetric: boolean): Steps {
  if (!symmetric || low === 0) {
    const scale = scaleOf(high - low, 255);
    return { scale, zero: Math.min(255, Math.max(0, Math.round(-low / scale))) };
  }
  return { scale: scaleOf(Math.max(-low, high), 127), zero: 128 };
}
