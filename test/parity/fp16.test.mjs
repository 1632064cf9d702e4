// Training in fp16-mixed: close to the runs that PyTorch made in float32, with steps left out while the
// scale of the loss is too large, the same bits for every number of threads and after a checkpoint.
import { join } from 'node:path';
import test from 'ava';
import { adam, dense, earlyStopping, reduceOnPlateau, sequential, Trainer } from 'tandem-ml';
import { makeFolder } from '../helpers/folder.mjs';
import { openRun, runs } from '../helpers/golden-runs.mjs';
import { generator, uniform } from '../helpers/numbers.mjs';

/** Of each loss, relative: operands have eleven significant bits. */
const lossTolerance = 0.003;

for (const name of ['mlp_sgd_nesterov', 'mlp_adam', 'mlp_adamw', 'gpt_adamw', 'cnn_adam']) {
  test(`${name} in fp16-mixed follows the run in float32`, async (t) => {
    const { spec, tensors, model, batch } = openRun(name);
    const options = { loss: 'crossEntropy', ...runs[name].options(spec), precision: 'fp16-mixed' };
    const trainer = new Trainer(model, options);
    t.teardown(() => trainer.close());
    const golden = tensors.get('loss').data;
    let differs = false;
    for (let step = 0; step < spec.steps; step++) {
      const { loss, gradNorm } = await trainer.step(batch(step));
      t.true(Number.isFinite(gradNorm), `step ${step} was left out`);
      const error = Math.abs(loss - golden[step]) / golden[step];
      t.true(error <= lossTolerance, `step ${step}: loss ${loss}, relative error ${error}`);
      differs ||= error > 1e-6;
    }
    t.true(differs);
    t.true(trainer.profile().kernels.includes('roundToFloat16'));
  });
}

/** A regression whose errors overflow float16 until the loss is scaled by 1024. */
const large = (t, options) => {
  const [rows, features] = [64, 5];
  const model = sequential([dense(12, { activation: 'tanh' }), dense(2)], {
    ...{ input: [features], seed: 4 },
  });
  const trainer = new Trainer(model, {
    ...{ loss: 'mse', optimizer: adam({ learningRate: 0.01 }), precision: 'fp16-mixed' },
    ...options,
  });
  t.teardown(() => trainer.close());
  const x = uniform(rows * features, generator(5));
  const y = uniform(rows * 2, generator(6)).map((value) => value + 1000);
  return { model, trainer, data: { x, y } };
};
const bits = (model) => [...model.parameters].map(([, { data }]) => data.slice());
const fit = { batchSize: 16, verbose: 0, shuffle: false };

test('batches without a target that counts leave the scale as it is', async (t) => {
  // More of them than the scale could be halved.
  const rows = 128;
  const x = uniform(2 * rows, generator(7));
  const y = Int32Array.from({ length: rows }, (_, i) => (i < 100 ? -100 : i % 3));
  const train = async (precision) => {
    const model = sequential([dense(3)], { input: [2], seed: 1 });
    const trainer = new Trainer(model, { loss: 'crossEntropy', precision });
    t.teardown(() => trainer.close());
    return await trainer.fit({ x, y }, { ...fit, batchSize: 2, epochs: 2 });
  };
  const [mixed, plain] = [await train('fp16-mixed'), await train('float32')];
  t.deepEqual(mixed.skippedSteps, [0, 0]);
  t.true(mixed.loss.every((loss, i) => Math.abs(loss - plain.loss[i]) < 1e-3));
});

