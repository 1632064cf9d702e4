// Weights of a file: mapped, packed once, shared by the worker threads of a process.
import { execFile } from 'node:child_process';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import test from 'ava';
import { dense, embedding, flatten, input, Predictor, sequential } from 'tandem-ml';
import { sharedFolder } from './helpers/folder.mjs';

const folder = sharedFolder(test);

const build = (seed) =>
  sequential([dense(5, { activation: 'relu' }), dense(3)], { input: [4], seed });
/** Its table is read where the file is mapped. */
const buildTable = (seed) =>
  sequential([embedding(5000, 64), flatten(), dense(3)], {
    input: input([2], { dtype: 'int32' }),
    seed,
  });
const x = Float32Array.of(1, -2, 3, 0.5);
const index = Int32Array.of(17, 4999);

async function served(source, rows) {
  const predictor = await Predictor.load(source);
  const y = predictor.predictSync(rows);
  await predictor.close();
  return y;
}

for (const [name, make, rows] of [
  ['small weights', build, x],
  ['a large table', buildTable, index],
]) {
  test(`a file gives what its model gives, with ${name}`, async (t) => {
    const file = join(folder, `${name}.safetensors`);
    const [first, second] = [make(1), make(2)];
    await first.save(file);
    const wanted = [await served(first, rows), await served(second, rows)];
    const old = await Predictor.load(file);
    const same = await Predictor.load(file);
    t.deepEqual(old.predictSync(rows), wanted[0]);
    t.deepEqual(same.predictSync(rows), wanted[0]);
    await second.save(file);
    t.deepEqual(await served(file, rows), wanted[1]);
    await same.close();
    t.deepEqual(old.predictSync(rows), wanted[0]);
    await rm(file);
    t.deepEqual(await old.predict(rows), wanted[0]);
    await old.close();
  });

  test(`a file whose floats lie anywhere serves as well, with ${name}`, async (t) => {
    const file = join(folder, `${name} moved.safetensors`);
    const model = make(3);
    await model.save(file);
    const bytes = await readFile(file);
    const length = Number(bytes.readBigUInt64LE(0));
    const moved = Buffer.alloc(bytes.length + 3, ' ');
    moved.writeBigUInt64LE(BigInt(length + 3), 0);
    bytes.copy(moved, 8, 8, 8 + length);
    bytes.copy(moved, 8 + length + 3, 8 + length);
    await writeFile(file, moved);
    t.deepEqual(await served(file, rows), await served(model, rows));
  });
}

test('warmup runs what it is told to', async (t) => {
  const predictor = await Predictor.load(build(1), { warmup: [1, 8] });
  t.is(predictor.profile().kernels.length > 0, true);
  t.deepEqual(predictor.predictSync(x), await served(build(1), x));
  await predictor.close();
  for (const warmup of [[0], [1.5], 3]) {
    await t.throwsAsync(Predictor.load(build(1), { warmup }), { code: 'ERR_ARGUMENT' });
  }
});

/** A model of so many megabytes. */
function large(megabytes) {
  const width = 1024;
  const layers = (megabytes * 2 ** 20) / (width * width * 4);
  return sequential(
    Array.from({ length: layers }, () => dense(width, { bias: false })),
    { input: [width], seed: 1 },
  );
}

const library = new URL('../dist/index.js', import.meta.url).href;

const worker = `
  const { parentPort, workerData } = require('node:worker_threads');
  import(workerData.library).then(async ({ Predictor }) => {
    const predictor = await Predictor.load(workerData.file);
    const x = new Float32Array(1024).fill(0.1);
    const y = predictor.predictSync(x);
    parentPort.postMessage(y);
    parentPort.on('message', async () => {
      for (;;) await predictor.predict(x);
    });
  });
`;

/** A process of its own: the memory of this one is that of other tests, too. */
const program = (file) => `
  import { isDeepStrictEqual } from 'node:util';
  import { Worker } from 'node:worker_threads';
    const workerData = ${JSON.stringify({ file, library })};
  const { Predictor } = await import(workerData.library);
  const predictor = await Predictor.load(workerData.file);
  const rows = new Float32Array(1024).fill(0.1);
  const wanted = predictor.predictSync(rows);
  const before = process.memoryUsage.rss();
  const workers = Array.from(
    { length: 4 },
    () => new Worker(${JSON.stringify(worker)}, { eval: true, execArgv: [], workerData }),
  );
  const ready = workers.map((one) => new Promise((resolve) => one.once('message', resolve)));
  const found = await Promise.all(ready);
  const grown = (process.memoryUsage.rss() - before) / 2 ** 20;
  for (const one of workers) one.postMessage('work');
  await predictor.predict(rows);
  await Promise.all(workers.map((one) => one.terminate()));
  found.push(await predictor.predict(rows));
  await predictor.close();
  console.log(JSON.stringify({ grown, same: found.map((y) => isDeepStrictEqual(y, wanted)) }));
`;

test('worker threads share one copy, and end at any time', async (t) => {
  const file = join(folder, 'large.safetensors');
  const megabytes = 128;
  await large(megabytes).save(file);
  const args = ['--input-type=module', '--eval', program(file)];
  const { stdout, stderr } = await promisify(execFile)(process.execPath, args);
  t.is(stderr, '');
  const { grown, same } = JSON.parse(stdout);
  t.deepEqual(same, [true, true, true, true, true]);
  // What four threads need for themselves, and none of the weights: one more copy is too much.
  t.true(grown < 0.9 * megabytes, `${grown.toFixed(0)} MiB`);
});
