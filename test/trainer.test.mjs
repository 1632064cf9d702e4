// Options of the trainer, checks of data, steps, and what runs at a time.
import { readFile } from 'node:fs/promises';
import test from 'ava';
import {
  adagrad,
  adam,
  adamw,
  add,
  concat,
  cosine,
  crossEntropy,
  dense,
  input,
  l1,
  Model,
  mse,
  pad,
  rmsprop,
  sequential,
  sgd,
  slice,
  Trainer,
} from 'tandem-ml';
import { fromArrays } from 'tandem-ml/data';
import { error } from './helpers/outcomes.mjs';

const model = () => sequential([dense(3)], { input: [2], seed: 1 });
const rows = 20;
const x = Float32Array.from({ length: rows * 2 }, (_, i) => Math.sin(i));
const y = Int32Array.from({ length: rows }, (_, i) => i % 3);
const quiet = { verbose: 0 };

/** A trainer that is closed when the test ends. */
const make = (t, options = {}, of = model()) => {
  const trainer = new Trainer(of, { loss: 'crossEntropy', ...options });
  t.teardown(() => trainer.close());
  return trainer;
};

test('options are checked', (t) => {
  const refuses = (options, code, message) =>
    t.throws(() => make(t, options), error(code, message));
  refuses({ optimiser: sgd() }, 'ERR_ARGUMENT', /did you mean `optimizer`\?/);
  refuses({ loss: 'mze' }, 'ERR_ARGUMENT', /did you mean `mse`\?/);
  refuses({ loss: undefined }, 'ERR_ARGUMENT', /`loss`/);
  refuses({ loss: (output) => output }, 'ERR_SHAPE', /scalar/);
  refuses({ loss: () => 1 }, 'ERR_ARGUMENT', /returns a Value/);
  refuses({ optimizer: 'adam' }, 'ERR_ARGUMENT', /`optimizer`, received "adam"/);
  refuses({ metrics: ['acuracy'] }, 'ERR_ARGUMENT', /did you mean `accuracy`\?/);
  refuses({ metrics: { loss: mse } }, 'ERR_DTYPE');
  refuses({ loss: 'mse', metrics: { loss: mse } }, 'ERR_ARGUMENT', /`loss`/);
  refuses(
    { precision: 'half' },
    'ERR_ARGUMENT',
    /^expected "float32" or "bf16-mixed" or "fp16-mixed" for `precision`, received "half"$/,
  );
  for (const memoryLimit of [0, -1, 1.5, Number.NaN, '1 GB']) {
    refuses({ memoryLimit }, 'ERR_ARGUMENT', /`memoryLimit`/);
  }
  refuses({ device: 'cuda:99' }, 'ERR_DEVICE');
  refuses({ device: 'gpu' }, 'ERR_ARGUMENT', /`device`/);
  refuses({ maxGradNorm: 0 }, 'ERR_ARGUMENT', /`maxGradNorm`/);
  refuses({ threads: 0 }, 'ERR_ARGUMENT', /`threads`/);
  refuses({ seed: -1 }, 'ERR_ARGUMENT', /`seed`/);
  refuses({ lrScheduler: 0.5 }, 'ERR_ARGUMENT', /`lrScheduler`/);
  refuses({ checkNumerics: 1 }, 'ERR_ARGUMENT', /`checkNumerics`/);
  refuses({ gradientCheckpointing: 'yes' }, 'ERR_ARGUMENT', /`gradientCheckpointing`/);
});

test('optimizers check theirs and have the defaults of PyTorch', (t) => {
  t.is(sgd().learningRate, 1e-3);
  t.is(adam().learningRate, 1e-3);
  t.is(adamw().attributes.weightDecay, 0.01);
  t.is(adam().attributes.weightDecay, 0);
  t.is(rmsprop().learningRate, 1e-2);
  t.is(adagrad().learningRate, 1e-2);
  const argument = (message) => error('ERR_ARGUMENT', message);
  t.throws(() => sgd({ lr: 1 }), argument(/`lr`/));
  t.throws(() => sgd({ learningRate: -1 }), argument(/`learningRate`, received -1/));
  t.throws(() => sgd({ nesterov: true }), argument(/`momentum`/));
  t.throws(() => adam({ betas: [0.9] }), argument(/`betas`/));
  t.throws(() => adam({ betas: [0.9, 1] }), argument(/`betas\[1\]`/));
});

