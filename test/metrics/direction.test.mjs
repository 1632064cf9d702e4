// Metrics say whether more of them is better, under whatever name they stand.
import { join } from 'node:path';
import test from 'ava';
import {
  dense,
  earlyStopping,
  input,
  Model,
  mean,
  metrics,
  reduceOnPlateau,
  search,
  sequential,
  sgd,
  space,
  Trainer,
} from 'tandem-ml';
import { makeFolder } from '../helpers/folder.mjs';

const x = Float32Array.of(1, 2, 3, 4);
const y = Float32Array.of(2, 4, 6, 8);

/** A metric that reports these numbers, one a validation. */
const scripted = (numbers, more) => {
  let next = 0;
  return {
    values: (output) => [output],
    accumulate: () => {
      const value = numbers[Math.min(next++, numbers.length - 1)];
      return { add() {}, result: () => value };
    },
    ...more,
  };
};
const make = (t, named, options) => {
  const model = sequential([dense(1)], { input: [1], seed: 1 });
  const trainer = new Trainer(model, {
    loss: 'mse',
    optimizer: sgd({ learningRate: 1e-3 }),
    metrics: named,
    ...options,
  });
  t?.teardown(() => trainer.close());
  return trainer;
};
const quiet = { batchSize: 4, shuffle: false, verbose: 0 };

test('those of this library say it under other names', (t) => {
  const model = () => sequential([dense(3)], { input: [2], seed: 1 });
  const make = (loss, named) => {
    const trainer = new Trainer(model(), { loss, metrics: named });
    t.teardown(() => trainer.close());
    return trainer;
  };
  const { accuracy, f1, mae, perplexity, precision, r2, recall, rmse, topKAccuracy } = metrics;
  const classes = make('crossEntropy', {
    a: accuracy(),
    b: f1(),
    c: precision(),
    d: recall(),
    e: topKAccuracy({ k: 2 }),
    accuracy: perplexity(),
    matrix: metrics.confusionMatrix(),
  });
  for (const name of 'abcde') {
    t.true(classes.largerIsBetter(name));
    t.true(classes.largerIsBetter(`val${name.toUpperCase()}`));
  }
  for (const name of ['accuracy', 'valAccuracy', 'loss', 'valLoss', 'learningRate', 'matrix'])
    t.false(classes.largerIsBetter(name), name);
  const numbers = make('mse', { fit: r2(), f1: mae(), auc: rmse() });
  t.true(numbers.largerIsBetter('valFit'));
  for (const name of ['f1', 'valF1', 'auc', 'valAuc']) t.false(numbers.largerIsBetter(name), name);
  // What says nothing goes by its name.
  const own = make('mse', { myF1: scripted([1]), mine: (output) => mean(output) });
  t.true(own.largerIsBetter('valMyF1'));
  t.false(own.largerIsBetter('mine'));
  for (const name of [undefined, 5, Symbol('f1')])
    t.throws(() => own.largerIsBetter(name), { code: 'ERR_ARGUMENT', message: /`name`/ });
});

test('with several outputs they say it for each', (t) => {
  const from = input([2]);
  const outputs = { left: dense(3)(from), right: dense(4)(from) };
  const trainer = new Trainer(new Model({ inputs: from, outputs, seed: 1 }), {
    loss: { left: 'crossEntropy', right: 'crossEntropy' },
    metrics: { score: metrics.f1() },
  });
  t.teardown(() => trainer.close());
  for (const name of ['leftScore', 'rightScore', 'valLeftScore', 'valRightScore'])
    t.true(trainer.largerIsBetter(name), name);
});

test('own metrics may say it, by a boolean', (t) => {
  t.true(make(t, { score: scripted([1], { largerIsBetter: true }) }).largerIsBetter('valScore'));
  t.false(make(t, { f1: scripted([1], { largerIsBetter: false }) }).largerIsBetter('valF1'));
  t.throws(() => make(t, { score: scripted([1], { largerIsBetter: 1 }) }), {
    code: 'ERR_ARGUMENT',
    message: /`metrics\.score\.largerIsBetter`/,
  });
});

const rising = () => scripted([0.1, 0.2, 0.3, 0.4, 0.3, 0.2], { largerIsBetter: true });
/** Each epoch counts once in training and once in validation. */
const doubled = () => scripted([1, 1, 2, 2, 3, 3, 4, 4, 3, 3, 2, 2], { largerIsBetter: true });

test('earlyStopping goes by it', async (t) => {
  const stop = earlyStopping({ monitor: 'score', patience: 2 });
  await make(t, { score: rising() }).fit({ x, y }, { ...quiet, epochs: 6, callbacks: [stop] });
  t.is(stop.best, 0.4);
  t.is(stop.bestEpoch, 3);
  const down = earlyStopping({ monitor: 'score', patience: 2, mode: 'min' });
  await make(t, { score: rising() }).fit({ x, y }, { ...quiet, epochs: 6, callbacks: [down] });
  t.is(down.bestEpoch, 0);
});

test('reduceOnPlateau goes by it', async (t) => {
  const rates = async (options) => {
    const lrScheduler = reduceOnPlateau({ monitor: 'score', patience: 0, ...options });
    const trainer = make(t, { score: rising() }, { lrScheduler });
    const { learningRate } = await trainer.fit({ x, y }, { ...quiet, epochs: 6 });
    return learningRate.map((rate) => Math.round(Math.log10(1e-3 / rate)));
  };
  t.deepEqual(await rates({}), [0, 0, 0, 0, 0, 1]);
  t.deepEqual(await rates({ mode: 'min' }), [0, 0, 1, 2, 3, 4]);
});

test('keepBest goes by it', async (t) => {
  const dir = await makeFolder(t);
  const checkpoint = { dir, keep: 1, keepBest: 'valScore' };
  const validationData = { x, y };
  const trainer = make(t, { score: doubled() });
  await trainer.fit({ x, y }, { ...quiet, epochs: 6, checkpoint, validationData });
  const best = make(t, { score: doubled() });
  await best.loadCheckpoint(join(dir, 'best.safetensors'));
  const four = make(t, { score: doubled() });
  await four.fit({ x, y }, { ...quiet, epochs: 4, validationData });
  const weights = ({ model }) => [...model.parameters.values()].map(({ data }) => [...data]);
  t.deepEqual(weights(best), weights(four));
});

test('search wants a mode where a name says otherwise', async (t) => {
  const options = {
    data: { x, y },
    space: { seed: space.int(1, 9) },
    trials: 2,
    epochs: 3,
    strategy: 'random',
    monitor: 'score',
    build: () => make(undefined, { score: rising() }),
  };
  await t.throwsAsync(search(options), {
    code: 'ERR_ARGUMENT',
    message:
      'expected "max" for "score", as its metric has it, for `mode`, received "auto", which goes by the name',
  });
  const { best } = await search({ ...options, mode: 'max' });
  t.is(best.value, 0.3);
});
