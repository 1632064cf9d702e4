#!/usr/bin/env node
// What prebuildify starts instead of node-gyp. It passes node-gyp's words, `rebuild --target=<node
// version> --devdir=... --arch=... --release`, and cmake-js would take --target for a CMake target;
// so this translates. The Node version means nothing here: the addon only uses Node-API.
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { bin, root, run, script } from './run.mjs';

await script(() => {
  const { values } = parseArgs({
    strict: false,
    options: { arch: { type: 'string' }, debug: { type: 'boolean' } },
  });
  run(process.execPath, [
    bin('cmake-js'),
    'build',
    ...['--directory', root, '--out', join(process.cwd(), 'build'), '--log-level', 'warn'],
    ...['--config', values.debug ? 'Debug' : 'Release', '--target', 'tandem_ml'],
    ...(typeof values.arch === 'string' ? ['--arch', values.arch] : []),
  ]);
});
