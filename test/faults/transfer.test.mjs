// Buffers that go away while the library uses them: a typed error or a normal result.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { dense, Model, Predictor, sequential, TandemError } from 'tandem-ml';
import { makeFolder } from '../helpers/folder.mjs';
import { bits, build, ends, makeData, makeTrainer, makeX, quiet, startFit } from './support.mjs';

/** Moves the memory away; native memory refuses with a DataCloneError or is copied. */
function transfer(array) {
  try {
    return structuredClone(array.buffer, { transfer: [array.buffer] });
  } catch (error) {
    if (error instanceof DOMException && error.name === 'DataCloneError') return undefined;
    throw error;
  }
}

test('labels that fit has not looked through', async (t) => {
  const trainer = makeTrainer(sequential([dense(2)], { input: [1], seed: 1 }));
  const data = { x: new Float32Array(2 ** 19), y: new Uint8Array(2 ** 19) };
  const done = trainer.fit(data, quiet);
  transfer(data.y);
  await t.throwsAsync(done, { instanceOf: TandemError, code: 'ERR_SHAPE', message: /for `y`/ });
});

for (const which of ['x', 'y']) {
  test(`the ${which} of a running fit`, async (t) => {
    const trainer = makeTrainer();
    const data = makeData(64);
    const { done } = await startFit(trainer, data);
    const moved = new Uint8Array(transfer(data[which]));
    const before = moved.slice();
    t.is(data[which].length, 0);
    await t.throwsAsync(done, { instanceOf: TandemError, code: 'ERR_SHAPE' });
    t.deepEqual(moved, before);
    const { loss } = await trainer.fit(makeData(64), quiet);
    t.true(Number.isFinite(loss[0]));
    await trainer.close();
  });

  test(`the ${which} of a step, of evaluate and of validation data`, async (t) => {
    const trainer = makeTrainer();
    const one = makeData(64);
    const step = trainer.step(one);
    transfer(one[which]);
    await step.then(
      ({ loss }) => t.true(Number.isFinite(loss)),
      (error) => t.is(error.code, 'ERR_SHAPE'),
    );
    const two = makeData(64);
    const evaluation = trainer.evaluate(two);
    transfer(two[which]);
    await evaluation.then(
      ({ loss }) => t.true(Number.isFinite(loss)),
      (error) => t.is(error.code, 'ERR_SHAPE'),
    );
    const three = makeData(64);
    const onEpochBegin = () => {
      transfer(three[which]);
    };
    const options = { ...quiet, validationData: three, callbacks: [{ onEpochBegin }] };
    await t.throwsAsync(trainer.fit(makeData(64), options), { code: 'ERR_SHAPE' });
    await trainer.fit(makeData(64), { ...quiet, validationData: makeData(8) });
    await trainer.close();
  });
}

test('class numbers that go out of range in a running fit touch nothing else', async (t) => {
  const other = build(2);
  const before = bits(other);
  const trainer = makeTrainer();
  const data = makeData(64);
  const { done } = await startFit(trainer, data);
  data.y.fill(2 ** 31 - 1);
  const caught = done.catch((error) => error);
  await new Promise((resolve) => setTimeout(resolve, 30));
  data.y.fill(-(2 ** 31));
  await new Promise((resolve) => setTimeout(resolve, 30));
  trainer.stop();
  await caught;
  await trainer.close();
  // The fit was refused, and another model beside it is what it was.
  t.deepEqual(bits(other), before);
});

test('the x of a pending prediction was copied', async (t) => {
  const predictor = await Predictor.load(build());
  const expected = predictor.predictSync(makeX(64));
  const x = makeX(64);
  const pending = predictor.predict(x);
  transfer(x);
  t.deepEqual(await pending, expected);
  t.throws(() => predictor.predictSync(x), { code: 'ERR_SHAPE' });
  await t.throwsAsync(predictor.predict(x), { code: 'ERR_SHAPE' });
  await predictor.close();
});

test('the out of a pending prediction', async (t) => {
  const predictor = await Predictor.load(build());
  const x = makeX(64);
  const expected = predictor.predictSync(x);
  const out = new Float32Array(256);
  const pending = predictor.predict(x, { out });
  const moved = new Float32Array(transfer(out));
  await t.throwsAsync(pending, {
    instanceOf: TandemError,
    code: 'ERR_ARGUMENT',
    message: /detached/,
  });
  t.true(moved.every((value) => value === 0));
  t.throws(() => predictor.predictSync(x, out), { code: 'ERR_SHAPE' });
  t.deepEqual(await predictor.predict(x, { out: moved }), expected);
  await predictor.close();
});

