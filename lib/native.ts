import { existsSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { TandemError } from './errors.js';
import { packageRoot } from './root.js';

type Addon = typeof import('../bindings.js');

/** What is used of node-gyp-build, which has no types of its own. */
interface NodeGypBuild {
  (root: string): Addon;
  parseTuple(folder: string): object | undefined;
  matchTuple(platform: string, arch: string): (tuple: object | undefined) => boolean;
  compareTuples(a: object, b: object): number;
  parseTags(file: string): object | undefined;
  matchTags(runtime: string, abi: string): (tags: object | undefined) => boolean;
  compareTags(runtime: string): (a: object, b: object) => number;
}

const require = createRequire(import.meta.url);

function list(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return []; // a clone, or an install from source
  }
}

/** The binary of a published package that fits this machine, chosen by node-gyp-build's own rules. */
function prebuilt(root: string, rules: NodeGypBuild): string | undefined {
  const folder = join(root, 'prebuilds');
  const tuples = list(folder).map(rules.parseTuple) as { name: string }[];
  const [tuple] = tuples
    .filter(rules.matchTuple(process.platform, process.arch))
    .sort(rules.compareTuples);
  if (tuple === undefined) return undefined;
  const runtime = process.versions.electron === undefined ? 'node' : 'electron';
  const files = list(join(folder, tuple.name)).map(rules.parseTags) as { file: string }[];
  const [best] = files
    .filter(rules.matchTags(runtime, process.versions.modules))
    .sort(rules.compareTags(runtime));
  return best && join(folder, tuple.name, best.file);
}

/** Whether this code is part of another package, as bundlers make it. */
function isMoved(root: string): boolean {
  try {
    return require(join(root, 'package.json')).name !== 'tandem-ml';
  } catch {
    return true;
  }
}

function load(): Addon {
  const root = fileURLToPath(packageRoot);
  try {
    const nodeGypBuild: NodeGypBuild = require('node-gyp-build');
    const file = prebuilt(root, nodeGypBuild);
    if (file === undefined) return nodeGypBuild(root);
    try {
      return require(file);
    } catch (cause) {
      // One for another C library, say: what has been built from source in its stead serves.
      if (!existsSync(join(root, 'build'))) throw cause;
      return nodeGypBuild(root);
    }
  } catch (cause) {
    if (isMoved(root)) {
      throw new TandemError(
        'ERR_DEVICE',
        `expected the code of tandem-ml in its package, beside its binary, received a copy in ${root}; a bundler has to leave the package out, as \`external\` (${String(cause)})`,
        { cause },
      );
    }
    const where = `${process.platform}-${process.arch}, Node ${process.versions.node}`;
    throw new TandemError(
      'ERR_DEVICE',
      `expected an addon built for ${where}, found none that loads (${String(cause)}); \`npm rebuild tandem-ml\` builds it with CMake and a C++20 compiler`,
      { cause },
    );
  }
}

/** The addon: prebuilds/ of a published package, else build/ of a clone or an install from source. */
export const native: Addon = load();

// Native code only knows the codes of ErrorCode.
native.setErrorClass(TandemError as new (code: string, message: string) => TandemError);
