// Usage: pack.mjs [CUDA_BUILD]
// Makes out/gpu/bundle.tar.xz: all that unpack.sh needs to check and measure the CUDA backend on a machine with
// a GPU and neither Node nor a compiler. The addon and dist/ have to be built (`npm run build`), and in
// CUDA_BUILD (build-gpu by default) the targets tandem_cuda, tandem_cuda_tests and tandem_cuda_bench.
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  rmSync,
  statSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname, join, resolve } from 'node:path';
import { available, CommandError, root, run, script } from '../tools/run.mjs';

const out = join(root, 'out', 'gpu');
const stage = join(out, 'bundle');
const most = 40 * 2 ** 20;

/** What of the repository is needed as it is. */
const kept = [
  'package.json',
  'dist',
  'examples',
  'bench',
  'test',
  'scripts',
  'docs',
  'native/cuda/missing.def',
];
/** Not needed there: C++, and what only builds. */
const left = ['test/native', 'test/cuda', 'bench/native', 'bench/cuda', 'bench/results'];
/** Packages that dist/, examples/ and bench/ import, with what these need. */
const packages = ['node-gyp-build', 'cli-progress', 'asciichart', 'csv-parse', 'uplot'];

/** Puts a file of the repository, or from elsewhere, into the bundle. */
function put(from, to) {
  const path = join(stage, to);
  mkdirSync(dirname(path), { recursive: true });
  copyFileSync(from, path);
}

/** A package and those that it depends on, from where Node finds them. */
function putPackage(name, parent, done = new Set()) {
  const folders = createRequire(join(parent, 'package.json')).resolve.paths(name) ?? [];
  const folder = folders.map((path) => join(path, name)).find((path) => existsSync(path));
  if (folder === undefined) throw new CommandError(`${name} is missing; run npm ci`);
  if (done.has(folder)) return;
  done.add(folder);
  const filter = (path) => basename(path) !== 'node_modules';
  cpSync(folder, join(stage, folder.slice(root.length)), {
    recursive: true,
    filter: (path) => path === folder || filter(path),
  });
  const { dependencies = {} } = createRequire(join(folder, 'x.js'))(join(folder, 'package.json'));
  for (const dependency of Object.keys(dependencies)) putPackage(dependency, folder, done);
}

/** A program or library without the symbols that only debuggers read. */
function putBinary(from, to) {
  put(from, to);
  if (available('strip')) run('strip', ['--strip-unneeded', join(stage, to)]);
}

/** The file of this name in the folder of a build. */
function built(folder, name) {
  const found = readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map((path) => join(folder, path))
    .find((path) => basename(path) === name && statSync(path).isFile());
  if (found === undefined) throw new CommandError(`no ${name} in ${folder}`);
  return found;
}

await script(() => {
  const cuda = resolve(process.argv[2] ?? join(root, 'build-gpu'));
  if (!existsSync(cuda))
    throw new CommandError(`${cuda} is missing; scripts/gpu/check.sh says how`);
  rmSync(out, { recursive: true, force: true });
  for (const part of kept) {
    cpSync(join(root, part), join(stage, part), {
      recursive: true,
      filter: (path) => !left.some((folder) => path === join(root, folder)),
    });
  }
  for (const name of packages) putPackage(name, root);
  putBinary(process.execPath, 'bin/node');
  putBinary(join(root, 'build', 'Release', 'tandem_ml.node'), 'build/Release/tandem_ml.node');
  putBinary(built(cuda, 'libtandem_cuda.so'), 'build/Release/libtandem_cuda.so');
  for (const name of ['tandem_cuda_tests', 'tandem_cuda_bench'])
    putBinary(built(cuda, name), `build-gpu/${name}`);

  const file = join(out, 'bundle.tar.xz');
  run('tar', ['-C', stage, '-I', 'xz -T0 -6', '-cf', file, '.']);
  rmSync(stage, { recursive: true });
  const { size } = statSync(file);
  console.log(`${file}: ${(size / 2 ** 20).toFixed(1)} MiB`);
  if (size > most) throw new CommandError(`expected ${most} bytes at most, received ${size}`);
});
