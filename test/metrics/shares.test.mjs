// Accuracy is a count of targets over their number, however they come.
import test from 'ava';
import { dense, input, Model, metrics, sequential, sgd, Trainer } from 'tandem-ml';
import { fromArrays, fromBatches } from 'tandem-ml/data';

/** A model that gives back what it gets. */
function same(t, model, options) {
  for (const { data } of model.parameters.values()) {
    const width = Math.sqrt(data.length);
    for (let i = 0; i < data.length; i++) data[i] = Math.floor(i / width) === i % width ? 1 : 0;
  }
  const optimizer = sgd({ learningRate: 0 });
  const trainer = new Trainer(model, { loss: 'crossEntropy', optimizer, ...options });
  t.teardown(() => trainer.close());
  return trainer;
}

const classifier = (t, options = { metrics: ['accuracy'] }) =>
  same(t, sequential([dense(2, { bias: false })], { input: [2] }), options);

/** Rows of which the first `right` are met. */
const rows = (count, right) => ({
  x: Float32Array.from({ length: 2 * count }, (_, i) => (i % 2 === 0 ? 1 : 0)),
  y: Int32Array.from({ length: count }, (_, i) => (i < right ? 0 : 1)),
});

for (const [count, right] of [
  [10, 3],
  [10, 7],
  [6, 3],
  [777, 311],
]) {
  test(`${right} of ${count}`, async (t) => {
    const trainer = classifier(t);
    const data = rows(count, right);
    for (const batchSize of [1, 3, 7, count]) {
      t.is((await trainer.evaluate(data, { batchSize })).accuracy, right / count);
    }
    const history = await trainer.fit(data, { validationData: data, batchSize: 4, verbose: 0 });
    t.deepEqual([history.accuracy[0], history.valAccuracy[0]], [right / count, right / count]);
    t.is((await trainer.step(data)).accuracy, right / count);
  });
}

test('targets that do not count, in every other block', async (t) => {
  const x = input([4, 2]);
  const model = new Model({ inputs: x, outputs: dense(2, { bias: false })(x) });
  const trainer = same(t, model, { metrics: ['accuracy'] });
  const logits = Float32Array.from({ length: 16 }, (_, i) => (i % 2 === 0 ? 1 : 0));
  // All entries of the first block count and are met; of the second 1 and 2, of which none is.
  const blocks = [
    { rows: 2, x: logits, y: new Int32Array(8) },
    { rows: 2, x: logits, y: Int32Array.of(1, -100, -100, -100, 1, 1, -100, -100) },
    { rows: 2, x: logits, y: Int32Array.of(0, -100, -100, -100, 1, -100, -100, -100) },
  ];
  const loss = (8 * Math.log1p(Math.exp(-1)) + 3 * Math.log1p(Math.exp(1))) / 11;
  for (const order of [
    [0, 1],
    [1, 0],
  ]) {
    const scores = await trainer.evaluate(
      fromBatches(() => order.map((i) => blocks[i])),
      { batchSize: 2 },
    );
    t.is(scores.accuracy, 8 / 11);
    t.true(Math.abs(scores.loss - loss) < 1e-6, `${scores.loss}`);
  }
  const last = await trainer.evaluate(
    fromBatches(() => [blocks[0], blocks[2]]),
    { batchSize: 2 },
  );
  t.is(last.accuracy, 9 / 10);
});

test('steps of several blocks weigh their targets', async (t) => {
  const make = () => {
    const x = input([4, 2]);
    const model = new Model({ inputs: x, outputs: dense(2, { bias: false })(x) });
    return same(t, model, { optimizer: sgd({ learningRate: 1 }), gradientAccumulationSteps: 2 });
  };
  const x = Float32Array.from({ length: 32 }, (_, i) => Math.sin(i));
  const y = Int32Array.from({ length: 16 }, (_, i) => (i > 8 && i !== 13 ? -100 : i % 2));
  const halves = [0, 1].map((i) => ({
    rows: 2,
    x: x.slice(16 * i, 16 * i + 16),
    y: y.slice(8 * i, 8 * i + 8),
  }));
  const [whole, parts] = [make(), make()];
  const options = { batchSize: 2, shuffle: false, verbose: 0 };
  await whole.fit(fromArrays({ x, y }, { rows: 4 }), options);
  await parts.fit(
    fromBatches(() => halves),
    options,
  );
  const values = ({ model }) => [...model.parameters.values()].flatMap(({ data }) => [...data]);
  t.deepEqual(values(parts), values(whole));
});

test('accuracy and mae are objects, too', async (t) => {
  const named = classifier(t, { metrics: { share: metrics.accuracy() } });
  t.is((await named.evaluate(rows(10, 3))).share, 0.3);
  const model = sequential([dense(1, { bias: false })], { input: [1] });
  const trainer = same(t, model, { loss: 'mse', metrics: [metrics.mae(), 'rmse'] });
  const scores = await trainer.evaluate({ x: Float32Array.of(1, 2), y: Float32Array.of(2, 4) });
  t.is(scores.mae, 1.5);
  t.throws(() => classifier(t, { metrics: [metrics.mae()] }), { code: 'ERR_ARGUMENT' });
});
