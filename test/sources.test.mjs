// Files and streams of other kinds, rare classes, and sequences.
import { readFile, writeFile } from 'node:fs/promises';
import { gzipSync } from 'node:zlib';
import { tableFromArrays, tableToIPC } from 'apache-arrow';
import test from 'ava';
import { parquetWriteBuffer } from 'hyparquet-writer';
import {
  adam,
  dense,
  embedding,
  flatten,
  input,
  Model,
  sequential,
  TandemError,
  Trainer,
} from 'tandem-ml';
import {
  arrow,
  classWeights,
  DataError,
  fitEncoder,
  fromArrays,
  fromBatches,
  fromRows,
  fromSequences,
  idx,
  npy,
  parquet,
  readIdx,
  readNpy,
} from 'tandem-ml/data';
import { file, readRows } from './helpers/folder.mjs';
import { collect } from './helpers/outcomes.mjs';

const rows = 250;
const ids = Array.from({ length: rows }, (_, i) => i);
const names = ids.map((i) => (i % 10 === 3 ? null : ['a', 'b', 'c'][i % 3]));
const halves = ids.map((i) => (i % 7 === 2 ? null : i / 2));

const makeParquet = (codec = 'SNAPPY') =>
  Buffer.from(
    parquetWriteBuffer({
      columnData: [
        { name: 'id', data: ids, type: 'INT32' },
        { name: 'name', data: names, type: 'STRING' },
        { name: 'half', data: halves, type: 'DOUBLE' },
        { name: 'big', data: ids.map((i) => BigInt(i) * 3n), type: 'INT64' },
        { name: 'when', data: ids.map((i) => new Date(i * 864e5)), type: 'TIMESTAMP' },
      ],
      rowGroupSize: 100,
      codec,
    }),
  );

const expected = (i) => ({
  id: i,
  name: names[i],
  half: halves[i] ?? Number.NaN,
  big: 3 * i,
  when: new Date(i * 864e5),
});

test('Parquet: numbers, text, dates and what is missing', async (t) => {
  const path = await file(t, 'file.parquet', makeParquet());
  const data = await parquet(path);
  t.is(data.length, rows);
  t.deepEqual(await readRows(data), ids.map(expected));
  const some = await readRows(
    (await parquet(path, { columns: ['half', 'id'] })).skip(150).take(60),
  );
  t.deepEqual(
    some,
    ids.slice(150, 210).map((i) => ({ half: halves[i] ?? Number.NaN, id: i })),
  );
  const [a, b] = data.split(0.4);
  t.deepEqual((await readRows(b))[0]?.id, a.length);
});

test('Parquet: encoded where it is read', async (t) => {
  const data = await parquet(await file(t, 'file.parquet', makeParquet()));
  const encoder = await fitEncoder(data, {
    x: { id: 'minMax' },
    y: { big: 'number' },
  });
  const [batch] = await collect(encoder.encode(data).batches({ batchSize: rows }));
  t.deepEqual(
    batch?.y,
    Float32Array.from(ids, (i) => 3 * i),
  );
  t.deepEqual(
    batch?.x,
    Float32Array.from(ids, (i) => i / 249),
  );
});

test('Parquet: what is wrong is named', async (t) => {
  const path = await file(t, 'file.parquet', makeParquet());
  const wrong = await t.throwsAsync(readRows(await parquet(path, { columns: ['idd'] })));
  t.like(wrong, { code: 'ERR_FILE_FORMAT', file: path, column: 'idd' });
  t.regex(wrong.message, /did you mean `id`/);
  await t.throwsAsync(parquet(await file(t, 'file.parquet', 'no parquet at all')), {
    instanceOf: DataError,
    message: /expected a Parquet file/,
  });
  await t.throwsAsync(parquet('/nowhere/file.parquet'), { code: 'ENOENT' });
  const missing = await parquet(path);
  const encodings = { x: { half: 'standard' }, y: { id: 'number' } };
  const empty = await t.throwsAsync(fitEncoder(missing, encodings), { instanceOf: DataError });
  t.like(empty, { file: path, row: 3, column: 'half' });
});

test('Parquet: corrupt pages', async (t) => {
  const bytes = makeParquet();
  const path = await file(t, 'file.parquet', bytes);
  const { row_groups: groups } = (await import('hyparquet')).parquetMetadata(
    bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length),
  );
  const chunk = groups[1].columns[1].meta_data;
  const start = Number(chunk.dictionary_page_offset ?? chunk.data_page_offset);
  bytes.fill(0xff, start, start + Number(chunk.total_compressed_size));
  await writeFile(path, bytes);
  const error = await t.throwsAsync(readRows(await parquet(path)), { instanceOf: DataError });
  t.like(error, { code: 'ERR_FILE_FORMAT', file: path, row: 101, column: 'name' });
  t.true(error.cause instanceof Error);
  const skipped = [];
  const options = { onError: 'skip', onSkip: ({ row }) => skipped.push(row) };
  const left = await readRows(await parquet(path, options));
  t.deepEqual(skipped, [101]);
  t.deepEqual(
    left.map(({ id }) => id),
    ids.filter((id) => id < 100 || id >= 200),
  );
});

