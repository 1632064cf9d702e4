// Layers that normalise: parameters, running statistics, files, predictions.
import { join } from 'node:path';
import test from 'ava';
import {
  add,
  batchNorm,
  dense,
  groupNorm,
  input,
  layerNorm,
  Model,
  Predictor,
  rmsNorm,
  sequential,
  sgd,
  Trainer,
} from 'tandem-ml';
import { evaluate } from 'tandem-ml/autodiff';
import { makeFolder } from '../helpers/folder.mjs';
import { generator, relativeError, uniform } from '../helpers/numbers.mjs';

const [rows, channels, length] = [6, 5, 7];
const count = rows * channels * length;
const random = generator(1);
const data = uniform(count, random, -2, 5);

const classifier = (options) =>
  sequential([batchNorm({ name: 'norm', ...options }), (x) => x, dense(3)], {
    input: [channels, length],
    seed: 1,
  });

/** Mean and variance (dividing by n) of each channel. */
function statistics(x) {
  const n = x.length / channels;
  const of = (i) => Math.floor(i / length) % channels;
  const mean = new Float64Array(channels);
  x.forEach((value, i) => {
    mean[of(i)] += value / n;
  });
  const variance = new Float64Array(channels);
  x.forEach((value, i) => {
    variance[of(i)] += (value - mean[of(i)]) ** 2 / n;
  });
  return { mean, variance, n };
}

const mse = (model, options) =>
  new Trainer(model, { loss: 'mse', optimizer: sgd({ learningRate: 0.01 }), ...options });
const targets = new Float32Array(rows * channels * 3).fill(0.5);
const get = (model, name) => model.parameters.get(`norm.${name}`).data;

test('parameters are those of torch.nn.BatchNorm', (t) => {
  const model = classifier();
  const shown = [...model.parameters].map(([name, { shape, trainable }]) => [
    name,
    shape,
    trainable,
  ]);
  t.deepEqual(shown, [
    ['norm.weight', [channels], true],
    ['norm.bias', [channels], true],
    ['norm.runningMean', [channels], false],
    ['norm.runningVar', [channels], false],
    ['dense.weight', [3, length], true],
    ['dense.bias', [3], true],
  ]);
  t.deepEqual([...get(model, 'weight')], [1, 1, 1, 1, 1]);
  t.deepEqual([...get(model, 'bias')], [0, 0, 0, 0, 0]);
  t.deepEqual([...get(model, 'runningMean')], [0, 0, 0, 0, 0]);
  t.deepEqual([...get(model, 'runningVar')], [1, 1, 1, 1, 1]);
});

for (const [what, options] of [
  ['', {}],
  [' with clipping', { maxGradNorm: 1 }],
  [' with numeric checks', { checkNumerics: true }],
]) {
  test(`a step${what} moves running statistics on, once`, async (t) => {
    const model = classifier({ momentum: 0.3 });
    const trainer = mse(model, options);
    t.teardown(() => trainer.close());
    const { mean, variance, n } = statistics(data);
    const expected = {
      mean: new Float64Array(channels),
      variance: new Float64Array(channels).fill(1),
    };
    for (let step = 0; step < 3; step++) {
      await trainer.step({ x: data, y: targets });
      for (let c = 0; c < channels; c++) {
        expected.mean[c] = 0.7 * expected.mean[c] + 0.3 * mean[c];
        expected.variance[c] = 0.7 * expected.variance[c] + (0.3 * variance[c] * n) / (n - 1);
      }
      t.true(relativeError(get(model, 'runningMean'), expected.mean) < 1e-6);
      t.true(relativeError(get(model, 'runningVar'), expected.variance) < 1e-6);
    }
  });
}

