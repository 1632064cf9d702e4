// What preparing batches costs the step: epochs of the same steps on arrays that are ready, on a
// dataset in memory, on batches that an async iterable makes meanwhile, and on a CSV file that is
// read, parsed and encoded meanwhile; in turns, in one process. Prints JSON: milliseconds of a step,
// and by how much (in percent, the median of the rounds) a step is slower than on arrays in order.
// Usage: pipeline.mjs [--rounds 5]
import { rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Trainer } from 'tandem-ml';
import { csv, fitEncoder, fromArrays, fromBatches, standard } from 'tandem-ml/data';
import { inTurns, median } from './lib/measure.mjs';
import { workload } from './lib/workloads.mjs';

const { values: flags } = parseArgs({ options: { rounds: { type: 'string', default: '5' } } });
const batchSize = 128;
const steps = 200;
const rows = batchSize * steps;
const work = workload('MLP 784-512-256-10');
const x = work.input(rows);
const y = work.target(rows);
const width = x.length / rows;

const batches = fromBatches(async function* () {
  for (let row = 0; row < rows; row += batchSize) {
    await new Promise((resolve) => setImmediate(resolve));
    const part = x.slice(row * width, (row + batchSize) * width);
    for (let i = 0; i < part.length; i++) part[i] = part[i] / 1.5 + 0.25;
    yield { rows: batchSize, x: part, y: y.slice(row, row + batchSize) };
  }
});

const file = join(tmpdir(), `tandem-bench-${process.pid}.csv`);
const fields = Array.from({ length: 16 }, (_, i) => `f${i}`);
const lines = Array.from({ length: rows }, (_, row) =>
  [...fields.map((_, i) => x[row * width + i].toFixed(5)), y[row]].join(','),
);
await writeFile(file, `${[...fields, 'label'].join(',')}\n${lines.join('\n')}\n`);
const encoder = await fitEncoder(csv(file), {
  x: Object.fromEntries(fields.map((name) => [name, standard()])),
  y: { label: 'category' },
});
// The file has fewer columns than the model has inputs; each is repeated.
const wide = encoder.encode(csv(file)).map((batch) => {
  const narrow = /** @type {Float32Array} */ (batch.x);
  const whole = new Float32Array(batch.rows * width);
  for (let row = 0; row < batch.rows; row++) {
    const part = narrow.subarray(16 * row, 16 * row + 16);
    for (let i = 0; i < width; i += 16) whole.set(part, row * width + i);
  }
  return { ...batch, x: whole };
});

const trainer = new Trainer(work.model(), { loss: work.loss, optimizer: work.optimizer() });
const options = /** @type {const} */ ({ batchSize, verbose: 0 });
const timed = (data, shuffle) => async () => {
  const start = performance.now();
  await trainer.fit(data, { ...options, shuffle });
  return (performance.now() - start) / steps;
};
const sides = {
  arrays: timed({ x, y }, false),
  shuffledArrays: timed({ x, y }, true),
  dataset: timed(fromArrays({ x, y }), true),
  asyncIterable: timed(batches, false),
  csv: timed(wide, true),
};
for (const run of Object.values(sides)) await run();
const times = await inTurns(sides, Number(flags.rounds));
await trainer.close();
await rm(file);
const report = Object.fromEntries(
  Object.entries(times).map(([name, list]) => {
    const costs = list.map((time, i) => 100 * (time / times.arrays[i] - 1));
    return [name, { stepMs: median(list), costPercent: Number(median(costs).toFixed(2)) }];
  }),
);
console.log(JSON.stringify({ workload: work.name, batchSize, steps, ...report }));