test('cosine follows the learning rates of PyTorch', async (t) => {
  const path = new URL('golden/train/mlp_adamw_cosine_clip.safetensors', import.meta.url);
  const bytes = await readFile(path);
  const length = Number(bytes.readBigUInt64LE(0));
  const { lr } = JSON.parse(bytes.subarray(8, 8 + length).toString());
  const factor = cosine({ warmupSteps: 10, totalSteps: 40, warmupStart: 0.1 });
  for (let step = 0; step < 40; step++) {
    const expected = bytes.readFloatLE(8 + length + lr.data_offsets[0] + 4 * step);
    t.true(Math.abs(0.01 * factor(step) - expected) < 1e-9, `step ${step}`);
  }
  t.is(factor(1000), 0);
  t.is(cosine({ warmupSteps: 4, totalSteps: 8 })(0), 0);
  t.is(cosine({ totalSteps: 8, minimum: 0.25 })(8), 0.25);
  t.throws(() => cosine({}), error('ERR_ARGUMENT', /`totalSteps`, received undefined/));
  t.throws(() => cosine({ totalSteps: 3, warmupSteps: 4 }), error('ERR_ARGUMENT'));
});

test('data is checked before anything runs', async (t) => {
  const trainer = make(t);
  const before = trainer.model.parameters.get('dense.weight')?.data.slice();
  const refuses = (data, code, message) =>
    t.throwsAsync(trainer.fit(data, quiet), error(code, message));
  await refuses(undefined, 'ERR_ARGUMENT', /`data`/);
  await refuses({ x }, 'ERR_ARGUMENT', /`y`, received undefined/);
  await refuses({ x, y, z: y }, 'ERR_ARGUMENT', /`z`/);
  await refuses({ x: [1, 2], y }, 'ERR_ARGUMENT', /a Float32Array for `x`/);
  await refuses({ x: Float64Array.from(x), y }, 'ERR_DTYPE', /Float32Array\.from/);
  await refuses({ x: new BigInt64Array(40), y }, 'ERR_DTYPE');
  await refuses({ x, y: Float32Array.from(y) }, 'ERR_DTYPE', /Int32Array\.from/);
  await refuses({ x: x.subarray(1), y }, 'ERR_SHAPE', /a multiple of 2 elements for `x`/);
  await refuses({ x, y: y.subarray(1) }, 'ERR_SHAPE', /20 rows, as in `x` for `y`, received 19/);
  await refuses({ x: new Float32Array(0), y: new Int32Array(0) }, 'ERR_SHAPE', /one row or more/);
  await refuses(
    { x, y: y.map((c) => c + 1) },
    'ERR_ARGUMENT',
    /from 0 to 2.*received 3 at position 2/,
  );
  await refuses({ x, y: y.map((c) => c - 1) }, 'ERR_ARGUMENT', /received -1 at position 0/);
  await refuses({ x: { x, a: x }, y }, 'ERR_ARGUMENT', /`a`/);
  await t.throwsAsync(trainer.step({ x, y: y.subarray(1) }), error('ERR_SHAPE'));
  await t.throwsAsync(trainer.evaluate({ x, y: y.subarray(1) }), error('ERR_SHAPE'));
  t.deepEqual(trainer.model.parameters.get('dense.weight')?.data, before);
});

test('errors say whether they are of validation data', async (t) => {
  const trainer = make(t);
  const told = (validationData, code, message) =>
    t.throwsAsync(trainer.fit({ x, y }, { ...quiet, validationData }), error(code, message));
  await told({ x }, 'ERR_ARGUMENT', /for `validationData\.y`, received undefined/);
  await told({ x: x.subarray(1), y }, 'ERR_SHAPE', /for `validationData\.x`/);
  await told([x, y.map(() => 9)], 'ERR_ARGUMENT', /for `validationData\.y`, received 9/);
  const rest = { x: x.subarray(0, 4), y: y.subarray(0, 1) };
  await told(rest, 'ERR_SHAPE', /as in `validationData\.x` for `validationData\.y`/);
  await told(fromArrays({ x, y: new Float32Array(rows) }), 'ERR_DTYPE', /`validationData\.y`/);
});

