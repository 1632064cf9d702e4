// Formats C++ and CUDA with clang-format, everything else with Biome.
import { bin, root, run, script } from './tools/run.mjs';
import { clangFormat, nativeSources } from './tools/sources.mjs';

await script(() => {
  const files = nativeSources();
  if (files.length > 0) run(clangFormat(), ['-i', ...files]);
  run(process.execPath, [bin('@biomejs/biome', 'biome'), 'check', '--write', root]);
});
