// What predictions and training steps make of batchNorm between other layers: part of the weights
// before it, one pass with the activation behind it.
import test from 'ava';
import {
  add,
  batchNorm,
  conv1d,
  conv2d,
  convTranspose2d,
  dense,
  flatten,
  gelu,
  input,
  leakyRelu,
  Model,
  mul,
  Predictor,
  relu,
  sgd,
  silu,
  Trainer,
  tanh,
} from 'tandem-ml';
import { evaluate } from 'tandem-ml/autodiff';
import { generator, relativeError, uniform } from '../helpers/numbers.mjs';

const random = generator(1);

const mse = (model, options) =>
  new Trainer(model, { loss: 'mse', optimizer: sgd({ learningRate: 0.01 }), ...options });

/** What `model` predicts for `rows`, and with which kernels. */
async function predict(t, model, rows) {
  const predictor = await Predictor.load(model);
  t.teardown(() => predictor.close());
  const results = predictor.predictSync(rows);
  return { results, kernels: predictor.profile().kernels };
}

/** Numbers as after a training in which nothing stayed at its default; variances are positive. */
function scatter({ parameters }) {
  for (const [name, { data }] of parameters) {
    data.set(
      name.endsWith('runningVar')
        ? uniform(data.length, random, 0.2, 3)
        : uniform(data.length, random),
    );
  }
}

for (const [name, { layer, options, activation, shape }] of Object.entries({
  'a product': { layer: dense(6), shape: [8] },
  'a product without bias': {
    layer: dense(6, { bias: false }),
    options: { eps: 0.1 },
    activation: relu,
    shape: [8],
  },
  'as many units as inputs': { layer: dense(5), activation: tanh, shape: [5] },
  'a convolution of lines': {
    layer: conv1d(6, { kernel: 2, padding: 1 }),
    activation: gelu,
    shape: [4, 9],
  },
  'a convolution of lines in groups without bias': {
    layer: conv1d(6, { kernel: 2, groups: 2, bias: false }),
    shape: [4, 9],
  },
  'a convolution': {
    layer: conv2d(7, { kernel: 3, padding: 1 }),
    activation: relu,
    shape: [2, 5, 4],
  },
  'a convolution without bias, in strides': {
    layer: conv2d(7, { kernel: 3, stride: 2, bias: false }),
    options: { eps: 0.1 },
    shape: [2, 7, 5],
  },
  'a transposed convolution': {
    layer: convTranspose2d(6, { kernel: 3, stride: 2, padding: 1, outputPadding: 1 }),
    activation: relu,
    shape: [4, 5, 3],
  },
  'a transposed convolution in groups without bias': {
    layer: convTranspose2d(6, { kernel: [2, 3], groups: 2, bias: false }),
    activation: gelu,
    shape: [4, 5, 3],
  },
})) {
  test(`prediction folds batchNorm into ${name}`, async (t) => {
    const x = input(shape, { name: 'x' });
    const product = layer(x);
    const norm = batchNorm({ name: 'norm', ...options })(product);
    const y = activation ? activation(norm) : norm;
    const model = new Model({ inputs: [x], outputs: { y }, seed: 1 });
    scatter(model);
    const kept = [...model.parameters].map(([, { data }]) => data.slice());
    // A product that is an output itself has to stay as it is.
    const apart = new Model({ inputs: [x], outputs: { y, product }, seed: 1 });
    for (const [key, { data }] of model.parameters) apart.parameters.get(key).data.set(data);

    const rows = uniform(6 * shape.reduce((a, b) => a * b), random);
    const folded = await predict(t, model, rows);
    const plain = await predict(t, apart, rows);
    t.false(folded.kernels.includes('batchNorm'));
    t.is(folded.kernels.length, 1, `${folded.kernels}`);
    t.true(plain.kernels.includes('batchNorm'));
    t.true(relativeError(folded.results, plain.results.y) < 1e-5);
    t.deepEqual(
      [...model.parameters].map(([, { data }]) => data),
      kept,
      'the model is left alone',
    );
  });
}

test('prediction keeps a batchNorm that others cannot take in', async (t) => {
  const x = input([4, 3], { name: 'x' });
  const shared = dense(3, { name: 'shared' });
  const graphs = {
    'channels of a sequence are not the units': batchNorm()(dense(3)(x)),
    'the product is read by others': add(batchNorm()(flatten(shared(x))), flatten(shared(x))),
    'a value that is no product': batchNorm()(relu(x)),
  };
  for (const [why, y] of Object.entries(graphs)) {
    const model = new Model({ inputs: [x], outputs: [y], seed: 1 });
    scatter(model);
    const rows = uniform(24, random);
    const [expected] = evaluate(y, new Map([[x, rows]]));
    const { results, kernels } = await predict(t, model, rows);
    t.true(relativeError(results, expected) < 1e-5, why);
    t.true(kernels.includes('batchNorm'), why);
  }
});

