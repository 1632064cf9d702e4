// Layers as 8-bit integers: how they become bytes, what they cost, and what stays float32.
import { setTimeout as sleep } from 'node:timers/promises';
import test from 'ava';
import {
  dense,
  gelu,
  input,
  Model,
  matmul,
  quantize,
  reshape,
  sequential,
  sgd,
  Trainer,
} from 'tandem-ml';
import { stateOf } from '../dist/internals.js';
import { relativeError } from './helpers/numbers.mjs';
import { error } from './helpers/outcomes.mjs';
import { loadPredictor } from './helpers/predictors.mjs';
import { images, kernels, noise, perceptron, transformer } from './helpers/quantized.mjs';

test('dense layers become a chain of bytes', async (t) => {
  const model = perceptron();
  const x = noise(64 * 20);
  const exact = (await loadPredictor(t, model)).predictSync(x);
  const int8 = await loadPredictor(t, model, { precision: 'int8', calibration: { x } });
  const found = int8.predictSync(x);
  t.true(relativeError(found, exact) < 0.02);
  t.is(kernels(int8), 'quantize quantizedLinear quantizedLinear quantizedLinear');
  t.deepEqual(await int8.predict(x), found);
  t.deepEqual(int8.predictSync(x.subarray(0, 20)), found.slice(0, 5));
  const { layers, observer, calibrationRows, worst } = int8.quantization;
  t.deepEqual([observer, calibrationRows, worst.length], ['mse', 64, 3]);
  t.deepEqual(
    layers.map(({ name, op, precision }) => [name, op, precision]),
    ['dense', 'dense_1', 'dense_2'].map((name) => [name, 'linear', 'static']),
  );
  t.true(layers.every(({ signalToNoise }) => signalToNoise > 30 && signalToNoise < 60));
  t.is(layers[1].input.zero, 0); // what relu gives
});

test('weights take a quarter of the memory', async (t) => {
  const wide = sequential([dense(256, { activation: 'relu' }), dense(256)], { input: [256] });
  const x = noise(32 * 256);
  const bytes = async (options) =>
    (await loadPredictor(t, wide, options)).profile().memory.parameters;
  const plain = await bytes();
  t.true((await bytes({ precision: 'int8', calibration: { x } })) < 0.28 * plain);
  t.true((await bytes({ precision: 'int8-weights' })) < 0.28 * plain);
  t.true((await bytes({ precision: 'bfloat16' })) < 0.53 * plain);
});

test('without calibration rows have their own ranges', async (t) => {
  const model = perceptron();
  const x = noise(16 * 20).map((value, i) => (i < 20 ? 1000 * value : value));
  const exact = (await loadPredictor(t, model)).predictSync(x);
  const int8 = await loadPredictor(t, model, { precision: 'int8' });
  const found = int8.predictSync(x);
  // The range of the first row, a thousand times as large, is not that of the others.
  t.true(relativeError(found.subarray(5), exact.subarray(5)) < 0.02);
  t.true(int8.quantization.layers.every(({ precision }) => precision === 'dynamic'));
  t.deepEqual(int8.predictSync(x.subarray(20, 40)), found.slice(5, 10));
});

test('weights alone and bfloat16 are close to float32', async (t) => {
  const model = perceptron();
  const x = noise(7 * 20);
  const exact = (await loadPredictor(t, model)).predictSync(x);
  const weights = await loadPredictor(t, model, { precision: 'int8-weights' });
  t.true(relativeError(weights.predictSync(x), exact) < 0.02);
  t.true(weights.quantization.layers.every(({ precision }) => precision === 'weights'));
  const half = await loadPredictor(t, model, { precision: 'bfloat16' });
  t.true(relativeError(half.predictSync(x), exact) < 0.02);
  t.true(half.profile().kernels.every((name) => name.endsWith(' bf16')));
  t.is(half.quantization, undefined);
});

test('every observer gives a model that is close', async (t) => {
  const model = perceptron();
  const x = noise(64 * 20);
  const exact = (await loadPredictor(t, model)).predictSync(x);
  for (const observer of ['minMax', 'percentile', 'entropy', 'mse']) {
    for (const symmetric of [false, true]) {
      const quantization = { observer, symmetric };
      const options = { precision: 'int8', calibration: { x }, quantization };
      const int8 = await loadPredictor(t, model, options);
      t.true(relativeError(int8.predictSync(x), exact) < 0.04, `${observer} ${symmetric}`);
      const { input: first } = int8.quantization.layers[0];
      if (symmetric) t.is(first.zero, 128);
    }
  }
});