test('evaluation and prediction use running statistics and leave them alone', async (t) => {
  const model = classifier({ eps: 1e-3 });
  const trainer = mse(model);
  t.teardown(() => trainer.close());
  await trainer.step({ x: data, y: targets });
  const [mean, variance] = ['runningMean', 'runningVar'].map((name) => get(model, name).slice());
  const [w, b] = ['weight', 'bias'].map((name) => get(model, name));
  const [u, v] = ['weight', 'bias'].map((name) => model.parameters.get(`dense.${name}`).data);
  const normal = data.map((value, i) => {
    const c = Math.floor(i / length) % channels;
    return ((value - mean[c]) / Math.sqrt(variance[c] + 1e-3)) * w[c] + b[c];
  });
  const expected = Float64Array.from({ length: targets.length }, (_, i) => {
    const [row, unit] = [Math.floor(i / 3), i % 3];
    return (
      v[unit] +
      u
        .slice(unit * length, (unit + 1) * length)
        .reduce((sum, weight, k) => sum + weight * normal[row * length + k], 0)
    );
  });
  const predictor = await Predictor.load(model);
  t.teardown(() => predictor.close());
  t.true(relativeError(predictor.predictSync(data), expected) < 1e-5);

  const { loss } = await trainer.evaluate({ x: data, y: targets });
  const wanted = expected.reduce((sum, value) => sum + (value - 0.5) ** 2, 0) / expected.length;
  t.true(Math.abs(loss - wanted) < 1e-5 * wanted);
  t.deepEqual(get(model, 'runningMean'), mean);
  t.deepEqual(get(model, 'runningVar'), variance);
});

test('a step that is skipped leaves running statistics alone', async (t) => {
  const model = classifier();
  const trainer = mse(model, { checkNumerics: true });
  t.teardown(() => trainer.close());
  await trainer.step({ x: data, y: targets });
  const before = ['runningMean', 'runningVar'].map((name) => get(model, name).slice());
  const huge = targets.map(() => 3e38);
  await t.throwsAsync(trainer.step({ x: data, y: huge }), { code: 'ERR_NUMERIC' });
  t.deepEqual(
    ['runningMean', 'runningVar'].map((name) => get(model, name)),
    before,
  );
});

test('a batch of one value a channel moves the mean only', async (t) => {
  const model = sequential([batchNorm({ name: 'norm' })], { input: [2], seed: 1 });
  const trainer = mse(model);
  t.teardown(() => trainer.close());
  await trainer.step({ x: Float32Array.of(10, -20), y: Float32Array.of(0, 0) });
  t.deepEqual([...get(model, 'runningMean')], [1, -2]);
  t.deepEqual([...get(model, 'runningVar')], [1, 1]);
});

test('a layer that is called twice moves its statistics on twice', async (t) => {
  const norm = batchNorm({ name: 'norm', momentum: 0.5 });
  const [x, y] = [input([1]), input([1])];
  const model = new Model({ inputs: { x, y }, outputs: { a: norm(x), b: norm(y) } });
  const trainer = mse(model);
  t.teardown(() => trainer.close());
  const zeros = new Float32Array(2);
  const batch = { x: Float32Array.of(2, 6), y: Float32Array.of(10, 30) };
  await trainer.step({ x: batch, y: { a: zeros, b: zeros } });
  t.deepEqual([...get(model, 'runningMean')], [11]);
});

test('any number of threads gives the same bits', async (t) => {
  const [n, c, l] = [32, 24, 49];
  const x = uniform(n * c * l, generator(2), -1, 1);
  const y = uniform(n * c * l, generator(3), -1, 1);
  const runs = [];
  for (const threads of [1, 2, 3]) {
    const model = sequential([batchNorm({ name: 'norm' })], { input: [c, l], seed: 1 });
    const trainer = mse(model, { threads });
    for (let step = 0; step < 3; step++) await trainer.step({ x, y });
    await trainer.close();
    runs.push([...model.parameters].map(([, { data: numbers }]) => numbers.slice()));
  }
  t.deepEqual(runs[1], runs[0]);
  t.deepEqual(runs[2], runs[0]);
});

test('a file keeps running statistics and how they move', async (t) => {
  const folder = await makeFolder(t);
  const file = join(folder, 'model.safetensors');
  const model = classifier({ momentum: 0.25, eps: 0.5 });
  const first = mse(model);
  await first.step({ x: data, y: targets });
  await first.close();
  await model.save(file);
  const copy = await Model.load(file);
  t.false(copy.parameters.get('norm.runningMean').trainable);
  for (const each of [model, copy]) {
    const trainer = mse(each);
    await trainer.step({ x: data, y: targets });
    await trainer.close();
  }
  for (const [name, { data: numbers }] of model.parameters) {
    t.deepEqual(copy.parameters.get(name).data, numbers, name);
  }
});

