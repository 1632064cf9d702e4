// @ts-check
// docs/gpu-status.md names the ops that have no CUDA kernel: just those of native/cuda/missing.def.
import { readFileSync } from 'node:fs';
import test from 'ava';

/** @param {string} path */
const read = (path) => readFileSync(new URL(`../${path}`, import.meta.url), 'utf8');

test('docs/gpu-status.md lists the ops without a CUDA kernel', (t) => {
  const missing = [...read('native/cuda/missing.def').matchAll(/^MISSING\((\w+)\)$/gm)];
  const [, section = ''] =
    /<!-- missing.def -->([\s\S]*)<!-- \/missing.def -->/.exec(read('docs/gpu-status.md')) ?? [];
  const listed = [...section.matchAll(/`(\w+)`/g)];
  t.true(missing.length > 0);
  t.deepEqual(listed.map(([, name]) => name).sort(), missing.map(([, name]) => name).sort());
});
