// Pipes that nobody writes to: an error or an end, where a system call would wait for good. A thread
// of libuv that is in one lets neither the thread that asked for it end nor the process.
import { execFileSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { makeFolder } from '../helpers/folder.mjs';
import { ends } from './support.mjs';

const pipes = process.platform === 'win32' ? test.skip : test;

async function makePipe(t) {
  const path = join(await makeFolder(t), 'pipe');
  execFileSync('mkfifo', [path]);
  return path;
}

/** What `body` says of the pipe at `path`, in a process that then ends. */
async function says(t, body) {
  const path = await makePipe(t);
  const { stdout } = await ends(
    t,
    `const path = ${JSON.stringify(path)};
    const codeOf = (promise) => promise.then(() => 'none', (error) => error.code);
    ${body}
    process.exit(0);`,
  );
  return stdout.trim();
}

pipes('files of models and trainings', async (t) => {
  const calls = {
    'QuantizedModel.load': 'tandem.QuantizedModel.load(path)',
    'Predictor.load of 8-bit integers': `Predictor.load(path, { precision: 'int8-weights' })`,
    loadCheckpoint: 'makeTrainer().loadCheckpoint(path)',
    resumeFrom: 'makeTrainer().fit(makeData(8), { ...quiet, resumeFrom: path })',
    'the results of a search':
      'tandem.crossValidate({ build: makeTrainer, data: makeData(8), file: path })',
  };
  for (const [name, call] of Object.entries(calls)) {
    const code = await says(t, `console.log(await codeOf(${call}));`);
    t.true(['ERR_FILE_FORMAT', 'ESPIPE', 'EINVAL'].includes(code), `${name}: ${code}`);
  }
});

pipes('files of arrays', async (t) => {
  const body = `
    const { execFileSync } = await import('node:child_process');
    execFileSync('mkfifo', [path + '.gz']);
    const { readIdx, readNpy, npy } = await import('tandem-ml/data');
    for (const call of [readIdx(path), readNpy(path), npy({ x: path, y: path }), readNpy(path + '.gz')])
      console.log(await codeOf(call));`;
  t.deepEqual((await says(t, body)).split('\n'), Array(4).fill('ERR_FILE_FORMAT'));
});

const reading = (path) => `
  const { csv, fitEncoder, fromTable } = await import('tandem-ml/data');
  const { sequential, dense } = tandem;
  const encoder = await fitEncoder(fromTable({ a: [1, 2], b: [0, 1] }), { x: { a: 'number' }, y: { b: 'category' } });
  const trainer = makeTrainer(sequential([dense(2)], { input: [1] }));
  const fit = (signal) => trainer.fit(encoder.encode(csv(${path})), { ...quiet, signal });`;

pipes('a fit that is aborted while it waits for the writer of a CSV file', async (t) => {
  for (const path of ['path', "path + '.gz'"]) {
    const body = `
      const { execFileSync } = await import('node:child_process');
      execFileSync('mkfifo', [path + '.gz']);
      ${reading(path)}
      console.log(await codeOf(fit(AbortSignal.timeout(300))));`;
    t.is(await says(t, body), 'ERR_ABORTED');
  }
});

pipes('a fit that is aborted in the middle of a CSV file', async (t) => {
  const body = `
    const { open } = await import('node:fs/promises');
    ${reading('path')}
    const writer = await open(path, 'r+'); // which does not wait for a reader
    await writer.write('a,b\\n1,0\\n2,1\\n3,');
    console.log(await codeOf(fit(AbortSignal.timeout(300))));
    await writer.close();`;
  t.is(await says(t, body), 'ERR_ABORTED');
});

pipes('the end of an input of nothing', async (t) => {
  const path = join(await makeFolder(t), 'script.mjs');
  const library = new URL('../../dist/data.js', import.meta.url).href;
  await writeFile(
    path,
    `import { csv } from ${JSON.stringify(library)};
    try { for await (const batch of csv('/dev/stdin').batches()) console.log(batch.rows); }
    catch (error) { console.log(error.code); }`,
  );
  const run = (command) =>
    execFileSync('sh', ['-c', command, process.execPath, path], { encoding: 'utf8' }).trim();
  t.is(run(': | "$0" "$1"'), 'ERR_FILE_FORMAT');
  t.is(run('{ printf "a,b\\n1,"; sleep 0.2; printf "2\\n3,4\\n"; } | "$0" "$1"'), '2');
});
