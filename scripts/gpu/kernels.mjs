// Usage: kernels.mjs [--architectures 75,80,...] [FILE...]
// Compiles the CUDA kernels (all of them, or the files named) for each architecture of the release
// list, one after another, and reads what ptxas says of each: fails when one does not compile or a
// kernel spills registers, and prints the most registers and static shared memory of every file.
// Needs nvcc and no GPU; objects are dropped.
import { readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { available, CommandError, capture, root, script } from '../tools/run.mjs';

/** As in native/cuda/CMakeLists.txt; the last one is compiled to PTX for what comes, too. */
export const releaseArchitectures = ['75', '80', '86', '89', '90a', '100', '120'];

/**
 * What `ptxas -v` said of the kernels of one file.
 * @param {string} output
 * @returns {{ kernels: number, registers: number, shared: number, spills: string[] }}
 */
export function readPtxas(output) {
  const found = { kernels: 0, registers: 0, shared: 0, spills: /** @type {string[]} */ ([]) };
  let name = '';
  for (const line of output.split('\n')) {
    name = /Function properties for (\S+)/.exec(line)?.[1] ?? name;
    const [, stores = '0', loads = '0'] =
      /(\d+) bytes spill stores, (\d+) bytes spill loads/.exec(line) ?? [];
    if (Number(stores) + Number(loads) > 0) found.spills.push(name);
    const used = /Used (\d+) registers/.exec(line);
    if (!used) continue;
    found.kernels += 1;
    found.registers = Math.max(found.registers, Number(used[1]));
    found.shared = Math.max(found.shared, Number(/(\d+) bytes smem/.exec(line)?.[1] ?? 0));
  }
  return found;
}

/** @param {string} file  @param {string} architecture */
async function check(file, architecture) {
  const object = join(tmpdir(), `tandem-${process.pid}-${basename(file)}.o`);
  const flags = ['-std=c++20', '-O3', '--expt-relaxed-constexpr', '-Werror=all-warnings'];
  const target = `-gencode=arch=compute_${architecture},code=sm_${architecture}`;
  const options = [...flags, target, '-Xptxas=-v', `-I${join(root, 'native')}`];
  const { ok, output } = await capture('nvcc', [...options, '-c', file, '-o', object]);
  rmSync(object, { force: true });
  const { kernels, registers, shared, spills } = readPtxas(output);
  const good = ok && spills.length === 0;
  const told = `${kernels} kernels, at most ${registers} registers and ${shared} bytes shared`;
  process.stdout.write(`${good ? 'ok' : 'FAILED'} sm_${architecture} ${basename(file)}: ${told}\n`);
  for (const name of spills) process.stdout.write(`  spills: ${name}\n`);
  if (!ok) process.stdout.write(output);
  return good;
}

/** @param {string[]} args */
async function main(args) {
  if (!available('nvcc')) throw new CommandError('nvcc is missing; install the CUDA toolkit 13');
  let architectures = releaseArchitectures;
  if (args[0] === '--architectures') architectures = (args.splice(0, 2)[1] ?? '').split(',');
  const folder = join(root, 'native', 'cuda', 'kernels');
  const all = readdirSync(folder).filter((name) => name.endsWith('.cu'));
  const files = args.length > 0 ? args : all.map((name) => join(folder, name));
  let failed = 0;
  for (const architecture of architectures) {
    for (const file of files) failed += (await check(file, architecture)) ? 0 : 1;
  }
  if (failed > 0) throw new CommandError(`${failed} of ${files.length * architectures.length}`);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href)
  await script(() => main(process.argv.slice(2)));
