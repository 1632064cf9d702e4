// Usage: test.mjs [native] [js] [sanitize]; by default native and js, all set-up included.
// Every suite runs even when one before it failed. The last line is `N passed, N failed`, over all
// suites; a suite that crashed, printed no result or does not build counts as one failed test.
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { build } from './build.mjs';
import { setup } from './setup.mjs';
import { hasTiles, isas } from './tools/isas.mjs';
import { bin, CommandError, capture, jobs, root, run, script } from './tools/run.mjs';

const total = { passed: 0, failed: 0 };

/**
 * @param {string} title
 * @param {{ passed: number, failed: number } | undefined} result  undefined: none was printed
 * @param {{ ok: boolean, reason: string }} end  how the process ended
 */
function record(title, result, { ok, reason }) {
  const passed = result?.passed ?? 0;
  // A suite that failed without naming a failed test (a crash, a time-out) is itself one.
  const failed = Math.max(result?.failed ?? 0, ok && result ? 0 : 1);
  total.passed += passed;
  total.failed += failed;
  const why = ok ? (result ? '' : ' (no result)') : ` (${reason})`;
  console.log(`== ${title}: ${passed} passed, ${failed} failed${why}`);
}

/** @param {string} isa  a value of isas() */
const isaEnvironment = (isa) => (isa === '' ? {} : { TANDEM_ISA: isa });

/** Where large products of floats go through tile registers: what multiplies them as they are. */
const withoutTiles = hasTiles() ? { TANDEM_ISA: 'avx512', TANDEM_FLOAT_TILES: '0' } : undefined;

/**
 * Runs tandem_tests once for each instruction set, and what has large products without tiles as well.
 * @param {string} title
 * @param {string} folder  the CMake build folder
 */
async function nativeTests(title, folder) {
  const places = ['tandem_tests', 'Release/tandem_tests.exe', 'tandem_tests.exe'];
  const program = places.map((name) => join(folder, name)).find((path) => existsSync(path));
  if (!program) throw new CommandError(`no tandem_tests in ${folder}`);
  const each = async (name, env, filter = []) => {
    const end = await capture(program, filter, { env: { ...process.env, ...env } });
    if (!end.ok) console.log(end.output);
    const line = /(\d+) passed, (\d+) failed\s*$/.exec(end.output);
    const result = line ? { passed: Number(line[1]), failed: Number(line[2]) } : undefined;
    record(`${title}, ${name}`, result, end);
  };
  for (const isa of isas()) await each(isa || 'default', isaEnvironment(isa));
  if (withoutTiles) await each('avx512 without tiles', withoutTiles, ['product']);
}

/**
 * Runs AVA over some test files and reads its TAP: the counts at the end, and of the rest only what
 * went wrong is shown.
 * @param {string} title
 * @param {string[]} files
 * @param {NodeJS.ProcessEnv} [env]
 */
async function avaTests(title, files, env = {}) {
  if (files.length === 0) return;
  const end = await capture(process.execPath, [bin('ava'), '--tap', ...files], {
    env: { ...process.env, ...env },
  });
  const count = (word) => Number(new RegExp(`^# ${word} (\\d+)$`, 'm').exec(end.output)?.[1]);
  const result = { passed: count('pass'), failed: count('fail') };
  const complete = !Number.isNaN(result.passed) && !Number.isNaN(result.failed);
  if (!end.ok || !complete) console.log(end.output);
  record(title, complete ? result : undefined, end);
}

/** Runs `task`; when it throws, the suite counts as one failed test. */
async function suite(title, task) {
  console.log(`\n== ${title}`);
  try {
    await task();
  } catch (error) {
    console.error(error instanceof CommandError ? error.message : error);
    record(title, undefined, { ok: false, reason: 'it did not run' });
  }
}

const suites = {
  native: () =>
    suite('native tests', async () => {
      build(['tests']);
      await nativeTests('native tests', join(root, 'build'));
      const check = join(root, 'scripts', 'check-isa-symbols.mjs');
      const end = await capture(process.execPath, [check], { echo: true });
      record('isa symbols', { passed: end.ok ? 1 : 0, failed: 0 }, end);
    }),

  js: async () => {
    const files = readdirSync(join(root, 'test'), { recursive: true, encoding: 'utf8' })
      .map((name) => `test/${name.replaceAll('\\', '/')}`)
      .filter((name) => name.endsWith('.test.mjs'))
      .sort();
    const kernels = files.filter((name) => /^test\/(fusion|layers|ops|parity)\//.test(name));
    const rest = files.filter((name) => !kernels.includes(name));
    await suite('tests', () => avaTests('tests', rest));
    for (const isa of isas()) {
      const title = `ops, fusions, layers and parity, ${isa || 'default'}`;
      await suite(title, () => avaTests(title, kernels, isaEnvironment(isa)));
    }
    if (!withoutTiles) return;
    const title = 'large products, avx512 without tiles';
    await suite(title, () => avaTests(title, ['test/ops/threads.test.mjs'], withoutTiles));
  },

  sanitize: () =>
    suite('sanitized native tests', async () => {
      const dir = join(root, 'build-sanitize');
      const options = ['-DCMAKE_BUILD_TYPE=RelWithDebInfo', '-DTANDEM_SANITIZE=ON'];
      options.push('-DTANDEM_BUILD_ADDON=OFF', '-DTANDEM_BUILD_TESTS=ON');
      run('cmake', ['-S', root, '-B', dir, ...options]);
      run('cmake', ['--build', dir, '--target', 'tandem_tests', '--parallel', String(jobs())]);
      await nativeTests('sanitized native tests', dir);
    }),
};

await script(async () => {
  const wanted = process.argv.slice(2);
  const unknown = wanted.find((name) => !Object.hasOwn(suites, name));
  if (unknown) throw new CommandError(`unknown suite ${unknown}; known: ${Object.keys(suites)}`);
  try {
    setup();
    for (const name of wanted.length > 0 ? wanted : ['native', 'js']) await suites[name]();
  } catch (error) {
    console.error(error instanceof CommandError ? error.message : error);
    total.failed += 1;
  }
  console.log(`\n${total.passed} passed, ${total.failed} failed`);
  if (total.failed > 0 || total.passed === 0) process.exitCode = 1;
});
