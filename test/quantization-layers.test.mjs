// Layers beside dense ones as 8-bit integers, in each of the ways: calibrated, by ranges of rows, and
// weights alone.
import { join } from 'node:path';
import test from 'ava';
import {
  add,
  attention,
  avgPool2d,
  batchNorm,
  conv2d,
  dense,
  elu,
  flatten,
  gelu,
  gru,
  hardSigmoid,
  hardSwish,
  input,
  layerNorm,
  leakyRelu,
  lstm,
  Model,
  mean,
  mish,
  multiHeadAttention,
  quantize,
  relu,
  sequential,
  sigmoid,
  softplus,
  tanh,
} from 'tandem-ml';
import { makeFolder } from './helpers/folder.mjs';
import { relativeError } from './helpers/numbers.mjs';
import { loadPredictor } from './helpers/predictors.mjs';
import { kernels, noise } from './helpers/quantized.mjs';

/** How a model computes `x` in each way, with the distance from float32. */
async function ways(t, model, x) {
  const exact = (await loadPredictor(t, model)).predictSync(x);
  const run = async (options) => {
    const int8 = await loadPredictor(t, model, options);
    const error = relativeError(int8.predictSync(x), exact);
    const layer = (op) => int8.quantization.layers.find((one) => one.op === op);
    return { int8, error, layer };
  };
  return {
    calibrated: await run({ precision: 'int8', calibration: { x } }),
    dynamic: await run({ precision: 'int8' }),
    weights: await run({ precision: 'int8-weights' }),
  };
}

/** A file that goes with the test. */
const temporary = async (t) => join(await makeFolder(t), 'model.safetensors');

async function comesBack(t, model, options, x) {
  const file = await temporary(t);
  const small = await quantize(model, options);
  await small.save(file);
  const [served, read] = [await loadPredictor(t, small), await loadPredictor(t, file)];
  t.deepEqual(read.predictSync(x), served.predictSync(x));
}

test('convolutions in groups: each channel on its own, and by fours', async (t) => {
  const model = sequential(
    [
      conv2d(16, { kernel: 3, padding: 1, activation: 'relu' }),
      conv2d(16, { kernel: 3, padding: 1, groups: 16, activation: 'relu' }),
      conv2d(24, { kernel: 1, groups: 4 }),
      flatten(),
      dense(5),
    ],
    { input: [3, 9, 8], seed: 2 },
  );
  const x = noise(24 * 216);
  const { calibrated, dynamic, weights } = await ways(t, model, x);
  for (const { error, int8 } of [calibrated, dynamic, weights]) {
    t.true(error < 0.03, `${error}`);
    t.true(int8.quantization.layers.every(({ precision }) => precision !== 'float32'));
  }
  t.regex(kernels(calibrated.int8), /^quantize quantizedConv quantizedConv quantizedConv /);
  t.true(weights.error < 0.01, `${weights.error}`);
  t.is(weights.layer('conv2d').precision, 'weights');
  t.regex(kernels(weights.int8), /dequantizeWeight fusedConv/);
  await comesBack(t, model, { calibration: { x } }, x);
  await comesBack(t, model, { precision: 'int8-weights' }, x);
});

test('recurrences: states by the ranges of their rows', async (t) => {
  for (const [name, layer] of Object.entries({ lstm, gru })) {
    const model = sequential([layer(24), dense(3)], { input: [7, 5], seed: 4 });
    const x = noise(32 * 35);
    const { calibrated, dynamic, weights } = await ways(t, model, x);
    for (const { error, int8, layer: of } of [calibrated, dynamic]) {
      t.true(error < 0.03, `${name} ${error}`);
      t.true(kernels(int8).includes(name === 'lstm' ? 'quantizedLstm' : 'quantizedGru'));
      t.is(of(name).precision, 'dynamic');
    }
    t.true(calibrated.layer(name).signalToNoise > 20);
    t.true(weights.error < 0.01, `${name} ${weights.error}`);
    t.is(weights.layer(name).precision, 'weights');
    t.regex(kernels(weights.int8), new RegExp(`dequantizeWeight ${name}`));
    await comesBack(t, model, { calibration: { x } }, x);
    await comesBack(t, model, { precision: 'int8-weights' }, x);
  }
});

test('residual blocks leave images channels last', async (t) => {
  const x = input([8, 10, 9], { name: 'x' });
  const conv = (filters) => conv2d(filters, { kernel: 3, padding: 1 });
  let y = relu(conv(16)(x));
  for (let i = 0; i < 2; i++) y = relu(add(y, conv(16)(relu(conv(16)(y)))));
  const means = mean(y, { axes: [2, 3] });
  const model = new Model({ inputs: x, outputs: dense(4)(means), seed: 7 });
  const { calibrated, dynamic } = await ways(t, model, noise(16 * 720));
  t.true(calibrated.error < 0.03 && dynamic.error < 0.03, `${calibrated.error}`);
  const block = 'quantizedConv quantizedConv addBytes';
  t.is(
    kernels(calibrated.int8),
    `quantize quantizedConv ${block} ${block} mean quantize quantizedLinear`,
  );
});