test('options of fit are checked', async (t) => {
  const trainer = make(t);
  const refuses = (options, message) =>
    t.throwsAsync(trainer.fit({ x, y }, { ...quiet, ...options }), error('ERR_ARGUMENT', message));
  await refuses({ epoch: 3 }, /did you mean `epochs`\?/);
  await refuses({ epochs: 0 }, /`epochs`, received 0/);
  await refuses({ batchSize: 1.5 }, /`batchSize`/);
  await refuses({ verbose: 3 }, /0 or 1 or 2/);
  await refuses({ shuffle: 'yes' }, /`shuffle`/);
  await refuses({ validationSplit: 1 }, /`validationSplit`/);
  await refuses({ validationSplit: 0 }, /`validationSplit`/);
  await refuses({ validationSplit: 0.2, validationData: { x, y } }, /both/);
  await refuses({ callbacks: {} }, /`callbacks`/);
  await refuses({ callbacks: [{}] }, /`callbacks\[0\]`/);
  await refuses({ callbacks: [{ onEpochEnd: 1 }] }, /`callbacks\[0\]\.onEpochEnd`/);
  await refuses({ signal: {} }, /an AbortSignal/);
  await refuses({ checkpoint: { folder: '.' } }, /only dir, everySteps, keep, keepBest/);
  await t.throwsAsync(
    trainer.fit({ x, y }, { ...quiet, validationData: { x, y: y.subarray(1) } }),
    error('ERR_SHAPE'),
  );
});

test('ignored targets may lie outside of the classes', async (t) => {
  const loss = (output, target) => crossEntropy(output, target, { ignoreIndex: -1 });
  const trainer = make(t, { loss });
  const masked = y.map((c, i) => (i % 4 === 0 ? -1 : c));
  t.true(Number.isFinite((await trainer.step({ x, y: masked })).loss));
  await t.throwsAsync(trainer.step({ x, y: y.map(() => -100) }), error('ERR_ARGUMENT', /-100/));
  t.true(Number.isFinite((await make(t).step({ x, y: y.map((c, i) => (i > 0 ? c : -100)) })).loss));
});

test('any integer array holds class numbers', async (t) => {
  const losses = await Promise.all(
    [Int32Array, Uint8Array, Int16Array, Uint32Array].map(async (type) => {
      const { loss } = await make(t).step({ x, y: type.from(y) });
      return loss;
    }),
  );
  t.is(new Set(losses).size, 1);
});

test('a step reports loss, learning rate, norm and metrics, and learns', async (t) => {
  const trainer = make(t, { optimizer: sgd({ learningRate: 0.5 }), metrics: ['accuracy'] });
  const first = await trainer.step({ x, y });
  t.deepEqual(Object.keys(first), ['loss', 'learningRate', 'gradNorm', 'accuracy']);
  t.is(first.learningRate, 0.5);
  t.true(first.gradNorm > 0);
  for (let i = 0; i < 20; i++) await trainer.step({ x, y });
  const { loss } = await trainer.evaluate({ x, y });
  t.true(loss < first.loss);
});

test('the scheduler sees every step once, from 0 on, over all calls', async (t) => {
  const steps = [];
  const lrScheduler = (step) => {
    steps.push(step);
    return 1;
  };
  const trainer = make(t, { lrScheduler });
  await trainer.step({ x, y });
  await trainer.fit({ x, y }, { ...quiet, epochs: 2, batchSize: 8 });
  await trainer.step({ x, y });
  t.deepEqual(steps, [0, 1, 2, 3, 4, 5, 6, 7]);
});

test('a scheduler that gives no number is an error', async (t) => {
  const trainer = make(t, { lrScheduler: () => Number.NaN });
  await t.throwsAsync(trainer.step({ x, y }), error('ERR_ARGUMENT', /`lrScheduler\(step\)`/));
});

test('one call trains at a time', async (t) => {
  const trainer = make(t);
  const running = trainer.fit({ x, y }, { ...quiet, epochs: 20 });
  await t.throwsAsync(trainer.fit({ x, y }, quiet), error('ERR_BUSY', /`fit`/));
  await t.throwsAsync(trainer.step({ x, y }), error('ERR_BUSY', /`step`/));
  await running;
  await trainer.step({ x, y });
});

test('an abort ends fit and leaves a model that goes on', async (t) => {
  const trainer = make(t);
  const controller = new AbortController();
  const onEpochEnd = (epoch) => {
    if (epoch === 2) controller.abort('enough');
  };
  const options = {
    ...quiet,
    epochs: 1000,
    signal: controller.signal,
    callbacks: [{ onEpochEnd }],
  };
  const thrown = await t.throwsAsync(trainer.fit({ x, y }, options), error('ERR_ABORTED'));
  t.is(thrown?.cause, 'enough');
  await t.throwsAsync(
    trainer.fit({ x, y }, { ...quiet, signal: AbortSignal.abort() }),
    error('ERR_ABORTED'),
  );
  const { epochs } = await trainer.fit({ x, y }, quiet);
  t.deepEqual(epochs, [3]);
});

