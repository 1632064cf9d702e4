// Files of quantized models: mapped, packed once, shared by Predictors and by worker threads.
import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Worker } from 'node:worker_threads';
import test from 'ava';
import {
  dense,
  embedding,
  input,
  layerNorm,
  Predictor,
  QuantizedModel,
  quantize,
  sequential,
  transformerBlock,
} from 'tandem-ml';
import { sharedFolder } from './helpers/folder.mjs';
import { relativeError } from './helpers/numbers.mjs';
import { error } from './helpers/outcomes.mjs';
import { loadPredictor } from './helpers/predictors.mjs';
import { images, noise, perceptron } from './helpers/quantized.mjs';

const folder = sharedFolder(test);
const library = new URL('../dist/index.js', import.meta.url).href;

/** Weights of 78 MiB in float32, a quarter in bytes; each is more than one huge page and less than two. */
const layers = 8;
const width = 1600;
const wide = () =>
  sequential(
    Array.from({ length: layers }, () => dense(width, { activation: 'relu' })),
    { input: [width], seed: 1 },
  );

/** Growth of memory in MiB: on the first load, on three more, and with four worker threads. */
const program = `
  import { Worker } from 'node:worker_threads';
  const { Predictor } = await import(${JSON.stringify(library)});
  const [file] = process.argv.slice(2);
  const x = new Float32Array(${width}).fill(0.1);
  // What is allocated once for all models.
  const small = await Predictor.load(process.argv[3]);
  small.predictSync(new Float32Array(20));
  const rss = () => {
    globalThis.gc();
    return process.memoryUsage.rss() / 2 ** 20;
  };
  const start = rss();
  const first = await Predictor.load(file);
  const y = first.predictSync(x);
  const one = rss();
  const more = await Promise.all([1, 2, 3].map(() => Predictor.load(file)));
  for (const each of more) if (each.predictSync(x)[0] !== y[0]) throw new Error('another result');
  const four = rss();
  const code = \`
    const { parentPort, workerData } = require('node:worker_threads');
    import(workerData.library).then(async ({ Predictor }) => {
      const own = await Predictor.load(workerData.file);
      const rows = new Float32Array(${width}).fill(0.1);
      const before = process.memoryUsage.rss();
      const copies = [];
      for (let i = 0; i < 3; i++) copies.push(await Predictor.load(workerData.file));
      const y = own.predictSync(rows)[0];
      parentPort.postMessage({ y, grown: (process.memoryUsage.rss() - before) / 2 ** 20 });
    });
  \`;
  const worker = new Worker(code, { eval: true, workerData: { file, library: ${JSON.stringify(library)} } });
  const told = await new Promise((resolve) => worker.once('message', resolve));
  if (told.y !== y[0]) throw new Error('another result');
  await worker.terminate();
  console.log(JSON.stringify({ one: one - start, more: four - one, thread: told.grown }));
`;

test.serial('a file of bytes takes a byte a weight, once for all who load it', async (t) => {
  const [file, small, script] = ['wide', 'small', 'measure'].map((name) => join(folder, name));
  const [quantized, other] = [await quantize(wide()), await quantize(perceptron())];
  await quantized.save(file);
  await other.save(small);
  quantized.close();
  await writeFile(`${script}.mjs`, program);
  const args = ['--expose-gc', `${script}.mjs`, file, small];
  const { stdout } = await promisify(execFile)(process.execPath, args);
  const { one, more, thread } = JSON.parse(stdout);
  const weights = (layers * width * width) / 2 ** 20;
  // Scratch memory and what the garbage collector keeps come on top.
  t.true(one < 1.15 * weights + 4, `${one} MiB for ${weights}`);
  t.true(more < 0.3 * weights, `${more} MiB for three more`);
  t.true(thread < 0.3 * weights, `${thread} MiB in a worker thread`);
});

test('what a file of bytes gives is what its model gives, whoever reads the weights', async (t) => {
  const table = embedding(30, 32);
  const tokens = Int32Array.from({ length: 32 * 12 }, (_, i) => (i * 7) % 30);
  const cases = [
    [images(), noise(32 * 3 * 144)],
    [sequential([table, dense(7)], { input: input([12], { dtype: 'int32' }) }), tokens],
  ];
  for (const [i, [model, x]] of cases.entries()) {
    for (const precision of ['int8', 'int8-weights']) {
      const options = precision === 'int8' ? { calibration: { x } } : {};
      const direct = await loadPredictor(t, model, { precision, ...options });
      const quantized = await quantize(model, { precision, ...options });
      const file = join(folder, `${i}-${precision}`);
      await quantized.save(file);
      const read = await QuantizedModel.load(file);
      for (const source of [quantized, file, read]) {
        const served = await loadPredictor(t, source);
        t.deepEqual(served.predictSync(x), direct.predictSync(x));
        t.deepEqual(served.profile().memory, direct.profile().memory);
      }
    }
  }
});

test('a quantized model that is closed while it is saved is in the file, whole', async (t) => {
  const quantized = await quantize(wide(), { precision: 'int8-weights' });
  const [first, second] = ['first', 'second'].map((name) => join(folder, name));
  await quantized.save(first);
  const saving = quantized.save(second);
  quantized.close();
  await t.throwsAsync(quantized.save(first), error('ERR_CLOSED'));
  await t.throwsAsync(loadPredictor(t, quantized), error('ERR_CLOSED'));
  await saving;
  t.true((await readFile(first)).equals(await readFile(second)));
});

