// Rows on their way to a model: whatever would change their numbers is refused.
import test from 'ava';
import { dense, sequential, Trainer } from 'tandem-ml';
import {
  classWeights,
  DataError,
  fitEncoder,
  fromArrays,
  fromBatches,
  fromRows,
  fromSequences,
  fromTable,
} from 'tandem-ml/data';
import { collect } from '../helpers/outcomes.mjs';

const batchesOf = (dataset, options) => collect(dataset.batches(options));

const f = (...numbers) => Float32Array.from(numbers);
const i = (...numbers) => Int32Array.from(numbers);

for (const batchSize of [1, 2, 3, 4, 6]) {
  test(`a batch that is no whole number of elements a row is refused, ${batchSize} a step`, async (t) => {
    const ragged = fromBatches(() => [
      { x: f(1, 1, 2, 2), y: f(1, 2) },
      { x: f(3, 3, 4, 4, 99), y: f(3, 4) },
      { x: f(5, 5, 6, 6), y: f(5, 6) },
    ]);
    const refusal = { code: 'ERR_SHAPE', message: /2 elements.* for `x`, received .*length 5/ };
    await t.throwsAsync(batchesOf(ragged, { batchSize }), refusal);
    const trainer = new Trainer(sequential([dense(1)], { input: [2] }), { loss: 'mse' });
    t.teardown(() => trainer.close());
    const options = { batchSize, verbose: 0, shuffle: false };
    await t.throwsAsync(trainer.fit(ragged, options), refusal);
  });

  test(`batches of other types or widths are refused, ${batchSize} a step`, async (t) => {
    const first = { x: i(1, 1), y: i(1, 2) };
    const open = (second) =>
      batchesOf(
        fromBatches(() => [first, second]),
        { batchSize },
      );
    await t.throwsAsync(open({ x: f(0.5, 0.7), y: i(1, 2) }), {
      code: 'ERR_DTYPE',
      message: /Int32Array as in the batches before for `x`, received Float32Array/,
    });
    await t.throwsAsync(open({ x: i(1, 1, 1, 1), y: i(1, 2) }), {
      code: 'ERR_SHAPE',
      message: /1 elements in each of 2 rows.* for `x`/,
    });
    await t.throwsAsync(open({ x: { left: i(1, 1) }, y: i(1, 2) }), { code: 'ERR_ARGUMENT' });
  });
}

test('what map returns has as many elements in each row', async (t) => {
  const dataset = fromArrays({ x: f(1, 2, 3, 4, 5, 6), y: f(1, 2, 3) });
  const wrong = dataset.map((batch) => ({ ...batch, rows: 2 }));
  await t.throwsAsync(batchesOf(wrong), { code: 'ERR_SHAPE', message: /2 elements.*`y`/ });
  const dropped = dataset.map((batch) => ({ ...batch, x: f() }));
  await t.throwsAsync(batchesOf(dropped), { code: 'ERR_SHAPE', message: /`x`/ });
  const halved = dataset.map(({ x }) => ({ rows: 1, x: x.slice(0, 2), y: f(7) }));
  const [batch] = await batchesOf(halved);
  t.deepEqual(batch, { rows: 1, x: f(1, 2), y: f(7) });
});

test('arrays with several targets a row ask for `rows`', async (t) => {
  const data = { x: f(1, 1, 2, 2), y: f(1, 1, 1, 2, 2, 2) };
  const refusal = { code: 'ERR_SHAPE', message: /`rows` each number of `y` counts as a row/ };
  t.throws(() => fromArrays(data), refusal);
  await t.throwsAsync(batchesOf(fromBatches(() => [data])), refusal);
  t.is(fromArrays(data, { rows: 2 }).length, 2);
  const few = t.throws(() => fromArrays(data, { rows: 3 }), { code: 'ERR_SHAPE' });
  t.notRegex(few.message, /counts as/);
});