test('a closed trainer says so, and closes twice', async (t) => {
  const trainer = make(t);
  const fit = t.throwsAsync(
    trainer.fit({ x, y }, { ...quiet, epochs: 1_000_000 }),
    error('ERR_CLOSED'),
  );
  await new Promise((resolve) => setTimeout(resolve, 20));
  await trainer.close();
  await fit;
  await trainer.close();
  await t.throwsAsync(trainer.fit({ x, y }, quiet), error('ERR_CLOSED'));
  await t.throwsAsync(trainer.step({ x, y }), error('ERR_CLOSED'));
  await t.throwsAsync(trainer.evaluate({ x, y }), error('ERR_CLOSED'));
  t.throws(() => trainer.profile(), error('ERR_CLOSED'));
  trainer.stop();
  t.is(trainer.model.parameters.get('dense.weight')?.data.length, 6);
});

test('closing in a callback and waiting for it does not hang', async (t) => {
  const trainer = make(t);
  const onEpochEnd = () => trainer.close();
  await t.throwsAsync(
    trainer.fit({ x, y }, { ...quiet, epochs: 5, callbacks: [{ onEpochEnd }] }),
    error('ERR_CLOSED'),
  );
});

test('checkNumerics names the step that would meet a NaN, and nothing has run', async (t) => {
  const trainer = make(t, { checkNumerics: true });
  await trainer.step({ x, y });
  const before = trainer.model.parameters.get('dense.weight')?.data.slice();
  const bad = x.slice();
  bad[21] = Number.NaN;
  const options = { ...quiet, batchSize: 4, shuffle: false };
  const fitted = await t.throwsAsync(
    trainer.fit({ x: bad, y }, options),
    error('ERR_NUMERIC', /row 10.*step 3/),
  );
  t.is(fitted?.step, 3);
  const stepped = await t.throwsAsync(
    trainer.step({ x: bad, y }),
    error('ERR_NUMERIC', /row 10.*step 1/),
  );
  t.is(stepped?.step, 1);
  const evaluated = await t.throwsAsync(
    trainer.evaluate({ x: bad, y }),
    error('ERR_NUMERIC', /row 10/),
  );
  t.is(evaluated?.step, undefined);
  t.deepEqual(trainer.model.parameters.get('dense.weight')?.data, before);
});

test('checkNumerics looks at validation data before training', async (t) => {
  const trainer = make(t, { checkNumerics: true });
  const before = trainer.model.parameters.get('dense.weight')?.data.slice();
  const bad = x.slice();
  bad[31] = Number.POSITIVE_INFINITY;
  await t.throwsAsync(
    trainer.fit({ x, y }, { ...quiet, validationData: { x: bad, y } }),
    error('ERR_NUMERIC', /`validationData: x \(x\)`.*row 15/),
  );
  await t.throwsAsync(
    trainer.fit({ x: bad, y }, { ...quiet, validationSplit: 0.5 }),
    error('ERR_NUMERIC', /`validationSplit: x \(x\)`.*row 15/),
  );
  t.deepEqual(trainer.model.parameters.get('dense.weight')?.data, before);
});

test('a step that is not finite is numbered as callbacks count', async (t) => {
  const trainer = make(t, { checkNumerics: true, loss: 'mse' });
  const seen = [];
  const huge = { x: new Float32Array(8).fill(3e38), y: new Float32Array(12).fill(-3e38) };
  huge.x.fill(0, 0, 4);
  huge.y.fill(0, 0, 6);
  const onTrainEnd = (_, error) => void seen.push(error.step);
  const callbacks = [{ onBatchEnd: (step) => void seen.push(step), onTrainEnd }];
  const options = { ...quiet, batchSize: 1, shuffle: false, callbacks };
  const thrown = await t.throwsAsync(trainer.fit(huge, options), error('ERR_NUMERIC', /step 2,/));
  t.is(thrown?.step, 2);
  t.deepEqual(seen, [0, 1, 2]);
});

test('the feed whose bad row is met first is named', async (t) => {
  const trainer = make(t, { checkNumerics: true, loss: 'mse' });
  const data = { x: x.slice(), y: new Float32Array(3 * rows) };
  data.x[2 * 9] = Number.NaN;
  data.y[3 * 4] = Number.NaN;
  const options = { ...quiet, shuffle: false };
  const message = /`y \(y\)`.*row 4/;
  await t.throwsAsync(trainer.fit(data, options), error('ERR_NUMERIC', message));
  await t.throwsAsync(trainer.step(data), error('ERR_NUMERIC', message));
});

