// One case of bench/serving.mjs: prints its numbers as JSON.
import { statSync } from 'node:fs';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { Worker } from 'node:worker_threads';

const begin = performance.now();
const { Predictor } = await import('tandem-ml');
const imported = performance.now() - begin;

const [task, file] = process.argv.slice(2);
const rss = () => process.memoryUsage.rss() / 1e6;

const tasks = {
  import: () => ({ imported }),

  async start() {
    const begin = performance.now();
    const predictor = await Predictor.load(file);
    const x = new Float32Array(predictor.inputs[0]?.shape[1] ?? 0);
    const load = performance.now() - begin;
    predictor.predictSync(x);
    return { load, first: performance.now() - begin - load };
  },

  async memory() {
    const before = rss();
    const predictor = await Predictor.load(file);
    predictor.predictSync(new Float32Array(predictor.inputs[0]?.shape[1] ?? 0));
    return { grown: (rss() - before) / (statSync(file).size / 1e6) };
  },

  /** Worker threads that do nothing stand on the other side: what a thread takes is not in question. */
  async workers() {
    const one = await grownBy(1);
    const eight = await grownBy(8);
    return { one, eight, by: eight / one };
  },

  calls: () => inFlight({}),
  queue: () => inFlight({ batching: { maxBatch: 64, maxDelayUs: 500 } }),
};

async function grownBy(count) {
  const body = `
    const { parentPort, workerData: { file, library } } = require('node:worker_threads');
    parentPort.once('message', async () => {
      const { Predictor } = await import(library);
      if (file === undefined) return parentPort.postMessage('done');
      globalThis.predictor = await Predictor.load(file);
      predictor.predictSync(new Float32Array(predictor.inputs[0].shape[1]));
      parentPort.postMessage('done');
      parentPort.on('message', () => undefined);
    });`;
  const library = new URL('../../dist/index.js', import.meta.url).href;
  const workers = Array.from(
    { length: count },
    () => new Worker(body, { eval: true, workerData: { file, library } }),
  );
  await Promise.all(workers.map((worker) => new Promise((r) => worker.once('online', r))));
  const before = rss();
  const done = workers.map((worker) => new Promise((r) => worker.once('message', r)));
  for (const worker of workers) worker.postMessage('go');
  await Promise.all(done);
  const grown = rss() - before;
  await Promise.all(workers.map((worker) => worker.terminate()));
  return grown;
}

async function inFlight(options) {
  const predictor = await Predictor.load(file, options);
  const x = new Float32Array(predictor.inputs[0]?.shape[1] ?? 0).fill(0.5);
  const end = performance.now() + 3000;
  let answered = 0;
  const caller = async () => {
    while (performance.now() < end) {
      await predictor.predict(x);
      answered++;
    }
  };
  const callers = [];
  // In turns of the event loop, as calls of clients come.
  for (let i = 0; i < 10_000; i++) {
    callers.push(caller());
    if (i % 100 === 99) await new Promise((resolve) => setImmediate(resolve));
  }
  const histogram = monitorEventLoopDelay({ resolution: 1 });
  histogram.enable();
  await Promise.all(callers);
  histogram.disable();
  await predictor.close();
  return { p50: histogram.percentile(50) / 1e6, p99: histogram.percentile(99) / 1e6, answered };
}

console.log(JSON.stringify(await tasks[task]()));
process.exit();
