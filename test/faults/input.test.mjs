// Bad input of every kind: the typed error, the model bit for bit as before, and a fit that works.
import test from 'ava';
import { dense, input, Model, Predictor, relu, sequential, TandemError, Trainer } from 'tandem-ml';
import { bits, build, makeData, makeTrainer, makeX, quiet } from './support.mjs';

/** Runs `misuse` on a model and checks that nothing came of it but an error of this code. */
async function refuses(t, code, misuse, options = {}) {
  const model = build();
  const trainer = makeTrainer(model, options);
  const predictor = await Predictor.load(model);
  const before = bits(model);
  const served = predictor.predictSync(makeX(4));
  const what = String(misuse);
  const error = await t.throwsAsync(
    async () => misuse({ model, trainer, predictor, io: predictor.bind(2) }),
    { instanceOf: TandemError },
    what,
  );
  t.is(error?.code, code, `${what}: ${error?.message}`);
  t.regex(error?.message ?? '', /expected .+, received .+/s);
  t.deepEqual(bits(model), before, what);
  t.deepEqual(predictor.predictSync(makeX(4)), served);
  const { loss } = await trainer.fit(makeData(32), quiet);
  t.true(Number.isFinite(loss[0]));
  t.notDeepEqual(bits(model), before);
  await trainer.close();
  await predictor.close();
  return error;
}

const { x, y } = makeData(32);
const fits = (data) => [
  ({ trainer }) => trainer.fit(data, quiet),
  ({ trainer }) => trainer.step(data),
  ({ trainer }) => trainer.evaluate(data),
  ({ trainer }) => trainer.fit({ x, y }, { ...quiet, validationData: data }),
];
const predicts = (data) => [
  ({ predictor }) => predictor.predictSync(data),
  ({ predictor }) => predictor.predict(data),
];
const all = async (t, code, list, options) => {
  for (const misuse of list) await refuses(t, code, misuse, options);
};

test('wrong shapes', async (t) => {
  const short = { x: x.subarray(0, 31), y };
  await all(t, 'ERR_SHAPE', [...fits(short), ...predicts(short.x)]);
  const uneven = { x, y: y.subarray(1) };
  await all(t, 'ERR_SHAPE', fits(uneven));
  const empty = { x: new Float32Array(0), y: new Int32Array(0) };
  await all(t, 'ERR_SHAPE', [...fits(empty), ...predicts(empty.x)]);
  const out = new Float32Array(127);
  await all(t, 'ERR_SHAPE', [
    ({ predictor }) => predictor.predictSync(x, out),
    ({ predictor }) => predictor.predict(x, { out }),
  ]);
});

test('wrong types', async (t) => {
  for (const wrong of [Float64Array.from(x), Int32Array.from(x), new BigInt64Array(256)]) {
    await all(t, 'ERR_DTYPE', [...fits({ x: wrong, y }), ...predicts(wrong)]);
  }
  await all(t, 'ERR_DTYPE', fits({ x, y: Float32Array.from(y) }));
  for (const wrong of [undefined, null, 7, 'x', [...x], x.buffer, {}, () => x, new Map()]) {
    await all(t, 'ERR_ARGUMENT', [...fits({ x: wrong, y }), ...predicts(wrong)]);
  }
  for (const wrong of [undefined, null, 7, 'data', [], x, { x }, { x, y, z: y }, { X: x, y }]) {
    await all(t, 'ERR_ARGUMENT', fits(wrong).slice(0, 3));
  }
  await refuses(t, 'ERR_DTYPE', ({ predictor }) => predictor.predictSync(x, new Int32Array(128)));
});

test('a class of the right name from elsewhere is named as that', async (t) => {
  const { Other, Foreign } = { Other: class Model {}, Foreign: class Value {} };
  const message = /an instance of (Model|Value) of another class, such as that of another copy/;
  t.throws(() => new Trainer(new Other(), { loss: 'mse' }), { code: 'ERR_ARGUMENT', message });
  t.throws(() => dense(3)(new Foreign()), { code: 'ERR_ARGUMENT', message });
  await t.throwsAsync(Predictor.load(new Other()), { code: 'ERR_ARGUMENT', message });
  const { message: plain } = t.throws(() => new Trainer(new Foreign(), { loss: 'mse' }));
  t.notRegex(plain, /another/);
});

