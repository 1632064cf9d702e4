// What of files is read, and who is kept waiting for it.
import { spawnSync } from 'node:child_process';
import { pathToFileURL } from 'node:url';
import test from 'ava';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { dense, Predictor, sequential, Trainer } from 'tandem-ml';
import {
  csv,
  DataError,
  fitEncoder,
  fromArrays,
  fromRows,
  fromTable,
  parquet,
} from 'tandem-ml/data';
import { file, readRows } from '../helpers/folder.mjs';

const nested = () =>
  Buffer.from(
    parquetWriteBuffer({
      columnData: [
        {
          name: 's',
          data: [
            { u: 1, v: { w: 2 } },
            { u: 3, v: { w: 4 } },
          ],
        },
        { name: 'a', data: [1, 2] },
        { name: 'l', data: [[1, 2], [3]] },
        { name: 'b', data: [5, 6] },
      ],
      schema: [
        { name: 'root', num_children: 4 },
        { name: 's', repetition_type: 'OPTIONAL', num_children: 2 },
        { name: 'u', type: 'INT32', repetition_type: 'OPTIONAL' },
        { name: 'v', repetition_type: 'OPTIONAL', num_children: 1 },
        { name: 'w', type: 'INT32', repetition_type: 'OPTIONAL' },
        { name: 'a', type: 'INT32', repetition_type: 'REQUIRED' },
        { name: 'l', repetition_type: 'OPTIONAL', num_children: 1, converted_type: 'LIST' },
        { name: 'list', repetition_type: 'REPEATED', num_children: 1 },
        { name: 'element', type: 'INT32', repetition_type: 'OPTIONAL' },
        { name: 'b', type: 'INT32', repetition_type: 'REQUIRED' },
      ],
    }),
  );

test('Parquet: columns beside lists and structs', async (t) => {
  const path = await file(t, 'file.parquet', nested());
  t.deepEqual(await readRows(await parquet(path)), [
    { a: 1, b: 5 },
    { a: 2, b: 6 },
  ]);
  const asked = readRows(await parquet(path, { columns: ['l'] }));
  await t.throwsAsync(asked, { instanceOf: DataError, message: /column `l`.*columns `a`, `b`/ });
});

test('fitEncoder reads the columns that it encodes, and no others', async (t) => {
  const lines = Array.from({ length: 20_000 }, (_, i) => `${i % 7},${i},${i % 2}\n`);
  const path = await file(t, 'file.csv', `a,note,y\n${lines.join('')}1,see mail,0\n`);
  const encodings = { x: { a: 'number' }, y: { y: 'number' } };
  const encoder = await fitEncoder(csv(path), encodings);
  const all = [];
  for await (const batch of encoder.encode(csv(path)).batches({ batchSize: 4096 })) all.push(batch);
  t.is(
    all.reduce((sum, { rows }) => sum + rows, 0),
    20_001,
  );
  const error = await t.throwsAsync(
    fitEncoder(csv(path), { x: { b: 'number' }, y: { y: 'number' } }),
  );
  t.regex(error.message, /column `b`.*`a`, `note`, `y`/);
});

test('rows may be instances of a class, as database clients give them', async (t) => {
  class TextRow {
    constructor(a, y) {
      Object.assign(this, { a, y });
    }
  }
  const rows = Array.from({ length: 8 }, (_, i) => new TextRow(i, 2 * i));
  const table = fromRows(() => rows);
  const encoder = await fitEncoder(table, { x: { a: 'number' }, y: { y: 'number' } });
  const model = sequential([dense(1)], { input: [1], seed: 1 });
  model.encoder = encoder;
  const predictor = await Predictor.load(model);
  t.teardown(() => predictor.close());
  const plain = await predictor.predictRows([{ a: 3 }]);
  t.deepEqual(await predictor.predictRows([new TextRow(3)]), plain);
  for (const row of [[3], new Date(), Float32Array.of(3), null, new Map([['a', 3]])]) {
    await t.throwsAsync(predictor.predictRows([row]), { code: 'ERR_ARGUMENT' });
    await t.throwsAsync(readRows(fromRows(() => [row])), { code: 'ERR_ARGUMENT' });
  }
});

test('a model trained on changed rows does not pretend to know how', async (t) => {
  const table = fromTable({ a: [1, 2, 3, 4], y: [2, 4, 6, 8] });
  const encoder = await fitEncoder(table, { x: { a: 'number' }, y: { y: 'number' } });
  const encoded = encoder.encode(table);
  const trained = async (data) => {
    const model = sequential([dense(1)], { input: [1] });
    const trainer = new Trainer(model, { loss: 'mse' });
    t.teardown(() => trainer.close());
    await trainer.fit(data, { verbose: 0 });
    return model;
  };
  const times = encoded.map(({ rows, x, y }) => ({ rows, x: x.map((v) => 100 * v), y }));
  t.is((await trained(times)).encoder, undefined);
  t.deepEqual((await trained(encoded.shuffle({ seed: 1 }))).encoder?.state, encoder.state);
});

test('each batch is what trainer.step takes', async (t) => {
  const dataset = fromArrays({ x: Float32Array.of(1, 2, 3, 4), y: Float32Array.of(1, 2, 3, 4) });
  const trainer = new Trainer(sequential([dense(1)], { input: [1] }), { loss: 'mse' });
  t.teardown(() => trainer.close());
  let steps = 0;
  for await (const batch of dataset.batches({ batchSize: 2 })) {
    t.true(Number.isFinite((await trainer.step(batch)).loss));
    steps++;
  }
  t.is(steps, 2);
  const wrong = { rows: 3, x: Float32Array.of(1, 2), y: Float32Array.of(1, 2) };
  await t.throwsAsync(async () => trainer.step(wrong), { code: 'ERR_SHAPE', message: /`rows`/ });
});

test('targets of several numbers: the error names `rows`', async (t) => {
  const data = { x: Float32Array.of(1, 2, 3, 4), y: Float32Array.of(1, 2, 3, 4) };
  const trainer = new Trainer(sequential([dense(2)], { input: [2] }), { loss: 'mse' });
  t.teardown(() => trainer.close());
  const fitting = trainer.fit(fromArrays(data), { verbose: 0 });
  await t.throwsAsync(fitting, { code: 'ERR_SHAPE', message: /`rows` of fromArrays/ });
  await trainer.fit(fromArrays(data, { rows: 2 }), { verbose: 0 });
});

test('an iteration that nobody goes on with does not keep the process', async (t) => {
  const path = await file(t, 'file.csv', `a\n${'1\n'.repeat(500_000)}`);
  const script = `
    import { csv } from 'tandem-ml/data';
    const batches = csv(${JSON.stringify(path)}).batches();
    const { value } = await batches.next();
    process.stdout.write(String(value.rows));`;
  const { stdout, status, signal } = spawnSync(
    process.execPath,
    ['--input-type=module', '-e', script],
    { timeout: 120_000, cwd: new URL('../..', import.meta.url) },
  );
  t.deepEqual([String(stdout), status, signal], ['32', 0, null]);
  t.is((await readRows(csv(pathToFileURL(path)).take(3))).length, 3);
});