test('a quantized model gives its memory back', async (t) => {
  const model = perceptron();
  const x = noise(64 * 20);
  const quantized = await quantize(model, { calibration: { x } });
  const predictor = await loadPredictor(t, quantized);
  const wanted = predictor.predictSync(x);
  quantized.close();
  quantized.close();
  t.deepEqual(predictor.predictSync(x), wanted);
  await t.throwsAsync(loadPredictor(t, quantized), error('ERR_CLOSED'));
  await t.throwsAsync(quantized.save(join(folder, 'closed')), error('ERR_CLOSED'));
  t.throws(() => new QuantizedModel(), error('ERR_ARGUMENT', /`QuantizedModel`, received new/));
  t.throws(() => new Predictor(), error('ERR_ARGUMENT', /`Predictor`, received new/));
});

const [vocabulary, time] = [13, 24];
function gpt() {
  const blocks = [1, 2].map(() => transformerBlock({ heads: 2, causal: true }));
  const model = sequential(
    [embedding(vocabulary, 32, { positions: time }), ...blocks, layerNorm(), dense(vocabulary)],
    { input: input([time], { dtype: 'int32' }), seed: 1 },
  );
  for (const { data } of model.parameters.values()) {
    for (let i = 0; i < data.length; i++) data[i] *= 4;
  }
  return model;
}

/** The greedy tokens that follow, by the whole sequence each time. */
function recompute(predictor, prompt, count) {
  const tokens = [...prompt];
  while (tokens.length < prompt.length + count) {
    const x = new Int32Array(time);
    x.set(tokens);
    const logits = predictor.predictSync(x).subarray((tokens.length - 1) * vocabulary);
    const row = logits.subarray(0, vocabulary);
    tokens.push(row.indexOf(Math.max(...row)));
  }
  return tokens.slice(prompt.length);
}

test('models of 8-bit integers generate what recomputing gives, and share their weights', async (t) => {
  const model = gpt();
  const x = Int32Array.from({ length: 32 * time }, (_, i) => (i * i + 3 * i) % vocabulary);
  const probe = await quantize(model);
  // Attention over a cache is of floats, as it is without it where it is kept so.
  const keep = probe.report.layers.filter(({ op }) => op === 'attention').map(({ name }) => name);
  t.is(keep.length, 2);
  const cases = [
    { precision: 'int8-weights' },
    { precision: 'int8', quantization: { keep } },
    { precision: 'int8', calibration: { x }, quantization: { keep } },
  ];
  for (const [i, options] of cases.entries()) {
    const file = join(folder, `gpt-${i}`);
    await (await quantize(model, options)).save(file);
    const generation = { sequences: 2 };
    const direct = await loadPredictor(t, model, { ...options, generation });
    const plain = await loadPredictor(t, file);
    const served = await loadPredictor(t, file, { generation });
    for (const prompt of [[1], [7, 0, 12, 5]]) {
      const wanted = recompute(plain, prompt, 12);
      for (const predictor of [direct, served]) {
        const found = [];
        for await (const token of predictor.generate(prompt, { maxTokens: 12 })) found.push(token);
        t.deepEqual(found, wanted);
      }
    }
    const memory = (one) => one.profile().memory.parameters;
    // The steps pack no weight of their own.
    t.is(memory(served), memory(plain));
    t.true(
      relativeError(plain.predictSync(x), (await loadPredictor(t, model)).predictSync(x)) < 0.2,
    );
  }
});

/** Puts one file, then the other, in the place of a third, again and again. */
const replacing = `
  const { copyFileSync, renameSync } = require('node:fs');
  const { parentPort, workerData: { files, path, done } } = require('node:worker_threads');
  for (let i = 0; Atomics.load(done, 0) === 0; i++) {
    copyFileSync(files[i % 2], path + '.new');
    renameSync(path + '.new', path);
    if (i === 1) parentPort.postMessage('begun');
  }
`;

test('a file that is replaced by one of the other kind while it is loaded', async (t) => {
  const model = perceptron();
  const files = ['float', 'bytes'].map((name) => join(folder, `replaced-${name}`));
  await model.save(files[0]);
  await (await quantize(model)).save(files[1]);
  const path = join(folder, 'replaced');
  const done = new Int32Array(new SharedArrayBuffer(4));
  const worker = new Worker(replacing, { eval: true, workerData: { files, path, done } });
  const ended = new Promise((resolve) => worker.once('exit', resolve));
  await new Promise((resolve) => worker.once('message', resolve));
  try {
    const x = noise(20);
    const exact = (await loadPredictor(t, model)).predictSync(x);
    for (let i = 0; i < 60; i++) {
      const predictor = await Predictor.load(path, i % 2 === 0 ? {} : { precision: 'int8' });
      t.true(relativeError(predictor.predictSync(x), exact) < 0.2);
      await predictor.close();
    }
  } finally {
    Atomics.store(done, 0, 1);
    await ended;
  }
});
