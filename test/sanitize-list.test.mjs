// @ts-check
// Which tests compute-sanitizer runs (scripts/gpu/sanitize.list), and what scripts/gpu/sanitize.sh makes of what
// it finds, with stand-ins for the tool and for the tests.
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test from 'ava';

const root = fileURLToPath(new URL('..', import.meta.url));
const withBash = process.platform === 'win32' ? test.skip : test;

/** The list's lines that name tests, by their words. */
const lines = readFileSync(join(root, 'scripts/gpu/sanitize.list'), 'utf8')
  .split('\n')
  .filter((line) => line !== '' && !line.startsWith('#'))
  .map((line) => line.split(' '));

/** The tests of test/cuda. */
function written() {
  const folder = join(root, 'test/cuda');
  const files = readdirSync(folder).filter((name) => name.endsWith('.cpp'));
  const texts = files.map((name) => readFileSync(join(folder, name), 'utf8'));
  return texts.flatMap((text) => [...text.matchAll(/^TEST\((\w+)\)/gm)].map(([, name]) => name));
}

/**
 * A folder with a tool and tests that say what `answers` has for a test: `ok`, `finding` or `slow`.
 * @param {import('ava').ExecutionContext} t
 * @param {{ gpu?: boolean, tool?: boolean, answers?: Record<string, string> }} [options]
 */
function standIns(t, { gpu = true, tool = true, answers = {} } = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'tandem-sanitize-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  /** @param {string} name  @param {string} text */
  const put = (name, text) => {
    writeFileSync(join(folder, name), `#!/usr/bin/env bash\n${text}\n`);
    chmodSync(join(folder, name), 0o755);
  };
  const cases = Object.entries(answers).map(([name, answer]) => `  =${name}) ${answer};;`);
  const known = `case $1 in\n${cases.join('\n')}\n  "=no test") echo "0 passed, 0 failed";;\n  *) echo "1 passed, 0 failed";;\nesac`;
  put('tests', gpu ? known : 'echo "nothing tested: no GPU"; exit 77');
  const start = `echo "$*" >> ${folder}/calls`;
  if (tool)
    put('compute-sanitizer', `${start}\nwhile [[ $1 == --* ]]; do shift 2; done; exec "$@"`);
  return folder;
}

/**
 * @param {string} folder  @param {string} tool
 */
function sanitize(folder, tool) {
  const file = join(root, 'scripts/gpu/sanitize.sh');
  const path = `${folder}:/usr/bin:/bin`;
  const args = [file, join(folder, 'tests'), folder, tool];
  const { stdout, status } = spawnSync('bash', args, {
    encoding: 'utf8',
    env: { PATH: path },
  });
  return { said: stdout.trimEnd().split('\n'), status };
}

test('the list names each test of test/cuda once', (t) => {
  t.deepEqual(lines.map(([name]) => name).sort(), written().sort());
  t.true(lines.length > 0);
});

test('what a tool does not run has a reason', (t) => {
  for (const [name, memcheck, racecheck, ...reason] of lines) {
    const left = [memcheck, racecheck].filter((seconds) => seconds === '-').length;
    for (const seconds of [memcheck, racecheck]) t.regex(seconds ?? '', /^(-|[1-9]\d*)$/, name);
    t.is(left > 0, reason.length > 0, name);
  }
});

withBash('every test of the list runs by its own name, under the tool', (t) => {
  for (const [tool, column] of /** @type {const} */ ([
    ['memcheck', 1],
    ['racecheck', 2],
  ])) {
    const folder = standIns(t);
    const wanted = lines.filter((line) => line[column] !== '-').map(([name]) => name);
    const { said, status } = sanitize(folder, tool);
    t.is(status, 0);
    const left = lines.length - wanted.length;
    t.is(said.at(-1), `${tool}: ${wanted.length} passed, 0 failed, ${left} left out`);
    const calls = readFileSync(join(folder, 'calls'), 'utf8').trimEnd().split('\n');
    t.deepEqual(calls.map((call) => call.split('=').at(-1)).sort(), wanted.sort());
    t.true(
      calls.every((call) => call.startsWith(`--tool ${tool} --error-exitcode 9 --kernel-name`)),
    );
  }
});

withBash('findings, tests that do not end well and tests that are not there are failures', (t) => {
  const answers = {
    gpu_softmax: 'echo "1 passed, 0 failed"; exit 9',
    gpu_unary: 'echo "0 passed, 1 failed"; exit 1',
    gpu_binary: 'echo "0 passed, 0 failed"',
    gpu_losses: 'exit 124',
  };
  const { said, status } = sanitize(standIns(t, { answers }), 'memcheck');
  t.is(status, 1);
  t.regex(said.at(-1) ?? '', /^memcheck: \d+ passed, 4 failed, \d+ left out$/);
  const failures = said.filter((line) => line.startsWith('not ok '));
  t.true(failures.some((line) => line.startsWith('not ok gpu_softmax: exit code 9')));
  t.true(failures.some((line) => line.startsWith('not ok gpu_unary: exit code 1')));
  t.true(failures.includes('not ok gpu_binary: there is no such test'));
  t.true(failures.some((line) => /^not ok gpu_losses: not done within \d+ s$/.test(line)));
});

withBash('without the tool, the tests or a GPU nothing counts as tested', (t) => {
  const without = sanitize(standIns(t, { tool: false }), 'racecheck');
  t.is(without.status, 127);
  t.deepEqual(without.said, ['racecheck: nothing tested: compute-sanitizer is missing']);
  const folder = standIns(t);
  rmSync(join(folder, 'tests'));
  const unbuilt = sanitize(folder, 'memcheck');
  t.is(unbuilt.status, 127);
  t.deepEqual(unbuilt.said, ['memcheck: nothing tested: tandem_cuda_tests is not built']);
  const nowhere = sanitize(standIns(t, { gpu: false }), 'memcheck');
  t.is(nowhere.status, 77);
  t.deepEqual(nowhere.said, ['memcheck: nothing tested: no GPU']);
});
