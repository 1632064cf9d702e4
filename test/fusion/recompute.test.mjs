// Recomputed activations: the bits of a training that keeps them, in less memory.
import test from 'ava';
import {
  add,
  batchNorm,
  conv2d,
  dense,
  flatten,
  functional,
  globalAvgPool2d,
  input,
  Model,
  mean,
  relu,
  sequential,
  sgd,
  tanh,
  variance,
} from 'tandem-ml';
import { generator, uniform } from '../helpers/numbers.mjs';
import { withTrainer } from '../training/regression.mjs';
import { bits, kinds, quiet, start } from '../training/support.mjs';

test('recomputed activations give the same bits in less memory', async (t) => {
  const deep = () =>
    sequential(
      [...Array(12)].map(() => dense(64, { activation: 'gelu' })),
      { input: [64], seed: 1 },
    );
  const data = { x: uniform(256 * 64, generator(1)), y: uniform(256 * 64, generator(2)) };
  const run = async (gradientCheckpointing) => {
    const model = deep();
    return await withTrainer(t, model, { gradientCheckpointing }, async (trainer) => {
      await trainer.fit(data, { ...quiet, epochs: 2, batchSize: 128 });
      return { bits: bits(model), activations: trainer.profile().memory.activations };
    });
  };
  const plain = await run(false);
  const chosen = await run(true);
  t.deepEqual(chosen.bits, plain.bits);
  t.true(
    chosen.activations < 0.6 * plain.activations,
    `${chosen.activations} of ${plain.activations}`,
  );
  for (const segments of [2, 3, 5, 100]) t.deepEqual((await run(segments)).bits, plain.bits);
});

test('recomputation keeps dropout, norms, statistics and attention as they are', async (t) => {
  for (const kind of Object.keys(kinds)) {
    const run = async (more) => {
      const { model, data, fit, trainer } = start(kind, more);
      await trainer.fit(data, { ...fit, epochs: 2 });
      await trainer.close();
      return bits(model);
    };
    const plain = await run({});
    for (const gradientCheckpointing of [true, 2, 4]) {
      t.deepEqual(await run({ gradientCheckpointing }), plain, `${kind}, ${gradientCheckpointing}`);
    }
  }
});

/** A residual network, whose sums are computed by the norms before them. */
function residualNet() {
  const x = input([2, 8, 8]);
  const conv = (filters) => conv2d(filters, { kernel: 3, padding: 1, bias: false });
  let y = relu(batchNorm()(conv(6)(x)));
  for (let i = 0; i < 4; i++) {
    const inner = relu(batchNorm()(conv(6)(y)));
    y = relu(add(batchNorm()(conv(6)(inner)), y));
  }
  return new Model({ inputs: [x], outputs: [dense(3)(flatten(globalAvgPool2d(y)))], seed: 2 });
}

/** Normalised by statistics that the graph computes. */
function normalizedByGiven() {
  const x = input([3, 6, 6]);
  const axes = [0, 2, 3];
  const given = { mean: mean(x, { axes }), variance: variance(x, { axes }) };
  let y = x;
  for (let i = 0; i < 4; i++) {
    const z = conv2d(3, { kernel: 3, padding: 1 })(y);
    y = tanh(functional.batchNorm(z, null, null, given));
  }
  return new Model({ inputs: [x], outputs: [dense(3)(flatten(y))], seed: 2 });
}

test('recomputation keeps residuals and given statistics of norms', async (t) => {
  for (const make of [residualNet, normalizedByGiven]) {
    const random = generator(8);
    const size = make().inputs[0].shape.reduce((product, n) => product * (n ?? 1), 1);
    const x = uniform(6 * size, random);
    const y = Int32Array.from({ length: 6 }, (_, i) => i % 3);
    const run = async (gradientCheckpointing) => {
      const model = make();
      const optimizer = sgd({ learningRate: 0.5 });
      const options = { loss: 'crossEntropy', optimizer, gradientCheckpointing };
      await withTrainer(t, model, options, async (trainer) => {
        for (let i = 0; i < 2; i++) await trainer.step({ x, y });
      });
      return bits(model);
    };
    const plain = await run(false);
    for (const segments of [true, 2, 3, 4, 5, 6, 7, 8, 10]) {
      t.deepEqual(await run(segments), plain, `${make.name}, ${segments}`);
    }
  }
});
