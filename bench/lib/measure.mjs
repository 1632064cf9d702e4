// Times of two sides, taken in turns so that whatever else the machine does hits both.
import { setTimeout as sleep } from 'node:timers/promises';

/** @param {Iterable<number>} values */
export const median = (values) => quantile(values, 0.5);

/** @param {Iterable<number>} values */
export function quantile(values, share) {
  const sorted = Float64Array.from(values).sort();
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
}

/**
 * Median time of a call in milliseconds, over `seconds` of calls. Short calls are timed by the
 * hundreds, so that the clock does not count.
 * @param {() => unknown} run awaited when it returns a promise
 * @param {number} seconds
 */
export async function timeOf(run, seconds) {
  const first = run();
  const many = first instanceof Promise ? awaitCalls : makeCalls;
  await first;
  await many(run, 20);
  const calls = Math.max(1, Math.round(20 / (await many(run, 20))));
  const times = [];
  const end = performance.now() + seconds * 1000;
  while (performance.now() < end || times.length < 5) {
    times.push((await many(run, calls)) / calls);
  }
  return median(times);
}

/** Milliseconds of `count` calls. */
function makeCalls(run, count) {
  const start = performance.now();
  for (let i = 0; i < count; i++) run();
  return performance.now() - start;
}

async function awaitCalls(run, count) {
  const start = performance.now();
  for (let i = 0; i < count; i++) await run();
  return performance.now() - start;
}

/**
 * Runs all sides in turns. Threads of the one before need a moment to stop spinning.
 * @param {Record<string, () => Promise<number>>} sides each returns a time
 * @param {number} rounds
 * @returns {Promise<Record<string, number[]>>} by side, a time a round
 */
export async function inTurns(sides, rounds) {
  /** @type {Record<string, number[]>} */
  const times = Object.fromEntries(Object.keys(sides).map((name) => [name, []]));
  for (let round = 0; round < rounds; round++) {
    for (const [name, run] of Object.entries(sides)) {
      times[name].push(await run());
      await sleep(250);
    }
  }
  return times;
}

/**
 * The side with the smallest median, of those whose names `wanted` takes.
 * @param {Record<string, number[]>} times
 * @param {(name: string) => boolean} wanted
 */
export function best(times, wanted) {
  const names = Object.keys(times).filter(wanted);
  if (names.length === 0) return undefined;
  return names.reduce((a, b) => (median(times[a]) <= median(times[b]) ? a : b));
}

/** The median of what two sides' times give round by round. */
export const pairedRatio = (over, under) => median(over.map((time, i) => time / under[i]));
