// Files of one array each whose rows are read while they are used.
import { open, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import test from 'ava';
import { adam, dense, sequential, Trainer } from 'tandem-ml';
import { classWeights, DataError, idx, npy, readNpy } from 'tandem-ml/data';
import { file, makeFolder } from '../helpers/folder.mjs';
import { collect } from '../helpers/outcomes.mjs';

const batchesOf = (dataset, options) => collect(dataset.batches(options));

function npyHeader(descr, shape) {
  const dims = shape.length === 1 ? `${shape[0]},` : shape.join(', ');
  const text = `{'descr': '${descr}', 'fortran_order': False, 'shape': (${dims}), }`;
  const header = `${text.padEnd(117)}\n`;
  const start = Buffer.from([0x93, ...Buffer.from('NUMPY'), 1, 0, header.length, 0]);
  return Buffer.concat([start, Buffer.from(header, 'latin1')]);
}

const makeNpy = (descr, shape, array) =>
  Buffer.concat([npyHeader(descr, shape), Buffer.from(array.buffer)]);

const rows = 1003;
const floats = Float32Array.from({ length: rows * 6 }, (_, i) => Math.sin(i));
const labels = Int8Array.from({ length: rows }, (_, i) => i % 3);

async function both(t, options) {
  const dir = await makeFolder(t);
  const files = { x: join(dir, 'x.npy'), y: join(dir, 'y.npy') };
  await writeFile(files.x, makeNpy('<f4', [rows, 2, 3], floats));
  await writeFile(files.y, makeNpy('|i1', [rows], labels));
  const [memory, stream] = [
    await npy(files, options),
    await npy(files, { ...options, stream: true }),
  ];
  t.true(memory.inMemory);
  t.false(stream.inMemory);
  t.is(stream.length, rows);
  return { memory, stream, files };
}

test('rows come in the order that they have in memory', async (t) => {
  const { memory, stream } = await both(t);
  const same = async (change, options = {}) => {
    const given = { batchSize: 100, ...options };
    const expected = await batchesOf(change(memory), given);
    t.true(expected.length > 0);
    t.deepEqual(await batchesOf(change(stream), given), expected);
  };
  await same((data) => data);
  for (const epoch of [0, 1]) await same((data) => data.shuffle({ seed: 5 }), { epoch });
  await same((data) => data.shuffle({ seed: 5 }), { start: 4 });
  await same((data) => data.skip(10).take(500).shuffle({ seed: 6 }));
  await same((data) => data.split(0.5, { seed: 2 })[1].shuffle({ seed: 6 }));
  for (const rank of [0, 1, 2]) {
    await same((data) => data.shuffle({ seed: 7 }), { rank, worldSize: 3 });
  }
  await same((data) => data, { shuffle: { seed: 8 } });
  t.deepEqual((await batchesOf(await stream.load()))[0], (await batchesOf(memory))[0]);
});

test('fit gives the same bits, scaled', async (t) => {
  const { memory, stream } = await both(t, { scale: 1 / 3 });
  const train = async (data) => {
    const model = sequential([dense(5, { activation: 'tanh' }), dense(3)], { input: [6], seed: 1 });
    const trainer = new Trainer(model, { loss: 'crossEntropy', optimizer: adam(), seed: 3 });
    t.teardown(() => trainer.close());
    const history = await trainer.fit(data, { epochs: 2, verbose: 0, batchSize: 32 });
    return [history, ...[...model.parameters.values()].map((p) => [...p.data])];
  };
  t.deepEqual(await train(stream), await train(memory));
});

test('rare classes may come more often, within a window', async (t) => {
  const { stream } = await both(t);
  const first = stream.take(90).shuffle({ seed: 1 });
  const weights = await classWeights(first);
  t.deepEqual(weights, [1, 1, 1]);
  const batches = await batchesOf(first.oversample([1, 2, 1]));
  t.is(
    batches.reduce((sum, batch) => sum + batch.rows, 0),
    120,
  );
});

for (const [descr, array, expected] of [
  ['<f8', Float64Array.of(0.1, 2, -3), Float32Array.of(0.1, 2, -3)],
  ['>f4', Uint8Array.of(0x3f, 0x80, 0, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0), Float32Array.of(1, -2, 0)],
  ['<f2', Uint16Array.of(0x3c00, 0x0001, 0xfbff), Float32Array.of(1, 2 ** -24, -65504)],
  ['<i8', BigInt64Array.of(-1n, 2n ** 31n - 1n, 0n), Int32Array.of(-1, 2 ** 31 - 1, 0)],
  ['<u2', Uint16Array.of(1, 2, 65535), Uint16Array.of(1, 2, 65535)],
]) {
  test(`.npy of ${descr}`, async (t) => {
    const x = await file(t, 'x.npy', makeNpy(descr, [3], array));
    const y = await file(t, 'y.npy', makeNpy('|u1', [3], Uint8Array.of(0, 1, 2)));
    for (const stream of [true, false]) {
      t.deepEqual(await batchesOf(await npy({ x, y }, { stream })), [
        { rows: 3, x: expected, y: Uint8Array.of(0, 1, 2) },
      ]);
      const [scaled] = await batchesOf(await npy({ x, y }, { stream, scale: 0.5 }));
      t.deepEqual(
        scaled.x,
        Float32Array.from(expected, (value) => 0.5 * value),
      );
    }
  });
}

test('float16: infinities and NaN', async (t) => {
  const halves = Uint16Array.of(0x7c00, 0xfc00, 0x7e00, 0x8000);
  const { data } = await readNpy(await file(t, 'x.npy', makeNpy('<f2', [4], halves)));
  t.deepEqual(
    data,
    Float32Array.of(Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, Number.NaN, -0),
  );
});

test('IDX, records of several files', async (t) => {
  const images = [0, 0, 8, 2, 0, 0, 0, 3, 0, 0, 0, 2, 1, 2, 3, 4, 5, 6];
  const numbers = [0, 0, 11, 1, 0, 0, 0, 3, 0, 1, 0, 2, 255, 255];
  const a = await file(t, 'a.idx', Buffer.from(images));
  const b = await file(t, 'b.idx', Buffer.from(numbers));
  const [batch] = await batchesOf(await idx({ x: { a, b }, y: b }, { stream: true }));
  const short = Int16Array.of(1, 2, -1);
  t.deepEqual(batch, { rows: 3, x: { a: Uint8Array.of(1, 2, 3, 4, 5, 6), b: short }, y: short });
});

test('files of more than 2 GiB stay where they are', async (t) => {
  const dir = await makeFolder(t);
  const [count, width] = [600, 2 ** 20];
  const x = join(dir, 'x.npy');
  const header = npyHeader('<f4', [count, width]);
  await writeFile(x, header);
  // Nothing of it takes room on the disk but the last row.
  await truncate(x, header.length + 4 * (count - 1) * width);
  const handle = await open(x, 'a');
  await handle.write(Buffer.from(new Float32Array(width).fill(7).buffer));
  await handle.close();
  const y = await file(t, 'y.npy', makeNpy('<f4', [count], new Float32Array(count).fill(1)));
  const dataset = await npy({ x, y });
  t.false(dataset.inMemory);
  const [batch] = await batchesOf(dataset.skip(count - 2));
  t.is(batch.rows, 2);
  t.deepEqual([batch.x[0], batch.x[width - 1], batch.x[width], batch.x.at(-1)], [0, 0, 7, 7]);
});

test('what is wrong is named', async (t) => {
  const { stream, files } = await both(t);
  const few = await file(t, 'y.npy', makeNpy('|i1', [3], Int8Array.of(1, 2, 3)));
  await t.throwsAsync(npy({ x: files.x, y: few }, { stream: true }), {
    code: 'ERR_SHAPE',
    message: /1003 rows, as in the first file.*`y`, received 3 rows/,
  });
  const packed = await file(t, 'y.npy.gz', gzipSync(makeNpy('|i1', [rows], labels)));
  await t.throwsAsync(npy({ x: files.x, y: packed }, { stream: true }), {
    code: 'ERR_ARGUMENT',
    message: /not compressed/,
  });
  t.true((await npy({ x: files.x, y: packed })).inMemory);
  const wide = await file(t, 'w.npy', makeNpy('<i8', [2], BigInt64Array.of(1n, 2n ** 40n)));
  for (const reading of [
    readNpy(wide),
    batchesOf(await npy({ x: wide, y: wide }, { stream: true })),
  ]) {
    const error = await t.throwsAsync(reading, { instanceOf: DataError });
    t.like(error, { file: wide, row: 2, code: 'ERR_FILE_FORMAT' });
  }
  await truncate(files.x, 1000);
  await t.throwsAsync(npy(files, { stream: true }), { message: /24200 bytes for/ });
  const error = await t.throwsAsync(batchesOf(stream), { instanceOf: DataError });
  t.regex(error.message, /x\.npy: expected a file that stays as it is, received one cut short/);
  await t.throwsAsync(npy({ x: '/nowhere.npy', y: files.y }, { stream: true }), { code: 'ENOENT' });
});
