// clang-tidy over every entry of build/compile_commands.json that is ours, several at a time. A file
// that passed is not looked at again until it, a header it includes, its compile command, .clang-tidy
// or clang-tidy itself changes.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { available, CommandError, capture, jobs, root, run } from './run.mjs';

const cacheFolder = join(root, 'build', 'clang-tidy');

const extraArgs = [
  // The commands are gcc's; its own warnings mean nothing to clang.
  '-Wno-unknown-warning-option',
  // States that the analyzer explores per function, 225000 if nothing is said. A test of thirty
  // CHECKs has exponentially many paths, and the full number takes a minute for one file.
  ...['-Xclang', '-analyzer-config', '-Xclang', 'max-nodes=20000'],
].map((arg) => `--extra-arg=${arg}`);

// The files of native/cpu/isa are looked at as compiled for the narrowest and the widest instruction
// set: what AVX2 has of its own is a few lines of vec.h that mirror those of AVX-512, and a third look
// at everything would cost a quarter of the time.
const leftOut = /TANDEM_ISA_NS=isa_avx2\b/;

/** The clang-tidy to use; in CI on Debian it gets installed, elsewhere its absence is said. */
function findClangTidy() {
  const program = process.env.CLANG_TIDY ?? 'clang-tidy';
  if (available(program)) return program;
  if (process.env.CI === 'true' && process.getuid?.() === 0 && existsSync('/etc/debian_version')) {
    const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
    const apt = (...args) => run('apt-get', ['-y', '-qq', ...args], { env });
    apt('update');
    apt('install', '--no-install-recommends', 'clang-tidy');
    if (available(program)) return program;
  }
  throw new CommandError(
    `${program} is missing, so the C++ code was NOT checked. Install clang-tidy 14 or newer ` +
      '(Debian: apt-get install clang-tidy), or name one in the variable CLANG_TIDY.',
  );
}

/** A file's text and that of all it includes with quotes, found by name below native/ or beside it. */
function closure(file, seen = new Map()) {
  if (seen.has(file)) return seen;
  const text = readFileSync(file, 'utf8');
  seen.set(file, text);
  for (const [, name = ''] of text.matchAll(/^\s*#\s*include\s+"([^"]+)"/gm)) {
    const places = [dirname(file), join(root, 'native'), join(root, 'test', 'native')];
    const found = places.map((place) => join(place, name)).find((path) => existsSync(path));
    if (found) closure(found, seen);
  }
  return seen;
}

/**
 * @returns {Promise<number>} the number of compile commands whose file has findings
 */
export async function clangTidy() {
  const program = findClangTidy();
  const settings = [
    execFileSync(program, ['--version'], { encoding: 'utf8' }),
    readFileSync(join(root, '.clang-tidy'), 'utf8'),
    extraArgs,
  ];
  /** @type {{ directory: string, command: string, file: string }[]} */
  const database = JSON.parse(readFileSync(join(root, 'build', 'compile_commands.json'), 'utf8'));
  const ours = database.filter(
    ({ file, command }) =>
      !relative(root, file).startsWith('node_modules') && !leftOut.test(command),
  );
  const work = ours
    .map((entry) => {
      const hash = createHash('sha256').update(JSON.stringify([settings, entry]));
      for (const [path, text] of closure(entry.file)) hash.update(`${path}\0${text}\0`);
      return { entry, folder: join(cacheFolder, hash.digest('hex').slice(0, 32)) };
    })
    .filter(({ folder }) => !existsSync(join(folder, 'passed')));

  let findings = 0;
  const next = async () => {
    for (let job = work.pop(); job; job = work.pop()) {
      // A database of its own: clang-tidy would run a file once for each of its commands, and the
      // files of native/cpu/isa have several.
      mkdirSync(job.folder, { recursive: true });
      writeFileSync(join(job.folder, 'compile_commands.json'), JSON.stringify([job.entry]));
      const { ok, output, reason } = await capture(program, [
        ...['-p', job.folder, '--quiet', `--config-file=${join(root, '.clang-tidy')}`],
        ...extraArgs,
        job.entry.file,
      ]);
      if (ok) {
        writeFileSync(join(job.folder, 'passed'), '');
        continue;
      }
      findings += 1;
      const isa = /TANDEM_ISA_NS=(\w+)/.exec(job.entry.command)?.[1];
      console.error(`${relative(root, job.entry.file)}${isa ? ` (${isa})` : ''}: ${reason}`);
      console.error(output.trim());
    }
  };
  const count = work.length;
  await Promise.all(Array.from({ length: jobs() }, next));
  console.log(
    `clang-tidy: ${ours.length} compilations, ${count} checked, ${findings} with findings`,
  );
  return findings;
}
