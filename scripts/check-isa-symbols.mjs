// Usage: check-isa-symbols.mjs [build folder, default build]
// The objects of native/cpu/isa and bench/native/isa that are compiled for AVX2 and AVX-512 may
// define code only inside their own namespace tandem::cpu::isa_*. An inline function or template of
// a shared header that such an object emits is a candidate for the one copy the linker keeps, and
// baseline code would then run into instructions that an older processor lacks.
//
// The test is on the mangled name: a length-prefixed `8isa_avx2` occurs in it if and only if the
// function, or a type it is instantiated with, lives in that namespace, and then it is this copy's
// own. `static` and unnamed-namespace functions are local and pass.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { CommandError, root, script } from './tools/run.mjs';

/** @param {string} command  @param {string[]} args  @param {string} [input] */
function output(command, args, input = '') {
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    encoding: 'utf8',
    input,
    maxBuffer: 1 << 28,
  });
  if (error) throw new CommandError(`${command}: ${error.message}`);
  if (status !== 0) throw new CommandError(`${command} ${args.join(' ')}: ${stderr}`);
  return stdout;
}

/** The objects compiled for one instruction set, of the library and of its benchmarks. */
function objectsOf(/** @type {string} */ objects, /** @type {string} */ isa) {
  if (!existsSync(objects)) return [];
  return readdirSync(objects, { recursive: true, encoding: 'utf8' }).filter(
    (name) => /^tandem_[a-z]+_([a-z0-9]+)\.dir\b.*\.o(bj)?$/.exec(name)?.[1] === isa,
  );
}

await script(() => {
  const objects = resolve(process.argv[2] ?? join(root, 'build'), 'CMakeFiles');
  let checked = 0;
  const strays = [];
  for (const isa of ['avx2', 'avx512']) {
    const own = `${`isa_${isa}`.length}isa_${isa}`;
    for (const file of objectsOf(objects, isa)) {
      checked += 1;
      // -P prints "NAME TYPE ...", one symbol a line. T: global code, W: weak (COMDAT)
      // code, i: indirect function.
      for (const line of output('nm', ['--defined-only', '-P', join(objects, file)]).split('\n')) {
        const [name = '', type = ''] = line.split(' ');
        if (/^[TWi]$/.test(type) && !name.includes(own)) strays.push({ file, isa, name });
      }
    }
  }
  if (checked === 0 && process.arch === 'x64') {
    throw new CommandError(
      `no objects of native/cpu/isa in ${relative(root, objects)}; build first`,
    );
  }
  const names = strays.map(({ name }) => name).join('\n');
  const readable = strays.length > 0 ? output('c++filt', [], names).split('\n') : [];
  for (const [i, { file, isa }] of strays.entries()) {
    console.error(`${file} (${isa}) defines ${readable[i]} outside tandem::cpu::isa_${isa}`);
  }
  console.log(`isa symbols: ${checked} objects, ${strays.length} strays`);
  if (strays.length > 0) process.exitCode = 1;
});
