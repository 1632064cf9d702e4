// Training with products of bfloat16: close to the runs that PyTorch made in float32, learning, and
// the same bits for every number of threads.
import test from 'ava';
import { adam, adamw, dense, sequential, sgd, Trainer } from 'tandem-ml';
import { generator, uniform } from '../helpers/numbers.mjs';
import { readGolden } from '../helpers/safetensors.mjs';

/** Of each loss, relative: operands have eight significant bits. */
const lossTolerance = 0.01;

const layers = ([first, second, third]) => [
  dense(first, { activation: 'relu', name: '0' }),
  dense(second, { activation: 'tanh', name: '2' }),
  dense(third, { name: '4' }),
];

const optimizers = {
  mlp_sgd_nesterov: (spec) =>
    sgd({
      learningRate: spec.lr,
      momentum: spec.momentum,
      nesterov: spec.nesterov,
      weightDecay: spec.weight_decay,
    }),
  mlp_adam: (spec) => adam({ learningRate: spec.lr, betas: spec.betas, eps: spec.eps }),
  mlp_adamw: (spec) => adamw({ learningRate: spec.lr, weightDecay: spec.weight_decay }),
};

/** The run of a file with these options: the losses, and the model after it. */
async function train(name, options) {
  const { spec, tensors } = readGolden(`train/${name}`);
  const [x, y] = [tensors.get('x'), tensors.get('y')];
  const hidden = [...tensors].flatMap(([key, { shape }]) =>
    /^init\..*bias$/.test(key) ? shape : [],
  );
  const model = sequential(layers(hidden), { input: x.shape.slice(2) });
  for (const [key, { data }] of model.parameters) data.set(tensors.get(`init.${key}`).data);
  const optimizer = optimizers[name](spec);
  const trainer = new Trainer(model, { loss: 'crossEntropy', optimizer, ...options });
  const batch = ({ data }, step) => {
    const size = data.length / spec.steps;
    return data.subarray(step * size, (step + 1) * size);
  };
  const losses = [];
  for (let step = 0; step < spec.steps; step++) {
    losses.push((await trainer.step({ x: batch(x, step), y: batch(y, step) })).loss);
  }
  const { kernels } = trainer.profile();
  await trainer.close();
  return { losses, kernels, model, golden: tensors.get('loss').data };
}

for (const name of Object.keys(optimizers)) {
  test(`${name} in bf16-mixed follows the run in float32`, async (t) => {
    const { losses, golden, kernels } = await train(name, { precision: 'bf16-mixed' });
    t.is(losses.length, 40);
    for (const [step, loss] of losses.entries()) {
      const error = Math.abs(loss - golden[step]) / golden[step];
      t.true(error <= lossTolerance, `step ${step}: loss ${loss}, relative error ${error}`);
    }
    t.true(losses.some((loss, step) => Math.abs(loss - golden[step]) > 1e-5 * golden[step]));
    for (const kernel of kernels) {
      const product = /^(linear|matmul|fusedMatmul|productUpdate)/.test(kernel);
      t.is(kernel.endsWith(' bf16'), product, kernel);
    }
  });
}

test('bf16-mixed learns as float32 does', async (t) => {
  const random = generator(3);
  const [rows, features] = [96, 21];
  const x = uniform(rows * features, random);
  const y = Int32Array.from({ length: rows }, (_, i) => {
    const row = x.subarray(i * features, (i + 1) * features);
    return row.reduce((sum, value, j) => sum + (j % 2 ? value : -value), 0) > 0 ? 1 : 0;
  });
  const losses = {};
  for (const precision of ['float32', 'bf16-mixed']) {
    const layers = [dense(37, { activation: 'gelu' }), dense(2)];
    const model = sequential(layers, { input: [features], seed: 4 });
    const trainer = new Trainer(model, {
      ...{ loss: 'crossEntropy', metrics: ['accuracy'], precision },
      ...{ optimizer: adam({ learningRate: 0.005 }), maxGradNorm: 1 },
    });
    t.teardown(() => trainer.close());
    losses[precision] = [];
    for (let i = 0; i < 60; i++) losses[precision].push((await trainer.step({ x, y })).loss);
    const { accuracy, loss } = await trainer.evaluate({ x, y });
    t.true(accuracy > 0.97, `${precision}: accuracy ${accuracy}`);
    losses[precision].push(loss);
  }
  const { float32, 'bf16-mixed': mixed } = losses;
  t.true(mixed.at(-1) < mixed[0] / 2, `from ${mixed[0]} to ${mixed.at(-1)}`);
  for (const [step, loss] of mixed.entries()) {
    const error = Math.abs(loss - float32[step]) / float32[step];
    t.true(error <= lossTolerance, `step ${step}: ${loss} and ${float32[step]} in float32`);
  }
});

test('bf16-mixed gives the same bits for every number of threads', async (t) => {
  const [rows, features, classes] = [200, 96, 10];
  const x = uniform(rows * features, generator(5));
  const y = Int32Array.from({ length: rows }, (_, i) => i % classes);
  const run = async (threads) => {
    const layers = [dense(160, { activation: 'silu' }), dense(classes)];
    const model = sequential(layers, { input: [features], seed: 6 });
    const optimizer = adamw({ learningRate: 0.01 });
    const options = { loss: 'crossEntropy', optimizer, precision: 'bf16-mixed', threads };
    const trainer = new Trainer(model, options);
    for (let i = 0; i < 5; i++) await trainer.step({ x, y });
    await trainer.close();
    return [...model.parameters].map(([, { data }]) => data.slice());
  };
  const one = await run(1);
  for (const threads of [2, 3, 5]) t.deepEqual(await run(threads), one);
});
