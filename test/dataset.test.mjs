// @ts-check
// Datasets by themselves and in fit and evaluate.
import test from 'ava';
import { adam, dense, sequential, Trainer } from 'tandem-ml';
import { fromArrays, fromTable } from 'tandem-ml/data';
import { collect } from './helpers/outcomes.mjs';

const rows = 103;
const x = Float32Array.from({ length: 3 * rows }, (_, i) => Math.sin(i));
const y = Float32Array.from({ length: rows }, (_, i) => Math.cos(i));
const quiet = /** @type {const} */ ({ verbose: 0 });

/**
 * @param {import('ava').ExecutionContext} t
 * @param {object} [options]
 */
function make(t, options = {}) {
  const model = sequential([dense(5, { activation: 'tanh' }), dense(1)], { input: [3], seed: 1 });
  const trainer = new Trainer(model, { loss: 'mse', optimizer: adam(), seed: 7, ...options });
  t.teardown(() => trainer.close());
  return trainer;
}

/** @param {Trainer} trainer */
const values = ({ model }) => [...model.parameters.values()].map(({ data }) => [...data]);

/** @param {import('tandem-ml/data').TableBatch[]} batches */
const ids = (batches) =>
  batches.map(({ columns }) => Array.from(columns.id ?? [], (id) => Number(id)));

const table = (count = 10) => fromTable({ id: Array.from({ length: count }, (_, i) => i) });

for (const shuffle of [true, false]) {
  test(`fit gives the same bits for a dataset and its arrays, shuffle ${shuffle}`, async (t) => {
    const [arrays, dataset] = [make(t), make(t)];
    const options = { ...quiet, epochs: 3, batchSize: 8, shuffle };
    const held = { x: x.slice(0, 30), y: y.slice(0, 10) };
    const a = await arrays.fit({ x, y }, { ...options, validationData: held });
    const b = await dataset.fit(fromArrays({ x, y }), {
      ...options,
      validationData: fromArrays(held),
    });
    t.deepEqual(a, b);
    t.deepEqual(values(arrays), values(dataset));
    t.deepEqual(await arrays.evaluate({ x, y }), await dataset.evaluate(fromArrays({ x, y })));
  });
}

test('batches go through all rows and end with what is left', async (t) => {
  const batches = await collect(table().batches({ batchSize: 4 }));
  t.deepEqual(ids(batches), [
    [0, 1, 2, 3],
    [4, 5, 6, 7],
    [8, 9],
  ]);
  t.deepEqual(
    batches.map((batch) => batch.rows),
    [4, 4, 2],
  );
});

test('a position is an epoch and a number of batches', async (t) => {
  const data = table(50).shuffle({ seed: 3 });
  const all = ids(await collect(data.batches({ batchSize: 7, epoch: 2 })));
  const rest = ids(await collect(data.batches({ batchSize: 7, epoch: 2, start: 3 })));
  t.deepEqual(rest, all.slice(3));
  t.deepEqual(
    all.flat().sort((a, b) => a - b),
    Array.from({ length: 50 }, (_, i) => i),
  );
  t.notDeepEqual(ids(await collect(data.batches({ batchSize: 7, epoch: 3 }))), all);
});

test('processes share the rows evenly', async (t) => {
  const parts = await Promise.all(
    [0, 1, 2].map((rank) => collect(table().batches({ batchSize: 2, rank, worldSize: 3 }))),
  );
  t.deepEqual(parts.map(ids), [
    [
      [0, 3],
      [6, 9],
    ],
    [
      [1, 4],
      [7, 0],
    ],
    [
      [2, 5],
      [8, 1],
    ],
  ]);
});

