// Changes of the rows to train on alone.
import { join } from 'node:path';
import test from 'ava';
import { crossValidate, dense, quantize, sequential, sgd, Trainer } from 'tandem-ml';
import { classWeights, fitEncoder, fromArrays, fromSequences, fromTable } from 'tandem-ml/data';
import { makeFolder } from '../helpers/folder.mjs';

const rows = 20;
const x = Float32Array.from({ length: rows }, (_, i) => i / rows);
const y = Int32Array.from({ length: rows }, (_, i) => i % 2);

const make = (t, options = {}) => {
  const trainer = new Trainer(sequential([dense(2)], { input: [1], seed: 1 }), {
    loss: 'crossEntropy',
    optimizer: sgd({ learningRate: 0.1 }),
    ...options,
  });
  t.teardown(() => trainer.close());
  return trainer;
};

const noisy = (batch, random) => ({ ...batch, x: batch.x.map((value) => value + random()) });

const weights = ({ model }) => [...model.parameters.values()].map(({ data }) => [...data]);

/** Numbers that are drawn for each batch. */
async function drawn(dataset, options) {
  const numbers = [];
  const watched = dataset.augment((batch, random) => {
    numbers.push([random(), random()]);
    return batch;
  });
  for await (const _ of watched.batches({ batchSize: 6, ...options }));
  return numbers;
}

test('only what is trained on is changed', async (t) => {
  let changed = 0;
  const data = fromArrays({ x, y });
  const augmented = data.augment((batch) => {
    changed += batch.rows;
    return { ...batch, x: new Float32Array(batch.rows) };
  });
  const [trainer, plain] = [make(t), make(t)];
  t.deepEqual(await trainer.evaluate(augmented), await plain.evaluate(data));
  t.is(changed, 0);
  const zeros = fromArrays({ x: new Float32Array(rows), y });
  const found = await trainer.fit(augmented, { validationData: augmented, verbose: 0 });
  t.deepEqual(
    found.valLoss,
    (await plain.fit(zeros, { validationData: data, verbose: 0 })).valLoss,
  );
  t.is(changed, rows);
  t.deepEqual(weights(trainer), weights(plain));
});

test('folds are tested on as they are', async (t) => {
  const build = () =>
    new Trainer(sequential([dense(2)], { input: [1], seed: 1 }), { loss: 'crossEntropy' });
  let changed = 0;
  const data = fromArrays({ x, y })
    .map((batch) => batch)
    .augment((batch) => {
      changed += batch.rows;
      return batch;
    });
  const { folds } = await crossValidate({ build, data, folds: 4 });
  t.deepEqual(
    folds.map((fold) => fold.rows),
    [5, 5, 5, 5],
  );
  t.is(changed, 4 * 15);
});

test('calibration and validation of quantized models are of rows as they are', async (t) => {
  const model = sequential([dense(2)], { input: [1], seed: 1 });
  const data = fromArrays({ x, y });
  const augmented = data.augment((batch) => ({ ...batch, x: new Float32Array(batch.rows) }));
  const [found, plain] = await Promise.all(
    [augmented, data].map((rows) => quantize(model, { calibration: rows, validation: rows })),
  );
  t.deepEqual(found.report, plain.report);
});

test('classes are counted in rows as they are', async (t) => {
  const data = fromArrays({ x, y: y.map((label, row) => (row < 4 ? 0 : label)) });
  const augmented = data.augment((batch) => ({ ...batch, y: new Int32Array(batch.rows) }));
  t.deepEqual(await classWeights(augmented), await classWeights(data));
});

