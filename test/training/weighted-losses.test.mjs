// Losses that count some rows more than others, or not at all: micro-batches, evaluation and
// validation by any batch size are one batch of all rows.
import test from 'ava';
import * as tandem from 'tandem-ml';
import { generator, relativeError, uniform } from '../helpers/numbers.mjs';
import { quiet } from './support.mjs';

const { abs, add, div, input, maximum, mean, mul, neg, reshape, sub, sum, where } = tandem;
const { bceWithLogits, crossEntropy, dense, distillation, huber, l1, mse, sgd } = tandem;

const rows = 24;
const random = generator(7);
/** The first rows have no weight, and no target that counts. */
const idle = 6;
const counts = (i) => (i < idle || i % 4 === 1 ? 0 : 0.25 + random());
const arrays = {
  x: uniform(rows * 3, random),
  own: Float32Array.from({ length: rows }, (_, i) => counts(i)),
  each: Float32Array.from({ length: rows * 4 }, (_, i) => counts(i >> 2) * (i % 3)),
};
const numbers = Float32Array.from(uniform(rows * 4, random, 0, 1));
const classes = (ignored, n = 4, per = 1) =>
  Int32Array.from({ length: rows * per }, (_, i) =>
    i < idle * per || i % 5 === 2 ? ignored : (3 * i + 1) % n,
  );

/** A model with outputs of 4 numbers by name, which gets weights of rows and of elements. */
function makeModel(names) {
  const x = input([3], { name: 'x' });
  const own = input([], { name: 'own' });
  const each = input([4], { name: 'each' });
  const hidden = dense(5, { activation: 'tanh' })(x);
  const outputs = Object.fromEntries(
    names.map((name) => {
      const y = dense(4, { name })(hidden);
      return [name, name === 'pairs' ? reshape(y, [-1, 2, 2]) : y];
    }),
  );
  const model = new tandem.Model({ inputs: { x, own, each }, outputs, seed: 2 });
  return { model, own, each };
}

