// Metrics through the Trainer: custom ones, several outputs, targets that do not count, ties, errors.
import { join } from 'node:path';
import test from 'ava';
import {
  abs,
  adam,
  bceWithLogits,
  dense,
  earlyStopping,
  input,
  Model,
  max,
  metrics,
  mul,
  parameter,
  reshape,
  sequential,
  sgd,
  slice,
  sub,
  sum,
  TandemError,
  Trainer,
} from 'tandem-ml';
import { makeFolder } from '../helpers/folder.mjs';

function make(t, width, options) {
  const model = sequential([dense(width, { bias: false, name: 'same' })], { input: [width] });
  const { data } = model.parameters.get('same.weight');
  for (let i = 0; i < data.length; i++) data[i] = Math.floor(i / width) === i % width ? 1 : 0;
  return close(t, new Trainer(model, { optimizer: sgd({ learningRate: 0 }), ...options }));
}

function close(t, trainer) {
  t.teardown(() => trainer.close());
  return trainer;
}

const x = Float32Array.of(1, -3, 2, 7, 0);
const y = Float32Array.of(0, 0, 5, 7, 4);

test('a metric of a user is told every batch', async (t) => {
  const batches = [];
  const worst = {
    values: (output, target) => [max(abs(sub(output, target))), output],
    accumulate() {
      let largest = Number.NEGATIVE_INFINITY;
      return {
        add([error, outputs], rows) {
          batches.push([rows, outputs.length, [...outputs]]);
          largest = Math.max(largest, error[0]);
        },
        result: () => Promise.resolve(largest),
      };
    },
  };
  const trainer = make(t, 1, {
    loss: 'mse',
    metrics: { worst, bias: (o, target) => sum(sub(o, target)) },
  });
  const scores = await trainer.evaluate({ x, y }, { batchSize: 2 });
  t.is(scores.worst, 4);
  t.deepEqual(batches, [
    [2, 2, [1, -3]],
    [2, 2, [2, 7]],
    [1, 1, [0]],
  ]);
  const history = await trainer.fit({ x, y }, { batchSize: 2, verbose: 0, epochs: 2 });
  t.deepEqual(history.worst, [4, 4]);
  const step = await trainer.step({ x: x.slice(0, 2), y: y.slice(0, 2) });
  t.is(step.worst, 3);
});

/** A metric that keeps what it is told of each batch. */
const told = (values) => {
  const batches = [];
  const accumulate = () => ({
    add: (parts) => batches.push(parts.map((part) => [...part])),
    result: () => batches.length,
  });
  return { batches, metric: { values, accumulate } };
};

test('values of a metric are those of the batch whatever their shapes', async (t) => {
  const pairs = told((output) => [reshape(output, [-1, 2]), sum(output)]);
  const trainer = make(t, 1, { loss: 'mse', metrics: { pairs: pairs.metric } });
  await trainer.evaluate({ x: x.slice(0, 4), y: y.slice(0, 4) }, { batchSize: 2 });
  t.deepEqual(pairs.batches, [
    [[1, -3], [-2]],
    [[2, 7], [9]],
  ]);
  const first = told((output) => [slice(output, { axis: 0, end: 3 }), sum(output)]);
  const cut = make(t, 1, { loss: 'mse', metrics: { first: first.metric } });
  await cut.evaluate({ x, y });
  t.deepEqual(first.batches, [[[1, -3, 2], [7]]]);
});

test('a metric whose values a batch is too short for is refused', async (t) => {
  for (const values of [{ end: 3 }, { start: -3 }]) {
    const few = told((output) => [slice(output, { axis: 0, ...values }), sum(output)]);
    const trainer = make(t, 1, { loss: 'mse', metrics: { few: few.metric } });
    await t.throwsAsync(trainer.evaluate({ x, y }, { batchSize: 2 }), {
      instanceOf: TandemError,
      code: 'ERR_SHAPE',
    });
    await t.throwsAsync(trainer.fit({ x, y }, { batchSize: 2, verbose: 0 }), { code: 'ERR_SHAPE' });
    t.deepEqual(few.batches, []);
  }
  const third = told((output) => [slice(output, { axis: 0, step: 3 })]);
  t.throws(() => make(t, 1, { loss: 'mse', metrics: { third: third.metric } }), {
    code: 'ERR_SHAPE',
  });
});