test('a generator that is given twice is named as what it is', async (t) => {
  function* rows() {
    yield { x: f(1, 2), y: f(1) };
  }
  const generator = rows();
  const trainer = new Trainer(sequential([dense(1)], { input: [2] }), { loss: 'mse' });
  t.teardown(() => trainer.close());
  const fit = trainer.fit(
    fromBatches(() => generator),
    { epochs: 3, verbose: 0 },
  );
  await t.throwsAsync(fit, { code: 'ERR_ARGUMENT', message: /a new iterable each time/ });
  const batches = [{ x: f(1, 2), y: f(1) }];
  const history = await trainer.fit(
    fromBatches(() => batches),
    { epochs: 2, verbose: 0 },
  );
  t.is(history.loss.length, 2);
});

test('rows that are no sequences are no padding either', async (t) => {
  const two = { rows: 2 };
  for (const [data, name] of [
    [fromArrays({ x: i(1, 2, 3, 4), y: i(0, 1) }, two), 'x'],
    [fromArrays({ x: { x: i(1, 2, 3, 4) }, y: i(0, 1) }, two), 'x'],
    [fromTable({ a: [1, 2] }), 'x'],
    [fromBatches(() => [{ x: [[1], [2]], y: [0, 1], ...two }]), 'y'],
  ]) {
    await t.throwsAsync(batchesOf(data.bucketByLength({ lengths: [3] })), {
      code: 'ERR_ARGUMENT',
      message: new RegExp(`sequence for each row.*\`${name}\``),
    });
  }
});

test('sequences keep their numbers', async (t) => {
  const bucket = (sequence, options) =>
    batchesOf(
      fromSequences({ x: [sequence], y: i(0) }).bucketByLength({ lengths: [2], ...options }),
    );
  const refused = { code: 'ERR_DTYPE' };
  for (const sequence of [
    f(0.5, 0.25),
    [1e10, 2],
    [1, 2.7],
    ['1', 2],
    [null, 2],
    [1, Number.NaN],
  ]) {
    await t.throwsAsync(bucket(sequence), refused, String(sequence));
  }
  for (const sequence of [
    [1e39, 1],
    ['1', 2],
    [undefined, 2],
  ]) {
    await t.throwsAsync(bucket(sequence, { dtype: 'float32' }), refused, String(sequence));
  }
  t.deepEqual((await bucket(f(0.5, 0.25), { dtype: 'float32' }))[0].x, f(0.5, 0.25));
  t.deepEqual((await bucket(f(3, 4)))[0].x, i(3, 4));
  t.throws(
    () => fromSequences({ x: [[1]], y: i(0) }).bucketByLength({ lengths: [2], padding: 0.5 }),
    {
      code: 'ERR_ARGUMENT',
      message: /`padding`/,
    },
  );
});

test('numbers that float32 does not hold are refused', async (t) => {
  const column = [1, 2, 1e39];
  for (const a of [column, Float64Array.from(column), column.map(String)]) {
    const table = fromTable({ a, y: [1, 2, 3] });
    const encoder = await fitEncoder(table, { x: { a: 'number' }, y: { y: 'number' } });
    const error = await t.throwsAsync(batchesOf(encoder.encode(table)), {
      instanceOf: DataError,
      message: /column `a`: expected a number that float32 holds, received "?1e\+39/,
    });
    t.is(error.row, 2);
    const scaled = await fitEncoder(table, { x: { a: 'minMax' }, y: { y: 'number' } });
    t.deepEqual((await batchesOf(scaled.encode(table)))[0].x, f(0, 1e-39, 1));
  }
});

test('rows of a table in memory are named by their numbers', async (t) => {
  const a = Array.from({ length: 5000 }, (_, row) => (row === 4321 ? null : row));
  const table = fromTable({ a, b: a.map(() => 1) });
  const encodings = { x: { b: 'number' }, y: { a: 'standard' } };
  for (const part of [table, table.skip(1000), table.split(0.5)[1]]) {
    const error = await t.throwsAsync(fitEncoder(part, encodings), { instanceOf: DataError });
    t.is(error.row, 4321);
    const encoder = await fitEncoder(fromTable({ a: [1, 2], b: [1, 2] }), encodings);
    const other = await t.throwsAsync(batchesOf(encoder.encode(part)), { instanceOf: DataError });
    t.is(other.row, 4321);
  }
});

