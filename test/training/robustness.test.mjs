// Numbers that are not finite, and data that fail for a while or for good.
import { readdir } from 'node:fs/promises';
import test from 'ava';
import {
  batchNorm,
  dense,
  earlyStopping,
  l1,
  log,
  mse,
  reduceOnPlateau,
  sequential,
  sgd,
  Trainer,
} from 'tandem-ml';
import { fromArrays, fromBatches } from 'tandem-ml/data';
import { makeFolder } from '../helpers/folder.mjs';
import { bits, quiet, start } from './support.mjs';

const rows = 40;
const x = Float32Array.from({ length: rows }, (_, i) => Math.sin(i));
const y = x.map((value) => 2 * value);

const make = (t, options) => {
  const model = sequential([dense(3, { activation: 'tanh' }), dense(1)], { input: [1], seed: 1 });
  const trainer = new Trainer(model, {
    loss: 'mse',
    optimizer: sgd({ learningRate: 0.1 }),
    ...options,
  });
  t.teardown(() => trainer.close());
  return trainer;
};

test('ERR_NUMERIC names the step and the op that gave the first NaN', async (t) => {
  // The logarithm of what a linear layer gives: of negative numbers, too.
  const loss = (output, target) => mse(log(output), target);
  const trainer = make(t, { loss, checkNumerics: true });
  const before = bits(trainer.model);
  const error = await t.throwsAsync(trainer.fit({ x, y }, quiet), { code: 'ERR_NUMERIC' });
  t.is(error?.step, 0);
  t.regex(error?.message ?? '', /first in op `log` of the forward pass/);
  t.deepEqual(bits(trainer.model), before);
});

test('labels out of range come before numbers that are not finite, in arrays of any length', async (t) => {
  const long = 2 ** 18 + 1;
  for (const count of [rows, long]) {
    const model = sequential([dense(2)], { input: [1], seed: 1 });
    const trainer = new Trainer(model, { loss: 'crossEntropy', checkNumerics: true });
    t.teardown(() => trainer.close());
    const data = { x: new Float32Array(count).fill(Number.NaN), y: new Uint8Array(count) };
    await t.throwsAsync(trainer.evaluate(data), { code: 'ERR_NUMERIC' });
    data.y[count - 1] = 2;
    const refusal = { code: 'ERR_ARGUMENT', message: new RegExp(`2 at position ${count - 1}$`) };
    await t.throwsAsync(trainer.evaluate(data), refusal);
    await t.throwsAsync(trainer.fit(data, quiet), refusal);
  }
});

test('an input that is too large is an op that overflows', async (t) => {
  const trainer = make(t, { checkNumerics: true, loss: (output, target) => l1(output, target) });
  await trainer.step({ x: x.subarray(0, 2), y: y.subarray(0, 2) });
  const weight = trainer.model.parameters.get('dense_1.weight');
  weight.data.fill(3e38);
  trainer.model.parameters.get('dense.weight').data.fill(1);
  const huge = { x: new Float32Array(4).fill(100), y: new Float32Array(4) };
  const error = await t.throwsAsync(trainer.step(huge), { code: 'ERR_NUMERIC' });
  t.regex(error?.message ?? '', /op `linear` with `dense_1\.weight` and `dense_1\.bias`/);
  t.is(error?.step, 1);
});

test('steps can be left out, with a smaller rate for a while', async (t) => {
  const bad = Float32Array.from(x);
  bad[9] = Number.NaN;
  const checkNumerics = { skip: true, backoff: 0.5, recoverySteps: 2 };
  const trainer = make(t, { checkNumerics });
  const seen = [];
  const callbacks = [{ onBatchEnd: (_, logs) => void seen.push(logs.learningRate) }];
  const fit = { ...quiet, batchSize: 8, shuffle: false, callbacks };
  const history = await trainer.fit({ x: bad, y }, fit);
  t.deepEqual(seen, [0.1, 0, 0.05, 0.05, 0.1]);
  t.deepEqual(history.skippedSteps, [1]);
  t.true(history.loss.every(Number.isFinite));
  t.true([...trainer.model.parameters.values()].every(({ data }) => data.every(Number.isFinite)));
  const { loss } = await trainer.step({ x: bad, y });
  t.is(loss, Number.NaN);
});

test('a step is taken though a micro-batch of it has no target that counts', async (t) => {
  const classes = Int32Array.from({ length: rows }, (_, i) => (i % 4 < 2 ? -100 : i % 3));
  const train = async (more) => {
    const model = sequential([dense(3)], { input: [1], seed: 1 });
    const options = { loss: 'crossEntropy', optimizer: sgd({ learningRate: 0.1 }), ...more };
    const trainer = new Trainer(model, { ...options, gradientAccumulationSteps: 2 });
    t.teardown(() => trainer.close());
    const fit = { ...quiet, batchSize: 2, shuffle: false };
    const { skippedSteps, ...numbers } = await trainer.fit({ x, y: classes }, fit);
    return { skippedSteps, numbers, parameters: bits(model) };
  };
  const plain = await train({});
  const skipping = await train({ checkNumerics: { skip: true } });
  t.deepEqual(skipping.skippedSteps, [0]);
  t.deepEqual(skipping.numbers, plain.numbers);
  t.deepEqual(skipping.parameters, plain.parameters);
});

