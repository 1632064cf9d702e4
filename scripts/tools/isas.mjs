import { readFileSync } from 'node:fs';

/** What cmake/TandemIsa.cmake compiles each instruction set for, in the words of /proc/cpuinfo. */
const needs = {
  scalar: [],
  avx2: ['avx2', 'fma', 'f16c', 'bmi1', 'bmi2'],
  avx512: ['avx2', 'fma', 'f16c', 'bmi1', 'bmi2', 'avx512f', 'avx512bw', 'avx512dq', 'avx512vl'],
};

/** What /proc/cpuinfo says that the processor has; nothing outside Linux. */
function flags() {
  if (process.platform !== 'linux') return new Set();
  const info = readFileSync('/proc/cpuinfo', 'utf8');
  return new Set(/^flags\s*:(.*)$/m.exec(info)?.[1]?.split(' '));
}

/** Whether products of floats may go through tile registers (TANDEM_FLOAT_TILES). */
export const hasTiles = () => isas().includes('avx512') && flags().has('amx_bf16');

/**
 * The values of TANDEM_ISA that this machine can run. Where the processor cannot be asked (outside
 * Linux), the scalar one and '' for the library's own choice.
 */
export function isas() {
  if (process.platform !== 'linux') return ['scalar', ''];
  const has = flags();
  return Object.entries(needs)
    .filter(([, wanted]) => wanted.every((flag) => has.has(flag)))
    .map(([isa]) => isa);
}
