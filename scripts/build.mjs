// Usage: build.mjs [addon] [tests] [bench] [ts] [cuda] [--clean]
// Incremental: where nothing changed it costs about a second. --clean drops the outputs first.
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { bundle } from './tools/bundle.mjs';
import { available, bin, CommandError, jobs, root, run, script } from './tools/run.mjs';

const buildDir = join(root, 'build');

/** The variables of build/CMakeCache.txt; empty before the first configuration. */
function cmakeCache() {
  const file = join(buildDir, 'CMakeCache.txt');
  if (!existsSync(file)) return new Map();
  const entry = /^([\w.-]+):\w+=(.*)$/gm;
  return new Map([...readFileSync(file, 'utf8').matchAll(entry)].map(([, k, v]) => [k, v]));
}

const cmakeJs = (...args) => run(process.execPath, [bin('cmake-js'), '-l', 'warn', ...args]);

/**
 * Configures build/, if that is still to do, with the given CMake options on. The addon, the C++
 * tests and the benchmarks share the folder, so that the kernels are compiled once for all.
 * @param {string[]} options
 */
export function configure(options) {
  if (!available('cmake')) {
    throw new CommandError('CMake is missing; install cmake 3.20 or newer and a C++20 compiler');
  }
  let cache = cmakeCache();
  // A clone that was moved or copied, or node_modules that are gone: the cache keeps the old paths.
  const home = cache.get('CMAKE_HOME_DIRECTORY') ?? '';
  const includes = cache.get('CMAKE_JS_INC')?.split(';') ?? [''];
  if (cache.size > 0 && !(resolve(home) === resolve(root) && includes.every(existsSync))) {
    rmSync(buildDir, { recursive: true });
    cache = new Map();
  }
  if (cache.size === 0) cmakeJs('configure');
  const missing = options.filter((option) => cache.get(option) !== 'ON');
  if (missing.length > 0) run('cmake', [...missing.map((option) => `-D${option}=ON`), buildDir]);
}

/**
 * @param {'tandem_ml' | 'tandem_tests' | 'tandem_bench'} target
 * @param {string[]} options the CMake options that have to be on for the target to exist
 */
function buildTarget(target, options) {
  configure(options);
  // A prebuild of this platform is loaded first and would hide what is built here.
  const prebuild = join(root, 'prebuilds', `${process.platform}-${process.arch}`);
  if (target === 'tandem_ml') rmSync(prebuild, { recursive: true, force: true });
  cmakeJs('build', '--target', target);
}

/**
 * The CUDA backend, in build-cuda/ because nvcc takes long and is not everywhere, and a copy beside the
 * addon, where it is looked for. TANDEM_CUDA_ARCHITECTURES=release compiles for all GPUs.
 */
function buildCuda() {
  if (!available('nvcc')) {
    throw new CommandError('nvcc is missing; install the CUDA toolkit 13 or newer');
  }
  const dir = join(root, 'build-cuda');
  const architectures = process.env.TANDEM_CUDA_ARCHITECTURES;
  const options = ['-DCMAKE_BUILD_TYPE=Release', '-DTANDEM_BUILD_ADDON=OFF'];
  if (architectures) options.push(`-DTANDEM_CUDA_ARCHITECTURES=${architectures}`);
  run('cmake', ['-S', root, '-B', dir, ...options, '-DTANDEM_BUILD_CUDA=ON']);
  run('cmake', ['--build', dir, '--target', 'tandem_cuda', '--parallel', String(jobs())]);
  const name = process.platform === 'win32' ? 'tandem_cuda.dll' : 'libtandem_cuda.so';
  mkdirSync(join(buildDir, 'Release'), { recursive: true });
  copyFileSync(join(dir, 'Release', name), join(buildDir, 'Release', name));
}

function buildTypeScript(clean) {
  if (clean) rmSync(join(root, 'dist'), { recursive: true, force: true });
  run(process.execPath, [bin('typescript', 'tsc'), '-p', root, '--emitDeclarationOnly']);
  bundle();
}

/** @param {string[]} parts  @param {boolean} [clean] */
export function build(parts, clean = false) {
  if (clean && parts.some((part) => part !== 'ts'))
    rmSync(buildDir, { recursive: true, force: true });
  for (const part of parts) {
    if (part === 'addon') buildTarget('tandem_ml', []);
    else if (part === 'tests') buildTarget('tandem_tests', ['TANDEM_BUILD_TESTS']);
    else if (part === 'bench') buildTarget('tandem_bench', ['TANDEM_BUILD_BENCH']);
    else if (part === 'ts') buildTypeScript(clean);
    else if (part === 'cuda') buildCuda();
    else throw new CommandError(`unknown part ${part}; known: addon, tests, bench, ts, cuda`);
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const args = process.argv.slice(2);
  const clean = args.includes('--clean');
  await script(() =>
    build(
      args.filter((arg) => arg !== '--clean'),
      clean,
    ),
  );
}