test('several inputs and outputs go by name or by order', async (t) => {
  const [a, b] = [input([2], { name: 'a' }), input([3], { name: 'b' })];
  const build = (outputs) => new Model({ inputs: [a, b], outputs, seed: 1 });
  const [left, right] = [dense(2)(a), dense(1)(b)];
  const data = { a: new Float32Array(8).fill(1), b: new Float32Array(12).fill(2) };
  const targets = { left: Int32Array.of(0, 1, 1, 0), right: new Float32Array(4) };

  const named = make(
    t,
    {
      loss: { left: 'crossEntropy', right: 'mse' },
      lossWeights: { right: 0.5 },
      metrics: ['mae'].slice(1),
    },
    build({ left, right }),
  );
  const one = await named.evaluate({ x: data, y: targets });
  t.true(Math.abs(one.loss - one.leftLoss - one.rightLoss) < 1e-5);

  const listed = make(t, { loss: ['crossEntropy', 'mse'] }, build([left, right]));
  const two = await listed.evaluate({ x: [data.a, data.b], y: [targets.left, targets.right] });
  t.true(Math.abs(two.loss - two.yLoss - two.y_1Loss) < 1e-5);

  const all = (outputs, wanted) => l1(outputs.right, wanted.right);
  const own = make(t, { loss: all }, build({ left, right }));
  const floats = { left: new Float32Array(8), right: new Float32Array(4) };
  t.true(Number.isFinite((await own.step({ x: data, y: floats })).loss));
  t.throws(
    () => make(t, { loss: { lft: 'mse' } }, build({ left, right })),
    error('ERR_ARGUMENT', /did you mean `left`\?/),
  );
});

test('one function of many outputs finds which of them have classes', async (t) => {
  for (const count of [2, 6, 7, 9]) {
    const shared = input([2]);
    const names = Array.from({ length: count }, (_, i) => `o${i}`);
    const outputs = Object.fromEntries(names.map((name) => [name, dense(3)(shared)]));
    for (const hasClasses of [() => true, () => false, (i) => i % 2 === 1, (i) => i % 3 === 0]) {
      const loss = (found, wanted) =>
        names
          .map((name, i) => (hasClasses(i) ? crossEntropy : mse)(found[name], wanted[name]))
          .reduce((a, b) => add(a, b));
      const trainer = make(t, { loss }, new Model({ inputs: shared, outputs, seed: 1 }));
      const wanted = names.map((name, i) => [
        name,
        hasClasses(i) ? Int32Array.of(0, 2) : new Float32Array(6),
      ]);
      const data = { x: Float32Array.of(1, 2, 3, 4), y: Object.fromEntries(wanted) };
      t.true(Number.isFinite((await trainer.step(data)).loss), `${count}`);
    }
    const wrong = (found, wanted) =>
      mse(found.o0, add(wanted.o0, concat([found.o0, found.o0], { axis: 1 })));
    const of = new Model({ inputs: shared, outputs, seed: 1 });
    t.throws(() => make(t, { loss: wrong }, of), error('ERR_SHAPE', /in `loss`/));
  }
});

test('a loss finds that it is of class numbers by the axes of its options', async (t) => {
  const tokens = () => sequential([dense(4)], { input: [3, 2], seed: 1 });
  const edge = {
    pads: [
      [0, 0],
      [0, 1],
    ],
    value: -100,
  };
  // What comes next, of which the last has none.
  const next = (target) => pad(slice(target, { axis: 1, start: 1 }), edge);
  const shifted = make(t, { loss: (got, target) => crossEntropy(got, next(target)) }, tokens());
  const plain = make(t, {}, tokens());
  const ones = new Float32Array(12).fill(1);
  const { loss } = await shifted.step({ x: ones, y: Int32Array.of(0, 1, 2, 3, 2, 1) });
  const { loss: expected } = await plain.step({
    x: ones,
    y: Int32Array.of(1, 2, -100, 2, 1, -100),
  });
  t.is(loss, expected);
  const wrong = (got, target) => crossEntropy(got, target, { labelSmoothing: 7 });
  const flat = (got, target) => crossEntropy(got, pad(target, { pads: [[0, 0]] }));
  t.throws(() => make(t, { loss: wrong }, tokens()), error('ERR_ARGUMENT', /`labelSmoothing`/));
  t.throws(() => make(t, { loss: flat }, tokens()), error('ERR_ARGUMENT', /`pads`/));
});

