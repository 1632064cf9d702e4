// dist/ in few files: Node takes about a millisecond to find, read and link a module, which a package of
// two hundred would cost everyone who starts with it.
import { readdirSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { CommandError, root } from './run.mjs';

/** What the package exports, and what tests and benchmarks, and the thread that reads files, start with. */
const entryPoints = ['index', 'autodiff', 'data', 'native', 'internals', 'data/worker/reader'];

/** Writes the JavaScript of lib/ to dist/ and removes what an earlier build left there. */
export function bundle() {
  // Loaded here, since setup.mjs comes before there are any packages.
  const { buildSync } = createRequire(import.meta.url)('esbuild');
  const { metafile } = buildSync({
    absWorkingDir: root,
    entryPoints: entryPoints.map((name) => `lib/${name}.ts`),
    outdir: 'dist',
    outbase: 'lib',
    // Chunks are beside the entry points, on which lib/root.ts depends.
    chunkNames: 'chunk-[hash]',
    // All in one go: every module is in one chunk only, so that classes and state exist once.
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    target: 'node20.19',
    packages: 'external',
    // Names of classes are in messages, and in what console.log shows.
    keepNames: true,
    // The sources they point to are in the package.
    sourcemap: 'linked',
    sourcesContent: false,
    metafile: true,
    logLevel: 'warning',
  });
  const dist = join(root, 'dist');
  const written = new Set(Object.keys(metafile.outputs).map((file) => resolve(root, file)));
  for (const file of readdirSync(dist, { recursive: true, encoding: 'utf8' })) {
    const path = join(dist, file);
    if (/\.js(\.map)?$/.test(file) && !written.has(path)) rmSync(path);
  }
  checkPlaces(metafile);
}

/**
 * Code that asks where it is has to be right in a chunk, too: in dist/ itself.
 * @param {{ outputs: Record<string, { inputs: Record<string, unknown> }> }} metafile
 */
function checkPlaces({ outputs }) {
  const place = Object.keys(outputs).find((file) => 'lib/root.ts' in (outputs[file]?.inputs ?? {}));
  if (!/^dist\/[^/]+$/.test(place ?? '')) {
    throw new CommandError(`expected lib/root.ts in a file of dist/ itself, found it in ${place}`);
  }
}
