// Accumulation, clipping, groups, freezing, lion and lamb.
import test from 'ava';
import {
  adagrad,
  adam,
  adamw,
  batchNorm,
  crossEntropy,
  dense,
  lamb,
  lion,
  noDecay,
  rmsprop,
  sequential,
  sgd,
  Trainer,
} from 'tandem-ml';
import { generator, relativeError, uniform } from '../helpers/numbers.mjs';
import { near, perceptron, regression, rows, train, values, withTrainer } from './regression.mjs';
import { bits, kinds, quiet } from './support.mjs';

test('micro-batches add up to one big batch', async (t) => {
  for (const optimizer of [adamw(), sgd({ learningRate: 0.1, momentum: 0.9 }), lamb()]) {
    for (const maxGradNorm of [undefined, 0.01]) {
      const options = { optimizer, maxGradNorm };
      const whole = await train(t, options, { batchSize: 12, epochs: 3 });
      const parts = { ...options, gradientAccumulationSteps: 4 };
      near(t, await train(t, parts, { batchSize: 3, epochs: 3 }), whole, 1e-6);
      // 5, 5 and 2 rows: each counts by its rows.
      const first = { x: regression.x.subarray(0, 36), y: regression.y.subarray(0, 24) };
      const uneven = { ...options, gradientAccumulationSteps: 3 };
      const one = await train(t, options, { batchSize: 12 }, undefined, first);
      near(t, await train(t, uneven, { batchSize: 5 }, undefined, first), one, 1e-6);
    }
  }
});

test('micro-batches weigh what targets count in them', async (t) => {
  const model = () => sequential([dense(5)], { input: [3], seed: 2 });
  const y = Int32Array.from({ length: rows }, (_, i) => (i % 7 < 4 || i < 6 ? -100 : i % 5));
  const data = { x: regression.x, y };
  const options = { loss: 'crossEntropy', optimizer: sgd({ learningRate: 0.5 }) };
  const whole = await train(t, options, { batchSize: rows }, model(), data);
  // The first six rows have no target that counts, so the loss of the first micro-batch is a NaN.
  const parts = { ...options, gradientAccumulationSteps: 4 };
  near(t, await train(t, parts, { batchSize: 6 }, model(), data), whole, 1e-6);
});

test('steps, schedules, callbacks and history count steps, not micro-batches', async (t) => {
  const seen = [];
  const rates = [];
  const lrScheduler = (step) => {
    rates.push(step);
    return 1 / (step + 1);
  };
  const options = {
    gradientAccumulationSteps: 3,
    lrScheduler,
    optimizer: sgd({ learningRate: 0 }),
  };
  const onBatchEnd = (step, logs) => void seen.push([step, logs.loss]);
  await withTrainer(t, perceptron(), options, async (trainer) => {
    const fit = { ...quiet, batchSize: 4, callbacks: [{ onBatchEnd }], shuffle: false, epochs: 2 };
    const { loss, learningRate } = await trainer.fit(regression, fit);
    t.deepEqual(
      seen.map(([step]) => step),
      [0, 1, 2, 3],
    );
    t.is(Math.max(...rates), 3);
    t.is(learningRate.length, 2);
    const { loss: whole } = await trainer.evaluate(regression);
    t.true(Math.abs((loss[0] ?? 0) - whole) < 1e-6);
    t.true(Math.abs((seen[0]?.[1] + seen[1]?.[1]) / 2 - whole) < 1e-6);
  });
});

test('a step of its own is one batch, also where fit accumulates', async (t) => {
  const options = { optimizer: sgd({ learningRate: 0.1 }) };
  const run = async (more) => {
    const model = perceptron();
    await withTrainer(t, model, { ...options, ...more }, (trainer) => trainer.step(regression));
    return values(model);
  };
  near(t, await run({ gradientAccumulationSteps: 4 }), await run({}), 1e-6);
});

test('batches without a whole step left make a smaller one', async (t) => {
  const model = perceptron();
  await withTrainer(t, model, { gradientAccumulationSteps: 5 }, async (trainer) => {
    const steps = [];
    const callbacks = [{ onBatchEnd: (step) => void steps.push(step) }];
    await trainer.fit(regression, { ...quiet, batchSize: 3, callbacks });
    t.deepEqual(steps, [0, 1]);
    await trainer.fit(regression, { ...quiet, batchSize: 3 });
  });
});

test('dropout differs between the micro-batches of a step', async (t) => {
  // All rows are the same: with one mask for both halves the parts would have one loss.
  const { model, options } = kinds.mlp();
  const data = { x: new Float32Array(6 * 2).fill(1), y: new Int32Array(2) };
  const losses = new Set();
  await withTrainer(
    t,
    model,
    { ...options, gradientAccumulationSteps: 2, optimizer: sgd({ learningRate: 0 }) },
    async (trainer) => {
      for (let i = 0; i < 4; i++) {
        const { loss } = await trainer.fit(data, { ...quiet, batchSize: 1 });
        losses.add(loss[0]);
      }
      const single = await trainer.evaluate(data);
      t.false(losses.has(single.loss));
    },
  );
  t.is(losses.size, 4);
});

