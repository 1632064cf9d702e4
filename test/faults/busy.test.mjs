// One user at a time of what cannot be shared: ERR_BUSY for the second, and all fine afterwards.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import {
  dense,
  earlyStopping,
  input,
  Model,
  Predictor,
  quantize,
  sequential,
  sgd,
  TandemError,
} from 'tandem-ml';
import { makeFolder } from '../helpers/folder.mjs';
import { loadPredictor } from '../helpers/predictors.mjs';
import { bits, build, makeData, makeTrainer, makeX, quiet, startFit, work } from './support.mjs';

const busy = { instanceOf: TandemError, code: 'ERR_BUSY' };

const load = (t, model = build()) => loadPredictor(t, model);

test('outputs of pending predictions do not overlap', async (t) => {
  const [predictor, other] = [await load(t), await load(t)];
  const x = makeX(64);
  const expected = predictor.predictSync(x);
  const memory = new Float32Array(600);
  const first = memory.subarray(0, 256);
  const pending = predictor.predict(x, { out: first });
  for (const out of [first, memory.subarray(255, 511), memory.subarray(100, 356)]) {
    await t.throwsAsync(predictor.predict(x, { out }), busy);
    await t.throwsAsync(other.predict(x, { out }), busy);
    t.throws(() => predictor.predictSync(x, out), busy);
  }
  const beside = memory.subarray(256, 512);
  await Promise.all([pending, other.predict(x, { out: beside })]);
  t.deepEqual(first, expected);
  t.deepEqual(beside, expected);
  t.deepEqual(await other.predict(x, { out: memory.subarray(100, 356) }), expected);
  t.deepEqual(predictor.predictSync(x, first), expected);
});

test('a single row keeps off the output of a pending prediction', async (t) => {
  const predictor = await load(t);
  const [row, rows] = [makeX(1), makeX(64)];
  const expected = predictor.predictSync(row);
  const memory = new Float32Array(260);
  const pending = predictor.predict(rows, { out: memory.subarray(0, 256) });
  t.throws(() => predictor.predictSync(row, memory.subarray(254, 258)), busy);
  t.deepEqual(predictor.predictSync(row, memory.subarray(256)), expected);
  t.deepEqual(predictor.predictSync(row), expected);
  await pending;
  t.deepEqual(predictor.predictSync(row, memory.subarray(254, 258)), expected);
});

test('outputs of one call do not overlap', async (t) => {
  const x = input([8]);
  const model = new Model({ inputs: x, outputs: { a: dense(2)(x), b: dense(2)(x) } });
  const predictor = await load(t, model);
  const memory = new Float32Array(8);
  const out = { a: memory.subarray(0, 4), b: memory.subarray(2, 6) };
  t.throws(() => predictor.predictSync(makeX(2), out), { code: 'ERR_ARGUMENT' });
  await t.throwsAsync(predictor.predict(makeX(2), { out }), busy);
  const apart = { a: memory.subarray(0, 4), b: memory.subarray(4) };
  t.deepEqual(await predictor.predict(makeX(2), { out: apart }), predictor.predictSync(makeX(2)));
});

test('a binding has one run at a time', async (t) => {
  const predictor = await load(t);
  const x = makeX(4);
  const expected = predictor.predictSync(x);
  const [io, other] = [predictor.bind(4), predictor.bind(4)];
  io.inputs.x.set(x);
  const pending = io.run();
  await t.throwsAsync(io.run(), busy);
  t.throws(() => io.runSync(), busy);
  await t.throwsAsync(predictor.predict(x, { out: io.outputs.y }), busy);
  t.throws(() => predictor.predictSync(x, io.outputs.y), busy);
  await other.run();
  await pending;
  t.deepEqual(io.outputs.y, expected);
  io.outputs.y.fill(0);
  io.runSync();
  t.deepEqual(io.outputs.y, expected);
  await io.run();
  t.deepEqual(predictor.predictSync(x, io.outputs.y), expected);
});

test('a binding leaves its outputs to a pending prediction', async (t) => {
  const predictor = await load(t);
  const x = makeX(4);
  const expected = predictor.predictSync(x);
  const io = predictor.bind(4);
  const pending = predictor.predict(x, { out: io.outputs.y });
  t.throws(() => io.runSync(), busy);
  await t.throwsAsync(io.run(), busy);
  await pending;
  t.deepEqual(io.outputs.y, expected);
  await io.run();
  t.notDeepEqual(io.outputs.y, expected);
});

