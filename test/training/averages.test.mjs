// Moving averages of parameters: what they are, evaluating and validating them.
import test from 'ava';
import {
  batchNorm,
  dense,
  earlyStopping,
  input,
  Model,
  mse,
  Predictor,
  sgd,
  Trainer,
} from 'tandem-ml';
import { fromBatches } from 'tandem-ml/data';
import { makeFolder } from '../helpers/folder.mjs';
import { near, perceptron, regression, rows, values, withTrainer, x, y } from './regression.mjs';
import { bits, quiet } from './support.mjs';

test('averages follow the parameters', async (t) => {
  const model = perceptron();
  const options = { ema: { decay: 0.8 }, optimizer: sgd({ learningRate: 0.2 }) };
  await withTrainer(t, model, options, async (trainer) => {
    let expected = new Map();
    for (let i = 0; i < 5; i++) {
      await trainer.step(regression);
      const now = values(model);
      expected = new Map(
        [...now].map(([name, data]) => {
          const old = expected.get(name);
          return [name, old ? old.map((value, k) => value + 0.2 * (data[k] - value)) : data];
        }),
      );
    }
    const after = bits(model);
    const averaged = await trainer.averagedModel();
    near(t, values(averaged), expected, 1e-6);
    const byModel = new Trainer(averaged, { loss: 'mse' });
    const { loss } = await byModel.evaluate(regression);
    t.is((await trainer.evaluate(regression, { ema: true })).loss, loss);
    t.not((await trainer.evaluate(regression)).loss, loss);
    t.deepEqual(bits(model), after);
    await byModel.close();
  });
});

test('averages are the parameters until a step counts', async (t) => {
  const model = perceptron();
  const options = { ema: { validate: true }, checkNumerics: { skip: true } };
  await withTrainer(t, model, options, async (trainer) => {
    const begin = bits(model);
    const { loss } = await trainer.evaluate(regression);
    t.deepEqual(bits(await trainer.averagedModel()), begin);
    t.is((await trainer.evaluate(regression, { ema: true })).loss, loss);
    const bad = fromBatches(() => [{ ...regression, rows, x: x.map(() => Number.NaN) }]);
    const { valLoss, skippedSteps } = await trainer.fit(bad, {
      ...quiet,
      batchSize: rows,
      validationData: regression,
    });
    t.deepEqual([valLoss, skippedSteps], [[loss], [1]]);
    t.deepEqual(bits(await trainer.averagedModel()), begin);
  });
});

test('averages that memoryLimit has no room for are missed before a step is taken', async (t) => {
  const options = { device: /** @type {const} */ ('cpu'), ema: { validate: true } };
  const fit = { ...quiet, batchSize: rows };
  let memoryLimit = 0;
  await withTrainer(t, perceptron(), options, async (trainer) => {
    await trainer.fit(regression, fit); // validates nothing
    memoryLimit = trainer.profile().memory.total;
  });
  const model = perceptron();
  const begin = bits(model);
  await withTrainer(t, model, { ...options, memoryLimit }, async (trainer) => {
    await t.throwsAsync(trainer.fit(regression, { ...fit, validationData: regression }), {
      code: 'ERR_OUT_OF_MEMORY',
      message: /`memoryLimit`/,
    });
    t.deepEqual(bits(model), begin);
  });
});

test('a model of averages has the statistics, the names and the graph', async (t) => {
  const x = input([3], { name: 'left' });
  const model = new Model({
    inputs: { left: x },
    outputs: { out: batchNorm()(dense(2)(x)) },
    name: 'm',
  });
  await withTrainer(t, model, { ema: {} }, async (trainer) => {
    await trainer.fit(regression, { ...quiet, epochs: 2 });
    const averaged = await trainer.averagedModel();
    t.deepEqual(
      [averaged.name, averaged.inputs, averaged.outputs],
      ['m', model.inputs, model.outputs],
    );
    const statistics = ['batchNorm.runningMean', 'batchNorm.runningVar'];
    for (const name of statistics) {
      t.deepEqual(averaged.parameters.get(name)?.data, model.parameters.get(name)?.data);
    }
    t.notDeepEqual(bits(averaged), bits(model));
  });
});

test('averages are for trainers that keep them', async (t) => {
  await withTrainer(t, perceptron(), {}, async (trainer) => {
    await t.throwsAsync(trainer.averagedModel(), { code: 'ERR_ARGUMENT', message: /ema/ });
    await t.throwsAsync(trainer.evaluate(regression, { ema: true }), { code: 'ERR_ARGUMENT' });
  });
  t.throws(() => new Trainer(perceptron(), { loss: 'mse', ema: { decay: 1 } }), {
    code: 'ERR_ARGUMENT',
  });
});

