// What tandem_cuda_bench measures on a GPU (products, attention, passes over memory, steps, launched without
// Node) beside what PyTorch reaches with the same sizes there (peers/torch_gpu.py), one after the other; of
// both the best of many runs counts. `--save` writes bench/results/cuda-<device>.json, `--out` a file.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { command, gpu, markdown, quick, save, wanted } from './lib/options.mjs';
import { describeMachine, saveResults, writeResults } from './lib/results.mjs';
import { tables } from './lib/tables.mjs';

/** @typedef {{ device: string, cublasLt?: number, version?: string, results: Record<string, number>, best?: Record<string, number> }} Report */

const programs = ['build-gpu/tandem_cuda_bench', 'build-gpu/native/cuda/tandem_cuda_bench'];
const here = (/** @type {string} */ path) => fileURLToPath(new URL(path, import.meta.url));

/** @param {string} file  @param {string[]} args  @param {number} seconds */
const run = (file, args, seconds) =>
  execFileSync(file, args, {
    ...{ encoding: 'utf8', timeout: 1000 * seconds, maxBuffer: 2 ** 24 },
    stdio: ['ignore', 'pipe', 'inherit'],
  });

/** @returns {Report} */
function measureOurs() {
  const program = programs.map((path) => here(`../${path}`)).find((path) => existsSync(path));
  if (program === undefined) {
    console.error('expected tandem_cuda_bench in build-gpu/, which scripts/gpu/check.sh builds');
    process.exit(1);
  }
  return JSON.parse(run(program, [], 180));
}

/** @returns {Report | undefined} */
function measureTorch() {
  const folder = mkdtempSync(join(tmpdir(), 'tandem-bench-'));
  const out = join(folder, 'torch.json');
  const args = ['--budget', String(gpu.budget), '--out', out, ...(quick ? ['--quick'] : [])];
  try {
    run(process.env.TANDEM_BENCH_PYTHON ?? 'python3', [here('peers/torch_gpu.py'), ...args], 300);
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
  }
  try {
    return existsSync(out) ? JSON.parse(readFileSync(out, 'utf8')) : undefined;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** PyTorch's measurement of a name; in ours bytes have ways of several names. @param {Report} torch */
function peerOf(name, torch) {
  const best = torch.best ?? torch.results;
  const value = best[name.replace(/ by warp(s|groups)(?=, T)/, '')];
  if (value !== undefined) return { mode: 'eager', value };
  const shape = /^(linear int8 [\dx ]+) by .*, T\/s$/.exec(name)?.[1];
  const ways = ['_int_mm and a pass', 'compiled _int_mm'].flatMap((mode) => {
    const value = shape && best[`${shape} by ${mode}, T/s`];
    return value ? [{ mode, value }] : [];
  });
  return ways.sort((a, b) => b.value - a.value)[0];
}

/** @param {Report} ours  @param {Report | undefined} torch */
function resultsOf(ours, torch) {
  return Object.entries(ours.results)
    .filter(([name]) => wanted(name))
    .map(([title, value]) => {
      const [, name, unit] = /** @type {string[]} */ (/^(.*), ([^,]+)$/.exec(title));
      const peer = torch && peerOf(title, torch);
      const ratio = peer && value / peer.value;
      return { name, value, unit, peers: peer ? { PyTorch: { ...peer, ratio } } : {} };
    });
}

const ours = measureOurs();
const torch = measureTorch();
const results = resultsOf(ours, torch);
const versions = torch?.version ? { PyTorch: torch.version } : {};
/** 130100 is 13.1.0. */
const lt = ours.cublasLt ?? 0;
const cuBLASLt = [Math.floor(lt / 10000), Math.floor(lt / 100) % 100, lt % 100].join('.');
const more = { gpu: ours.device, peers: { ...versions, cuBLASLt } };
for (const result of results)
  if (!markdown) console.log(JSON.stringify({ suite: 'cuda', ...result }));
if (save) saveResults('cuda', command, results, more);
if (gpu.out) writeResults(gpu.out, { suite: 'cuda', command, results, ...more });
if (markdown) {
  const date = new Date().toISOString().slice(0, 10);
  const machine = { ...describeMachine(), ...more };
  console.log(tables.cuda({ suite: 'cuda', date, command, machine, results }));
}