test("parameters in training are nobody else's output", async (t) => {
  const model = build();
  const predictor = await load(t, model);
  const trainer = makeTrainer(model);
  // 4 x 32 weights, as many as 32 rows of outputs.
  const { data: out } = model.parameters.get('dense_1.weight');
  const x = makeX(32);
  const expected = predictor.predictSync(x);
  const { done } = await startFit(trainer);
  t.throws(() => predictor.predictSync(x, out), busy);
  await t.throwsAsync(predictor.predict(x, { out }), busy);
  trainer.stop();
  await done;
  const pending = predictor.predict(x, { out });
  await t.throwsAsync(trainer.step(makeData(64)), busy);
  await pending;
  t.deepEqual(out, expected);
  t.deepEqual(predictor.predictSync(x, out), expected);
  t.true(Number.isFinite((await trainer.step(makeData(64))).loss));
  await trainer.close();
});

test('a trainer takes one call at a time', async (t) => {
  const trainer = makeTrainer();
  const data = makeData(64);
  const { done } = await startFit(trainer);
  await t.throwsAsync(trainer.fit(data, quiet), busy);
  await t.throwsAsync(trainer.step(data), busy);
  await t.throwsAsync(trainer.evaluate(data), busy);
  trainer.stop();
  await done;
  const [first, second] = [trainer.step(data), trainer.step(data)];
  await t.throwsAsync(second, busy);
  t.true(Number.isFinite((await first).loss));
  t.true(Number.isFinite((await trainer.fit(data, quiet)).loss[0]));
  t.true(Number.isFinite((await trainer.evaluate(data)).loss));
  await trainer.close();
});

test('a model has one trainer at work at a time', async (t) => {
  const model = build();
  const [first, second] = [makeTrainer(model), makeTrainer(model)];
  const data = makeData(64);
  // At once, before either has begun.
  const running = first.fit(data, { ...quiet, epochs: 3 });
  await t.throwsAsync(second.fit(data, quiet), busy);
  await t.throwsAsync(second.step(data), busy);
  const { loss } = await running;

  // The same as with one trainer: nothing of the other got in.
  const alone = makeTrainer(build());
  t.deepEqual((await alone.fit(data, { ...quiet, epochs: 3 })).loss, loss);
  t.deepEqual(bits(model), bits(alone.model));

  // Neither in the middle, nor in a callback, where the first only waits.
  const codes = [];
  const onBatchEnd = () =>
    second.step(data).then(
      () => codes.push('none'),
      (error) => codes.push(error.code),
    );
  await first.fit(data, { ...quiet, batchSize: 32, callbacks: [{ onBatchEnd }] });
  t.deepEqual(codes, ['ERR_BUSY', 'ERR_BUSY']);
  t.true(Number.isFinite((await second.step(data)).loss));
  t.true(Number.isFinite((await first.step(data)).loss));
  await Promise.all([first, second, alone].map((trainer) => trainer.close()));
  t.true(Number.isFinite((await work(1)).loss[0]));
});

test('no trainer of a model begins while another one looks at the parameters', async (t) => {
  const model = build();
  const [first, second] = [makeTrainer(model, { ema: {} }), makeTrainer(model, { ema: {} })];
  const [few, many] = [makeData(64), makeData(20_000)];
  const folder = await makeFolder(t);
  const paths = ['before', 'beside'].map((name) => join(folder, `${name}.safetensors`));
  await first.step(few);
  const { loss } = await second.evaluate(many);
  await second.saveCheckpoint(paths[0]);
  const looking = [second.evaluate(many), second.saveCheckpoint(paths[1])];
  const changing = first.fit(few, { ...quiet, epochs: 300, batchSize: 8 });
  const [found] = await Promise.all(looking);
  t.is(found.loss, loss);
  t.deepEqual(await readFile(paths[1]), await readFile(paths[0]));
  await changing;

  // Neither in a callback that does not wait for it, nor while a checkpoint is read.
  const trained = bits(model);
  const after = (await second.evaluate(many)).loss;
  let beside;
  const onTrainBegin = () => {
    beside = second.evaluate(many);
  };
  await first.fit(few, { ...quiet, epochs: 300, batchSize: 8, callbacks: [{ onTrainBegin }] });
  t.is((await beside).loss, after);
  t.notDeepEqual(bits(model), trained);
  const last = (await second.evaluate(many)).loss;
  const evaluated = second.evaluate(many);
  await first.loadCheckpoint(paths[0]);
  t.is((await evaluated).loss, last);
  await Promise.all([first.close(), second.close()]);
});

test('a model is saved at rest, also by callbacks', async (t) => {
  const folder = await makeFolder(t);
  const path = join(folder, 'm.safetensors');
  const model = build();
  const trainer = makeTrainer(model);
  const { done } = await startFit(trainer);
  await t.throwsAsync(model.save(path), busy);
  trainer.stop();
  await done;
  let saved;
  const onEpochEnd = async () => {
    saved = bits(model);
    await model.save(path);
  };
  await trainer.fit(makeData(64), { ...quiet, callbacks: [{ onEpochEnd }] });
  t.deepEqual(bits(await Model.load(path)), saved);
  t.deepEqual(bits(model), saved);
  await trainer.close();
});

