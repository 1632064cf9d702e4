// Times of several sides, taken in turns so that whatever else the machine does hits all of them.
import { setTimeout as sleep } from 'node:timers/promises';
import { quick } from './options.mjs';

/**
 * Milliseconds of one call.
 * @typedef {{ p50: number, p99: number | null }} Time
 */

/** @param {Iterable<number>} values */
export const median = (values) => quantile(values, 0.5);

/**
 * @param {Iterable<number>} values
 * @param {number} share
 */
export function quantile(values, share) {
  const sorted = Float64Array.from(values).sort();
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
}

/**
 * The time of a call, over `seconds` of calls. Brief calls are timed in groups of 20 us, so that
 * reading the clock does not count; percentiles are then those of the groups.
 * @param {() => unknown} run awaited when it returns a promise
 * @param {number} seconds
 * @returns {Promise<Time>}
 */
export async function timeOf(run, seconds) {
  const [warmMs, groupMs] = [10, 0.02];
  const first = run();
  const many = first instanceof Promise ? awaitCalls : makeCalls;
  await first;
  const warm = Math.min(1000, Math.ceil(warmMs / (await many(run, 1))));
  await many(run, warm);
  const calls = Math.max(1, Math.round((warm * groupMs) / (await many(run, warm))));
  const times = [];
  const end = performance.now() + seconds * 1000;
  while (performance.now() < end || times.length < 5) {
    times.push((await many(run, calls)) / calls);
  }
  return { p50: median(times), p99: quantile(times, 0.99) };
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

/** Milliseconds in which the threads of a side stop spinning, for a time to be quoted and for others. */
const pause = quick ? 30 : 100;

/**
 * Runs all sides in turns.
 * @template T
 * @param {Record<string, () => Promise<T>>} sides
 * @param {number} rounds
 * @returns {Promise<Record<string, T[]>>} by side, what each round gave
 */
export async function inTurns(sides, rounds) {
  /** @type {Record<string, T[]>} */
  const results = Object.fromEntries(Object.keys(sides).map((name) => [name, []]));
  for (let round = 0; round < rounds; round++) {
    for (const [name, run] of Object.entries(sides)) {
      results[name].push(await run());
      await sleep(pause);
    }
  }
  return results;
}

/** @param {Time[]} times */
export const summary = (times) => ({
  value: median(times.map(({ p50 }) => p50)),
  p99: times.some(({ p99 }) => p99 === null) ? null : median(times.map(({ p99 }) => p99 ?? 0)),
  best: Math.min(...times.map(({ p50 }) => p50)),
});

/**
 * How a peer does beside us: the best of its modes, and the median of what its times and ours give
 * round by round. Null when there is no peer.
 * @param {Time[]} ours
 * @param {Record<string, Time[]>} modes of the peer
 */
export function beside(ours, modes) {
  const all = Object.fromEntries(
    Object.entries(modes).map(([mode, times]) => [mode, summary(times)]),
  );
  const names = Object.keys(all);
  if (names.length === 0) return null;
  const mode = names.reduce((a, b) => (all[a].value <= all[b].value ? a : b));
  const ratio = median(modes[mode].map(({ p50 }, i) => p50 / ours[i].p50));
  const medians = Object.fromEntries(names.map((name) => [name, all[name].value]));
  return { ...all[mode], ratio, mode, modes: medians };
}
