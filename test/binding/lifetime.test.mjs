// Who keeps what alive within one environment: pending calls, closing, buffers that move away.
import test from 'ava';
import {
  addon,
  close,
  linear,
  makePredictor,
  makeTrainer,
  parameters,
  ramp,
  reference,
  work,
} from './support.mjs';

// A second of steps, so that whatever a test does comes in the middle.
const steps = 20000;
const longWork = work(steps, 1, 256, 256);
const long = (trainer) => trainer.train(...longWork);
const makeLong = () => makeTrainer(256, 256);

test('at most two calls of train() are pending', async (t) => {
  const { trainer } = makeLong();
  const first = long(trainer);
  const second = long(trainer);
  t.throws(() => long(trainer), { code: 'ERR_BUSY' });
  const evaluated = trainer.evaluate(...longWork.slice(0, 3));
  trainer.stop(true);
  const results = await Promise.all([first, second, evaluated]);
  t.true(results[0].length < 3 * steps);
  t.true(results[2].length < steps);
  t.is(results[1].length, 0);
  // An output, the norm and the learning rate.
  t.is(results[0].length / 3, trainer.step);
  t.is((await trainer.train(...work(1, 1, 256, 256))).length, 3);
});

test('stop() leaves evaluations whole, unless they are meant, too', async (t) => {
  const { trainer } = makeLong();
  const some = work(200, 1, 256, 256).slice(0, 3);
  const training = long(trainer);
  const evaluated = trainer.evaluate(...some);
  trainer.stop();
  t.true((await training).length < 3 * steps);
  t.is((await evaluated).length, 200);
  t.throws(() => trainer.stop(1), { code: 'ERR_ARGUMENT', message: /evaluations/ });
});

test('profile() answers between two steps', async (t) => {
  const { trainer } = makeLong();
  const pending = long(trainer);
  for (let i = 0; i < 20; i++) {
    t.is(trainer.profile().device, 'cpu');
    await new Promise(setImmediate);
  }
  trainer.stop();
  await pending;
});

test('close() lets pending calls settle', async (t) => {
  const { trainer } = makeLong();
  const training = long(trainer);
  trainer.close();
  t.true((await training).length < 3 * steps);
  const predictor = await makePredictor();
  const y = new Float32Array(2);
  const binding = predictor.bind(1);
  const pending = [predictor.predict(1, null, ramp(3), y), binding.run()];
  predictor.close();
  t.throws(() => addon.runSync(binding.key), { code: 'ERR_CLOSED' });
  await Promise.all(pending);
  t.true(y.some((value) => value !== 0));
  t.is(binding.inputs[0].length, 3);
});

test('a binding runs one call at a time', async (t) => {
  const binding = (await makePredictor()).bind(1);
  const pending = binding.run();
  t.throws(() => binding.run(), { code: 'ERR_BUSY' });
  t.throws(() => addon.runSync(binding.key), { code: 'ERR_BUSY' });
  await pending;
  addon.runSync(binding.key);
  await binding.run();
  t.pass();
});

test('pending outputs are leased', async (t) => {
  const [predictor, another] = [await makePredictor(), await makePredictor()];
  const memory = new Float32Array(8);
  const x = ramp(6);
  const pending = predictor.predict(2, null, x, memory.subarray(0, 4));
  t.throws(() => predictor.predict(2, null, x, memory.subarray(3, 7)), { code: 'ERR_BUSY' });
  t.throws(() => addon.predictSync(predictor.key, 2, x, memory.subarray(3, 7)), {
    code: 'ERR_BUSY',
  });
  t.throws(() => another.predict(2, null, x, memory.subarray(0, 4)), { code: 'ERR_BUSY' });
  const other = predictor.predict(2, null, x, memory.subarray(4));
  await Promise.all([pending, other]);
  t.deepEqual(memory.subarray(0, 4), memory.subarray(4));
  await predictor.predict(2, null, x, memory.subarray(3, 7));
});

test('many leases are told apart', async (t) => {
  const predictor = await makePredictor();
  const memory = new Float32Array(4 * 101);
  const x = ramp(6);
  const [even, odd] = [0, 1].map((first) =>
    Array.from({ length: 50 }, (_, i) => (2 * i + first) * 4),
  );
  const out = (at, length = 4) => memory.subarray(at, at + length);
  const pending = even.reverse().map((at) => predictor.predict(2, null, x, out(at)));
  for (const at of even) {
    t.throws(() => predictor.predict(2, null, x, out(at + 1)), { code: 'ERR_BUSY' });
    t.throws(() => addon.predictSync(predictor.key, 2, x, out(at)), { code: 'ERR_BUSY' });
  }
  pending.push(...odd.map((at) => predictor.predict(2, null, x, out(at))));
  await Promise.all(pending);
  const [first] = even.map((at) => out(at));
  for (const at of [...even, ...odd]) t.deepEqual(out(at), first);
  await Promise.all(even.map((at) => predictor.predict(2, null, x, out(at + 1))));
});