test('maxGradValue cuts each gradient', async (t) => {
  const options = { optimizer: sgd({ learningRate: 1 }) };
  const before = values(perceptron());
  const free = await train(t, options, { batchSize: rows });
  const cut = await train(t, { ...options, maxGradValue: 0.02 }, { batchSize: rows });
  let cuts = 0;
  for (const [name, start] of before) {
    const expected = start.map((value, i) => {
      const gradient = value - free.get(name)[i];
      if (Math.abs(gradient) > 0.02) cuts++;
      return value - Math.max(-0.02, Math.min(0.02, gradient));
    });
    t.true(relativeError(cut.get(name), expected) < 1e-6, name);
  }
  t.true(cuts > 0);
});

test('maxGradValue comes before the norm', async (t) => {
  await withTrainer(t, perceptron(), { maxGradValue: 1e-3 }, async (trainer) => {
    const { gradNorm } = await trainer.step(regression);
    t.true(gradNorm > 0 && gradNorm <= 1e-3 * Math.sqrt(8 * 3 + 8 + 2 * 8 + 2) + 1e-9);
  });
});

test('groups have a weight decay and a learning rate of their own', async (t) => {
  const decayed = { optimizer: sgd({ learningRate: 0.1, weightDecay: 0.5 }) };
  const plain = { optimizer: sgd({ learningRate: 0.1 }) };
  const fast = { optimizer: sgd({ learningRate: 0.3, weightDecay: 0.5 }) };
  const fit = { batchSize: rows };
  const [with_, without, faster] = [
    await train(t, decayed, fit),
    await train(t, plain, fit),
    await train(t, fast, fit),
  ];
  const grouped = await train(t, { ...decayed, parameterGroups: [noDecay] }, fit);
  for (const name of ['a.weight', 'b.weight']) t.deepEqual(grouped.get(name), with_.get(name));
  for (const name of ['a.bias', 'b.bias']) t.deepEqual(grouped.get(name), without.get(name));
  const named = [
    { parameters: /^a\./, learningRate: 0.3 },
    { parameters: ['bias', 'nothing'], weightDecay: 0 },
  ];
  const both = await train(t, { ...decayed, parameterGroups: named }, fit);
  near(t, both, new Map([...faster].filter(([name]) => name.startsWith('a.'))), 1e-7);
  t.deepEqual(both.get('b.bias'), without.get('b.bias'));
  t.deepEqual(both.get('b.weight'), with_.get('b.weight'));
});

test('groups are the same with every optimizer and every way to update', async (t) => {
  // Clipping that does nothing takes the sweep; without it large products update as they go.
  const wide = (seed = 1) =>
    sequential([dense(64, { activation: 'tanh' }), dense(2)], { input: [48], seed });
  const data = { x: uniform(16 * 48, generator(1)), y: uniform(32, generator(2)) };
  const parameterGroups = [noDecay, { parameters: 'dense_1', learningRate: 2e-3 }];
  for (const make of [adamw, lion, lamb, rmsprop, sgd]) {
    const optimizer = make({ learningRate: 1e-3, weightDecay: 0.1 });
    const run = (more) =>
      train(t, { optimizer, parameterGroups, ...more }, { batchSize: 8, epochs: 2 }, wide(), data);
    const swept = await run({ maxGradNorm: 1e9 });
    near(t, await run({}), swept, 2e-6);
    near(
      t,
      await run({ gradientAccumulationSteps: 2 }),
      await run({ gradientAccumulationSteps: 2, threads: 1 }),
      0,
    );
  }
});

test('a frozen parameter stays, and costs no gradient', async (t) => {
  const before = values(perceptron());
  const byGroup = await train(t, { parameterGroups: [{ parameters: 'a.', trainable: false }] });
  const model = perceptron();
  for (const name of ['a.weight', 'a.bias']) model.parameters.get(name).trainable = false;
  const byParameter = await train(t, {}, {}, model);
  for (const after of [byGroup, byParameter]) {
    for (const name of ['a.weight', 'a.bias']) t.deepEqual(after.get(name), before.get(name));
    for (const name of ['b.weight', 'b.bias']) t.notDeepEqual(after.get(name), before.get(name));
  }
  t.deepEqual(byParameter, byGroup);
  const flops = async (parameterGroups) =>
    await withTrainer(t, perceptron(), { parameterGroups }, async (trainer) => {
      await trainer.step(regression);
      return trainer.profile().flops;
    });
  t.true((await flops([{ parameters: 'a.', trainable: false }])) < (await flops([])));
});

test('running statistics cannot be made trainable', (t) => {
  const model = sequential([dense(4), batchNorm()], { input: [3] });
  const mean = model.parameters.get('batchNorm.runningMean');
  t.is(mean.trainable, false);
  mean.trainable = false;
  t.throws(() => (mean.trainable = true), { code: 'ERR_ARGUMENT' });
  t.throws(() => (mean.trainable = 1), { code: 'ERR_ARGUMENT' });
});

