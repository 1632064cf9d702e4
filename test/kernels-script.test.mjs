// @ts-check
// What scripts/gpu/kernels.mjs reads of ptxas, and that its list is the one of the build.
import { readFileSync } from 'node:fs';
import test from 'ava';
import { readPtxas, releaseArchitectures } from '../scripts/gpu/kernels.mjs';

const output = `ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function '_Z5firstv' for 'sm_90a'
ptxas info    : Function properties for _Z5firstv
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 168 registers, used 1 barriers, 25600 bytes smem
ptxas info    : Compiling entry function '_Z6secondv' for 'sm_90a'
ptxas info    : Function properties for _Z6secondv
    16 bytes stack frame, 12 bytes spill stores, 16 bytes spill loads
ptxas info    : Used 255 registers, used 0 barriers
`;

test('kernels, their registers and spills are read from ptxas', (t) => {
  t.deepEqual(readPtxas(output), {
    kernels: 2,
    registers: 255,
    shared: 25600,
    spills: ['_Z6secondv'],
  });
  t.deepEqual(readPtxas('').spills, []);
});

test('the release list is that of CMake', (t) => {
  const lists = readFileSync(new URL('../native/cuda/CMakeLists.txt', import.meta.url), 'utf8');
  const [, listed = ''] = /set\(architectures (75-real[^)]*)\)/.exec(lists) ?? [];
  t.deepEqual(
    listed.split(' ').map((name) => name.replace('-real', '')),
    releaseArchitectures,
  );
});