// Alone: nothing of this environment may be pending.
test.serial('a prediction at once writes when it is over, and no leased memory', async (t) => {
  const predictor = await makePredictor();
  const expected = new Float32Array(4);
  await predictor.predict(2, null, ramp(6), expected);
  // A millisecond of each turn is for these, once a run was brief: a loaded machine may take many.
  const here = async (x, y) => {
    for (;;) {
      await new Promise((resolve) => setImmediate(resolve));
      if (addon.predictHere(predictor.key, 2, x, y)) return;
      await predictor.predict(2, null, ramp(6), new Float32Array(4));
    }
  };
  const memory = new Float32Array(8);
  memory.set(ramp(6));
  await here(memory.subarray(0, 6), memory.subarray(1, 5));
  t.deepEqual(memory.subarray(1, 5), expected);
  const before = memory.slice();
  const lease = addon.lease(memory.subarray(4, 5));
  await t.throwsAsync(here(ramp(6), memory.subarray(1, 5)), { code: 'ERR_BUSY' });
  await here(ramp(6), new Float32Array(4));
  addon.endLease(lease);
  await t.throwsAsync(here(ramp(6), memory.subarray(1, 4)), { code: 'ERR_SHAPE' });
  t.deepEqual(memory, before);
  const pending = predictor.predict(3, null, ramp(9)); // no number of rows known to be brief
  t.false(addon.predictHere(predictor.key, 2, ramp(6), memory.subarray(1, 5)));
  t.deepEqual(memory, before);
  await pending;
});

test('predictions without outputs resolve with new ones', async (t) => {
  const graph = { ...linear(3, 2), outputs: [3, 4], nodes: [...linear(3, 2).nodes] };
  graph.nodes.push({ op: 'relu', inputs: [3], attributes: {} });
  const store = new addon.Parameters(parameters(3, 2), 1);
  const predictor = await addon.loadPredictor(store, graph, {
    maxBatch: 16,
    threads: 1,
    precision: 'float32',
  });
  const y = [new Float32Array(4), new Float32Array(4)];
  addon.predictSync(predictor.key, 2, ramp(6), ...y);
  const [a, b] = await Promise.all([
    predictor.predict(2, null, ramp(6)),
    predictor.predict(2, null, ramp(6)),
  ]);
  t.deepEqual(a, y);
  t.deepEqual(b, y);
  t.not(a[0].buffer, b[0].buffer);
  const cancelled = predictor.predict(2, new Int32Array([1]), ramp(6));
  await t.throwsAsync(cancelled, { code: 'ERR_ABORTED' });
});

test('a cancelled prediction leaves its outputs alone', async (t) => {
  const predictor = await makePredictor();
  const y = new Float32Array(4);
  const cancel = new Int32Array(1);
  const pending = predictor.predict(2, cancel, ramp(6), y);
  cancel[0] = 1;
  await t.throwsAsync(pending, { code: 'ERR_ABORTED' });
  t.deepEqual(y, new Float32Array(4));
  t.throws(() => predictor.predict(2, new Uint8Array(1), ramp(6), y), { code: 'ERR_DTYPE' });
});

test('outputs that move away reject, inputs may go at once', async (t) => {
  const predictor = await makePredictor();
  const x = ramp(6);
  const y = new Float32Array(4);
  const pending = predictor.predict(2, null, x, y);
  structuredClone(x.buffer, { transfer: [x.buffer] });
  const moved = structuredClone(y.buffer, { transfer: [y.buffer] });
  await t.throwsAsync(pending, { code: 'ERR_ARGUMENT', message: /detached/ });
  t.deepEqual(new Float32Array(moved), new Float32Array(4));
  t.throws(() => addon.predictSync(predictor.key, 2, x, new Float32Array(4)), {
    code: 'ERR_SHAPE',
  });

  const buffer = new ArrayBuffer(16, { maxByteLength: 32 });
  const tracking = new Float32Array(buffer);
  const shrunk = predictor.predict(2, null, ramp(6), tracking);
  buffer.resize(8);
  await t.throwsAsync(shrunk, { code: 'ERR_ARGUMENT', message: /shrunk/ });
});

test('many predictions settle in order', async (t) => {
  const store = new addon.Parameters(parameters(3, 2), 1);
  const predictor = await addon.loadPredictor(store, linear(3, 2), {
    maxBatch: 16,
    threads: 1,
    precision: 'float32',
  });
  const order = [];
  await Promise.all(
    Array.from({ length: 200 }, async (_, i) => {
      const x = ramp(3).map((value) => value + i);
      const y = new Float32Array(2);
      await predictor.predict(1, null, x, y);
      order.push(i);
      close(t, y, reference(store, x, 3, 2), 1e-3);
    }),
  );
  t.deepEqual(
    order,
    Array.from({ length: 200 }, (_, i) => i),
  );
});