test('weighted errors, as a quotient of sums', async (t) => {
  const weighted = {
    values: (output, target) => [sum(mul(abs(sub(output, target)), target)), sum(target)],
    accumulate() {
      let [top, bottom] = [0, 0];
      return {
        add([[part], [whole]]) {
          top += part;
          bottom += whole;
        },
        result: () => top / bottom,
      };
    },
  };
  const trainer = make(t, 1, { loss: 'mse', metrics: { weighted } });
  const { weighted: found } = await trainer.evaluate({ x, y }, { batchSize: 2 });
  t.is(found, (3 * 5 + 0 * 7 + 4 * 4) / 16);
});

test('with several outputs metrics are named after them', async (t) => {
  const a = input([2], { name: 'a' });
  const heads = {
    kind: dense(2, { bias: false, name: 'kind' })(a),
    size: dense(1, { bias: false, name: 'size' })(a),
  };
  const model = new Model({ inputs: { a }, outputs: heads, seed: 1 });
  const loss = { kind: 'crossEntropy', size: 'mse' };
  const trainer = close(t, new Trainer(model, { loss, metrics: ['f1', 'r2', 'confusionMatrix'] }));
  const data = {
    x: Float32Array.of(1, 2, 3, 4, 5, 6),
    y: { kind: Int32Array.of(0, 1, 1), size: Float32Array.of(1, 2, 4) },
  };
  const scores = await trainer.evaluate(data);
  t.true(Number.isFinite(scores.kindF1) && Number.isFinite(scores.sizeR2));
  t.deepEqual(Object.keys(scores.matrices), ['kindConfusionMatrix']);
  t.false('matrices' in { ...scores });
});

test('negative targets and those ignored do not count', async (t) => {
  const names = ['precision', 'confusionMatrix', 'rocAuc', 'topKAccuracy', 'perplexity'];
  const logits = [2, 0, 1, /**/ 0, 3, 1, /**/ 1, 0, 4, /**/ 9, 9, 9, /**/ 1, 5, 2];
  const whole = make(t, 3, { loss: 'crossEntropy', metrics: names });
  const masked = { x: Float32Array.from(logits), y: Int32Array.of(0, 1, 0, -100, 2) };
  const plain = {
    x: Float32Array.from([...logits.slice(0, 9), ...logits.slice(12)]),
    y: Int32Array.of(0, 1, 0, 2),
  };
  const [found, expected] = [await whole.evaluate(masked), await whole.evaluate(plain)];
  for (const name of ['precision', 'rocAuc', 'topKAccuracy', 'perplexity']) {
    t.true(Math.abs(found[name] - expected[name]) < 1e-6, name);
  }
  t.deepEqual(found.matrices, expected.matrices);
  t.deepEqual(found.matrices.confusionMatrix, [
    [1, 0, 1],
    [0, 1, 0],
    [0, 1, 0],
  ]);
});

test('batches without a target that counts change nothing', async (t) => {
  const trainer = make(t, 3, {
    loss: 'crossEntropy',
    metrics: ['perplexity', 'f1', 'topKAccuracy'],
  });
  const data = { x: Float32Array.of(1, 2, 3, 3, 2, 1), y: Int32Array.of(-100, 0) };
  const scores = await trainer.evaluate(data, { batchSize: 1 });
  t.true(Math.abs(scores.perplexity - (1 + Math.exp(-1) + Math.exp(-2))) < 1e-6);
  t.is(scores.f1, 1);
  t.is(scores.topKAccuracy, 1);
});

test('equal scores count a half', async (t) => {
  const trainer = make(t, 1, { loss: 'bceWithLogits', metrics: ['rocAuc'] });
  const area = async (scores, targets) =>
    (await trainer.evaluate({ x: Float32Array.from(scores), y: Float32Array.from(targets) }))
      .rocAuc;
  t.is(await area([1, 1, 1, 1], [0, 1, 0, 1]), 0.5);
  t.is(await area([-1, 0, -0, 2], [0, 0, 1, 1]), 0.875);
  t.is(await area([-1e30, -2, 3e-20, 1e30], [1, 1, 0, 0]), 0);
  t.is(await area([1, 2], [1, 1]), Number.NaN, 'one class alone');
  t.is(await area([1, Number.NaN], [1, 0]), Number.NaN, 'a score that is none');
});

