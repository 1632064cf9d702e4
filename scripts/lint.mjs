// All static checks; any warning fails. Every check runs, whatever the ones before it found.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { configure } from './build.mjs';
import { setup } from './setup.mjs';
import { clangTidy } from './tools/clang-tidy.mjs';
import { bin, CommandError, root, run, script } from './tools/run.mjs';
import { clangFormat, nativeSources, readSource } from './tools/sources.mjs';

const tsc = (project) =>
  run(process.execPath, [bin('typescript', 'tsc'), '--noEmit', '-p', join(root, project)]);

/** @type {Record<string, () => void | Promise<void>>} */
const checks = {
  'clang-format': () => run(clangFormat(), ['--dry-run', '-Werror', ...nativeSources()]),
  biome: () =>
    run(process.execPath, [
      bin('@biomejs/biome', 'biome'),
      ...['check', '--error-on-warnings', '--max-diagnostics=200', root],
    ]),
  'types of lib': () => tsc('.'),
  'types of scripts and examples': () => tsc('tsconfig.check.json'),
  'types of tests': () => tsc('test'),
  'lock file': () => {
    if (/"resolved":/.test(readSource('package-lock.json'))) {
      throw new CommandError(
        'package-lock.json names a registry in "resolved"; remove those lines',
      );
    }
  },
  'clang-tidy': async () => {
    const bench = existsSync(join(root, 'bench', 'native')) ? ['TANDEM_BUILD_BENCH'] : [];
    configure(['TANDEM_BUILD_TESTS', ...bench]);
    const findings = await clangTidy();
    if (findings > 0) throw new CommandError(`clang-tidy: findings in ${findings} compilations`);
  },
};

await script(async () => {
  setup();
  const failed = [];
  for (const [name, check] of Object.entries(checks)) {
    const start = performance.now();
    try {
      await check();
    } catch (error) {
      console.error(error instanceof CommandError ? error.message : error);
      failed.push(name);
    }
    const seconds = ((performance.now() - start) / 1000).toFixed(1);
    console.log(`== ${name}: ${failed.includes(name) ? 'FAILED' : 'ok'} (${seconds} s)`);
  }
  console.log(failed.length > 0 ? `lint failed: ${failed.join(', ')}` : 'lint passed');
  if (failed.length > 0) process.exitCode = 1;
});