test('buffers of native memory may be transferred or cloned', async (t) => {
  const { store, trainer } = makeTrainer();
  let moved;
  try {
    moved = structuredClone(store.buffer, { transfer: [store.buffer] });
  } catch (error) {
    t.is(error.name, 'DataCloneError');
    moved = structuredClone(store.buffer);
  }
  t.true(new Float32Array(moved).some((value) => value !== 0));
  const results = await trainer.train(...work(3, 4));
  t.true(results.every(Number.isFinite));
  const again = await trainer.train(...work(3, 4));
  t.true(again[0] < results[0]);
});

test('staged rows train as those of one call do', async (t) => {
  const [inputs, rows, sizes, rates] = work(4, 5);
  const [one, sliced] = [makeTrainer(), makeTrainer()];
  const expected = await one.trainer.train(inputs, rows, sizes, rates);
  const evaluated = await one.trainer.evaluate(inputs, rows, sizes);
  const stage = () => {
    const staged = new addon.StagedRows(sliced.trainer, rows, sizes);
    t.throws(() => staged.train(rates), { code: 'ERR_ARGUMENT', message: /a part/ });
    let slices = 1;
    // Four elements at a time: slices end within rows and begin with them.
    while (!staged.copy(inputs, 16)) slices++;
    // 20 rows of 3, then of 2.
    t.is(slices, (20 * 5) / 4);
    return staged;
  };
  t.deepEqual(await stage().train(rates), expected);
  t.deepEqual(new Uint8Array(sliced.store.buffer), new Uint8Array(one.store.buffer));
  const last = stage();
  t.deepEqual(await last.evaluate(), evaluated);
  t.throws(() => last.evaluate(), { code: 'ERR_CLOSED' });
});

test('staged rows may be stopped, closed and left without arrays', async (t) => {
  const { trainer } = makeTrainer();
  const [inputs, rows, sizes, rates] = work(1, 8);
  const stage = () => new addon.StagedRows(trainer, rows, sizes);
  const gone = stage();
  t.false(gone.copy(inputs, 16));
  const [x] = work(1, 8)[0];
  structuredClone(x.buffer, { transfer: [x.buffer] });
  t.throws(() => gone.copy([x, inputs[1]], 16), { code: 'ERR_SHAPE', message: /`x`/ });
  t.throws(() => gone.copy([inputs[0]], 16), { code: 'ERR_ARGUMENT' });
  t.throws(() => gone.copy(inputs, 0), { code: 'ERR_ARGUMENT', message: /bytes/ });
  gone.close();
  gone.close();
  t.throws(() => gone.copy(inputs, 16), { code: 'ERR_CLOSED' });

  const stopped = stage();
  stopped.copy(inputs, 2 ** 20);
  trainer.stop();
  t.is((await stopped.train(rates)).length, 0);
  t.is(trainer.step, 0);

  const kept = stage();
  kept.copy(inputs, 2 ** 20);
  t.throws(() => kept.train(new Float64Array(3)), { code: 'ERR_SHAPE' });
  trainer.close();
  t.throws(() => kept.train(rates), { code: 'ERR_CLOSED' });
  t.throws(stage, { code: 'ERR_CLOSED' });
  t.throws(() => new addon.StagedRows({}, rows, sizes), { code: 'ERR_ARGUMENT' });
  t.throws(() => new addon.StagedRows(makeTrainer().trainer, rows, new Uint32Array([7])), {
    code: 'ERR_SHAPE',
  });
});

test('parameters may be released at once', async (t) => {
  const store = new addon.Parameters(parameters(3, 2), 1);
  const { buffer } = store;
  const predictor = await addon.loadPredictor(store, linear(3, 2), {
    maxBatch: 16,
    threads: 1,
    precision: 'float32',
  });
  const before = new Float32Array(4);
  addon.predictSync(predictor.key, 2, ramp(6), before);
  const loading = addon.loadPredictor(store, linear(3, 2), {
    maxBatch: 16,
    threads: 1,
    precision: 'float32',
  });
  t.throws(() => store.release(), { code: 'ERR_BUSY' }, 'a predictor is being made of them');
  await loading;
  store.release();
  store.release();
  t.is(buffer.byteLength, 0);
  t.throws(() => store.buffer, { code: 'ERR_CLOSED' });
  t.throws(() => store.offsets, { code: 'ERR_CLOSED' });
  t.throws(
    () =>
      addon.loadPredictor(store, linear(3, 2), { maxBatch: 16, threads: 1, precision: 'float32' }),
    {
      code: 'ERR_CLOSED',
    },
  );
  t.deepEqual(await predictor.predict(2, null, ramp(6)), before);
  const used = makeTrainer();
  t.throws(() => used.store.release(), { code: 'ERR_BUSY' });
  used.trainer.close();
  used.store.release();
});