test('the area of scores of which nearly all are equal, or on one side, for more than one turn', async (t) => {
  const trainer = make(t, 1, { loss: 'bceWithLogits', metrics: ['rocAuc'] });
  const count = 150_000;
  const area = async (score, target) => {
    const of = (fill) => Float32Array.from({ length: count }, (_, i) => fill(i));
    return (await trainer.evaluate({ x: of(score), y: of(target) }, { batchSize: 1000 })).rocAuc;
  };
  const last = (i) => (i === count - 1 ? 1 : 0);
  t.is(await area(() => -0, last), 0.5);
  t.is(await area(last, last), 1);
  t.is(await area((i) => -i, last), 0);
  t.is(
    await area(
      (i) => i,
      (i) => 1 - last(i),
    ),
    0,
  );
  t.is(await area((i) => Math.abs(i - count / 2), last), (count - 3 + 0.5) / (count - 1));
});

test('the area is that of all pairs, for more scores than one turn sorts', async (t) => {
  const count = 200_000;
  const scores = new Float32Array(count);
  const targets = new Float32Array(count);
  let state = 1;
  for (let i = 0; i < count; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    targets[i] = state >>> 31;
    scores[i] = Math.fround(((state >>> 8) % 1000) / 100 - 5 + targets[i]);
  }
  // Few scores are different: pairs by counting them.
  const [yes, no] = [new Map(), new Map()];
  for (let i = 0; i < count; i++) {
    const of = targets[i] === 1 ? yes : no;
    of.set(scores[i], (of.get(scores[i]) ?? 0) + 1);
  }
  let [won, pairs] = [0, 0];
  for (const [a, n] of yes) {
    for (const [b, m] of no) {
      won += n * m * (a > b ? 1 : a === b ? 0.5 : 0);
      pairs += n * m;
    }
  }
  const trainer = make(t, 1, { loss: 'bceWithLogits', metrics: ['rocAuc'] });
  const found = await trainer.evaluate({ x: scores, y: targets }, { batchSize: 1000 });
  t.true(Math.abs(found.rocAuc - won / pairs) < 1e-12);
});

test('rows of sequences count one by one', async (t) => {
  const steps = input([3, 2], { name: 'steps' });
  const outputs = [dense(2, { bias: false, name: 'same' })(steps)];
  const model = new Model({ inputs: [steps], outputs });
  model.parameters.get('same.weight').data.set([1, 0, 0, 1]);
  const trainer = close(
    t,
    new Trainer(model, { loss: 'crossEntropy', metrics: ['confusionMatrix', 'recall'] }),
  );
  const data = {
    x: Float32Array.of(1, 0, 0, 1, 1, 0, 0, 1, 0, 1, 1, 0),
    y: Int32Array.of(0, 1, 1, 1, 0, -100),
  };
  const { recall, matrices } = await trainer.evaluate(data);
  t.is(recall, 2 / 3);
  t.deepEqual(matrices.confusionMatrix, [
    [1, 1],
    [1, 2],
  ]);
});

test('a loss of a user with values as targets may have the metrics of yes and no', async (t) => {
  const loss = (output, target) => bceWithLogits(output, target);
  const trainer = make(t, 1, { loss, metrics: ['recall', 'mae'] });
  const { recall } = await trainer.evaluate({ x, y: Float32Array.of(1, 1, 1, 1, 0) });
  t.is(recall, 3 / 4);
});

test('accuracy of classes stands beside that of labels', async (t) => {
  const features = input([2], { name: 'features' });
  const outputs = { kind: mul(features, 1), tags: sub(features, 1) };
  const model = new Model({ inputs: [features], outputs });
  const loss = { kind: 'crossEntropy', tags: 'bceWithLogits' };
  const trainer = close(t, new Trainer(model, { loss, metrics: ['accuracy'] }));
  // Decided: tags no no, no yes, yes no, of which the second row's targets do not count.
  const rows = Float32Array.of(0.5, 0, 0.5, 3, 2, 1);
  const tags = Float32Array.of(0, 1, -1, -1, 1, 0);
  const scores = await trainer.evaluate({ x: rows, y: { kind: Int32Array.of(0, 0, 1), tags } });
  t.is(scores.kindAccuracy, 1 / 3);
  t.is(scores.tagsAccuracy, 3 / 4);
});