for (const precision of ['float32', 'fp16-mixed']) {
  test(`running statistics know nothing of a micro-batch that is left out, ${precision}`, async (t) => {
    const model = sequential([batchNorm(), dense(1)], { input: [1], seed: 1 });
    const trainer = new Trainer(model, {
      ...{ loss: 'mse', optimizer: sgd(), precision, gradientAccumulationSteps: 2 },
      checkNumerics: { skip: true },
    });
    t.teardown(() => trainer.close());
    const bad = x.slice();
    bad[0] = Number.NaN;
    const options = { ...quiet, batchSize: 8, shuffle: false };
    const { skippedSteps } = await trainer.fit({ x: bad, y }, options);
    t.deepEqual(skippedSteps, [1]);
    const { loss } = await trainer.evaluate({ x, y });
    t.true(Number.isFinite(loss), `${loss}`);
  });
}

test('too many in a row end fit', async (t) => {
  const bad = Float32Array.from(x).fill(Number.NaN, 8);
  const trainer = make(t, { checkNumerics: { skip: true, maxSkips: 2 } });
  const fit = { ...quiet, batchSize: 8, shuffle: false };
  const error = await t.throwsAsync(trainer.fit({ x: bad, y }, fit), { code: 'ERR_NUMERIC' });
  t.is(error?.step, 3);
  t.regex(error?.message ?? '', /first in input/);
});

/** The rows of an mlp, a batch of which fails when `fails` says so. */
const failing = (data, fails) => {
  let calls = 0;
  const dataset = fromArrays(data).map((batch) => {
    if (fails(calls++)) throw Object.assign(new Error('the disk is busy'), { code: 'EIO' });
    return batch;
  });
  return { dataset, calls: () => calls };
};

test('a source that fails for a while is read on from where it failed', async (t) => {
  const plain = start('mlp');
  t.teardown(() => plain.trainer.close());
  await plain.trainer.fit(fromArrays(plain.data), { ...plain.fit, epochs: 2 });
  const { model, data, fit, trainer } = start('mlp');
  t.teardown(() => trainer.close());
  const { dataset, calls } = failing(data, (call) => call % 9 === 4);
  await trainer.fit(dataset, { ...fit, epochs: 2, retry: { attempts: 2, delay: 1 } });
  t.deepEqual(bits(model), bits(plain.model));
  t.true(calls() > 58);
});

test('a source that fails for good ends fit with its error, and leaves the checkpoint', async (t) => {
  const dir = await makeFolder(t);
  const { data, fit, trainer } = start('mlp');
  t.teardown(() => trainer.close());
  const { dataset } = failing(data, (call) => call >= 20);
  const checkpoint = { dir, everySteps: 8 };
  const options = { ...fit, checkpoint, retry: { attempts: 2, delay: 1 } };
  await t.throwsAsync(trainer.fit(dataset, options), { code: 'EIO', message: /busy/ });
  const names = (await readdir(dir)).sort();
  t.deepEqual(names, ['step-000000008.safetensors', 'step-000000016.safetensors']);
  const again = start('mlp');
  t.teardown(() => again.trainer.close());
  const whole = start('mlp');
  t.teardown(() => whole.trainer.close());
  const source = fromArrays(data);
  await again.trainer.fit(source, { ...fit, checkpoint, resumeFrom: 'latest' });
  await whole.trainer.fit(source, fit);
  t.deepEqual(bits(again.model), bits(whole.model));
});

test('bad data are not read again', async (t) => {
  const { data, fit, trainer } = start('mlp');
  t.teardown(() => trainer.close());
  let calls = 0;
  const dataset = fromArrays(data).map((batch) => {
    calls++;
    return { ...batch, x: batch.x.subarray(1) };
  });
  const run = trainer.fit(dataset, { ...fit, retry: { attempts: 5, delay: 1 } });
  await t.throwsAsync(run, { code: 'ERR_SHAPE' });
  t.true(calls < 8);
});

test('a loss that is not finite ends fit also without checkNumerics', async (t) => {
  const dir = await makeFolder(t);
  const trainer = make(t, { optimizer: sgd({ learningRate: 1e10 }) });
  const fit = { ...quiet, epochs: 50, batchSize: 8, checkpoint: { dir, everySteps: 1 } };
  const error = await t.throwsAsync(trainer.fit({ x, y }, fit), { code: 'ERR_NUMERIC' });
  t.regex(error?.message ?? '', /expected a finite loss, received (NaN|Infinity) at step \d+/);
  t.true(error?.step !== undefined && error.step > 0);
  // What was saved before it is there.
  t.true((await readdir(dir)).length > 0);
  await t.throwsAsync(trainer.fit(fromArrays({ x, y }), { ...fit, checkpoint: undefined }), {
    code: 'ERR_NUMERIC',
  });
});