test('class numbers out of range', async (t) => {
  for (const wrong of [4, -1, 2 ** 31 - 1, -(2 ** 31)]) {
    const bad = y.slice();
    bad[17] = wrong;
    await all(t, 'ERR_ARGUMENT', fits({ x, y: bad }));
  }
  const bad = Uint32Array.from(y);
  bad[3] = 2 ** 32 - 1;
  await all(t, 'ERR_ARGUMENT', fits({ x, y: bad }));
});

test('numbers that are none, with checkNumerics', async (t) => {
  for (const wrong of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
    const bad = x.slice();
    bad[100] = wrong;
    const checked = { checkNumerics: true };
    const fit = await refuses(
      t,
      'ERR_NUMERIC',
      ({ trainer }) => trainer.fit({ x: bad, y }, { ...quiet, batchSize: 4, shuffle: false }),
      checked,
    );
    t.regex(fit.message, /row 12.*step 3/);
    const step = ({ trainer }) => trainer.step({ x: bad, y });
    t.regex((await refuses(t, 'ERR_NUMERIC', step, checked)).message, /step 0/);
  }
});

test('a loss that overflows, with checkNumerics, leaves the parameters of the step before', async (t) => {
  const model = sequential([dense(1)], { input: [1], seed: 1 });
  const trainer = new Trainer(model, { loss: 'mse', checkNumerics: true });
  await trainer.step({ x: Float32Array.of(1), y: Float32Array.of(1) });
  const before = bits(model);
  const huge = { x: Float32Array.of(3e38), y: Float32Array.of(-3e38) };
  const numeric = { instanceOf: TandemError, code: 'ERR_NUMERIC', message: /step 1,/ };
  await t.throwsAsync(trainer.step(huge), numeric);
  await t.throwsAsync(trainer.fit(huge, quiet), numeric);
  t.deepEqual(bits(model), before);
  await trainer.step({ x: Float32Array.of(1), y: Float32Array.of(1) });
  t.notDeepEqual(bits(model), before);
  await trainer.close();
});

test('without checkNumerics a NaN ends fit once it is the loss, and the process goes on', async (t) => {
  const trainer = makeTrainer();
  const bad = x.slice().fill(Number.NaN);
  await t.throwsAsync(trainer.fit({ x: bad, y }, quiet), {
    code: 'ERR_NUMERIC',
    message: /received NaN at step 0; `checkNumerics: true` names/,
  });
  t.true(Number.isNaN((await trainer.step({ x: bad, y })).loss));
  const predictor = await Predictor.load(trainer.model);
  t.true(predictor.predictSync(x).every(Number.isNaN));
  t.true((await predictor.predict(x)).every(Number.isNaN));
  await trainer.close();
  await predictor.close();
});

test('unknown and wrong options', async (t) => {
  const { model } = makeTrainer();
  await all(t, 'ERR_ARGUMENT', [
    ({ trainer }) => trainer.fit({ x, y }, { ...quiet, epoch: 2 }),
    ({ trainer }) => trainer.fit({ x, y }, { ...quiet, epochs: 0 }),
    ({ trainer }) => trainer.fit({ x, y }, { ...quiet, epochs: Number.NaN }),
    ({ trainer }) => trainer.fit({ x, y }, { ...quiet, batchSize: -1 }),
    ({ trainer }) => trainer.fit({ x, y }, { ...quiet, batchSize: '32' }),
    ({ trainer }) => trainer.fit({ x, y }, { ...quiet, validationSplit: 1.5 }),
    ({ trainer }) => trainer.fit({ x, y }, { ...quiet, callbacks: [null] }),
    ({ trainer }) => trainer.fit({ x, y }, 7),
    ({ trainer }) => trainer.evaluate({ x, y }, { batch: 1 }),
    ({ predictor }) => predictor.predict(x, { timeout: 1 }),
    ({ predictor }) => predictor.predict(x, 7),
    ({ predictor }) => predictor.bind(0),
    ({ predictor }) => predictor.bind(1.5),
    ({ predictor }) => predictor.bind(),
    () => Predictor.load(model, { batch: 1 }),
    () => Predictor.load(model, { threads: 0 }),
    () => Predictor.load({}),
    () => Model.load(),
    () => new Trainer(model, { loss: 'crossEntropy', learningRate: 1 }),
    () => new Trainer(model, { loss: 'entropy' }),
    () => new Trainer({}, { loss: 'mse' }),
    () => new Trainer(model, { loss: 'crossEntropy', maxGradNorm: 0 }),
    () => new Model({ inputs: input([1]) }),
    () => new Model({ inputs: [], outputs: [] }),
    () => dense(0),
    () => dense(3, { unit: 1 }),
    ({ model: own }) => own.save(7),
  ]);
});