const refuses = (name, loss, wanted, code, message, width = 3) =>
  test(`refuses ${name}`, (t) => {
    t.throws(() => make(t, width, { loss, metrics: wanted }), { code, message });
  });
refuses('a name that is none', 'mse', ['f2'], 'ERR_ARGUMENT', /did you mean|"f1"/);
refuses('f1 of numbers', 'mse', ['f1'], 'ERR_ARGUMENT', /class numbers or bceWithLogits/);
refuses('r2 of classes', 'crossEntropy', ['r2'], 'ERR_ARGUMENT', /numbers to come close to/);
refuses('perplexity of numbers', 'bceWithLogits', ['perplexity'], 'ERR_ARGUMENT', /class numbers/);
refuses('a matrix of labels', 'bceWithLogits', ['confusionMatrix'], 'ERR_ARGUMENT', /1024 classes/);
refuses(
  'a matrix of many classes',
  'crossEntropy',
  ['confusionMatrix'],
  'ERR_ARGUMENT',
  /1025/,
  1025,
);
refuses(
  'one class of many',
  'crossEntropy',
  { f1: metrics.f1({ average: 'binary' }) },
  'ERR_ARGUMENT',
  /3 classes/,
);
refuses(
  'values that are none',
  'mse',
  { own: { values: () => [3], accumulate: () => ({}) } },
  'ERR_ARGUMENT',
  /metrics\.own/,
);
refuses('the same name twice', 'mse', { loss: metrics.r2() }, 'ERR_ARGUMENT', /other names/);
refuses('what a history has already', 'mse', { toCSV: 'mae' }, 'ERR_ARGUMENT', /other names/);
refuses(
  'what validation reports',
  'mse',
  { valLoss: 'mae' },
  'ERR_ARGUMENT',
  /other names.*valLoss/,
);
refuses(
  'what validation would take for another',
  'mse',
  { Loss: 'mae' },
  'ERR_ARGUMENT',
  /other names.*metrics.*Loss/,
);
refuses('what every object has', 'mse', { constructor: 'mae' }, 'ERR_ARGUMENT', /other names/);
refuses(
  'values of a wrong shape',
  'mse',
  {
    own: {
      values: (output, target) => [sub(output, sum(target, { axes: 1 }))],
      accumulate: () => ({ add() {}, result: () => 0 }),
    },
  },
  'ERR_SHAPE',
  /metrics\.own/,
);

test('an output whose loss would be that of validation is named', (t) => {
  const x = input([2], { name: 'x' });
  const outputs = { policy: dense(2)(x), val: dense(1)(x) };
  const model = new Model({ inputs: [x], outputs, seed: 1 });
  t.throws(() => new Trainer(model, { loss: 'mse', optimizer: sgd({ learningRate: 0.01 }) }), {
    code: 'ERR_ARGUMENT',
    message: /other names.*outputs.*valLoss/,
  });
});

test('refuses options that are wrong', (t) => {
  t.throws(() => metrics.topKAccuracy({ k: 0 }), { code: 'ERR_ARGUMENT' });
  t.throws(() => metrics.f1({ average: 'mean' }), { code: 'ERR_ARGUMENT' });
  t.throws(() => metrics.rocAuc({ average: 'micro' }), { code: 'ERR_ARGUMENT' });
  t.throws(() => metrics.perplexity({ ignoreIndex: 0.5 }), { code: 'ERR_ARGUMENT' });
});

for (const result of [undefined, [['a']], [[null]], [1], 'x']) {
  test(`an accumulator that gives ${JSON.stringify(result)} rejects`, async (t) => {
    const accumulate = () => ({ add() {}, result: () => result });
    const own = { values: (output) => [sum(output)], accumulate };
    const trainer = make(t, 1, { loss: 'mse', metrics: { own } });
    await t.throwsAsync(trainer.evaluate({ x, y }), {
      code: 'ERR_ARGUMENT',
      message: /metrics\.own/,
    });
  });
}

