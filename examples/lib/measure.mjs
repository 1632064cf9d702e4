// What training and inference cost, as measured.
import { table } from './terminal.mjs';

/** @typedef {import('tandem-ml').Profile} Profile */

/**
 * Quantiles of the time of single runs, in milliseconds.
 * @param {() => void} run
 * @param {number} count
 */
export function timeRuns(run, count) {
  for (let i = 0; i < count / 10; i++) run(); // warm caches and compiled JavaScript
  const times = Float64Array.from({ length: count }, () => {
    const start = process.hrtime.bigint();
    run();
    return Number(process.hrtime.bigint() - start) / 1e6;
  }).sort();
  const at = (share) => times[Math.min(count - 1, Math.floor(share * count))];
  return { p50: at(0.5), p99: at(0.99) };
}

/**
 * A table with training beside inference. Times a sample are medians.
 * @param {Profile} training
 * @param {Profile} inference
 */
export function compare(training, inference) {
  const both = [training, inference];
  const row = (name, show) => [name, ...both.map(show)];
  const memory = ['parameters', 'gradients', 'optimizer', 'activations', 'workspace', 'total'];
  return table(
    ['', `training, steps of ${rows(training)}`, `inference, runs of ${rows(inference)}`],
    [
      row('time per sample', ({ latencyMs, batch }) => time(latencyMs.p50 / batch)),
      row('samples per second', ({ latencyMs, batch }) => whole((batch / latencyMs.p50) * 1000)),
      row('FLOPs per sample', ({ flops, batch }) => whole(flops / batch)),
      row('latency, p50', ({ latencyMs }) => time(latencyMs.p50)),
      row('latency, p99', ({ latencyMs }) => time(latencyMs.p99)),
      ...memory.map((kind) =>
        row(`memory, ${kind}`, ({ memory }) => `${(memory[kind] / 1024).toFixed(1)} KiB`),
      ),
    ],
  );
}

const rows = ({ batch }) => (batch === 1 ? '1 row' : `${batch} rows`);
const whole = (value) => Math.round(value).toLocaleString('en');
const time = (ms) => (ms < 0.1 ? `${(ms * 1000).toFixed(2)} µs` : `${ms.toFixed(3)} ms`);