test('a loss with a layer of its own is refused', (t) => {
  const loss = (output, target) => mse(dense(3)(output), target);
  t.throws(() => make(t, { loss }), error('ERR_ARGUMENT', /without parameters of their own/));
});

test('a model with a fixed batch trains on whole batches', async (t) => {
  const build = (batch) =>
    sequential([dense(3)], { input: input([2], batch && { batch }), seed: 1 });
  const data = { x, y };
  const options = { optimizer: sgd({ learningRate: 0.1 }), metrics: ['accuracy'] };
  const [fixed, free] = [make(t, options, build(10)), make(t, options, build())];
  const history = await fixed.fit(data, { ...quiet, epochs: 2, validationData: data });
  const wanted = await free.fit(data, {
    ...quiet,
    epochs: 2,
    batchSize: 10,
    validationData: data,
  });
  for (const name of ['loss', 'accuracy', 'valLoss', 'valAccuracy']) {
    t.true(
      history[name].every((value, i) => Math.abs(value - wanted[name][i]) < 1e-6),
      name,
    );
  }
  const ten = { x: x.subarray(0, 20), y: y.subarray(0, 10) };
  t.true(Number.isFinite((await fixed.step(ten)).loss));
  t.true(Number.isFinite((await fixed.evaluate(data)).loss));
  const part = { x: x.subarray(0, 24), y: y.subarray(0, 12) };
  const refuses = (promise, message) => t.throwsAsync(promise, error('ERR_SHAPE', message));
  await refuses(fixed.fit(data, { ...quiet, batchSize: 5 }), /10.*`batchSize`, received 5/);
  await refuses(fixed.fit(part, quiet), /whole batches of 10 rows.*received 12 rows/);
  await refuses(fixed.fit(data, { ...quiet, validationData: part }), /`validationData`/);
  await refuses(fixed.fit(data, { ...quiet, validationSplit: 0.25 }), /`validationSplit`/);
  await refuses(fixed.step(data), /10 rows.*received 20 rows/);
  await refuses(fixed.evaluate(part), /whole batches/);
  await refuses(fixed.evaluate(data, { batchSize: 20 }), /`batchSize`/);
});

test('named metrics apply to the outputs whose loss they fit', async (t) => {
  const value = input([2], { name: 'x' });
  const model = new Model({
    inputs: value,
    outputs: { cls: dense(3)(value), reg: dense(1)(value), yes: dense(1)(value) },
    seed: 1,
  });
  const loss = { cls: 'crossEntropy', reg: 'mse', yes: 'bceWithLogits' };
  const data = { x, y: { cls: y, reg: new Float32Array(rows), yes: new Float32Array(rows) } };
  const reported = async (options) => {
    const scores = await make(t, { loss, ...options }, model).evaluate(data);
    t.true(Object.values(scores).every(Number.isFinite));
    return Object.keys(scores).slice(4);
  };
  t.deepEqual(await reported({ metrics: ['accuracy'] }), ['clsAccuracy', 'yesAccuracy']);
  t.deepEqual(await reported({ metrics: ['mae'] }), ['regMae']);
  t.deepEqual(await reported({ metrics: { share: 'accuracy' } }), ['clsShare', 'yesShare']);
  const metrics = { cls: ['accuracy'], reg: ['mae'] };
  t.deepEqual(await reported({ metrics }), ['clsAccuracy', 'regMae']);
  const own = { ...loss, reg: (output, target) => mse(output, target) };
  const all = ['accuracy', 'mae'];
  t.deepEqual(await reported({ loss: own, metrics: all }), [
    'clsAccuracy',
    'yesAccuracy',
    'regMae',
  ]);

  const refuses = (options, message, of = model) =>
    t.throws(() => make(t, { loss, ...options }, of), error('ERR_ARGUMENT', message));
  refuses({ metrics: { reg: ['accuracy'] } }, /`metrics`, received "accuracy"/);
  refuses({ metrics: { rge: ['mae'] } }, /did you mean `reg`\?/);
  refuses({ metrics: { cls: ['acuracy'] } }, /did you mean `accuracy`\?/);
  const single = sequential([dense(3)], { input: [2] });
  refuses({ loss: 'mse', metrics: ['accuracy'] }, /`metrics`, received "accuracy"/, single);
  refuses({ loss: 'crossEntropy', metrics: ['mae'] }, /`metrics`, received "mae"/, single);
});