/** Losses of one output, or of `a` and `b`: from the model's weights to a Trainer's options. */
const cases = {};
const pointwise = {
  mse: [mse, {}],
  l1: [l1, {}],
  huber: [huber, { delta: 0.3 }],
  bceWithLogits: [bceWithLogits, { posWeight: 3 }],
  'bceWithLogits by columns': [bceWithLogits, { posWeight: [0.5, 1, 2, 4] }],
};
for (const [name, [op, options]] of Object.entries(pointwise)) {
  const loss = (weigh) => (given) => ({
    loss: { a: (y, t) => op(y, t, { ...options, weights: weigh(given, t, y) }) },
    y: { a: numbers },
  });
  cases[`${name} with weights of rows`] = loss(({ own }) => own);
  cases[`${name} with weights of elements`] = loss(({ each }) => each);
  cases[`${name} with weights of columns`] = loss(() =>
    tandem.concat(
      [1, 2, 0, 0.5].map((weight) => reshape(add(weight, 0), [1, 1])),
      { axis: 1 },
    ),
  );
  cases[`${name} with a mask of its target`] = loss((_, t) =>
    where(tandem.relu(sub(t, 0.4)), 1, 0),
  );
  cases[`${name} with weights of its output`] = loss((_, __, y) => tandem.sigmoid(y));
  cases[`${name} without weights`] = loss(() => undefined);
}
for (const [name, options] of Object.entries({
  'that ignores -100': () => ({}),
  'that ignores a class': () => ({ ignoreIndex: 2 }),
  'with class weights': () => ({ classWeights: [1, 0, 3, 0.5], labelSmoothing: 0.1 }),
  'with weights': ({ own }) => ({ weights: own }),
  'with all': ({ own }) => ({
    weights: own,
    classWeights: [1, 0.5, 3, 2],
    ignoreIndex: -1,
    labelSmoothing: 0.2,
  }),
})) {
  cases[`crossEntropy ${name}`] = (given) => {
    const { ignoreIndex = -100, ...rest } = options(given);
    return {
      loss: { a: (y, t) => crossEntropy(y, t, { ignoreIndex, ...rest }) },
      y: { a: classes(ignoreIndex) },
      metrics: ignoreIndex < 0 ? ['accuracy'] : {},
    };
  };
}
cases['crossEntropy of sequences with weights of rows'] = ({ own }) => ({
  loss: { pairs: (y, t) => crossEntropy(y, t, { weights: own }) },
  y: { pairs: classes(-100, 2, 2) },
});
cases['crossEntropy of sequences with weights of targets'] = ({ each }) => ({
  loss: {
    pairs: (y, t) => {
      const weights = tandem.slice(each ?? t, { axis: 1, start: 2 });
      return crossEntropy(y, t, { weights });
    },
  },
  y: { pairs: classes(-100, 2, 2) },
});
cases['distillation with weights'] = ({ own }) => ({
  loss: { a: (y, t) => distillation(y, t, { temperature: 2, weights: own }) },
  y: { a: numbers },
});
// Less than which the weights of some batches are, or those of all.
for (const least of [1, 2, 40]) {
  cases[`a mean by hand of ${least} or more`] = ({ own }) => ({
    loss: {
      a: (y, t) => {
        const ofRow = mean(abs(sub(y, t)), { axes: [1] });
        const first = div(sum(mul(ofRow, own)), maximum(sum(own), least));
        return add(first, div(sum(mul(ofRow, own)), sum(own)));
      },
    },
    y: { a: numbers },
  });
}
cases['a mean by hand'] = ({ each }) => ({
  loss: { a: (y, t) => div(sum(mul(abs(sub(y, t)), each)), maximum(sum(each), 1e-3)) },
  y: { a: numbers },
});
cases['a mean by hand, guarded by a small number'] = ({ each }) => ({
  loss: { a: (y, t) => mean(div(sum(mul(abs(sub(y, t)), each)), add(1e-8, sum(each)))) },
  y: { a: numbers },
});
// A mean over rows of their losses times their weights.
cases['a mean by weights times the mean of these'] = ({ own }) => ({
  loss: { a: (y, t) => mul(mse(y, t, { weights: own }), mean(own)) },
  y: { a: numbers },
});
cases['a sum of losses'] = ({ own, each }) => ({
  loss: {
    a: (y, t) => {
      const masked = mse(y, t, { weights: own });
      const others = add(mul(l1(y, t, { weights: each }), 0.5), div(huber(y, t), 4));
      return sub(add(mul(masked, 3), others), mul(0.125, neg(mse(y, t))));
    },
  },
  y: { a: numbers },
});
cases['crossEntropy and another'] = ({ own }) => ({
  loss: {
    a: (y, t) => add(crossEntropy(y, t, { ignoreIndex: -1 }), mul(mse(y, y, { weights: own }), 2)),
  },
  y: { a: classes(-1) },
});
cases['outputs that ignore different targets'] = () => ({
  loss: {
    a: 'crossEntropy',
    b: (y, t) => crossEntropy(y, t, { ignoreIndex: 1, classWeights: [1, 2, 3, 4] }),
    c: 'mse',
  },
  lossWeights: { a: 0.3, b: 2 },
  y: { a: classes(-100), b: classes(1), c: numbers },
});

const near = (t, actual, expected, what) => {
  const scale = Math.max(1e-2, Math.abs(expected));
  t.true(Math.abs(actual - expected) <= 2e-6 * scale, `${what}: ${actual} for ${expected}`);
};