/** Eight batches, and then nothing for ever; `reached` resolves there. */
function hanging() {
  let tell = () => {};
  const reached = new Promise((resolve) => {
    tell = () => resolve(undefined);
  });
  const data = fromBatches(async function* () {
    for (let i = 0; i < 8; i++) yield { rows: 5, x: x.subarray(0, 5), y: y.subarray(0, 5) };
    tell();
    await new Promise(() => {});
  });
  return { data, reached };
}

test('a source that never answers holds up neither stop nor close', async (t) => {
  const fit = { ...quiet, batchSize: 5, epochs: 9, shuffle: false };
  const stopped = make(t);
  const first = hanging();
  let wake = () => {};
  const trained = new Promise((resolve) => {
    wake = () => resolve(undefined);
  });
  const onBatchEnd = (step) => void (step === 5 && wake());
  const fitting = stopped.fit(first.data, { ...fit, callbacks: [{ onBatchEnd }] });
  await Promise.all([first.reached, trained]);
  stopped.stop();
  t.is((await fitting).loss.length, 1);
  const callbacks = [{ onBatchEnd: (step) => step < 3 }];
  t.is((await make(t).fit(hanging().data, { ...fit, callbacks })).loss.length, 1);

  for (const begin of [
    (trainer, data) => trainer.fit(data, fit),
    (trainer, validationData) => trainer.fit({ x, y }, { ...fit, validationData }),
    (trainer, data) => trainer.evaluate(data),
    (trainer, data) => trainer.findLearningRate(data),
  ]) {
    const trainer = make(t);
    const { data, reached } = hanging();
    const ending = begin(trainer, data).catch((error) => error);
    await reached;
    await trainer.close();
    const error = await ending;
    t.true(!(error instanceof Error) || error.code === 'ERR_CLOSED', String(error));
  }
});

test('an abort of a fit whose source never answers saves first', async (t) => {
  const dir = await makeFolder(t);
  const controller = new AbortController();
  const { data, reached } = hanging();
  const { signal } = controller;
  const fit = { ...quiet, batchSize: 5, checkpoint: { dir, everySteps: 1000 }, signal };
  const fitting = make(t).fit(data, fit);
  await reached;
  controller.abort(new Error('mine'));
  const error = await t.throwsAsync(fitting, { code: 'ERR_ABORTED' });
  t.like(error?.cause, { message: 'mine' });
  t.is((await readdir(dir)).length, 1);
});

test('an epoch of skipped steps has a place in every list of the history', async (t) => {
  const trainer = make(t, { checkNumerics: { skip: true, maxSkips: 100 }, metrics: ['mae'] });
  const weight = trainer.model.parameters.get('dense.weight').data;
  const good = weight.slice();
  const callbacks = [
    {
      onEpochBegin(epoch) {
        weight.set(epoch === 1 ? weight.map(() => Number.NaN) : good);
      },
    },
  ];
  const history = await trainer.fit({ x, y }, { ...quiet, epochs: 3, batchSize: 8, callbacks });
  t.deepEqual(history.epochs, [0, 1, 2]);
  for (const name of ['loss', 'mae']) {
    t.deepEqual(history[name].map(Number.isFinite), [true, false, true], name);
  }
  t.deepEqual(history.skippedSteps, [0, 5, 0]);
  t.deepEqual(history.learningRate.map(Math.sign), [1, 0, 1]);
});

test('an epoch of skipped steps is none for the patience of earlyStopping, none included', async (t) => {
  for (const patience of [0, 1]) {
    const trainer = make(t, { checkNumerics: { skip: true, maxSkips: 100 } });
    const first = Float32Array.from(x);
    const stopping = earlyStopping({ patience });
    const spoil = {
      onEpochBegin(epoch) {
        first.set(epoch === 1 || epoch === 2 ? x.map(() => Number.NaN) : x);
      },
    };
    const callbacks = [stopping, spoil];
    const options = { ...quiet, epochs: 4, batchSize: 8, validationData: { x, y }, callbacks };
    const history = await trainer.fit({ x: first, y }, options);
    t.deepEqual(history.skippedSteps, [0, 5, 5, 0]);
    t.is(history.valLoss[2], history.valLoss[0]);
    t.true(history.valLoss[3] < history.valLoss[0]);
    t.is(stopping.stoppedEpoch, -1);
  }
});

test('an epoch without a finite loss reports none, and names all that others do', async (t) => {
  const checkNumerics = { skip: true, maxSkips: 100 };
  const lrScheduler = reduceOnPlateau({ monitor: 'loss', patience: 0 });
  const trainer = make(t, { checkNumerics, lrScheduler, metrics: ['mae'] });
  for (const { data } of trainer.model.parameters.values()) data.fill(Number.NaN);
  const seen = [];
  const callbacks = [{ onEpochEnd: (_, logs) => void seen.push(logs) }];
  await trainer.fit({ x, y }, { ...quiet, epochs: 2, batchSize: 8, callbacks });
  t.deepEqual(Object.keys(seen[0]), ['loss', 'mae', 'learningRate', 'skippedSteps']);
  t.deepEqual([seen[1].loss, seen[1].mae, seen[1].skippedSteps], [Number.NaN, Number.NaN, 5]);
});