test('autodiff takes running statistics, with `training` the batch’s', (t) => {
  const x = input([1]);
  const y = batchNorm({ eps: 0 })(x);
  new Model({ inputs: [x], outputs: [y] });
  const feeds = new Map([[x, Float32Array.of(3, 5)]]);
  t.deepEqual([...evaluate(y, feeds)[0]], [3, 5]);
  t.deepEqual([...evaluate(y, feeds, { training: true })[0]], [-1, 1]);
});

test('batchNorm checks its options and its input', (t) => {
  const argument = { code: 'ERR_ARGUMENT' };
  t.throws(() => batchNorm({ momentum: 1.5 }), argument);
  t.throws(() => batchNorm({ momentum: '0.1' }), argument);
  t.throws(() => batchNorm({ eps: -1 }), argument);
  t.throws(() => batchNorm({ rate: 1 }), { ...argument, message: /rate/ });
  t.throws(() => batchNorm({ name: 'n' })(input([])), { code: 'ERR_SHAPE', message: /`n`/ });
});

test('layerNorm, rmsNorm and groupNorm have the parameters of torch.nn', (t) => {
  const layers = [layerNorm(), rmsNorm(), groupNorm({ groups: 5 }), layerNorm({ bias: false })];
  const model = sequential(layers, { input: [channels, length], seed: 1 });
  const shown = [...model.parameters].map(([name, { shape, trainable, data: numbers }]) => {
    t.true(trainable);
    return [name, shape, numbers[0]];
  });
  t.deepEqual(shown, [
    ['layerNorm.weight', [length], 1],
    ['layerNorm.bias', [length], 0],
    ['rmsNorm.weight', [length], 1],
    ['groupNorm.weight', [channels], 1],
    ['groupNorm.bias', [channels], 0],
    ['layerNorm_1.weight', [length], 1],
  ]);
});

test('norms train, predict what they evaluate, and come back from files', async (t) => {
  const folder = await makeFolder(t);
  const file = join(folder, 'model.safetensors');
  const x = input([channels, length], { name: 'x' });
  // Pre-norm blocks: each sum is normalised and read again.
  let y = x;
  for (const norm of [layerNorm({ eps: 0.25 }), rmsNorm({ eps: 0.5 }), layerNorm()]) {
    y = add(y, dense(length, { activation: 'tanh' })(norm(y)));
  }
  y = groupNorm({ groups: 5, eps: 0.125 })(y);
  const model = new Model({ inputs: [x], outputs: [y], seed: 1 });
  const goal = data.map((value) => Math.sin(value));
  const trainer = mse(model);
  t.teardown(() => trainer.close());
  const before = await trainer.evaluate({ x: data, y: goal });
  for (let step = 0; step < 20; step++) await trainer.step({ x: data, y: goal });
  const after = await trainer.evaluate({ x: data, y: goal });
  t.true(after.loss < before.loss);

  await model.save(file);
  const copy = await Model.load(file);
  const [own, loaded] = [await Predictor.load(model), await Predictor.load(copy)];
  const predicted = own.predictSync(data);
  t.deepEqual(loaded.predictSync(data), predicted);
  const squares = predicted.reduce((sum, value, i) => sum + (value - goal[i]) ** 2, 0);
  t.true(Math.abs(squares / goal.length - after.loss) < 1e-5);
  // Of the three sums the first two are computed by the norms that read them.
  t.is(own.profile().kernels.filter((kernel) => kernel === 'add').length, 1);
});

test('layerNorm, rmsNorm and groupNorm check their options and their input', (t) => {
  const argument = { code: 'ERR_ARGUMENT' };
  t.throws(() => layerNorm({ eps: -1 }), argument);
  t.throws(() => layerNorm({ bias: 1 }), argument);
  t.throws(() => rmsNorm({ bias: true }), argument);
  t.throws(() => rmsNorm({ eps: 'small' }), argument);
  t.throws(() => groupNorm(), argument);
  t.throws(() => groupNorm({ groups: 0 }), argument);
  const shape = { code: 'ERR_SHAPE', message: /`n`/ };
  t.throws(() => layerNorm({ name: 'n' })(input([])), shape);
  t.throws(() => rmsNorm({ name: 'n' })(input([])), shape);
  t.throws(() => groupNorm({ groups: 1, name: 'n' })(input([])), shape);
  t.throws(() => groupNorm({ groups: 4, name: 'n' })(input([6])), { ...argument, message: /`n`/ });
});