for (const [name, make] of Object.entries(cases)) {
  const start = (t, more) => {
    const names = Object.keys(make({}).y);
    const { model, ...given } = makeModel(names);
    const { y, ...options } = make(given);
    const trainer = new tandem.Trainer(model, { optimizer: sgd(), ...options, ...more });
    t.teardown(() => trainer.close());
    return { model, trainer, data: { x: arrays, y } };
  };

  test(`${name}: micro-batches are one batch`, async (t) => {
    const run = async (batchSize, gradientAccumulationSteps) => {
      const optimizer = sgd({ learningRate: 0.2, momentum: 0.5 });
      const { model, trainer, data } = start(t, { optimizer, gradientAccumulationSteps });
      const losses = [];
      const callbacks = [{ onBatchEnd: (_, logs) => void losses.push(logs.loss) }];
      const fit = { ...quiet, shuffle: false, batchSize, epochs: 3, callbacks };
      const history = await trainer.fit(data, fit);
      return { model, losses, history };
    };
    const whole = await run(rows, 1);
    // 6 rows, of which the first 6 count nothing; 7, 7, 7 and 3; many chunks of single rows.
    for (const [batchSize, steps] of [
      [6, 4],
      [7, 4],
      [1, rows],
      [7, 100],
    ]) {
      const parts = await run(batchSize, steps);
      t.is(parts.losses.length, 3);
      for (const [i, loss] of whole.losses.entries()) near(t, parts.losses[i], loss, `step ${i}`);
      for (const [i, loss] of whole.history.loss.entries()) {
        near(t, parts.history.loss[i], loss, `epoch ${i}`);
      }
      for (const [key, { data }] of whole.model.parameters) {
        const error = relativeError(parts.model.parameters.get(key).data, data);
        t.true(error <= 1e-6, `${key} by ${batchSize}: ${error}`);
      }
    }
  });

  test(`${name}: evaluation and validation are those of one batch`, async (t) => {
    const { trainer, data } = start(t, { optimizer: sgd({ learningRate: 0 }) });
    const whole = await trainer.evaluate(data, { batchSize: rows });
    t.true(Number.isFinite(whole.loss) && whole.loss !== 0);
    for (const batchSize of [1, 5, 6, 23]) {
      const scores = await trainer.evaluate(data, { batchSize });
      for (const [key, value] of Object.entries(whole)) near(t, scores[key], value, key);
    }
    const fit = { ...quiet, batchSize: 5, validationData: data };
    const history = await trainer.fit(data, fit);
    near(t, history.loss[0], whole.loss, 'loss');
    near(t, history.valLoss[0], whole.loss, 'valLoss');
  });
}

test('weights that are all 0 leave the model alone, with checks of numbers, too', async (t) => {
  const losses = [
    (y, target, own) => mse(y, target, { weights: own }),
    (y, target, own) => distillation(y, target, { weights: own }),
    (y, target, own) => crossEntropy(y, target, { weights: own, classWeights: [1, 2, 3, 4] }),
    (y, target, own) =>
      add(mul(mse(y, target, { weights: own }), 2), l1(y, target, { weights: own })),
  ];
  for (const [i, loss] of losses.entries()) {
    for (const gradientAccumulationSteps of [1, 3]) {
      const { model, own } = makeModel(['a']);
      const before = [...model.parameters].map(([, { data }]) => data.slice());
      const trainer = new tandem.Trainer(model, {
        loss: (y, target) => loss(y, target, own),
        optimizer: sgd({ learningRate: 1 }),
        gradientAccumulationSteps,
        checkNumerics: true,
      });
      t.teardown(() => trainer.close());
      const y = i === 2 ? classes(-100) : numbers;
      const data = { x: { ...arrays, own: new Float32Array(rows) }, y };
      const history = await trainer.fit(data, { ...quiet, batchSize: 8 });
      t.is(history.loss[0], 0, `${i}`);
      t.is((await trainer.evaluate(data)).loss, 0);
      t.deepEqual(
        [...model.parameters].map(([, { data: now }]) => now.slice()),
        before,
      );
    }
  }
});

test('smoothed targets of classes without weight count for nothing where rows have weights', async (t) => {
  const { model, own } = makeModel(['a']);
  const options = { classWeights: [0, 1, 0, 0], labelSmoothing: 0.1, weights: own };
  const trainer = new tandem.Trainer(model, {
    loss: (y, target) => crossEntropy(y, target, options),
  });
  t.teardown(() => trainer.close());
  const data = { x: arrays, y: new Int32Array(rows) };
  t.is((await trainer.step(data)).loss, 0);
  for (const batchSize of [5, rows]) t.is((await trainer.evaluate(data, { batchSize })).loss, 0);
});

test('a micro-batch without a target that counts is no bad number', async (t) => {
  const run = async (batchSize, gradientAccumulationSteps) => {
    const { model } = makeModel(['a', 'b']);
    const trainer = new tandem.Trainer(model, {
      loss: { a: 'crossEntropy', b: 'mse' },
      optimizer: sgd({ learningRate: 0.1 }),
      gradientAccumulationSteps,
      checkNumerics: true,
    });
    t.teardown(() => trainer.close());
    const y = { a: classes(-100), b: numbers };
    await trainer.fit({ x: arrays, y }, { ...quiet, shuffle: false, batchSize });
    return model.parameters.get('a.weight').data;
  };
  t.true(relativeError(await run(6, 4), await run(rows, 1)) <= 1e-6);
});