test('logits of one class always predict it', async (t) => {
  const names = ['accuracy', 'precision', 'recall', 'f1', 'confusionMatrix'];
  const trainer = make(t, 1, { loss: 'crossEntropy', metrics: names });
  const data = { x: Float32Array.of(3, -2, 0, 1), y: Int32Array.of(0, 0, -100, 0) };
  const found = await trainer.evaluate(data);
  t.deepEqual({ ...found }, { loss: 0, accuracy: 1, precision: 1, recall: 1, f1: 1 });
  t.deepEqual(found.matrices.confusionMatrix, [[3]]);
});

test('of top-k accuracy under a name with its k more is better', async (t) => {
  const dir = await makeFolder(t);
  const x = Float32Array.from({ length: 400 }, (_, i) => Math.sin(i * i));
  const y = Int32Array.from({ length: 100 }, (_, i) => Math.floor(8 * Math.abs(x[4 * i])));
  const make = () => {
    const layers = [dense(32, { activation: 'relu' }), dense(8)];
    const trainer = new Trainer(sequential(layers, { input: [4], seed: 1 }), {
      loss: 'crossEntropy',
      optimizer: adam({ learningRate: 0.01 }),
      metrics: { top3: metrics.topKAccuracy({ k: 3 }) },
    });
    t.teardown(() => trainer.close());
    return trainer;
  };
  const stopping = earlyStopping({ monitor: 'valTop3', patience: 20 });
  const history = await make().fit(
    { x, y },
    {
      epochs: 15,
      verbose: 0,
      validationData: { x, y },
      checkpoint: { dir, keepBest: 'valTop3' },
      callbacks: [stopping],
    },
  );
  const best = Math.max(...history.valTop3);
  t.true(best > history.valTop3[0]);
  t.is(stopping.best, best);
  const again = make();
  await again.loadCheckpoint(join(dir, 'best.safetensors'));
  t.is((await again.evaluate({ x, y })).top3, best);
});

/** Of a model whose output is its input, NaN in one place included. */
function scaled(t, width, options) {
  const logits = input([width], { name: 'logits' });
  const scale = parameter([1], { name: 'scale', initializer: 'ones' });
  const model = new Model({ inputs: logits, outputs: mul(logits, scale) });
  return close(t, new Trainer(model, options));
}

test('a logit that is NaN meets no target', async (t) => {
  const names = ['accuracy', 'precision', 'recall', 'f1', 'confusionMatrix'];
  const one = scaled(t, 1, { loss: 'bceWithLogits', metrics: names });
  const logits = Float32Array.of(Number.NaN, -1, 1, Number.NaN);
  const found = await one.evaluate({ x: logits, y: Float32Array.of(0, 0, 1, 1) });
  t.deepEqual([found.accuracy, found.precision, found.recall], [0.5, 1, 0.5]);
  t.is(found.f1, 2 / 3);
  t.deepEqual(found.matrices.confusionMatrix, [
    [1, 0],
    [0, 1],
  ]);
  const labels = scaled(t, 2, { loss: 'bceWithLogits', metrics: ['accuracy', 'recall'] });
  const each = await labels.evaluate({ x: logits, y: Float32Array.of(0, 0, 1, 1) });
  t.deepEqual([each.accuracy, each.recall], [0.5, 0.5]);
});

test('a target that is NaN is met by nothing', async (t) => {
  for (const width of [1, 2]) {
    const trainer = scaled(t, width, { loss: 'bceWithLogits', metrics: ['accuracy'] });
    const y = Float32Array.of(Number.NaN, 0, Number.NaN, 1);
    t.is((await trainer.evaluate({ x: Float32Array.of(-1, -1, 1, 1), y })).accuracy, 0.5);
  }
});

test('a row with NaN has no classes among its largest logits', async (t) => {
  const [top1, top9] = [1, 9].map((k) => metrics.topKAccuracy({ k }));
  const wanted = { accuracy: 'accuracy', top1, top9 };
  const trainer = scaled(t, 3, { loss: 'crossEntropy', metrics: wanted });
  const logits = Float32Array.of(Number.NaN, 2, 1, 0, 2, 1);
  const found = await trainer.evaluate({ x: logits, y: Int32Array.of(1, 1) });
  t.deepEqual([found.accuracy, found.top1, found.top9], [0.5, 0.5, 0.5]);
});