test('wrong groups are refused', (t) => {
  const make = (parameterGroups) => () =>
    new Trainer(perceptron(), { loss: 'mse', parameterGroups });
  const bad = { code: 'ERR_ARGUMENT' };
  t.throws(make([{ parameters: 'encoder' }]), { ...bad, message: /a\.weight/ });
  t.throws(make([{ parameters: 3 }]), bad);
  t.throws(make([{ parameters: 'a', momentum: 1 }]), bad);
  t.throws(make([{ parameters: 'a', weightDecay: -1 }]), bad);
  t.throws(make('a'), bad);
});

test('lion and lamb learn', async (t) => {
  const makers = [lion({ learningRate: 3e-3 }), lamb({ learningRate: 0.02 })];
  for (const optimizer of makers) {
    await withTrainer(t, perceptron(), { optimizer }, async (trainer) => {
      const { loss } = await trainer.fit(regression, { ...quiet, epochs: 60, batchSize: 8 });
      t.true(loss.at(-1) < 0.6 * loss[0], `${optimizer.name}: ${loss[0]} to ${loss.at(-1)}`);
    });
  }
  for (const options of [{ betas: [1, 0.9] }, { weightDecay: -1 }, { momentum: 1 }]) {
    t.throws(() => lion(options), { code: 'ERR_ARGUMENT' });
    t.throws(() => lamb(options), { code: 'ERR_ARGUMENT' });
  }
  t.throws(() => lamb({ eps: 0 }), { code: 'ERR_ARGUMENT' });
});

test('numbers beyond float32 are refused by the name of their option', (t) => {
  for (const make of [adam, adamw, rmsprop, adagrad, lamb]) {
    const optimizer = make({ eps: 1e300 });
    const error = t.throws(() => new Trainer(perceptron(), { loss: 'mse', optimizer }));
    t.like(error, { code: 'ERR_ARGUMENT' });
    t.regex(error.message, /float32 for `eps` of/, make.name);
  }
});

test('betas out of range are refused as they were written', (t) => {
  for (const make of [adam, adamw, lamb, lion]) {
    for (const i of [0, 1]) {
      const betasWith = (beta) => [0.9, 0.9].with(i, beta);
      const named = (what) => ({
        code: 'ERR_ARGUMENT',
        message: new RegExp(`${what} for \`betas\\[${i}\\]\``),
      });
      for (const beta of [-0.1, 1, 1e300, Number.NaN, '0.9']) {
        t.throws(() => make({ betas: betasWith(beta) }), named('0 to below 1'), make.name);
      }
      const optimizer = make({ betas: betasWith(1e-60) });
      t.throws(
        () => new Trainer(perceptron(), { loss: 'mse', optimizer }),
        named('float32'),
        make.name,
      );
    }
  }
});

test('findLearningRate finds a rate and leaves everything as it was', async (t) => {
  const model = perceptron();
  const options = { optimizer: sgd({ learningRate: 0.01, momentum: 0.9 }) };
  await withTrainer(t, model, options, async (trainer) => {
    await trainer.fit(regression, { ...quiet, batchSize: 8 });
    const before = bits(model);
    const found = await trainer.findLearningRate(regression, { min: 1e-5, max: 100, batchSize: 8 });
    t.deepEqual(bits(model), before);
    const { learningRates, losses, suggestion } = found;
    t.is(learningRates.length, losses.length);
    t.true(Math.abs(learningRates[0] - 1e-5) < 1e-12);
    t.true(learningRates.length < 100 && learningRates.at(-1) > 0.1, 'it diverges before the end');
    t.true(suggestion > 1e-4 && suggestion < 10, String(suggestion));
    const other = perceptron();
    await withTrainer(t, other, options, async (twin) => {
      for (const each of [twin, trainer]) await each.fit(regression, { ...quiet, batchSize: 8 });
      await twin.fit(regression, { ...quiet, batchSize: 8 });
    });
    t.deepEqual(bits(other), bits(model));
    await t.throwsAsync(trainer.findLearningRate(regression, { max: 0 }), { code: 'ERR_ARGUMENT' });
  });
});

test('options of optimisation are checked', (t) => {
  for (const options of [
    { gradientAccumulationSteps: 0 },
    { gradientCheckpointing: 1 },
    { gradientCheckpointing: 'all' },
    { maxGradValue: 0 },
    { ema: 0.9 },
    { ema: { validate: 1 } },
    { checkNumerics: { skip: false } },
    { checkNumerics: { skip: true, backoff: 2 } },
    { checkNumerics: { backoff: 0.5 } },
  ]) {
    const make = () => new Trainer(perceptron(), { loss: crossEntropy, ...options });
    t.throws(make, { code: 'ERR_ARGUMENT' }, JSON.stringify(options));
  }
});
