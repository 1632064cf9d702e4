// Our side of one case of bench/gpu.mjs, in a process of its own: what goes wrong on a device ends
// nothing else. Reads requests as JSON lines, writes answers.
import { createInterface } from 'node:readline';
import { devices, Predictor, Trainer, version } from 'tandem-ml';
import { gpuCases } from './gpu-cases.mjs';
import { median, timeOf } from './measure.mjs';

/** @typedef {import('./measure.mjs').Time & { cpu: number }} Measured */
/** @type {Record<string, (seconds: number) => Promise<Measured>>} */
const sides = {};
/** @type {Record<string, { profile(): import('tandem-ml').Profile, close(): Promise<void> }>} */
const open = {};

/** Milliseconds of a call, and of the processor in it, over all threads. */
async function measured(run, seconds) {
  let calls = 0;
  const before = process.cpuUsage();
  const time = await timeOf(() => {
    calls++;
    return run();
  }, seconds);
  return { ...time, cpu: usedSince(before) / calls };
}

function usedSince(before) {
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}

/** A step inside fit: the median over its epochs, which a large model has one of at least. */
async function fitTime(trainer, data, { batch, rows }, seconds) {
  const times = [];
  const used = [];
  let start = 0;
  let before = process.cpuUsage();
  const begin = performance.now();
  const clock = {
    onEpochBegin() {
      start = performance.now();
      before = process.cpuUsage();
    },
    onEpochEnd() {
      times.push(((performance.now() - start) * batch) / rows);
      used.push((usedSince(before) * batch) / rows);
      const took = performance.now() - begin;
      return took < 1000 * seconds || (times.length < 3 && took < 3000 * seconds);
    },
  };
  await trainer.fit(data, { epochs: 1e6, batchSize: batch, verbose: 0, callbacks: [clock] });
  return { p50: median(times), p99: null, cpu: median(used) };
}

/** @param {string} device  @param {import('./gpu-cases.mjs').GpuCase} work */
function openTrainer(device, { model, batch, rows = batch, input, target, optimizer, precisions }) {
  const precision = /** @type {'float32'} */ (precisions[0]);
  const loss = 'crossEntropy';
  const trainer = new Trainer(model(), {
    ...{ loss, precision, device: /** @type {'cpu'} */ (device) },
    ...(optimizer && { optimizer: optimizer() }),
  });
  open[precision] = trainer;
  const labels = target ?? (() => new Int32Array(0));
  const one = { x: input(batch), y: labels(batch) };
  const data = { x: input(rows), y: labels(rows) };
  sides.step = (seconds) => measured(() => trainer.step(one), seconds);
  sides.fit = (seconds) => fitTime(trainer, data, { batch, rows }, seconds);
}

/** @param {string} device  @param {import('./gpu-cases.mjs').GpuCase} work */
async function openPredictors(device, { model, batch, input, precisions }) {
  const x = input(batch);
  const failures = [];
  for (const wanted of precisions) {
    try {
      const precision = /** @type {'float32'} */ (wanted);
      const quantized = wanted === 'int8' ? { calibration: { x: input(32) } } : {};
      const place = { device: /** @type {'cpu'} */ (device) };
      const predictor = await Predictor.load(model(), { precision, ...place, ...quantized });
      open[wanted] = predictor;
      const io = predictor.bind(batch);
      io.inputs.x.set(x);
      io.runSync();
      const out = io.outputs.y.slice();
      sides[`${wanted} runSync`] = (seconds) => measured(() => io.runSync(), seconds);
      sides[`${wanted} predict`] = (seconds) =>
        measured(() => predictor.predict(x, { out }), seconds);
    } catch (error) {
      failures.push(`${wanted}: ${error instanceof Error ? error.message : error}`);
    }
  }
  return failures;
}

const operations = {
  /** What cannot be measured, and why, is in `failures`. */
  async prepare({ device, tiny, name }) {
    const work = gpuCases(tiny).find((one) => one.name === name);
    if (work === undefined) throw new Error(`no case is called ${name}`);
    if (work.task === 'train') openTrainer(device, work);
    const failures = work.task === 'train' ? [] : await openPredictors(device, work);
    for (const [side, run] of Object.entries(sides)) {
      try {
        await run(0);
      } catch (error) {
        delete sides[side];
        failures.push(`${side}: ${error instanceof Error ? error.message : error}`);
      }
    }
    return { sides: Object.keys(sides), failures };
  },

  measure: ({ side, seconds }) => sides[side](seconds),

  /** Of each precision: bytes, operations and how many kernels of each kind. */
  profile() {
    const profiles = Object.entries(open).map(([precision, one]) => {
      const { flops, memory, kernels, device: found } = one.profile();
      const counts = {};
      for (const kernel of kernels) counts[kernel] = (counts[kernel] ?? 0) + 1;
      return [precision, { device: found, flops, memory: memory.total, kernels: counts }];
    });
    return { profiles: Object.fromEntries(profiles) };
  },
};

console.log(JSON.stringify({ version, devices: devices() }));
for await (const line of createInterface({ input: process.stdin })) {
  let answer;
  try {
    const request = JSON.parse(line);
    answer = await operations[request.op](request);
  } catch (error) {
    answer = { error: error instanceof Error ? error.message : String(error) };
  }
  console.log(JSON.stringify(answer));
}
for (const one of Object.values(open)) await one.close();
process.exit();