test('take, skip and split leave rows in order', async (t) => {
  const read = async (/** @type {import('tandem-ml/data').Dataset<any>} */ data) =>
    ids(await collect(data.batches({ batchSize: 100 }))).flat();
  t.deepEqual(await read(table().take(3)), [0, 1, 2]);
  t.deepEqual(await read(table().skip(7)), [7, 8, 9]);
  t.deepEqual(await read(table().skip(2).take(3).skip(1)), [3, 4]);
  const [first, second] = table().split(0.7);
  t.deepEqual([first.length, second.length], [7, 3]);
  t.deepEqual(await read(first), [0, 1, 2, 3, 4, 5, 6]);
  t.deepEqual(await read(second), [7, 8, 9]);
  const [some, others] = table(1000).split(0.8, { seed: 1 });
  const [a, b] = [await read(some), await read(others)];
  t.true(a.length > 740 && a.length < 860, String(a.length));
  t.deepEqual(
    [...a, ...b].sort((p, q) => p - q),
    Array.from({ length: 1000 }, (_, i) => i),
  );
});

test('map changes batches', async (t) => {
  const trainer = make(t);
  const zeros = fromArrays({ x, y }).map((batch) => ({
    ...batch,
    y: new Float32Array(batch.rows),
  }));
  const plain = fromArrays({ x, y: new Float32Array(rows) });
  t.deepEqual(await trainer.evaluate(zeros), await trainer.evaluate(plain));
  const error = new Error('no');
  const failing = fromArrays({ x, y }).map(() => {
    throw error;
  });
  t.is(await t.throwsAsync(trainer.fit(failing, quiet)), error);
});

test('checkNumerics names the row and the step', async (t) => {
  const trainer = make(t, { checkNumerics: true });
  const broken = x.slice();
  broken[3 * 42] = Number.NaN;
  const data = fromArrays({ x: broken, y });
  const error = await t.throwsAsync(trainer.fit(data, { ...quiet, batchSize: 10, shuffle: false }));
  t.like(error, { code: 'ERR_NUMERIC', step: 4 });
  t.regex(error?.message ?? '', /row 42/);
  const accumulating = make(t, { checkNumerics: true, gradientAccumulationSteps: 3 });
  const fit = accumulating.fit(data, { ...quiet, batchSize: 10, shuffle: false });
  t.like(await t.throwsAsync(fit), { code: 'ERR_NUMERIC', step: 1 });
});

test('misuse', async (t) => {
  const bad = (/** @type {() => unknown} */ f, /** @type {string} */ code) =>
    t.throws(f, { code }, f.toString());
  const data = fromArrays({ x, y });
  bad(() => fromArrays({ x: new Float32Array(7), y: new Float32Array(2) }), 'ERR_SHAPE');
  bad(() => fromArrays(/** @type {any} */ ({ x, y, z: y })), 'ERR_ARGUMENT');
  bad(() => fromTable({ a: [1], b: [1, 2] }), 'ERR_SHAPE');
  bad(() => data.take(0), 'ERR_ARGUMENT');
  bad(() => data.split(1), 'ERR_ARGUMENT');
  bad(() => data.shuffle(/** @type {any} */ ({ sed: 1 })), 'ERR_ARGUMENT');
  bad(() => data.map(/** @type {any} */ (3)), 'ERR_ARGUMENT');
  bad(() => data.batches({ rank: 1 }), 'ERR_ARGUMENT');
  bad(() => data.batches({ batchSize: 0 }), 'ERR_ARGUMENT');
  const trainer = make(t);
  const split = { ...quiet, validationSplit: 0.1 };
  await t.throwsAsync(trainer.fit(data, split), { code: 'ERR_ARGUMENT' });
  const narrow = fromArrays({ x: new Float32Array(4), y: new Float32Array(2) });
  await t.throwsAsync(trainer.fit(narrow, quiet), { code: 'ERR_SHAPE' });
  const raw = /** @type {any} */ (table());
  await t.throwsAsync(trainer.fit(raw, quiet), { code: 'ERR_ARGUMENT', message: /encoder/ });
  const controller = new AbortController();
  controller.abort();
  await t.throwsAsync(collect(data.batches({ signal: controller.signal })), {
    code: 'ERR_ABORTED',
  });
});