test('numbers follow from seed, epoch and batch', async (t) => {
  const data = fromArrays({ x, y });
  const first = await drawn(data, { epoch: 3 });
  t.is(first.length, 4);
  t.is(new Set(first.flat()).size, 8);
  t.true(first.flat().every((number) => number >= 0 && number < 1));
  t.deepEqual(await drawn(data, { epoch: 3 }), first);
  t.deepEqual(await drawn(data, { epoch: 3, start: 2 }), first.slice(2));
  t.notDeepEqual(await drawn(data, { epoch: 4 }), first);
  t.notDeepEqual(await drawn(data.shuffle({ seed: 1 }), { epoch: 3 }), first);
  const [even, odd] = [0, 1].map((rank) => drawn(data, { epoch: 3, rank, worldSize: 2 }));
  t.deepEqual([...(await even), ...(await odd)], [first[0], first[2], first[1], first[3]]);
  const texts = Array.from({ length: rows }, (_, i) => Int32Array.of(i));
  const buckets = fromSequences({ x: texts, y }).bucketByLength({ lengths: [1, 2] });
  t.deepEqual(await drawn(buckets, { epoch: 3 }), first);
});

test('trainers of different seeds draw different numbers, be rows in order or not', async (t) => {
  const draw = async (seed, inOrder, options) => {
    const numbers = [];
    const data = inOrder(fromArrays({ x, y })).augment((batch, random) => {
      numbers.push(random());
      return batch;
    });
    await make(t, { seed }).fit(data, { verbose: 0, epochs: 2, batchSize: 6, ...options });
    return numbers;
  };
  const ways = [
    [(data) => data, { shuffle: false }],
    [(data) => data.shuffle(false), {}],
    [(data) => data, {}],
  ];
  for (const way of ways) {
    const first = await draw(1, ...way);
    t.deepEqual(await draw(1, ...way), first);
    t.is(new Set([...first, ...(await draw(2, ...way))]).size, 16);
  }
  t.notDeepEqual(
    await drawn(fromArrays({ x, y }), { seed: 1 }),
    await drawn(fromArrays({ x, y }), {}),
  );
});

test('training that was interrupted goes on with the same bits', async (t) => {
  const data = fromArrays({ x, y }).augment(noisy);
  const options = { epochs: 3, batchSize: 4, verbose: 0 };
  const whole = make(t);
  const expected = await whole.fit(data, options);
  const dir = join(await makeFolder(t), 'run');
  const controller = new AbortController();
  let steps = 0;
  const onBatchEnd = () => {
    if (++steps === 7) controller.abort();
  };
  const kept = { ...options, checkpoint: { dir, everySteps: 2 } };
  const { signal } = controller;
  const ended = make(t).fit(data, { ...kept, callbacks: [{ onBatchEnd }], signal });
  await t.throwsAsync(ended, { code: 'ERR_ABORTED' });
  const rest = make(t);
  const callbacks = [{ onBatchEnd() {} }];
  const found = await rest.fit(data, { ...kept, callbacks, resumeFrom: 'latest' });
  t.deepEqual(found.loss, expected.loss);
  t.deepEqual(weights(rest), weights(whole));
});

test('a model keeps its encoder, and tables are augmented behind it', async (t) => {
  const table = fromTable({ a: [...x], b: [...y] });
  const encoder = await fitEncoder(table, { x: { a: 'number' }, y: { b: 'category' } });
  const trainer = make(t);
  const data = encoder.encode(table).augment(noisy);
  await trainer.fit(data, { validationData: encoder.encode(table), verbose: 0 });
  t.deepEqual(trainer.model.encoder?.state, encoder.state);
  const other = make(t);
  await other.fit(
    data.map((batch) => batch),
    { verbose: 0 },
  );
  t.is(other.model.encoder, undefined);
  const early = table.augment((batch) => batch);
  const refused = { code: 'ERR_ARGUMENT' };
  t.throws(() => encoder.encode(early), { ...refused, message: /`augment` after `encode`/ });
  const fitted = fitEncoder(early, { x: { a: 'number' }, y: { b: 'category' } });
  await t.throwsAsync(fitted, { ...refused, message: /`augment` after `encode`/ });
  t.throws(() => data.augment(undefined), { ...refused, message: /`augment`/ });
  const none = fromArrays({ x, y }).augment(() => undefined);
  await t.throwsAsync(other.fit(none, { verbose: 0 }), { ...refused, message: /`augment`/ });
});
