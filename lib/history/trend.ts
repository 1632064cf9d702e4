// Is there a trend in a series? Tests that assume no distribution, for loss curves have none.

/** A trend test's result. */
export interface Trend {
  /**
   * The median of the slopes between all pairs of points, a step: Sen, "Estimates of the Regression
   * Coefficient Based on Kendall's Tau" (1968).
   */
  readonly slope: number;
  /** The chance that a series without trend rises as much, and that one falls as much. */
  readonly rising: number;
  readonly falling: number;
}

/**
 * The test of Mann, "Nonparametric Tests Against Trend" (1945), and Kendall (1975): counts the pairs
 * of points that rise against those that fall. Exact up to `exactUpTo` points without ties, by the
 * normal approximation beyond. Long series are thinned evenly to `mostPoints`, which costs little
 * power and keeps the pairs few enough for one turn of the event loop.
 */
export function trendOf(series: readonly number[]): Trend {
  const stride = Math.max(1, Math.ceil(series.length / mostPoints));
  // Counted from the end, which is what matters most.
  const last = series.length - 1;
  const values = series.filter((_, i) => (last - i) % stride === 0);
  const n = values.length;
  if (n < 2) return { slope: 0, rising: 1, falling: 1 };
  let score = 0;
  let ties = 0;
  const slopes: number[] = [];
  for (let i = 0; i < n; i++) {
    for (let j = i + 1; j < n; j++) {
      const rise = (values[j] ?? 0) - (values[i] ?? 0);
      score += Math.sign(rise);
      if (rise === 0) ties++;
      slopes.push(rise / (j - i));
    }
  }
  const slope = median(slopes) / stride;
  const tail = ties === 0 && n <= exactUpTo ? exactTail : normalTail;
  const groups = ties === 0 ? [] : tieGroups(values);
  return {
    slope,
    rising: tail(score, n, groups),
    falling: tail(-score, n, groups),
  };
}

const exactUpTo = 20;
const mostPoints = 100;

function median(numbers: number[]): number {
  const sorted = Float64Array.from(numbers).sort();
  const half = sorted.length >> 1;
  const upper = sorted[half] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[half - 1] ?? Number.NaN)) / 2;
}

function tieGroups(values: readonly number[]): number[] {
  const counts = new Map<number, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return [...counts.values()];
}

/** The share of all orders of n different values whose score is `score` or more. */
function exactTail(score: number, n: number): number {
  // Shares of orders by the number of falling pairs: each new value adds 0 to k of them alike.
  let shares = [1];
  for (let k = 1; k < n; k++) {
    const next = new Array<number>(shares.length + k).fill(0);
    for (const [falls, share] of shares.entries()) {
      for (let more = 0; more <= k; more++) {
        next[falls + more] = (next[falls + more] ?? 0) + share / (k + 1);
      }
    }
    shares = next;
  }
  const falls = ((n * (n - 1)) / 2 - score) / 2;
  return shares.slice(0, falls + 1).reduce((sum, share) => sum + share, 0);
}

/** The same by the normal distribution of the same variance, corrected for continuity and ties. */
function normalTail(score: number, n: number, groups: readonly number[]): number {
  const spread = (count: number) => count * (count - 1) * (2 * count + 5);
  const tied = groups.reduce((sum, count) => sum + spread(count), 0);
  const variance = (spread(n) - tied) / 18;
  if (variance <= 0) return 1;
  return upperTail((score - 1) / Math.sqrt(variance));
}

/** The chance of a standard normal number above z: Abramowitz and Stegun (1964), 26.2.17, to 1e-7. */
function upperTail(z: number): number {
  if (z < 0) return 1 - upperTail(-z);
  const t = 1 / (1 + 0.2316419 * z);
  const powers = [0.31938153, -0.356563782, 1.781477937, -1.821255978, 1.330274429];
  const sum = powers.reduceRight((total, factor) => (total + factor) * t, 0);
  return (Math.exp((-z * z) / 2) / Math.sqrt(2 * Math.PI)) * sum;
}
