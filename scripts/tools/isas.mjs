import { readFileSync } from 'node:fs';

/** What cmake/TandemIsa.cmake compiles each instruction set for, in the words of /proc/cpuinfo. */
const needs = {
  scalar: [],
  avx2: ['avx2', 'fma', 'f16c', 'bmi1', 'bmi2'],
  avx512: ['avx2', 'fma', 'f16c', 'bmi1', 'bmi2', 'avx512f', 'avx512bw', 'avx512dq', 'avx512vl'],
};

/**
 * The values of TANDEM_ISA that this machine can run. Where the processor cannot be asked (outside
 * Linux), the scalar one and '' for the library's own choice.
 */
export function isas() {
  if (process.platform !== 'linux') return ['scalar', ''];
  const info = readFileSync('/proc/cpuinfo', 'utf8');
  const flags = new Set(/^flags\s*:(.*)$/m.exec(info)?.[1]?.split(' '));
  return Object.entries(needs)
    .filter(([, wanted]) => wanted.every((flag) => flags.has(flag)))
    .map(([isa]) => isa);
}