test('observers leave outliers out', async (t) => {
  const model = sequential([dense(4)], { input: [8] });
  const x = noise(4096 * 8).map((value, i) => (i === 77 ? 400 : value));
  const cover = async (quantization) => {
    const quantized = await quantize(model, { calibration: { x }, quantization });
    return quantized.report.layers[0].input;
  };
  const all = await cover({ observer: 'minMax' });
  t.is(all.covered.high, 400);
  for (const observer of ['percentile', 'entropy', 'mse']) {
    const { seen, covered } = await cover({ observer });
    t.is(seen.high, 400);
    t.true(covered.high < (observer === 'mse' ? 395 : 300), observer);
  }
});

test('one scale for all of a weight is worse than one for each channel', async (t) => {
  const model = sequential([dense(16)], { input: [32], seed: 3 });
  const weight = model.parameters.get('dense.weight').data;
  weight.forEach((value, i) => {
    weight[i] = value * 2 ** -Math.floor(i / 32);
  });
  const snr = async (perChannel) => {
    const options = { calibration: { x: noise(64 * 32) }, quantization: { perChannel } };
    return (await quantize(model, options)).report.layers[0].signalToNoise;
  };
  t.true((await snr(true)) > (await snr(false)));
  const rows = noise(32);
  const exact = (await loadPredictor(t, model)).predictSync(rows);
  const int8 = await loadPredictor(t, model, {
    precision: 'int8',
    calibration: { x: noise(64 * 32) },
  });
  t.true(Math.abs(int8.predictSync(rows)[15] / exact[15] - 1) < 0.2);
});

test('convolutions, pooling and dense layers pass bytes on', async (t) => {
  const model = images();
  model.parameters.get('batchNorm.runningVar').data.fill(0.3);
  model.parameters.get('batchNorm.runningMean').data.fill(0.1);
  const x = noise(40 * 3 * 144);
  const exact = (await loadPredictor(t, model)).predictSync(x);
  const int8 = await loadPredictor(t, model, { precision: 'int8', calibration: { x } });
  t.true(relativeError(int8.predictSync(x), exact) < 0.03);
  const chain =
    'quantize quantizedConv maxPoolBytes quantizedConv maxPoolBytes moveChannels quantizedLinear';
  t.is(kernels(int8), chain);
  const dynamic = await loadPredictor(t, model, { precision: 'int8' });
  t.true(relativeError(dynamic.predictSync(x), exact) < 0.02);
  t.deepEqual(
    dynamic.quantization.layers.map(({ precision, reason }) => [precision, reason]),
    [
      ['weights', undefined],
      ['weights', undefined],
      ['dynamic', undefined],
    ],
  );
});

test('layers are kept by option, and what has no 8-bit form says why', async (t) => {
  const x = noise(64 * 20);
  const report = async (quantization) =>
    (await quantize(perceptron(), { calibration: { x }, quantization })).report.layers;
  const ends = await report({ keepFirst: true, keepLast: true });
  t.deepEqual(
    ends.map(({ precision, reason }) => [precision, reason]),
    [
      ['float32', 'keepFirst'],
      ['static', undefined],
      ['float32', 'keepLast'],
    ],
  );
  t.is((await report({ keep: ['dense_1'] }))[1].reason, 'keep');
  await t.throwsAsync(report({ keep: ['dense_9'] }), error('ERR_ARGUMENT', /dense, dense_1/));
  const rows = input([3, 4]);
  const columns = reshape(rows, [-1, 4, 3]);
  const product = new Model({ inputs: rows, outputs: dense(2)(matmul(rows, columns)) });
  const { layers } = (await quantize(product, { calibration: { x: noise(120) } })).report;
  t.regex(layers.find(({ op }) => op === 'matmul').reason, /matmul/);
});

test('the first and the last layer that are kept are ones with weights', async (t) => {
  const rows = input([3, 4]);
  const products = (x) => matmul(x, reshape(x, [-1, 4, 3]));
  const inner = dense(4, { name: 'inner' })(products(rows));
  const model = new Model({ inputs: rows, outputs: products(inner) });
  for (const option of ['keepFirst', 'keepLast']) {
    const calibration = { x: noise(120) };
    const { report } = await quantize(model, { calibration, quantization: { [option]: true } });
    t.is(report.layers.find(({ name }) => name === 'inner').reason, option);
  }
});