test('sizes that no memory holds', async (t) => {
  const wide = input([2 ** 25]);
  const tooMuch = { instanceOf: TandemError, code: 'ERR_OUT_OF_MEMORY' };
  t.throws(() => new Model({ inputs: wide, outputs: dense(2 ** 25)(wide) }), tooMuch);
  const predictor = await Predictor.load(sequential([relu()], { input: [2 ** 20] }));
  t.throws(() => predictor.bind(2 ** 31 - 1), tooMuch);
  t.is(predictor.predictSync(new Float32Array(2 ** 20).fill(2))[7], 2);
  const io = predictor.bind(1);
  io.runSync();
  await predictor.close();
});

/** Calls every method and getter of an object, and collects the codes of what is thrown. */
async function codesOf(object, calls) {
  const codes = {};
  const { prototype } = object.constructor;
  for (const name of Object.getOwnPropertyNames(prototype)) {
    const { value } = Object.getOwnPropertyDescriptor(prototype, name);
    if (name === 'constructor' || typeof value !== 'function') continue;
    try {
      await object[name](...(calls[name] ?? []));
      codes[name] = 'none';
    } catch (error) {
      codes[name] = error instanceof TandemError ? error.code : String(error);
    }
  }
  return codes;
}

test('every method after close', async (t) => {
  const trainer = makeTrainer();
  const predictor = await Predictor.load(trainer.model);
  const io = predictor.bind(4);
  const data = [{ x, y }, quiet];
  await trainer.close();
  const calls = { fit: data, step: [data[0]], evaluate: [data[0]], largerIsBetter: ['loss'] };
  t.deepEqual(await codesOf(trainer, calls), {
    fit: 'ERR_CLOSED',
    step: 'ERR_CLOSED',
    evaluate: 'ERR_CLOSED',
    stop: 'none',
    sync: 'ERR_CLOSED',
    upload: 'ERR_CLOSED',
    averagedModel: 'ERR_CLOSED',
    findLearningRate: 'ERR_CLOSED',
    loadCheckpoint: 'ERR_CLOSED',
    saveCheckpoint: 'ERR_CLOSED',
    profile: 'ERR_CLOSED',
    largerIsBetter: 'none',
    close: 'none',
  });
  await predictor.close();
  t.deepEqual(await codesOf(predictor, { predictSync: [x], predict: [x], bind: [1] }), {
    predictRows: 'ERR_CLOSED',
    predictSync: 'ERR_CLOSED',
    predict: 'ERR_CLOSED',
    bind: 'ERR_CLOSED',
    generate: 'ERR_CLOSED',
    stream: 'ERR_CLOSED',
    profile: 'ERR_CLOSED',
    close: 'none',
  });
  // Closing a predictor closes its bindings.
  t.deepEqual(await codesOf(io, {}), { runSync: 'ERR_CLOSED', run: 'ERR_CLOSED', close: 'none' });
  t.is(io.outputs.y.fill(1).length, 16);
  t.true(io.inputs.x.every((value) => value === 0));
  for (const { data: values } of trainer.model.parameters.values()) {
    t.true(values.every(Number.isFinite));
  }
  const again = makeTrainer(trainer.model);
  t.true(Number.isFinite((await again.fit({ x, y }, quiet)).loss[0]));
  await again.close();
});

test('close with everything pending', async (t) => {
  const trainer = makeTrainer();
  const predictor = await Predictor.load(trainer.model);
  const io = predictor.bind(4);
  const closed = { instanceOf: TandemError, code: 'ERR_CLOSED' };
  const fit = trainer.fit({ x, y }, { ...quiet, epochs: 1_000_000 });
  const pending = Array.from({ length: 50 }, () => predictor.predict(x));
  const run = io.run();
  const closing = [trainer.close(), trainer.close(), predictor.close(), predictor.close()];
  await t.throwsAsync(fit, closed);
  await Promise.all([...closing, ...pending, run]);
  t.throws(() => io.runSync(), closed);
});