test('steps whose gradients overflow are left out and counted', async (t) => {
  const { model, trainer, data } = large(t);
  const before = bits(model);
  const seen = [];
  const callbacks = [{ onBatchEnd: (_, logs) => void seen.push(logs.learningRate) }];
  const first = await trainer.fit(data, { ...fit, callbacks });
  // 2 * 1000 / 32 of the scale is the gradient of an output.
  t.deepEqual(seen, [0, 0, 0, 0]);
  t.deepEqual(first.skippedSteps, [4]);
  // All that went wrong is the scale: the forward pass is as without it.
  const { loss } = await trainer.evaluate(data, { batchSize: 16 });
  t.true(Math.abs(first.loss[0] - loss) < 1e-3 * loss);
  t.deepEqual(first.learningRate, [0]);
  t.deepEqual(bits(model), before);
  const second = await trainer.fit(data, { ...fit, epochs: 2 });
  const [more, none] = second.skippedSteps;
  t.true(more >= 1 && more < 4);
  t.is(none, 0);
  t.true(second.loss.every(Number.isFinite));
  t.notDeepEqual(bits(model), before);
});

test('the scale of the loss goes on from a checkpoint', async (t) => {
  const path = join(await makeFolder(t), 'c.safetensors');
  const whole = large(t);
  await whole.trainer.fit(whole.data, { ...fit, epochs: 2 });
  await whole.trainer.saveCheckpoint(path);
  const rest = await whole.trainer.fit(whole.data, { ...fit, epochs: 2 });
  const other = large(t);
  await other.trainer.loadCheckpoint(path);
  const again = await other.trainer.fit(other.data, { ...fit, epochs: 2 });
  t.deepEqual(again.skippedSteps, rest.skippedSteps);
  t.deepEqual(again.loss, rest.loss);
  t.deepEqual(bits(other.model), bits(whole.model));
});

test('fp16-mixed gives the same bits for every number of threads', async (t) => {
  const run = async (threads) => {
    const { model, trainer, data } = large(t, { threads, gradientAccumulationSteps: 2 });
    await trainer.fit(data, { ...fit, epochs: 12 });
    return bits(model);
  };
  const one = await run(1);
  for (const threads of [2, 3, 5]) t.deepEqual(await run(threads), one);
});

test('a loss that is not finite is left out, or an error with checkNumerics', async (t) => {
  const { trainer, data } = large(t);
  const x = data.x.slice();
  x[0] = Number.NaN;
  const { loss, learningRate } = await trainer.step({ x, y: data.y });
  t.deepEqual([loss, learningRate], [Number.NaN, 0]);
  const checked = large(t, { checkNumerics: true });
  await t.throwsAsync(checked.trainer.step({ x, y: data.y }), { code: 'ERR_NUMERIC' });
  // Gradients alone are what the scale is for.
  t.is((await checked.trainer.step(data)).learningRate, 0);
  await checked.trainer.fit(data, { ...fit, epochs: 4 });
});

test('findLearningRate passes over steps that are left out', async (t) => {
  const { trainer, data } = large(t);
  const { learningRates } = await trainer.findLearningRate(data, { steps: 20, batchSize: 16 });
  t.is(learningRates.length, 20);
  t.true(learningRates.every((rate, i) => rate > (learningRates[i - 1] ?? 0)));
});

test('epochs without a step that is taken end nothing', async (t) => {
  const lrScheduler = reduceOnPlateau({ patience: 0, threshold: 0 });
  const { trainer, data } = large(t, { lrScheduler, metrics: ['mae'] });
  const stopping = earlyStopping({ patience: 1, restoreBestWeights: true });
  const options = {
    ...fit,
    batchSize: 64,
    validationData: data,
    epochs: 12,
    callbacks: [stopping],
  };
  const history = await trainer.fit(data, options);
  const taken = history.skippedSteps.indexOf(0);
  t.true(taken > 2);
  t.is(history.loss.length, 12);
  t.is(stopping.stoppedEpoch, -1);
  t.deepEqual(
    history.learningRate,
    history.skippedSteps.map((skipped) => (skipped === 0 ? 0.01 : 0)),
  );
  for (const name of ['loss', 'mae', 'valLoss']) {
    t.true(history[name].every(Number.isFinite), name);
    t.true(history[name].slice(0, taken).every((value) => value === history[name][0]));
  }
  t.not(history.overfitting().verdict, 'diverging');
  t.not(history.overfitting().message, 'some losses are not finite');
});