test('transformers: embedding, attention, smoothing', async (t) => {
  const model = transformer();
  const gain = [...model.parameters].find(([name]) => /[nN]orm.*weight/.test(name))[1].data;
  gain[3] = 20; // an outlier channel
  const x = Int32Array.from({ length: 32 * 12 }, (_, i) => (i * 7 + i * i) % 30);
  const exact = (await loadPredictor(t, model)).predictSync(x);
  const noiseOf = async (smoothQuant) => {
    const options = { precision: 'int8', calibration: { x }, quantization: { smoothQuant } };
    const int8 = await loadPredictor(t, model, options);
    t.is(int8.quantization.smoothed > 0, smoothQuant !== false);
    const found = int8.predictSync(x);
    for (const op of ['quantizedEmbedding', 'quantizedAttention', 'quantizedLinear']) {
      t.true(kernels(int8).includes(op));
    }
    return relativeError(found, exact);
  };
  const [smooth, rough] = [await noiseOf(true), await noiseOf(false)];
  t.true(smooth < 0.05 && 1.5 * smooth < rough, `${smooth} ${rough}`);
});

test('values before an activation that others read, too', async (t) => {
  const x = input([8]);
  const hidden = dense(16)(x);
  const outputs = { y: dense(3)(gelu(hidden)), hidden };
  const model = new Model({ inputs: x, outputs, seed: 5 });
  const rows = noise(32 * 8);
  const exact = (await loadPredictor(t, model)).predictSync(rows);
  const int8 = await loadPredictor(t, model, { precision: 'int8', calibration: { x: rows } });
  const found = int8.predictSync(rows);
  for (const name of ['y', 'hidden']) t.true(relativeError(found[name], exact[name]) < 0.02, name);
});

test('NaN goes on through relu, with 8-bit weights', async (t) => {
  const model = sequential([dense(20, { activation: 'relu' }), dense(3)], { input: [40], seed: 1 });
  for (const precision of ['float32', 'int8-weights']) {
    const predictor = await loadPredictor(t, model, { precision });
    for (const rows of [1, 9, 40]) {
      const x = noise(rows * 40);
      x[3] = Number.NaN;
      const y = predictor.predictSync(x);
      t.true(y.subarray(0, 3).every(Number.isNaN), `${precision}, ${rows} rows`);
      t.true(y.subarray(3).every(Number.isFinite), `${precision}, ${rows} rows`);
    }
  }
});

test('what is quantized is the model at the time of the call, whatever trains it then', async (t) => {
  // Copied over several turns of the event loop, in which a step could begin.
  const width = 2048;
  const build = () => sequential([dense(width), dense(16)], { input: [width], seed: 3 });
  const [model, untrained] = [build(), build()];
  // So that a step takes less time than the copying.
  model.parameters.get('dense.weight').trainable = false;
  const trainer = new Trainer(model, { loss: 'mse', optimizer: sgd({ learningRate: 1 }) });
  const x = noise(width);
  const quantizing = quantize(model, { precision: 'int8-weights' });
  const [quantized] = await Promise.all([quantizing, trainer.step({ x, y: noise(16, 2) })]);
  const expected = await quantize(untrained, { precision: 'int8-weights' });
  const results = await Promise.all(
    [quantized, expected].map(async (each) => {
      const predictor = await loadPredictor(t, each);
      return predictor.predictSync(x);
    }),
  );
  t.deepEqual(results[0], results[1]);
  await trainer.close();
});

test('no step begins while parameters come from a GPU to be quantized', async (t) => {
  const model = sequential([dense(2)], { input: [3], seed: 1 });
  const trainer = new Trainer(model, { loss: 'mse', optimizer: sgd({ learningRate: 1 }) });
  const before = [...model.parameters.get('dense.weight').data];
  let stepping;
  const { devices } = stateOf(model);
  devices.add({
    async sync() {
      stepping = trainer.step({ x: noise(3), y: noise(2) });
      await sleep(20);
      t.deepEqual([...model.parameters.get('dense.weight').data], before);
    },
  });
  (await quantize(model, { precision: 'int8-weights' })).close();
  devices.clear();
  await stepping;
  t.notDeepEqual([...model.parameters.get('dense.weight').data], before);
  await trainer.close();
});
