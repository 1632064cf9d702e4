// Threads that read files: they go on to the next file, and harm nobody when they cannot.
import { spawnSync } from 'node:child_process';
import { subscribe } from 'node:diagnostics_channel';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isDeepStrictEqual } from 'node:util';
import test from 'ava';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { dense, sequential, Trainer } from 'tandem-ml';
import { csv, fitEncoder, fromRows } from 'tandem-ml/data';
import { file, makeFolder, readRows } from '../helpers/folder.mjs';
import { runModule } from '../helpers/process.mjs';

const root = new URL('../..', import.meta.url);

const threads = [];
subscribe('worker_threads', ({ worker }) => threads.push(worker));

const text = (rows, from = 0) =>
  `a,b\n${Array.from({ length: rows }, (_, i) => `${from + i},${i % 3}\n`).join('')}`;
/** Lists of numbers, which arrays of either kind become. */
const plain = (batch) =>
  Object.entries(batch).map(([name, column]) =>
    typeof column === 'number' ? [name, column] : [name, Array.from(column)],
  );
const numbers = (rows) => rows.map(({ a }) => a);
const upTo = (end, from = 0) => Array.from({ length: end - from }, (_, i) => from + i);

test.serial('one thread reads one file after another, and epochs of a fit', async (t) => {
  const path = await file(t, 'file.csv', text(500));
  const other = await file(t, 'other.csv', text(300, 7));
  t.deepEqual(numbers(await readRows(csv(path))), upTo(500));
  const started = threads.length;
  t.deepEqual(numbers(await readRows(csv(other))), upTo(307, 7));
  const encoder = await fitEncoder(csv(path), { x: { a: 'standard' }, y: { b: 'category' } });
  const opposite = await fitEncoder(csv(path), { x: { b: 'number' }, y: { a: 'number' } });
  const trainer = new Trainer(sequential([dense(4)], { input: [1] }), { loss: 'crossEntropy' });
  const { loss } = await trainer.fit(encoder.encode(csv(path)), { epochs: 3, verbose: 0 });
  t.is(loss.length, 3);
  await trainer.close();
  // Encoders in turns, and none.
  for (const made of [encoder, opposite, encoder, encoder, opposite]) {
    const { value } = await made.encode(csv(path)).batches({ batchSize: 500 }).next();
    t.is(value.rows, 500);
    t.is(value.y[7], made === encoder ? 1 : 7);
    t.is(value.y.constructor, made === encoder ? Int32Array : Float32Array);
  }
  t.deepEqual(numbers(await readRows(csv(path).take(3))), [0, 1, 2]);
  t.true(threads.length - started <= 7, `${threads.length - started} more threads`);
});

test.serial('rows are shuffled there as they would be here', async (t) => {
  const path = await file(t, 'file.csv', text(20_000));
  const rows = await readRows(csv(path));
  const encoder = await fitEncoder(csv(path), {
    x: { a: 'number', b: 'oneHot' },
    y: { b: 'category' },
  });
  const here = fromRows(() => rows);
  for (const options of [{ seed: 3, window: 700 }, { seed: 4 }, { seed: 5, window: 50_000 }]) {
    const pairs = [
      [csv(path), here],
      [encoder.encode(csv(path)), encoder.encode(here)],
      [csv(path).split(0.4, { seed: 2 })[1], here.split(0.4, { seed: 2 })[1]],
      [csv(path).skip(11_111), here.skip(11_111)],
    ];
    for (const [there, same] of pairs.map((pair) => pair.map((data) => data.shuffle(options)))) {
      for (const position of [{ epoch: 0 }, { epoch: 2, start: 3 }, { worldSize: 3, rank: 1 }]) {
        const read = async (dataset) => {
          const batches = [];
          for await (const batch of dataset.batches({ batchSize: 333, ...position })) {
            batches.push(batch.columns ?? batch);
          }
          return batches;
        };
        // AVA's own comparison takes long.
        const [found, expected] = [await read(there), await read(same)];
        t.true(found.length > 5);
        t.true(isDeepStrictEqual(found.map(plain), expected.map(plain)));
      }
    }
  }
});

