// Residuals that matrix products add: predictions and training steps of a residual network, against
// sums in double precision, in every precision, before and after a file.
import { join } from 'node:path';
import test from 'ava';
import { add, dense, input, Model, quantize, sgd, Trainer, tanh } from 'tandem-ml';
import { makeFolder } from '../helpers/folder.mjs';
import { generator, relativeError, uniform } from '../helpers/numbers.mjs';
import { loadPredictor } from '../helpers/predictors.mjs';

const [features, width, classes, rows] = [21, 37, 5, 19];
const x = uniform(rows * features, generator(1));
const y = uniform(rows * classes, generator(2));

/** h = tanh(dense(x)); h = h + dense(tanh(dense(h))); h = tanh(h + dense(h)); dense(h) */
function network() {
  const inside = input([features], { name: 'x' });
  const layer = dense;
  let h = tanh(layer(width)(inside));
  h = add(h, layer(width)(tanh(layer(width)(h))));
  h = tanh(add(layer(width)(h), h));
  return new Model({ inputs: inside, outputs: layer(classes)(h), seed: 3 });
}

/** Weights and biases of the layers, in double precision. */
const layersOf = (model) => {
  const tensors = [...model.parameters.values()].map(({ data, shape }) => ({
    data: Float64Array.from(data),
    shape,
  }));
  return tensors
    .filter(({ shape }) => shape.length === 2)
    .map(({ data, shape: [outputs, inputs] }, i) => ({
      w: (o, j) => data[o * inputs + j],
      b: tensors.filter(({ shape }) => shape.length === 1)[i].data,
      outputs,
      inputs,
    }));
};

const matrix = (m, n, at) =>
  Float64Array.from({ length: m * n }, (_, i) => at(Math.floor(i / n), i % n));
const sumOf = (n, at) => {
  let sum = 0;
  for (let i = 0; i < n; i++) sum += at(i);
  return sum;
};
const affine = ({ w, b, outputs, inputs }, h) =>
  matrix(rows, outputs, (i, o) => b[o] + sumOf(inputs, (j) => h[i * inputs + j] * w(o, j)));
const back = ({ w, outputs, inputs }, d) =>
  matrix(rows, inputs, (i, j) => sumOf(outputs, (o) => d[i * outputs + o] * w(o, j)));
const plus = (a, b) => a.map((value, i) => value + b[i]);
const bounded = (a) => a.map(Math.tanh);
/** The gradient of what became h. */
const before = (h, d) => d.map((value, i) => value * (1 - h[i] ** 2));

/** What each layer reads, and the predictions. */
function forward(layers) {
  const first = bounded(affine(layers[0], Float64Array.from(x)));
  const middle = bounded(affine(layers[1], first));
  const sum = plus(first, affine(layers[2], middle));
  const last = bounded(plus(sum, affine(layers[3], sum)));
  return { reads: [Float64Array.from(x), first, middle, sum, last], y: affine(layers[4], last) };
}

/** The gradients of the mean squared error, layer by layer. */
function gradients(layers) {
  const { reads, y: found } = forward(layers);
  const [, first, middle, , last] = reads;
  const d = [];
  d[4] = found.map((value, i) => (2 * (value - y[i])) / found.length);
  d[3] = before(last, back(layers[4], d[4]));
  const sum = plus(d[3], back(layers[3], d[3]));
  d[2] = sum;
  d[1] = before(middle, back(layers[2], d[2]));
  d[0] = before(first, plus(sum, back(layers[1], d[1])));
  return layers.flatMap(({ outputs, inputs }, k) => [
    matrix(outputs, inputs, (o, j) =>
      sumOf(rows, (i) => d[k][i * outputs + o] * reads[k][i * inputs + j]),
    ),
    matrix(outputs, 1, (o) => sumOf(rows, (i) => d[k][i * outputs + o])),
  ]);
}

/** A file that goes with the test. */
const temporary = async (t) => join(await makeFolder(t), 'model.safetensors');

const residuals = (kernels) => kernels.filter((name) => name.includes('(residual)')).length;

/** @type {['float32' | 'bfloat16' | 'int8' | 'int8-weights', number][]} */
const precisions = [
  ['float32', 1e-6],
  ['bfloat16', 1e-2],
  ['int8', 2e-2],
  ['int8-weights', 1e-2],
];

for (const [precision, tolerance] of precisions) {
  test(`predictions in ${precision} add residuals, from a model and from its file`, async (t) => {
    const model = network();
    const exact = forward(layersOf(model)).y;
    const file = await temporary(t);
    await model.save(file);
    for (const source of [model, file]) {
      const predictor = await loadPredictor(t, source, { precision });
      const found = predictor.predictSync(x);
      t.true(relativeError(found, exact) < tolerance, `${relativeError(found, exact)}`);
      for (const row of [0, rows - 1]) {
        const one = predictor.predictSync(x.slice(row * features, (row + 1) * features));
        const wanted = exact.slice(row * classes, (row + 1) * classes);
        t.true(relativeError(one, wanted) < 2 * tolerance, `${relativeError(one, wanted)}`);
      }
      const { kernels } = predictor.profile();
      t.false(kernels.includes('add'), kernels.join(' '));
      if (!precision.startsWith('int8')) t.is(residuals(kernels), 2, kernels.join(' '));
    }
  });
}

test('calibrated predictions leave sums to bytes, and quantized files come back', async (t) => {
  const model = network();
  const exact = forward(layersOf(model)).y;
  for (const options of [{ calibration: { x } }, { precision: 'int8-weights' }]) {
    const small = await quantize(model, options);
    const file = await temporary(t);
    await small.save(file);
    const [served, read] = [await loadPredictor(t, small), await loadPredictor(t, file)];
    const found = served.predictSync(x);
    t.true(relativeError(found, exact) < 0.03, `${relativeError(found, exact)}`);
    t.deepEqual(read.predictSync(x), found);
    t.is(served.profile().kernels.includes('addBytes'), 'calibration' in options);
  }
});

/** @type {['float32' | 'bf16-mixed' | 'fp16-mixed', number][]} */
const trained = [
  ['float32', 1e-4],
  ['bf16-mixed', 2e-2],
  ['fp16-mixed', 3e-3],
];

for (const [precision, tolerance] of trained) {
  test(`a step in ${precision} adds residuals and their gradients`, async (t) => {
    const model = network();
    const expected = gradients(layersOf(model));
    const file = await temporary(t);
    await model.save(file);
    for (const own of [model, await Model.load(file)]) {
      const optimizer = sgd({ learningRate: 1 });
      const trainer = new Trainer(own, { loss: 'mse', optimizer, precision });
      t.teardown(() => trainer.close());
      const parameters = [...own.parameters.values()];
      const old = parameters.map(({ data }) => Float64Array.from(data));
      await trainer.step({ x, y });
      for (const [i, { data }] of parameters.entries()) {
        const moved = old[i].map((value, k) => value - data[k]);
        const error = relativeError(moved, expected[i]);
        t.true(error < tolerance, `parameter ${i}: ${error}`);
      }
      const { kernels } = trainer.profile();
      // two sums of the forward pass, and two of gradients
      t.is(residuals(kernels), 4, kernels.join(' '));
    }
  });
}
