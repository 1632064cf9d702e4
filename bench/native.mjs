// Builds and runs the native benchmarks (bench/native): roofs of the machine, matrix products beside
// oneDNN and OpenBLAS, convolutions, elementwise ops, softmax, attention, reductions, recurrences,
// optimizers, the thread pool.
//   native.mjs [--quick] [--filter TEXT] [--rounds N] [--threads N] [--isa NAME] [--markdown] [--save]
import { spawn, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { build } from '../scripts/build.mjs';
import { setup } from '../scripts/setup.mjs';
import { CommandError, root, script } from '../scripts/tools/run.mjs';
import { command, markdown, native, quick, save } from './lib/options.mjs';
import { describeMachine, refuseOtherMachine, saveResults } from './lib/results.mjs';
import { tables } from './lib/tables.mjs';

function program() {
  const places = ['tandem_bench', 'Release/tandem_bench.exe', 'tandem_bench.exe'];
  const found = places.map((name) => join(root, 'build', name)).find(existsSync);
  if (!found) throw new CommandError('no tandem_bench in build/');
  return found;
}

/** What peers are told when our instruction set is forced, so that they use the same one. */
const sameIsa = {
  avx2: { ONEDNN_MAX_CPU_ISA: 'AVX2', OPENBLAS_CORETYPE: 'Haswell' },
  scalar: { ONEDNN_MAX_CPU_ISA: 'SSE41', OPENBLAS_CORETYPE: 'Nehalem' },
};

/** The same where OpenBLAS is older than the processor, and takes it for a Prescott of 2004. */
const unknownCore = { avx512: 'SkylakeX', avx2: 'Haswell' };

function environment() {
  // OpenBLAS chooses its kernels by itself, and its threads get out of the way soon after a call:
  // 2^20 cycles, which is longer than the pauses within a turn.
  const { OPENBLAS_CORETYPE, OPENBLAS_L2_SIZE, ...rest } = process.env;
  const env = { ...rest, OPENBLAS_THREAD_TIMEOUT: '20', ...sameIsa[native.isa ?? ''] };
  const { machine, peers } = aboutMachine(env);
  const core = peers?.openblas?.endsWith('Prescott') ? unknownCore[machine.isa] : undefined;
  return core === undefined ? env : { ...env, OPENBLAS_CORETYPE: core };
}

/** The first line of the program, which it writes before it measures; here it has nothing to. */
function aboutMachine(env) {
  const { stdout } = spawnSync(program(), ['--filter', 'no case'], { env, encoding: 'utf8' });
  return JSON.parse(stdout?.split('\n', 1)[0] || '{}');
}

/**
 * Runs the program and hands over its lines as they come.
 * @param {(line: any) => void} take
 */
async function runNative(take) {
  const args = quick ? ['--quick'] : [];
  for (const [name, value] of Object.entries(native.options)) {
    if (value) args.push(`--${name}`, value);
  }
  const child = spawn(program(), args, {
    env: environment(),
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => resolve(signal ?? code));
  });
  for await (const line of createInterface({ input: child.stdout })) take(JSON.parse(line));
  const end = await ended;
  if (end !== 0) throw new CommandError(`tandem_bench: ${end}`);
}

await script(async () => {
  setup();
  build(['bench']);
  // What another instruction set gives stands beside the machine's own.
  const suite = native.isa === undefined ? 'native' : `native-${native.isa}`;
  let more = {};
  /** @type {any[]} one a case; `ratio` of a peer is our speed by its */
  const results = [];
  await runNative((line) => {
    if (line.machine) {
      const { isa, extensions } = line.machine;
      more = { isa, extensions, peers: line.peers };
      if (save) refuseOtherMachine(suite, more);
    } else results.push(line);
    if (!markdown) console.log(JSON.stringify(line));
  });
  if (markdown) {
    const date = new Date().toISOString().slice(0, 10);
    const machine = { ...describeMachine(), ...more };
    console.log(tables.native({ suite, date, command, machine, results }));
  }
  if (save) saveResults(suite, command, results, more);
});