test('Arrow: file and stream', async (t) => {
  const table = tableFromArrays({
    id: Int32Array.from(ids),
    name: names,
    half: Float64Array.from(halves, (half) => half ?? Number.NaN),
  });
  for (const format of ['file', 'stream']) {
    const path = await file(t, `rows.${format}`, tableToIPC(table, format));
    const read = await readRows(arrow(path));
    t.deepEqual(
      read,
      ids.map((i) => ({ id: i, name: names[i], half: halves[i] ?? Number.NaN })),
      format,
    );
    t.deepEqual((await readRows(arrow(path, { columns: ['id'] }).skip(240)))[0], { id: 240 });
    const wrong = await t.throwsAsync(readRows(arrow(path, { columns: ['nam'] })));
    t.like(wrong, { code: 'ERR_FILE_FORMAT', file: path, column: 'nam' });
  }
  const whole = Buffer.from(tableToIPC(table, 'stream'));
  for (const bytes of [whole.subarray(0, whole.length / 2), Buffer.from('nothing of the kind')]) {
    const path = await file(t, 'rows.arrow', bytes);
    await t.throwsAsync(readRows(arrow(path)), { instanceOf: DataError, code: 'ERR_FILE_FORMAT' });
  }
});

const mnist = (name) => new URL(`../examples/data/mnist-10k-${name}-ubyte.gz`, import.meta.url);

test('IDX', async (t) => {
  const { shape, data } = await readIdx(mnist('images-idx3'));
  t.deepEqual(shape, [10000, 28, 28]);
  const dataset = await idx(
    { x: mnist('images-idx3'), y: mnist('labels-idx1') },
    { scale: 1 / 255 },
  );
  t.is(dataset.length, 10000);
  const [batch] = await collect(dataset.take(2).batches());
  t.deepEqual(
    batch?.x,
    Float32Array.from(data.subarray(0, 2 * 784), (v) => v * (1 / 255)),
  );
  t.true(batch?.y instanceof Uint8Array);
  const wrong = {
    x: mnist('images-idx3'),
    y: await file(t, 'y.idx', Buffer.of(0, 0, 8, 1, 0, 0, 0, 1, 5)),
  };
  await t.throwsAsync(idx(wrong), { code: 'ERR_SHAPE' });
  for (const bytes of [[], [0, 0, 8], [0, 0, 7, 1, 0, 0, 0, 1, 5], [0, 0, 8, 1, 0, 0, 0, 2, 5]]) {
    const path = await file(t, 'bad.idx', Buffer.from(bytes));
    await t.throwsAsync(readIdx(path), { instanceOf: DataError, code: 'ERR_FILE_FORMAT' });
  }
});

/** A .npy file as NumPy writes it. */
function makeNpy(descr, shape, bytes, order = 'False') {
  const dims = shape.length === 1 ? `${shape[0]},` : shape.join(', ');
  const text = `{'descr': '${descr}', 'fortran_order': ${order}, 'shape': (${dims}), }`;
  const header = `${text.padEnd(117)}\n`;
  const start = Buffer.from([0x93, ...Buffer.from('NUMPY'), 1, 0, header.length, 0]);
  return Buffer.concat([start, Buffer.from(header, 'latin1'), Buffer.from(bytes.buffer)]);
}

test('.npy', async (t) => {
  const read = async (...given) => readNpy(await file(t, 'x.npy', makeNpy(...given)));
  const floats = Float64Array.of(1.5, -2, 3, 0.1, 5, 6);
  t.deepEqual(await read('<f8', [3, 2], floats), {
    shape: [3, 2],
    data: Float32Array.from(floats),
  });
  t.deepEqual((await read('<f4', [2], Float32Array.of(1, 2))).data, Float32Array.of(1, 2));
  t.deepEqual((await read('|u1', [2], Uint8Array.of(1, 255))).data, Uint8Array.of(1, 255));
  t.deepEqual((await read('<i8', [2], BigInt64Array.of(-7n, 9n))).data, Int32Array.of(-7, 9));
  t.deepEqual((await read('>i2', [2], Uint8Array.of(1, 2, 255, 254))).data, Int16Array.of(258, -2));
  const bad = (...given) => t.throwsAsync(read(...given), { instanceOf: DataError });
  await bad('<f8', [4, 2], floats);
  await bad('<c16', [3], floats);
  await bad('<f8', [3, 2], floats, 'True');
  await bad('<i8', [1], BigInt64Array.of(2n ** 40n));
  await t.throwsAsync(readNpy(await file(t, 'x.npy', 'short')), { code: 'ERR_FILE_FORMAT' });
  const x = await file(t, 'x.npy.gz', gzipSync(makeNpy('<f8', [3, 2], floats)));
  const y = await file(t, 'y.npy', makeNpy('<f4', [3], Float32Array.of(1, 2, 3)));
  const [batch] = await collect((await npy({ x, y })).batches());
  t.deepEqual(batch, { rows: 3, x: Float32Array.from(floats), y: Float32Array.of(1, 2, 3) });
  t.true((await readFile(y)).length > 0);
});