test('a model is served while it is trained', async (t) => {
  const model = build();
  const trainer = makeTrainer(model);
  const before = (await load(t, model)).predictSync(makeX(4));
  const { done } = await startFit(trainer);
  const predictors = await Promise.all(Array.from({ length: 20 }, () => load(t, model)));
  for (const predictor of predictors) {
    const y = predictor.predictSync(makeX(4));
    t.true(y.every(Number.isFinite));
    t.notDeepEqual(y, before);
    t.deepEqual(await predictor.predict(makeX(4)), y);
  }
  trainer.stop();
  await done;
  await trainer.close();
});

test('a large model is saved whole while a trainer wants to go on', async (t) => {
  const path = join(await makeFolder(t), 'm.safetensors');
  const { model, trainer, rows } = makeRestoring(t, 0.1);
  const before = bits(model)['dense.weight'];
  const [saving, stepping] = [model.save(path), trainer.step(rows)];
  await saving;
  await stepping;
  // Texts too long to show where they differ.
  t.true(bits(await Model.load(path))['dense.weight'] === before);
  t.false(bits(model)['dense.weight'] === before);
});

/**
 * A trainer whose fit puts best weights of 1 back over those of 2, in some turns of the event loop;
 * `ending` is called before.
 */
function makeRestoring(t, learningRate = 0) {
  const model = sequential([dense(1024, { bias: false })], { input: [1024] });
  const { data } = model.parameters.get('dense.weight');
  const optimizer = sgd({ learningRate });
  const trainer = makeTrainer(model, { loss: 'mse', metrics: [], optimizer, ema: { decay: 0.5 } });
  t.teardown(() => trainer.close());
  const rows = { x: new Float32Array(1024).fill(1), y: new Float32Array(1024) };
  const restore = async (ending) => {
    const filling = {
      onEpochEnd: (epoch) => data.fill(epoch + 1),
      onTrainEnd: () => {
        ending();
      },
    };
    const stopping = earlyStopping({ monitor: 'loss', patience: 9, restoreBestWeights: true });
    await trainer.fit(rows, { ...quiet, epochs: 2, callbacks: [filling, stopping] });
    t.true(data.every((value) => value === 1));
  };
  return { model, trainer, rows, restore };
}

const isWhole = (numbers) => numbers.length > 0 && numbers.every((value) => value === numbers[0]);

test('nobody reads best weights that are being put back', async (t) => {
  const folder = await makeFolder(t);
  const [path, checkpoint] = [join(folder, 'm.safetensors'), join(folder, 'c.safetensors')];
  const { model, trainer, rows, restore } = makeRestoring(t);
  let loading;
  const refused = [];
  await restore(() =>
    // In the midst of it.
    setImmediate(() => {
      loading = Predictor.load(model);
      refused.push(
        model.save(path),
        quantize(model, { precision: 'int8-weights' }),
        trainer.evaluate(rows),
        trainer.saveCheckpoint(checkpoint),
        trainer.averagedModel(),
      );
      for (const call of refused) call.catch(() => {});
    }),
  );
  t.is(refused.length, 5);
  for (const call of refused) await t.throwsAsync(call, busy);
  const predictor = await loading;
  const y = predictor.predictSync(rows.x);
  await predictor.close();
  t.true(isWhole(y) && y[0] === 1024);
  t.is((await trainer.evaluate(rows)).loss, 1024 ** 2);
});

test('best weights are put back once nobody reads those before', async (t) => {
  const path = join(await makeFolder(t), 'm.safetensors');
  for (const closes of [false, true]) {
    const { model, trainer, rows, restore } = makeRestoring(t);
    let reading = [];
    const restoring = restore(() => {
      reading = [
        Predictor.load(model),
        quantize(model, { precision: 'int8-weights' }).then((quantized) => {
          return Predictor.load(quantized);
        }),
        model.save(path).then(() => Predictor.load(path)),
      ];
      if (closes) setImmediate(() => trainer.close());
    });
    await (closes ? t.throwsAsync(restoring, { code: 'ERR_CLOSED' }) : restoring);
    t.true(model.parameters.get('dense.weight').data.every((value) => value === 1));
    for (const predictor of await Promise.all(reading)) {
      const y = predictor.predictSync(rows.x);
      t.true(isWhole(y) && Math.abs(y[0] - 2048) < 20, `${y[0]}`);
      await predictor.close();
    }
  }
});