test('while averages are evaluated the model has its own parameters', async (t) => {
  const dir = await makeFolder(t);
  let onBatch = () => {};
  const evaluated = {
    values: (output, target) => [mse(output, target)],
    accumulate: () => ({ add: () => onBatch(), result: () => 0 }),
  };
  const model = perceptron();
  const trainer = new Trainer(model, {
    ...{ loss: 'mse', optimizer: sgd({ learningRate: 0.1 }), ema: { decay: 0.9 } },
    metrics: { evaluated },
  });
  t.teardown(() => trainer.close());
  await trainer.fit(regression, { ...quiet, epochs: 3 });
  const before = bits(model);
  const averages = bits(await trainer.averagedModel());
  const { loss } = await trainer.evaluate(regression, { ema: true });
  let go = () => {};
  const held = new Promise((resolve) => {
    go = () => resolve(undefined);
  });
  const half = { x: x.subarray(0, 36), y: y.subarray(0, 24), rows: 12 };
  const rest = { x: x.subarray(36), y: y.subarray(24), rows: 12 };
  const data = fromBatches(async function* () {
    yield half;
    yield half;
    await held;
    yield rest;
    yield rest;
  });
  const within = new Promise((resolve) => {
    onBatch = () => resolve(undefined);
  });
  const evaluating = trainer.evaluate(data, { ema: true, batchSize: 4 });
  const saving = trainer.saveCheckpoint(`${dir}/meanwhile.safetensors`);
  const averaging = trainer.averagedModel();
  await within;
  t.deepEqual(bits(model), before);
  const predictor = await Predictor.load(model);
  t.teardown(() => predictor.close());
  const predicted = predictor.predictSync(x);
  await model.save(`${dir}/model.safetensors`);
  t.deepEqual(bits(await Model.load(`${dir}/model.safetensors`)), before);
  go();
  t.true(Math.abs((await evaluating).loss - loss) < 1e-6 * loss);
  t.deepEqual(bits(await averaging), averages);
  await saving;
  const later = await Predictor.load(model);
  t.teardown(() => later.close());
  t.deepEqual(predicted, later.predictSync(x));
  await trainer.loadCheckpoint(`${dir}/meanwhile.safetensors`);
  t.deepEqual(bits(model), before);
});

test('validation is of the averages where that is asked for', async (t) => {
  const held = { x: x.subarray(0, 30), y: y.subarray(0, 20) };
  const once = async (ema, more = {}) => {
    const model = perceptron();
    const trainer = new Trainer(model, {
      ...{ loss: 'mse', optimizer: sgd({ learningRate: 0.3 }), ema },
    });
    t.teardown(() => trainer.close());
    const raw = [];
    const averaged = [];
    const copies = [];
    const watch = {
      async onEpochEnd() {
        raw.push((await trainer.evaluate(held)).loss);
        averaged.push((await trainer.evaluate(held, { ema: true })).loss);
        copies.push(bits(await trainer.averagedModel()));
      },
    };
    const { callbacks = [], ...fit } = more;
    const history = await trainer.fit(regression, {
      ...{ ...quiet, epochs: 6, validationData: held, ...fit },
      callbacks: [watch, ...callbacks],
    });
    return { model, history, raw, averaged, copies };
  };
  const plain = await once({ decay: 0.7 });
  t.deepEqual(plain.history.valLoss, plain.raw);
  const made = await once({ decay: 0.7, validate: true });
  t.deepEqual(made.history.valLoss, made.averaged);
  t.notDeepEqual(made.raw, made.averaged);
  // The steps are the same.
  t.deepEqual(bits(made.model), bits(plain.model));
  t.deepEqual(made.history.loss, plain.history.loss);
  // What earlyStopping puts back are the averages that were judged, and keepBest follows them.
  const dir = await makeFolder(t);
  const stopper = earlyStopping({ restoreBestWeights: true, mode: 'max', patience: 9 });
  const kept = await once(
    { decay: 0.7, validate: true },
    { callbacks: [stopper], checkpoint: { dir, keepBest: 'valLoss' } },
  );
  const worst = made.averaged.indexOf(Math.max(...made.averaged));
  t.is(stopper.bestEpoch, worst);
  t.deepEqual(bits(kept.model), made.copies[worst]);
  const best = new Trainer(perceptron(3), {
    ...{ loss: 'mse', optimizer: sgd({ learningRate: 0.3 }), ema: { decay: 0.7 } },
  });
  t.teardown(() => best.close());
  await best.loadCheckpoint(`${dir}/best.safetensors`);
  const least = made.averaged.indexOf(Math.min(...made.averaged));
  t.deepEqual(bits(await best.averagedModel()), made.copies[least]);
});