test('an out that shrinks or grows', async (t) => {
  const predictor = await Predictor.load(build());
  const x = makeX(64);
  const expected = predictor.predictSync(x);
  const buffer = new ArrayBuffer(1024, { maxByteLength: 4096 });
  const pending = predictor.predict(x, { out: new Float32Array(buffer) });
  buffer.resize(512);
  await t.throwsAsync(pending, { code: 'ERR_ARGUMENT', message: /shrunk/ });
  buffer.resize(1024);
  const fixed = new Float32Array(buffer, 0, 256);
  const again = predictor.predict(x, { out: fixed });
  buffer.resize(4096);
  t.deepEqual((await again).slice(), expected);
  await predictor.close();
});

test('shared memory that another thread might write', async (t) => {
  const predictor = await Predictor.load(build());
  const x = new Float32Array(new SharedArrayBuffer(2048));
  x.set(makeX(64));
  const out = new Float32Array(new SharedArrayBuffer(1024));
  const expected = predictor.predictSync(makeX(64));
  t.deepEqual((await predictor.predict(x, { out })).slice(), expected);
  t.deepEqual(predictor.predictSync(x, out.fill(0)).slice(), expected);
  await predictor.close();
});

test('indices in shared memory that another thread writes meanwhile', async (t) => {
  // In a process of its own: an index that is read twice, and two things the second time, ends it.
  await ends(
    t,
    `import { Worker } from 'node:worker_threads';
    import { vjp } from 'tandem-ml/autodiff';
    const { functional, input } = tandem;
    const [rows, count, width] = [4096, 1000, 16];
    const shared = new Int32Array(new SharedArrayBuffer(4 * rows));
    const writing = \`
      const shared = require('node:worker_threads').workerData;
      for (let round = 0; ; round++)
        for (let i = 0; i < shared.length; i++)
          shared[i] = [0, 999, (i * 7919) % 1000][round % 3];\`;
    new Worker(writing, { eval: true, workerData: shared });
    const index = input([], { dtype: 'int32', batch: rows });
    const table = input([width], { batch: count });
    const feeds = new Map([[index, shared], [table, new Float32Array(count * width)]]);
    const ones = new Float32Array(rows * width).fill(1);
    const y = functional.embedding(index, table);
    for (const end = Date.now() + 1000; Date.now() < end; ) {
      const { gradients: [found] } = vjp(y, feeds, ones, { wrt: [table] });
      const sum = found.reduce((a, b) => a + b);
      if (sum !== rows * width) throw new Error('a sum of ' + sum);
    }
    process.exit(0);`,
  );
});

test('the memory of a model', async (t) => {
  const model = build();
  const trainer = makeTrainer(model);
  const { done } = await startFit(trainer);
  for (const { data } of model.parameters.values()) transfer(data);
  trainer.stop();
  await done;
  const { loss } = await trainer.step(makeData(64));
  t.true(Number.isFinite(loss));
  const predictor = await Predictor.load(model);
  t.true(predictor.predictSync(makeX(4)).every(Number.isFinite));
  await trainer.close();
  await predictor.close();
});

test('the buffers of a binding', async (t) => {
  const predictor = await Predictor.load(build());
  const io = predictor.bind(4);
  io.inputs.x.set(makeX(4));
  const pending = io.run();
  transfer(io.inputs.x);
  transfer(io.outputs.y);
  await pending;
  io.runSync();
  if (io.outputs.y.length > 0) t.deepEqual(io.outputs.y, predictor.predictSync(makeX(4)));
  t.throws(() => predictor.predictSync(io.inputs.x, new Float32Array(1)), { code: 'ERR_SHAPE' });
  await predictor.close();
});

/** ArrayBuffer.prototype.transfer gets past what Node.js says about a buffer. */
const moving = process.versions.node.startsWith('20.') ? ['--harmony-rab-gsab-transfer'] : [];

