// Everything between a fresh clone and a usable one: dependencies, the addon, the compiled
// TypeScript. Does nothing where nothing changed. Needs no dependency itself.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { build } from './build.mjs';
import { CommandError, root, run, script } from './tools/run.mjs';

/** Whether node_modules holds what package-lock.json asks for, by npm's own record of it. */
function installed() {
  const read = (path) => JSON.parse(readFileSync(join(root, path), 'utf8')).packages;
  const wanted = read('package-lock.json');
  try {
    const present = read('node_modules/.package-lock.json');
    return Object.entries(wanted).every(([path, { version, optional }]) => {
      if (path === '') return true;
      return present[path] ? present[path].version === version : optional === true;
    });
  } catch {
    return false; // no record, or one that cannot be read
  }
}

export function setup() {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  if (major < 20 || (major === 20 && minor < 19)) {
    throw new CommandError(`tandem-ml needs Node 20.19 or newer, this is ${process.version}`);
  }
  if (!installed()) {
    // Without scripts: our own install script would build the addon now, and build() does so below.
    run('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], {
      shell: process.platform === 'win32',
    });
  }
  build(['addon', 'ts']);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) await script(setup);