test('averages are taken of bytes, or of floats that lie channels last', async (t) => {
  const x = input([3, 16, 12], { name: 'x' });
  const conv = (filters) => conv2d(filters, { kernel: 3, padding: 1, activation: 'relu' });
  const y = conv(16)(avgPool2d({ kernel: 2 })(conv(8)(x)));
  const outputs = {
    y: dense(4)(mean(y, { axes: [2, 3] })),
    z: conv(5)(y),
    means: mean(avgPool2d({ kernel: 3, stride: 2, padding: 1 })(y), { axes: [2, 3] }),
  };
  const model = new Model({ inputs: x, outputs, seed: 7 });
  const rows = noise(16 * 576);
  const exact = (await loadPredictor(t, model)).predictSync(rows);
  const int8 = await loadPredictor(t, model, { precision: 'int8', calibration: { x: rows } });
  const found = int8.predictSync(rows);
  for (const name of ['y', 'z', 'means'])
    t.true(relativeError(found[name], exact[name]) < 0.03, name);
  const all = kernels(int8);
  t.regex(all, /^quantize quantizedConv averagePoolBytes quantizedConv /);
  t.is(all.match(/averagePoolBytes/g)?.length, 3);
  t.false(/avgPool2d|transpose .*quantizedConv/.test(all), all);
});

test('attention with a mask', async (t) => {
  const x = input([6, 16], { name: 'x' });
  const mask = input([1, 6, 6], { name: 'mask' });
  const y = dense(4)(multiHeadAttention({ heads: 2 })(x, x, { mask }));
  const model = new Model({ inputs: [x, mask], outputs: y, seed: 6 });
  const hidden = (value, i) => (i % 36 > 0 && value > 0.5 ? Number.NEGATIVE_INFINITY : value);
  const rows = { x: noise(20 * 96), mask: noise(20 * 36).map(hidden) };
  const exact = (await loadPredictor(t, model)).predictSync(rows);
  const int8 = await loadPredictor(t, model, { precision: 'int8', calibration: { x: rows } });
  const error = relativeError(int8.predictSync(rows), exact);
  t.true(error < 0.03, `${error}`);
  t.true(kernels(int8).includes('quantizedAttention'));
  const layer = int8.quantization.layers.find(({ op }) => op === 'attention');
  t.deepEqual([layer.precision, layer.signalToNoise > 20], ['dynamic', true]);
});

test('attention to more keys than sums of 32 bits hold', async (t) => {
  for (const [keys, kernel] of [
    [65_793, 'quantizedAttention'],
    [66_400, 'attention'],
  ]) {
    const [q, k, v] = [1, keys, keys].map((time, i) => input([1, time, 2], { name: 'qkv'[i] }));
    const model = new Model({ inputs: [q, k, v], outputs: attention(q, k, v), seed: 1 });
    const int8 = await loadPredictor(t, model, { precision: 'int8' });
    const ones = (length) => new Float32Array(length).fill(1);
    const found = int8.predictSync({ q: ones(2), k: ones(2 * keys), v: ones(2 * keys) });
    t.true(relativeError(found, ones(2)) < 0.01, `${keys} keys: ${found}`);
    t.is(kernels(int8), kernel);
  }
});

test('the gate counts what recurrences lose', async (t) => {
  const model = sequential([gru(16), dense(2)], { input: [12, 3], seed: 8 });
  const x = noise(40 * 36);
  const y = (await loadPredictor(t, model)).predictSync(x);
  const noisy = Float32Array.from(y, (value, i) => value + 0.2 * Math.sin(i));
  const options = { calibration: { x }, validation: { x, y: noisy } };
  const { report } = await quantize(model, { ...options, maxAccuracyLoss: 0.05 });
  t.is(report.validation.metric, 'rootMeanSquaredError');
  t.true(report.worst.length > 0);
  const refused = quantize(model, { calibration: { x }, validation: { x, y }, maxAccuracyLoss: 0 });
  await t.throwsAsync(refused, { code: 'ERR_NUMERIC' });
});

test('batchNorm becomes part of a dense layer behind every activation', async (t) => {
  const activations = {
    ...{ elu, hardSigmoid, hardSwish, layerNorm, leakyRelu, mish, relu, sigmoid, softplus, tanh },
    geluTanh: () => gelu({ approximate: 'tanh' }),
  };
  const x = noise(64 * 8);
  for (const [name, activation] of Object.entries(activations)) {
    const layers = [dense(16), activation(), dense(16), batchNorm(), dense(3)];
    const model = sequential(layers, { input: [8], seed: 1 });
    model.parameters.get('batchNorm.runningVar').data.fill(0.3);
    model.parameters.get('batchNorm.runningMean').data.fill(0.1);
    const exact = (await loadPredictor(t, model)).predictSync(x);
    const int8 = await loadPredictor(t, model, { precision: 'int8', calibration: { x } });
    t.true(relativeError(int8.predictSync(x), exact) < 0.05, name);
    t.notRegex(kernels(int8), /batchNorm/, name);
  }
});