test('activations behind batchNorm are applied by it', async (t) => {
  const [n, c, l] = [5, 3, 7];
  for (const [name, activation] of Object.entries({ relu, tanh, gelu, leakyRelu, silu })) {
    for (const shape of [[c, l], [c]]) {
      const x = input(shape, { name: 'x' });
      const y = activation(batchNorm({ name: 'norm' })(x));
      // The sum keeps the activation apart.
      const norm = batchNorm({ name: 'norm' })(x);
      const apart = activation(add(norm, mul(norm, 0)));
      const rows = uniform(n * shape.reduce((a, b) => a * b), random);
      const goal = rows.map((value) => value / 2);
      const runs = [];
      for (const output of [y, apart]) {
        const model = new Model({ inputs: [x], outputs: [output], seed: 1 });
        const trainer = mse(model, { threads: 2 });
        for (let step = 0; step < 4; step++) await trainer.step({ x: rows, y: goal });
        const kernels = trainer.profile().kernels;
        await trainer.close();
        runs.push({ model, kernels, predicted: await predict(t, model, rows) });
      }
      const [one, two] = runs;
      t.false(one.predicted.kernels.includes(name), name);
      t.is(one.kernels.includes(name), ['gelu', 'leakyRelu', 'silu'].includes(name), name);
      t.true(relativeError(one.predicted.results, two.predicted.results) < 1e-6, name);
      for (const [key, { data: numbers }] of one.model.parameters) {
        t.true(relativeError(numbers, two.model.parameters.get(key).data) < 1e-5, `${name} ${key}`);
      }
    }
  }
});

/** conv -> batchNorm -> add -> activation, twice: the second shortcut is a convolution, too. */
function residualBlocks(activation, apart) {
  const x = input([4, 6, 5], { name: 'x' });
  const sum = (a, b) => (apart ? add(add(a, 0), b) : add(a, b));
  const norm = (name) => batchNorm({ name });
  const main = (name, value) =>
    norm(`${name}.norm`)(conv2d(4, { kernel: 3, padding: 1, bias: false, name })(value));
  const first = activation(sum(main('one', x), x));
  const shortcut = norm('shortcut.norm')(conv2d(4, { kernel: 1, name: 'shortcut' })(first));
  const y = activation(sum(main('two', first), shortcut));
  return new Model({ inputs: [x], outputs: [y], seed: 1 });
}

test('sums behind batchNorm, and activations behind these, are part of it', async (t) => {
  const rows = uniform(6 * 120, random);
  const goal = rows.map((value) => value / 2);
  for (const [name, activation] of Object.entries({ relu, tanh, silu })) {
    const runs = [];
    for (const apart of [false, true]) {
      const model = residualBlocks(activation, apart);
      const trainer = mse(model, { threads: 2 });
      for (let step = 0; step < 4; step++) await trainer.step({ x: rows, y: goal });
      const { kernels } = trainer.profile();
      await trainer.close();
      runs.push({ model, kernels, predicted: await predict(t, model, rows) });
    }
    const [one, two] = runs;
    const forward = one.kernels.slice(
      0,
      one.kernels.findIndex((kernel) => kernel.endsWith('Grad')),
    );
    t.false(forward.includes('add'), name);
    t.is(forward.includes(name), name === 'silu', name);
    t.deepEqual(one.predicted.kernels, ['fusedConv', 'conv2d', 'fusedConv'], name);
    t.true(relativeError(one.predicted.results, two.predicted.results) < 1e-5, name);
    for (const [key, { data: numbers }] of one.model.parameters) {
      t.true(relativeError(numbers, two.model.parameters.get(key).data) < 1e-5, `${name} ${key}`);
    }
  }
});

test('activations behind a transposed convolution are part of it', async (t) => {
  const rows = uniform(6 * 60, random);
  for (const [name, activation] of Object.entries({ relu, silu })) {
    for (const options of [
      { kernel: 3, stride: 2, padding: 1 },
      { kernel: 3, padding: 1 },
      { kernel: 3, groups: 4 },
      { kernel: 1 },
    ]) {
      const x = input([4, 5, 3], { name: 'x' });
      const layer = convTranspose2d(4, { ...options, name: 'layer' });
      const product = layer(x);
      const models = [activation(product), activation(add(product, mul(product, 0)))].map(
        (output) => new Model({ inputs: [x], outputs: [output], seed: 1 }),
      );
      const goal = uniform(6 * product.shape.slice(1).reduce((a, b) => a * b), random);
      const runs = [];
      for (const model of models) {
        const trainer = mse(model);
        for (let step = 0; step < 4; step++) await trainer.step({ x: rows, y: goal });
        runs.push({ kernels: trainer.profile().kernels, predicted: await predict(t, model, rows) });
        await trainer.close();
      }
      const [one, two] = runs;
      t.true(one.kernels.includes('fusedConv'));
      t.false(one.kernels.includes(name));
      t.deepEqual(one.predicted.kernels, ['fusedConv']);
      t.true(relativeError(one.predicted.results, two.predicted.results) < 1e-5);
      for (const [key, { data }] of models[0].parameters)
        t.true(relativeError(data, models[1].parameters.get(key).data) < 1e-5, `${name} ${key}`);
    }
  }
});
