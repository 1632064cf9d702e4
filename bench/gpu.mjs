// Training steps and predictions on a GPU beside PyTorch's there: eager, a whole step in one CUDA graph,
// torch.compile and its mode 'reduce-overhead', as far as the time of `--budget` goes. All sides of a case
// run in turns, ours in a process of its own. What has been measured is written after every case: with
// `--save` to bench/results/gpu-<device>.json, with `--out` to a file.
//
// `step` is awaited and its loss read, as PyTorch's beside it; `fit` stands beside steps of PyTorch's that
// wait for nothing, of one batch that lies on the device. Predictions begin and end in memory of the host.
//
// `--device cpu` runs small models on the CPU, to see that everything works: nothing to quote.
import { fileURLToPath } from 'node:url';
import { startAsked } from './lib/asked.mjs';
import { describeEngine } from './lib/engine.mjs';
import { gpuCases } from './lib/gpu-cases.mjs';
import { resultsOf } from './lib/gpu-results.mjs';
import { command, eager, gpu, markdown, quick, roundsOr, save, wanted } from './lib/options.mjs';
import { describeMachine, saveResults, writeResults } from './lib/results.mjs';
import { tables } from './lib/tables.mjs';
import { openTorch } from './peers/torch-device.mjs';

/**
 * @typedef {import('./lib/gpu-cases.mjs').GpuCase} GpuCase
 * @typedef {import('./lib/gpu-results.mjs').Measured} Measured
 */

const { device, budget, out } = gpu;
const tiny = device === 'cpu';
const python = process.env.TANDEM_BENCH_PYTHON ?? (tiny ? '/usr/bin/python3' : 'python3');
const end = performance.now() + 1000 * budget;
const left = () => (end - performance.now()) / 1000;
/** Milliseconds to wait for an answer, not for long beyond the budget. */
const limit = (/** @type {number} */ seconds) => 1000 * Math.min(seconds, Math.max(left(), 0) + 15);
/** What of the budget torch.compile may take before anything is measured. */
const compileShare = 0.45;
const side = fileURLToPath(new URL('lib/gpu-side.mjs', import.meta.url));

const print = (/** @type {object} */ line) => {
  if (!markdown) console.log(JSON.stringify(line));
};
/** @type {string[]} */
const notes = [];
const note = (/** @type {string} */ text) => {
  notes.push(text);
  print({ note: text });
};
/** @type {any[]} */
const results = [];
/** Of the last process of ours. */
let described = device;

const cases = gpuCases(tiny).filter((work) => wanted(work.name) && (work.quick || !quick));
const torch = await openTorch({ device: tiny ? 'cpu' : 'cuda', python, note });
const more = () => ({
  ...describeEngine(),
  gpu: torch?.device ?? described,
  peers: torch ? { PyTorch: torch.version } : {},
});
print({ suite: 'gpu', quick, budget, machine: { ...describeMachine(), ...more() } });
if (torch && !eager) await torch.compile(cases, 1000 * compileShare * budget);
print({ note: `${Math.round(left())} of ${budget} s are left to measure` });

let measured = 0;
keep();
for (const work of cases) {
  if (left() <= 0) note(`${work.name}: no time was left`);
  else {
    await measureCase(work);
    measured++;
    keep();
  }
  await torch?.drop(work);
}
await torch?.close();
keep();
if (markdown) {
  const date = new Date().toISOString().slice(0, 10);
  const machine = { ...describeMachine(), ...more() };
  console.log(`## gpu\n\n${tables.gpu({ suite: 'gpu', date, command, machine, results })}\n`);
}
process.exit(results.length > 0 ? 0 : 1);

/** Writes what there is. */
function keep() {
  const complete = measured === cases.length;
  if (save && !tiny && results.length > 0)
    saveResults('gpu', command, results, more(), { complete });
  if (out) writeResults(out, { suite: 'gpu', command, notes, results, ...more() });
}

/** Measures all sides of a case in turns; one that fails is left out from there on. */
async function measureCase(/** @type {GpuCase} */ work) {
  const ours = await startAsked(process.execPath, [side], 60_000);
  try {
    /** @type {Record<string, (seconds: number) => Promise<Measured>>} */
    const sides = typeof ours === 'string' ? {} : await ourSides(work, ours);
    if (typeof ours === 'string') note(`${work.name}: ${ours}`);
    const peers = (await torch?.sides(work)) ?? {};
    for (const [name, { measure }] of Object.entries(peers)) sides[name] = measure;
    const times = await takeTurns(work, sides);
    const found = typeof ours === 'string' ? {} : await ours.ask({ op: 'profile' }, 20_000);
    for (const result of resultsOf(work, times, peers, found.profiles ?? {})) {
      results.push(result);
      print({ suite: 'gpu', ...result });
    }
  } finally {
    if (typeof ours !== 'string') await ours.end();
  }
}

/** @param {GpuCase} work  @param {import('./lib/asked.mjs').Asked} ours */
async function ourSides(work, ours) {
  described = ours.hello.devices.find(({ name }) => name.startsWith(device))?.description ?? device;
  const prepared = await ours.ask({ op: 'prepare', device, tiny, name: work.name }, limit(120));
  for (const failure of prepared.failures ?? []) note(`${work.name}, ${failure}`);
  if (prepared.error) note(`${work.name}: ${prepared.error}`);
  /** @type {Record<string, (seconds: number) => Promise<Measured>>} */
  const sides = {};
  for (const name of prepared.sides ?? []) {
    sides[name] = async (seconds) => {
      const request = { op: 'measure', side: name, seconds };
      const found = await ours.ask(request, limit(30 + 20 * seconds));
      if (found.error) throw new Error(found.error);
      return found;
    };
  }
  return sides;
}

/** At least one round, and no more once there is no time left. */
async function takeTurns(/** @type {GpuCase} */ work, sides) {
  const rounds = roundsOr(quick ? 2 : work.large ? 3 : 5);
  const seconds = (work.large ? 0.8 : 0.15) * (quick ? 0.5 : 1);
  /** @type {Record<string, Measured[]>} */
  const times = Object.fromEntries(Object.keys(sides).map((name) => [name, []]));
  for (let round = 0; round < rounds && (round === 0 || left() > 0); round++) {
    for (const name of Object.keys(times)) {
      try {
        times[name].push(await sides[name](seconds));
      } catch (error) {
        note(`${work.name}, ${name}: ${error instanceof Error ? error.message : error}`);
        delete times[name];
      }
    }
  }
  return times;
}