test('native memory that is moved by force stays whole', async (t) => {
  const folder = await makeFolder(t);
  const path = join(folder, 'm.safetensors');
  const model = build();
  await model.save(path);
  const before = await readFile(path);
  await ends(
    t,
    `
    const check = (holds, what) => { if (!holds) throw new Error(what); };
    const model = build();
    const [first] = model.parameters.values();
    const values = first.data.slice();
    const trainer = makeTrainer(model);
    const { done } = await startFit(trainer);
    const moved = first.data.buffer.transfer();
    trainer.stop();
    await done;
    await trainer.step(makeData(64));
    check(first.data.length === 0, 'detached');
    check(new Float32Array(moved).every(Number.isFinite), 'moved');
    const predictor = await Predictor.load(model);
    check(predictor.predictSync(makeX(4)).every(Number.isFinite), 'prediction');
    const io = predictor.bind(4);
    const pending = io.run();
    io.inputs.x.buffer.transfer();
    const y = new Float32Array(io.outputs.y.buffer.transfer());
    await pending;
    io.runSync();
    io.close();
    await predictor.close();
    globalThis.gc();
    check(y.every(Number.isFinite), 'outputs');
    // What is no longer there cannot be saved, and must not replace what was.
    const error = await model.save(${JSON.stringify(path)}).catch((thrown) => thrown);
    check(error?.code === 'ERR_ARGUMENT', 'save: ' + error?.code);
    const layer = tandem.dense(3);
    const [weight] = tandem.sequential([layer], { input: [2] }).parameters.values();
    tandem.sequential([layer], { input: [2] });
    tandem.sequential([layer], { input: [2] }).parameters.get('dense.weight').data.buffer.transfer();
    let code;
    try { tandem.sequential([layer], { input: [2] }); } catch (thrown) { code = thrown.code; }
    check(code === 'ERR_ARGUMENT', 'layer: ' + code);
    check(weight.data.length === 6, 'another model');
    await trainer.close();
    `,
    0,
    { flags: ['--expose-gc', ...moving] },
  );
  t.deepEqual(await readFile(path), before);
  t.deepEqual(bits(await Model.load(path)), bits(model));
});

test('class numbers that change during a fit', async (t) => {
  const trainer = makeTrainer();
  const data = makeData(64);
  const { done } = await startFit(trainer, data);
  data.y[5] = 4;
  await t.throwsAsync(done, {
    instanceOf: TandemError,
    code: 'ERR_ARGUMENT',
    message: /from 0 to 3 for `y\.target`, received 4 in row 5/,
  });
  for (const { data: values } of trainer.model.parameters.values()) {
    t.true(values.every(Number.isFinite));
  }
  const { loss } = await trainer.fit(makeData(64), quiet);
  t.true(Number.isFinite(loss[0]));
  await trainer.close();
});

test('large rows: copied in slices, and what may come in between', async (t) => {
  const wide = 40_000;
  const model = sequential([dense(4)], { input: [wide] });
  const make = () => ({
    x: new Float32Array(wide * 64).fill(0.01),
    y: Int32Array.from({ length: 64 }, (_, i) => i % 4),
  });
  const trainer = makeTrainer(model);
  const data = make();
  const { loss } = await trainer.fit(data, { ...quiet, batchSize: 24 });
  t.true(Number.isFinite(loss[0]));
  const whole = await trainer.evaluate(data, { batchSize: 64 });
  const parts = await trainer.evaluate(data, { batchSize: 24 });
  t.true(Math.abs(whole.loss - parts.loss) < 1e-4 * Math.abs(whole.loss) + 1e-6);

  const moving = make();
  const { done } = await startFit(trainer, moving, { batchSize: 24 });
  transfer(moving.x);
  await t.throwsAsync(done, { instanceOf: TandemError, code: 'ERR_SHAPE' });

  const controller = new AbortController();
  const run = await startFit(trainer, data, { batchSize: 24, signal: controller.signal });
  controller.abort();
  await t.throwsAsync(run.done, { instanceOf: TandemError, code: 'ERR_ABORTED' });

  const stopped = await startFit(trainer, data, { batchSize: 24 });
  trainer.stop();
  t.true((await stopped.done).loss.every(Number.isFinite));

  const evaluation = trainer.evaluate(data, { batchSize: 24 });
  await new Promise((resolve) => setImmediate(resolve));
  await trainer.close();
  await t.throwsAsync(evaluation, { instanceOf: TandemError, code: 'ERR_CLOSED' });
});
