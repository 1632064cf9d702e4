// What preparing batches costs the step: fits of the same steps on arrays that are ready, on a dataset
// in memory, on batches that an async iterable makes meanwhile, and on a CSV file that is read, parsed,
// encoded and shuffled meanwhile; in turns, in one process, and for each length of epochs. Prints JSON
// for each: milliseconds of a step, by how much it is slower than on arrays in order in epochs of that
// length (percent, the median of the rounds), the same `atBest` (the shortest times, which other load
// touches least), and `cpu`, by how much more processor time the process takes for a step, of which
// other load touches less. `aloneCpuMs` is the processor time of preparing a batch without a step
// beside it, of all threads, `aloneCpuPercent` its share in the step's. The first epoch of each fit, in
// which the thread that reads starts and its JavaScript is cold, does not count.
// --epochs is their lengths in steps, --filter leaves the sides whose names have it, beside arrays,
// --save puts them into bench/results/, for the pages of docs/performance.md.
// Usage: pipeline.mjs [--epochs 200,1000] [--rounds 3] [--filter csv] [--quick] [--save]
import { rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { adam, dense, sequential, Trainer } from 'tandem-ml';
import { csv, fitEncoder, fromArrays, fromBatches, standard } from 'tandem-ml/data';
import { describeEngine } from './lib/engine.mjs';
import { inTurns, median } from './lib/measure.mjs';
import { command, epochSteps, quick, roundsOr, save, wanted } from './lib/options.mjs';
import { refuseOtherMachine, saveResults } from './lib/results.mjs';

if (save) refuseOtherMachine('pipeline', describeEngine());
const batchSize = 256;
/** Of a fit, those of its first epoch aside: the same number for each length. */
const steps = quick ? 100 : 1000;
const lengths = quick ? [20, 100] : epochSteps;
const rounds = roundsOr(3);
const rows = batchSize * Math.max(...lengths);
const width = 16;
const x = Float32Array.from({ length: rows * width }, (_, i) => Math.sin(i * i));
const y = Int32Array.from({ length: rows }, (_, i) => i % 10);

const batches = (count) =>
  fromBatches(async function* () {
    for (let row = 0; row < count; row += batchSize) {
      await new Promise((resolve) => setImmediate(resolve));
      const part = x.slice(row * width, (row + batchSize) * width);
      for (let i = 0; i < part.length; i++) part[i] = part[i] / 1.5 + 0.25;
      yield { rows: batchSize, x: part, y: y.slice(row, row + batchSize) };
    }
  });

const file = join(tmpdir(), `tandem-bench-${process.pid}.csv`);
const fields = Array.from({ length: width }, (_, i) => `f${i}`);
const lines = Array.from({ length: rows }, (_, row) =>
  [...fields.map((_, i) => x[row * width + i].toFixed(5)), y[row]].join(','),
);
await writeFile(file, `${[...fields, 'label'].join(',')}\n${lines.join('\n')}\n`);
const encoder = await fitEncoder(csv(file), {
  x: Object.fromEntries(fields.map((name) => [name, standard()])),
  y: { label: 'category' },
});

const layer = () => dense(1024, { activation: 'relu' });
const model = sequential([layer(), layer(), dense(10)], { input: [width], seed: 1 });
const trainer = new Trainer(model, { loss: 'crossEntropy', optimizer: adam() });
const timed = (data, shuffle, length) => async () => {
  const epochs = Math.max(1, Math.round(steps / length));
  let start = 0;
  let before = process.cpuUsage();
  const clock = {
    onEpochEnd() {
      if (start > 0) return;
      start = performance.now();
      before = process.cpuUsage();
    },
  };
  const callbacks = [clock];
  await trainer.fit(data, { batchSize, shuffle, epochs: epochs + 1, verbose: 0, callbacks });
  const { user, system } = process.cpuUsage(before);
  const taken = epochs * length;
  return { wall: (performance.now() - start) / taken, cpu: (user + system) / 1000 / taken };
};

/** The sides with epochs of so many steps. */
function sidesOf(length) {
  const count = batchSize * length;
  const arrays = { x: x.subarray(0, count * width), y: y.subarray(0, count) };
  const all = {
    dataset: fromArrays(arrays).shuffle({ seed: 1 }),
    asyncIterable: batches(count).shuffle(false),
    csv: encoder.encode(csv(file).take(count)).shuffle({ seed: 1 }),
  };
  const datasets = Object.fromEntries(Object.entries(all).filter(([name]) => wanted(name)));
  const runs = Object.entries(datasets).map(([name, data]) => [name, timed(data, true, length)]);
  const sides = { arrays: timed(arrays, false, length), ...Object.fromEntries(runs) };
  return { length, datasets, sides };
}

/** Milliseconds of processor time that preparing a batch takes by itself, all threads together. */
async function preparing(dataset, length) {
  const costs = [];
  for (let round = 0; round < 5; round++) {
    const before = process.cpuUsage();
    for await (const { order } of dataset.chunks({ batchSize, epoch: round })) order.at(-1);
    const { user, system } = process.cpuUsage(before);
    costs.push((user + system) / 1000 / length);
  }
  return Math.min(...costs);
}

const cost = (mine, theirs) => Number((100 * (mine / theirs - 1)).toFixed(2));
const least = (list) => Math.min(...list.map(({ wall }) => wall));
const workload = `MLP ${width}-1024-1024-10`;

async function measure({ length, datasets, sides }) {
  for (const run of Object.values(sides)) await run();
  const times = await inTurns(sides, rounds);
  const alone = { arrays: 0 };
  for (const [name, dataset] of Object.entries(datasets)) {
    alone[name] = await preparing(dataset, length);
  }
  const cpuOfStep = Math.min(...times.arrays.map(({ cpu }) => cpu));
  return Object.entries(times).map(([name, list]) => ({
    ...{ name: `${name}, epochs of ${length} steps`, rows: name, epochSteps: length },
    ...{ workload, batchSize },
    stepMs: median(list.map(({ wall }) => wall)),
    costPercent: median(list.map(({ wall }, i) => cost(wall, times.arrays[i].wall))),
    aloneCpuMs: Number(alone[name].toFixed(4)),
    aloneCpuPercent: Number(((100 * alone[name]) / cpuOfStep).toFixed(2)),
    atBest: cost(least(list), least(times.arrays)),
    cpu: median(list.map(({ cpu }, i) => cost(cpu, times.arrays[i].cpu))),
  }));
}

try {
  const results = [];
  for (const length of lengths) {
    for (const result of await measure(sidesOf(length))) {
      results.push(result);
      console.log(JSON.stringify(result));
    }
  }
  if (save) saveResults('pipeline', command, results, describeEngine());
} finally {
  await trainer.close();
  await rm(file);
}