test('what is no table, no weights and no labels', async (t) => {
  const table = fromTable({ a: [1, 2], y: [1, 2] });
  const encodings = { x: { a: 'number' }, y: { y: 'number' } };
  const encoder = await fitEncoder(table, encodings);
  const arrays = fromArrays({ x: f(1, 2), y: f(1, 2) });
  const refusal = { code: 'ERR_ARGUMENT', message: /a dataset of rows, .* for `table`/ };
  await t.throwsAsync(fitEncoder(encoder.encode(table), encodings), refusal);
  await t.throwsAsync(fitEncoder(arrays, encodings), refusal);
  t.throws(() => encoder.encode(encoder.encode(table)), refusal);
  await t.throwsAsync(batchesOf(encoder.encode(arrays)), refusal);
  for (const weights of [null, 3, { 0: 1 }]) {
    t.throws(() => arrays.oversample(weights), { code: 'ERR_ARGUMENT', message: /`weights`/ });
  }
  await t.throwsAsync(classWeights([]), { code: 'ERR_SHAPE', message: /`labels`/ });
});

for (const [found, length] of [
  [2, 1000],
  [3, 2],
]) {
  test(`a source of ${found} rows that says ${length}`, async (t) => {
    const x = f(...Array(found).keys());
    const refusal = { code: 'ERR_SHAPE', message: new RegExp(`${length} rows.*received ${found}`) };
    const batches = fromBatches(() => [{ x, y: x }], { length });
    await t.throwsAsync(batchesOf(batches), refusal);
    await t.throwsAsync(batches.load(), refusal);
    await t.throwsAsync(batchesOf(fromRows(() => [...x].map((a) => ({ a })), { length })), refusal);
    const [first] = await batchesOf(batches.take(1));
    t.is(first.rows, 1);
  });
}

test('map may make one length of several', async (t) => {
  const data = fromSequences({ x: [[1], [2, 3, 4]], y: f(1, 2) });
  const trainer = new Trainer(sequential([dense(1)], { input: [2] }), { loss: 'mse' });
  t.teardown(() => trainer.close());
  const buckets = data.bucketByLength({ lengths: [2, 4], dtype: 'float32' });
  const cut = buckets.map(({ rows, x, y }) => ({
    rows,
    x: Float32Array.from({ length: 2 * rows }, (_, k) => x[k] ?? 0),
    y,
  }));
  const plain = data.bucketByLength({ lengths: [2], dtype: 'float32' });
  for (const dataset of [cut, plain]) {
    t.is((await trainer.fit(dataset, { verbose: 0 })).loss.length, 1);
  }
});

test('rows of very many classes are repeated', async (t) => {
  const classes = 300_000;
  const labels = Int32Array.from({ length: classes + 2 }, (_, row) => row % classes);
  const weights = await classWeights(labels);
  const data = fromArrays({ x: f(1, 2, 3), y: i(0, 1, classes - 1) }).oversample(weights);
  t.deepEqual(await batchesOf(data), [
    { rows: 4, x: f(1, 2, 3, 3), y: i(0, 1, classes - 1, classes - 1) },
  ]);
});

test('a Buffer is an array of bytes', async (t) => {
  const labels = Uint8Array.of(0, 1, 2, 0, 1, 2);
  const x = Float32Array.from(labels, (label) => label / 2);
  const open = (type) =>
    fromBatches(() =>
      [0, 2, 4].map((i) => ({ x: x.slice(i, i + 2), y: type.from(labels.slice(i, i + 2)) })),
    );
  for (const make of [(type) => fromArrays({ x, y: type.from(labels) }), open]) {
    for (const batchSize of [2, 3, 4]) {
      const options = { batchSize, shuffle: { seed: 1 } };
      const found = await batchesOf(make(Buffer), options);
      t.deepEqual(found, await batchesOf(make(Uint8Array), options));
    }
  }
  const mixed = fromBatches(() => [
    { x: f(1), y: Buffer.of(1) },
    { x: f(2), y: Uint8Array.of(2) },
  ]);
  t.deepEqual(await batchesOf(mixed), [{ rows: 2, x: f(1, 2), y: Uint8Array.of(1, 2) }]);
});