test('a record without a column has nothing in it, whatever all records inherit', async (t) => {
  const table = fromRows(() => [{ constructor: 'a', toString: 1 }, { toString: 2 }]);
  const [batch] = await collect(table.batches());
  t.deepEqual({ ...batch.columns }, { constructor: ['a', null], toString: [1, 2] });
});

test('batches and rows of any iterable, and what it throws', async (t) => {
  async function* some({ epoch }) {
    for (const size of [3, 1, 4]) {
      await null;
      yield { x: new Float32Array(2 * size).fill(epoch), y: new Float32Array(size).fill(size) };
    }
  }
  const data = fromBatches(some, { length: 8 });
  t.is(data.length, 8);
  const batches = await collect(data.batches({ batchSize: 5, epoch: 1 }));
  t.deepEqual(batches, [
    { rows: 5, x: new Float32Array(10).fill(1), y: Float32Array.of(3, 3, 3, 1, 4) },
    { rows: 3, x: new Float32Array(6).fill(1), y: Float32Array.of(4, 4, 4) },
  ]);
  const model = sequential([dense(1)], { input: [2] });
  const trainer = new Trainer(model, { loss: 'mse' });
  t.teardown(() => trainer.close());
  await trainer.fit(data, { epochs: 2, validationData: data, verbose: 0 });

  const cause = new Error('the source is gone');
  const failing = fromBatches(async function* () {
    yield* some({ epoch: 0 });
    throw cause;
  });
  t.is(await t.throwsAsync(trainer.fit(failing, { batchSize: 2, verbose: 0 })), cause);
  t.is(await t.throwsAsync(trainer.evaluate(failing)), cause);
  const odd = fromBatches(() => [{ x: new Float32Array(4), y: new Float32Array(2) }, { x: 1 }]);
  await t.throwsAsync(trainer.fit(odd, { verbose: 0 }), { code: 'ERR_ARGUMENT' });
  for (const x of [null, 'abc', { a: 5 }]) {
    const strange = fromBatches(() => [{ x, y: new Float32Array(2) }]);
    const refusal = {
      code: 'ERR_ARGUMENT',
      message: /^expected a typed array.* for `x(\.a)?`, received/,
    };
    await t.throwsAsync(trainer.fit(strange, { verbose: 0 }), refusal);
  }
  await t.throwsAsync(
    trainer.fit(
      fromBatches(() => []),
      { verbose: 0 },
    ),
    { code: 'ERR_SHAPE' },
  );
  await t.throwsAsync(
    trainer.fit(
      fromBatches(() => 3),
      { verbose: 0 },
    ),
    { code: 'ERR_ARGUMENT' },
  );
  t.throws(() => fromBatches([]), { code: 'ERR_ARGUMENT' });

  const table = fromRows(() => ids.map((id) => ({ id, kind: id % 2 ? 'odd' : 'even' })));
  const encoder = await fitEncoder(table, { x: { id: 'standard' }, y: { kind: 'category' } });
  const encoded = await collect(encoder.encode(table.skip(1)).batches({ batchSize: 300 }));
  t.deepEqual(
    [...(encoded[0]?.y ?? [])],
    ids.slice(1).map((id) => id % 2),
  );
});

test('a fit ends by its signal while its source hangs', async (t) => {
  const controller = new AbortController();
  const hanging = fromBatches(async function* () {
    yield { x: new Float32Array(64), y: new Float32Array(64) };
    controller.abort();
    await new Promise(() => {});
  });
  const trainer = new Trainer(sequential([dense(1)], { input: [1] }), { loss: 'mse' });
  t.teardown(() => trainer.close());
  const { signal } = controller;
  const fitting = trainer.fit(hanging, { shuffle: false, signal, verbose: 0 });
  await t.throwsAsync(fitting, { code: 'ERR_ABORTED' });
});

