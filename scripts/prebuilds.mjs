// Makes prebuilds/<platform>-<arch>/tandem-ml.node, the binary that a published package carries.
// Extra arguments go to prebuildify (for example --arch arm64).
//
// prebuildify reads the addon from build/Release below its --cwd and moves it away, so it works in
// build-prebuilds/ and leaves the clone's own build/ alone. (The script is not called "prebuild":
// npm would run it before every "build".)
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { bin, root, run, script } from './tools/run.mjs';

await script(() => {
  const cwd = join(root, 'build-prebuilds');
  rmSync(cwd, { recursive: true, force: true });
  mkdirSync(cwd);
  const adapter = join(root, 'scripts', 'tools', 'prebuildify-adapter.mjs');
  const program = process.platform === 'win32' ? `"${process.execPath}" "${adapter}"` : adapter;
  run(process.execPath, [
    bin('prebuildify'),
    ...['--napi', '--strip', '--name', 'tandem-ml', '--cwd', cwd, '--out', root],
    ...['--node-gyp', program, ...process.argv.slice(2)],
  ]);
});