test.serial('readings at once, the second of which fails', async (t) => {
  const path = await file(t, 'file.csv', text(60_000));
  const bad = await file(t, 'bad.csv', `${text(30_000)}x,1\n`);
  const all = csv(path);
  const results = await Promise.allSettled([
    ...[all, all, all.skip(50_000)].map((dataset) => readRows(dataset, { batchSize: 10_000 })),
    readRows(csv(bad)),
  ]);
  const [first, second, third, failed] = results;
  t.deepEqual(numbers(first.value), upTo(60_000));
  t.deepEqual(numbers(second.value), upTo(60_000));
  t.deepEqual(numbers(third.value), upTo(60_000, 50_000));
  t.like(failed.reason, { code: 'ERR_FILE_FORMAT', row: 30_002, column: 'a', file: bad });
  t.deepEqual(numbers(await readRows(all.take(2))), [0, 1]);
});

test.serial('a file that has changed meanwhile is read as it is', async (t) => {
  const path = join(await makeFolder(t), 'file.csv');
  for (const count of [3, 5, 2]) {
    await writeFile(path, text(count, count));
    t.deepEqual(numbers(await readRows(csv(path))), upTo(2 * count, count));
  }
});

test.serial('a thread that ends, at rest or at work', async (t) => {
  const path = await file(t, 'file.csv', text(200_000));
  const started = threads.length;
  // Who reads lets go of the threads that this test waits for.
  const alive = setInterval(() => {}, 1000);
  t.teardown(() => clearInterval(alive));
  await readRows(csv(path).take(5));
  await Promise.all(threads.map((thread) => thread.terminate()));
  const batches = csv(path).batches({ batchSize: 100 });
  t.is((await batches.next()).value.columns.a[99], 99);
  t.true(threads.length > started);
  await threads.at(-1).terminate();
  await t.throwsAsync(
    async () => {
      for await (const { rows } of batches) t.is(rows, 100);
    },
    { message: /the reading thread ended/ },
  );
  t.deepEqual(numbers(await readRows(csv(path).take(2))), [0, 1]);
});

test.serial('a thread at rest does not keep the process', async (t) => {
  const path = await file(t, 'file.csv', text(10));
  const script = `
    import { csv } from 'tandem-ml/data';
    const { length } = await csv(${JSON.stringify(path)}).load();
    process.stdout.write(String(length));
    const started = performance.now();
    process.on('exit', () => process.stdout.write(performance.now() - started < 5000 ? ' soon' : ' late'));`;
  const { stdout, status } = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
    timeout: 120_000,
    cwd: new URL('../..', import.meta.url),
  });
  t.deepEqual([String(stdout), status], ['10 soon', 0]);
});

test.serial('a thread that runs out of memory, which ends nothing else', async (t) => {
  // Texts of one row group, more than the heap of the process and of its threads may be.
  const data = Array.from({ length: 400_000 }, (_, i) => `${i} ${'x'.repeat(60)}`);
  const columnData = [{ name: 's', data, type: 'STRING' }];
  const bytes = Buffer.from(parquetWriteBuffer({ columnData, rowGroupSize: data.length }));
  const path = await file(t, 'file.parquet', bytes);
  const script = `
    import { TandemError } from 'tandem-ml';
    import { parquet } from 'tandem-ml/data';
    const path = ${JSON.stringify(path)};
    const data = await parquet(path);
    try {
      for await (const { rows } of data.batches()) if (rows === 0) break;
    } catch (error) {
      console.log(error instanceof TandemError, error.code, error.message.includes(path));
    }`;
  const flags = ['--max-old-space-size=25'];
  const { stdout, status } = await runModule(script, { flags, cwd: fileURLToPath(root) });
  t.deepEqual([stdout.trim(), status], ['true ERR_OUT_OF_MEMORY true', 0]);
});