test('class weights and oversampling', async (t) => {
  const labels = Int32Array.from(ids, (i) => (i < 200 ? 0 : i < 240 ? 1 : 2));
  const weights = await classWeights(labels);
  t.deepEqual(weights, [250 / (3 * 200), 250 / (3 * 40), 250 / (3 * 10)]);
  const data = fromArrays({ x: Float32Array.from(ids), y: labels });
  t.deepEqual(await classWeights(data), weights);
  t.deepEqual(await classWeights([0, 0, 2], { count: 4 }), [0.75, 0, 1.5, 0]);
  const count = async (dataset, options) => {
    const counts = [0, 0, 0];
    for await (const { y } of dataset.batches(options)) for (const label of y) counts[label]++;
    return counts;
  };
  t.deepEqual(await count(data.oversample(weights)), [200, 200, 200]);
  t.deepEqual(await count(data.oversample(weights).shuffle({ seed: 1 })), [200, 200, 200]);
  const stream = fromBatches(() => data.batches({ batchSize: 17 }));
  t.deepEqual(await count(stream.oversample(weights)), [200, 200, 200]);
  const [a, b, c] = await count(data.oversample([1, 1.5, 2]), { epoch: 3 });
  t.deepEqual([a, c], [200, 20]);
  t.true(b > 45 && b < 75, String(b));
  await t.throwsAsync(count(data.oversample([1, 2])), { code: 'ERR_ARGUMENT' });
  t.deepEqual(await count(data.oversample(new Float32Array(200_000).fill(1))), await count(data));
  t.throws(() => data.oversample([0, 0]), { code: 'ERR_ARGUMENT' });
  await t.throwsAsync(count(data.oversample([1e-300, 1, 1])), {
    instanceOf: TandemError,
    code: 'ERR_OUT_OF_MEMORY',
  });
  t.throws(() => data.oversample(weights).take(3), { code: 'ERR_ARGUMENT' });
  await t.throwsAsync(classWeights([0.5]), { code: 'ERR_ARGUMENT' });
  await t.throwsAsync(classWeights([3], { count: 3 }), { code: 'ERR_ARGUMENT' });
});

test('processes share a stream whose first rows are of a class that is left out', async (t) => {
  const all = fromArrays({ x: Float32Array.of(1, 2, 3, 4, 5), y: Int32Array.of(0, 0, 1, 0, 1) });
  const data = fromBatches(() => all.batches({ batchSize: 2 })).oversample([0, 1]);
  for (const [rank, own] of [3, 5].entries()) {
    const batches = await collect(data.batches({ rank, worldSize: 2 }));
    t.deepEqual(
      batches.map(({ x }) => x),
      [Float32Array.of(own)],
    );
  }
});

test('sequences in buckets, padded and masked', async (t) => {
  const x = [[1], [2, 3, 4], [5, 6], [7, 7, 7, 7, 7], [8]];
  const data = fromSequences({ x, y: Float32Array.of(0, 1, 2, 3, 4) });
  const options = { lengths: [2, 4], padding: -1, mask: 'mask', name: 'tokens' };
  const batches = await collect(data.bucketByLength(options).batches({ batchSize: 2 }));
  t.deepEqual(batches, [
    {
      rows: 2,
      x: { tokens: Int32Array.of(1, -1, 5, 6), mask: Float32Array.of(1, 0, 1, 1) },
      y: Float32Array.of(0, 2),
    },
    {
      rows: 2,
      x: {
        tokens: Int32Array.of(2, 3, 4, -1, 7, 7, 7, 7),
        mask: Float32Array.of(1, 1, 1, 0, 1, 1, 1, 1),
      },
      y: Float32Array.of(1, 3),
    },
    {
      rows: 1,
      x: { tokens: Int32Array.of(8, -1), mask: Float32Array.of(1, 0) },
      y: Float32Array.of(4),
    },
  ]);
  const second = data.bucketByLength(options).batches({ batchSize: 2, rank: 1, worldSize: 2 });
  t.deepEqual(await collect(second), [batches[1]]);
  const rest = data.bucketByLength(options).batches({ batchSize: 2, start: 1 });
  t.deepEqual(await collect(rest), batches.slice(1));
  t.throws(() => data.bucketByLength({ lengths: [4, 2] }), { code: 'ERR_ARGUMENT' });
  t.throws(() => data.bucketByLength({ lengths: [] }), { code: 'ERR_ARGUMENT' });
  t.throws(() => fromSequences({ x: [1], y: Float32Array.of(1) }), { code: 'ERR_ARGUMENT' });

  const tokens = input([4], { dtype: 'int32' });
  const model = new Model({ inputs: tokens, outputs: dense(1)(flatten(embedding(9, 3)(tokens))) });
  const trainer = new Trainer(model, { loss: 'mse', optimizer: adam({ learningRate: 0.1 }) });
  t.teardown(() => trainer.close());
  const padded = data.bucketByLength({ lengths: [4] });
  await trainer.fit(padded, { epochs: 200, batchSize: 2, verbose: 0 });
  t.true((await trainer.evaluate(padded)).loss < 0.1);
});
