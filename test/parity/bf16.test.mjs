// Training with products of bfloat16: close to the runs that PyTorch made in float32, learning, and
// the same bits for every number of threads.
import test from 'ava';
import {
  adam,
  adamw,
  conv2d,
  dense,
  embedding,
  flatten,
  gru,
  input,
  lstm,
  relu,
  sequential,
  Trainer,
  transformerBlock,
} from 'tandem-ml';
import { openRun, runs } from '../helpers/golden-runs.mjs';
import { generator, uniform } from '../helpers/numbers.mjs';

/** Of each loss, relative: operands have eight significant bits. */
const lossTolerance = 0.01;

/** The run of a file in bf16-mixed: the losses, the kernels, and the losses of PyTorch. */
async function train(name) {
  const { spec, tensors, model, batch } = openRun(name);
  const options = { loss: 'crossEntropy', ...runs[name].options(spec), precision: 'bf16-mixed' };
  const trainer = new Trainer(model, options);
  const losses = [];
  for (let step = 0; step < spec.steps; step++) {
    losses.push((await trainer.step(batch(step))).loss);
  }
  const { kernels } = trainer.profile();
  await trainer.close();
  return { losses, kernels, golden: tensors.get('loss').data };
}

/** Kernels that multiply, by the start of their names. */
const products = /^(linear|matmul|fusedMatmul|productUpdate|attention|conv|fusedConv|lstm|gru)/;

for (const name of ['mlp_sgd_nesterov', 'mlp_adam', 'mlp_adamw', 'gpt_adamw', 'cnn_adam']) {
  test(`${name} in bf16-mixed follows the run in float32`, async (t) => {
    const { losses, golden, kernels } = await train(name);
    t.is(losses.length, 40);
    for (const [step, loss] of losses.entries()) {
      const error = Math.abs(loss - golden[step]) / golden[step];
      t.true(error <= lossTolerance, `step ${step}: loss ${loss}, relative error ${error}`);
    }
    t.true(losses.some((loss, step) => Math.abs(loss - golden[step]) > 1e-5 * golden[step]));
    for (const kernel of kernels) {
      t.is(kernel.endsWith(' bf16'), products.test(kernel), kernel);
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

/** A model of each kind of product, and a batch for it. */
const kinds = {
  dense() {
    const [rows, features, classes] = [200, 96, 10];
    return {
      model: sequential([dense(160, { activation: 'silu' }), dense(classes)], {
        ...{ input: [features], seed: 6 },
      }),
      batch: {
        x: uniform(rows * features, generator(5)),
        y: Int32Array.from({ length: rows }, (_, i) => i % classes),
      },
    };
  },
  attention() {
    const [rows, time, width, tokens] = [3, 150, 24, 17];
    const layers = [
      embedding(tokens, width, { positions: time }),
      transformerBlock({ heads: 3, causal: true }),
      dense(tokens),
    ];
    const numbers = Int32Array.from({ length: rows * time }, (_, i) => (i * i) % tokens);
    return {
      model: sequential(layers, { input: input([time], { dtype: 'int32' }), seed: 6 }),
      batch: { x: numbers, y: numbers.map((i) => (i + 1) % tokens) },
    };
  },
  convolution() {
    const [rows, size, classes] = [9, 15, 7];
    const layers = [
      conv2d(18, { kernel: 3, padding: 1, activation: 'silu' }),
      conv2d(20, { kernel: 3, padding: 1 }),
      conv2d(6, { kernel: 3, stride: 2 }),
      relu(),
      conv2d(5, { kernel: 1 }),
      flatten(),
      dense(classes),
    ];
    return {
      model: sequential(layers, { input: [2, size, size], seed: 6 }),
      batch: {
        x: uniform(rows * 2 * size * size, generator(7)),
        y: Int32Array.from({ length: rows }, (_, i) => i % classes),
      },
    };
  },
  recurrence() {
    const [rows, time, inputs, classes] = [21, 6, 5, 3];
    const layers = [lstm(19, { sequence: true }), gru(23), dense(classes)];
    return {
      model: sequential(layers, { input: [time, inputs], seed: 6 }),
      batch: {
        x: uniform(rows * time * inputs, generator(8)),
        y: Int32Array.from({ length: rows }, (_, i) => i % classes),
      },
    };
  },
};

for (const [kind, make] of Object.entries(kinds)) {
  test(`${kind} in bf16-mixed gives the same bits for every number of threads`, async (t) => {
    const run = async (threads) => {
      const { model, batch } = make();
      const optimizer = adamw({ learningRate: 0.01 });
      const options = { loss: 'crossEntropy', optimizer, precision: 'bf16-mixed', threads };
      const trainer = new Trainer(model, options);
      for (let i = 0; i < 5; i++) await trainer.step(batch);
      for (const kernel of trainer.profile().kernels) {
        t.is(kernel.endsWith(' bf16'), products.test(kernel), kernel);
      }
      await trainer.close();
      return [...model.parameters].map(([, { data }]) => data.slice());
    };
    const one = await run(1);
    for (const threads of [2, 3, 5]) t.deepEqual(await run(threads), one);
  });
}
