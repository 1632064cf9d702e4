// Where the addon comes from: prebuilds/ first, then build/.
import { execFile } from 'node:child_process';
import { cp, mkdir, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import test from 'ava';
import { makeFolder } from './helpers/folder.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const built = join('build', 'Release', 'tandem_ml.node');
const prebuilt = join('prebuilds', `${process.platform}-${process.arch}`, 'tandem-ml.node');

/**
 * Imports a copy of the package in which each of `files` is the addon or, where it says so, no addon.
 * @param {Record<string, 'addon' | 'broken'>} files
 * @param {string} name of the package that the copy is in
 */
async function load(t, files, name = 'tandem-ml') {
  const folder = await makeFolder(t);
  await writeFile(join(folder, 'package.json'), JSON.stringify({ name, type: 'module' }));
  await cp(join(root, 'dist'), join(folder, 'dist'), { recursive: true });
  await symlink(join(root, 'node_modules'), join(folder, 'node_modules'), 'junction');
  for (const [file, kind] of Object.entries(files)) {
    await mkdir(dirname(join(folder, file)), { recursive: true });
    if (kind === 'addon') await cp(join(root, built), join(folder, file));
    else await writeFile(join(folder, file), 'no addon');
  }
  const script = `
    process.chdir(${JSON.stringify(folder)});
    const { pathToFileURL } = await import('node:url');
    try {
      await import(pathToFileURL('dist/index.js').href);
      console.log('loaded');
    } catch (error) {
      console.log(error.code, error.message);
    }`;
  const { stdout } = await promisify(execFile)(process.execPath, [
    '--input-type=module',
    '-e',
    script,
  ]);
  return stdout.trim();
}

test('a prebuild is loaded before a build', async (t) => {
  t.is(await load(t, { [prebuilt]: 'addon', [built]: 'broken' }), 'loaded');
  t.regex(await load(t, { [prebuilt]: 'broken' }), /^ERR_DEVICE /);
});

test('a build is loaded where there is no prebuild that fits or loads', async (t) => {
  t.is(await load(t, { [prebuilt]: 'broken', [built]: 'addon' }), 'loaded');
  t.is(await load(t, { [built]: 'addon' }), 'loaded');
  const other = join('prebuilds', 'aix-ppc64', 'tandem-ml.node');
  t.is(await load(t, { [other]: 'broken', [built]: 'addon' }), 'loaded');
});

test('without either, the error names the fix', async (t) => {
  t.regex(await load(t, {}), /^ERR_DEVICE expected an addon built for .*npm rebuild tandem-ml/s);
});

test('code that a bundler has taken out of the package says so', async (t) => {
  t.regex(await load(t, {}, 'service'), /^ERR_DEVICE expected the code of tandem-ml .*external/s);
});

test('variables that choose kernels are refused with what they may be', async (t) => {
  const script = `
    const { devices } = await import('tandem-ml');
    try {
      devices();
      console.log('chosen');
    } catch (error) {
      console.log(error.code, error.message);
    }`;
  const run = async (variables) => {
    const options = {
      env: { ...process.env, TANDEM_ISA: '', TANDEM_FLOAT_TILES: '', ...variables },
    };
    const call = ['--input-type=module', '-e', script];
    return (await promisify(execFile)(process.execPath, call, options)).stdout.trim();
  };
  t.regex(await run({ TANDEM_ISA: 'mmx' }), /^ERR_DEVICE expected TANDEM_ISA to be one of .*mmx$/);
  const expected = 'ERR_DEVICE expected TANDEM_FLOAT_TILES to be 0 or 1, received yes';
  t.is(await run({ TANDEM_FLOAT_TILES: 'yes' }), expected);
  for (const way of ['0', '1']) t.is(await run({ TANDEM_FLOAT_TILES: way }), 'chosen');
});
