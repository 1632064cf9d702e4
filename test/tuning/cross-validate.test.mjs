// Cross-validation: folds, what is trained and tested on, resuming.
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import {
  crossValidate,
  dense,
  embedding,
  flatten,
  input,
  Model,
  metrics,
  sequential,
  sgd,
  sum,
  Trainer,
} from 'tandem-ml';
import {
  classWeights,
  csv,
  fitEncoder,
  fromArrays,
  fromBatches,
  fromSequences,
  standard,
} from 'tandem-ml/data';
import { dealFolds } from '../../dist/internals.js';
import { loadDigits } from '../../examples/lib/digits.mjs';
import { makeFolder } from '../helpers/folder.mjs';

test('folds have as many rows, and of each label', async (t) => {
  const count = 1003;
  const labels = Int32Array.from({ length: count }, (_, i) =>
    i % 10 === 0 ? 2 : i % 3 === 0 ? 1 : 0,
  );
  for (const stratified of [true, false]) {
    const fold = await dealFolds(count, 5, 3, stratified ? labels : undefined);
    const sizes = [0, 0, 0, 0, 0];
    const of = [0, 1, 2].map(() => [0, 0, 0, 0, 0]);
    for (let row = 0; row < count; row++) {
      sizes[fold[row]]++;
      of[labels[row]][fold[row]]++;
    }
    t.true(Math.max(...sizes) - Math.min(...sizes) <= 1);
    const spread = of.map((counts) => Math.max(...counts) - Math.min(...counts));
    t.is(
      spread.every((most) => most <= 1),
      stratified,
      `${spread}`,
    );
    t.deepEqual(await dealFolds(count, 5, 3, stratified ? labels : undefined), fold);
    t.notDeepEqual(await dealFolds(count, 5, 4, stratified ? labels : undefined), fold);
  }
});

/** Tells which rows a model is trained and tested on: targets are the rows' numbers. */
function watch(seen) {
  const rows = {
    values: (_, target) => [target],
    accumulate() {
      const found = [];
      return {
        add: ([targets]) => void found.push(...targets),
        result() {
          seen.push(found.sort((a, b) => a - b));
          return found.length;
        },
      };
    },
  };
  const model = sequential([dense(1)], { input: [2], seed: 1 });
  return new Trainer(model, {
    loss: 'mse',
    optimizer: sgd({ learningRate: 0 }),
    metrics: { rows },
  });
}

test('each row is tested once, on a model that has not seen it', async (t) => {
  const count = 23;
  const y = Float32Array.from({ length: count }, (_, i) => i);
  const x = Float32Array.from({ length: 2 * count }, (_, i) => Math.floor(i / 2));
  const seen = [];
  const found = await crossValidate({
    build: () => watch(seen),
    data: { x, y },
    folds: 4,
    fit: { batchSize: 5 },
  });
  t.is(seen.length, 8);
  const tested = [];
  for (let fold = 0; fold < 4; fold++) {
    const [train, held] = [seen[2 * fold], seen[2 * fold + 1]];
    tested.push(...held);
    const all = [...train, ...held].sort((a, b) => a - b);
    t.deepEqual(all, [...y]);
    t.is(found.folds[fold].rows, held.length);
    t.is(found.folds[fold].scores.rows, held.length);
  }
  t.deepEqual(
    tested.sort((a, b) => a - b),
    [...y],
  );
});

test('mean, deviation and table are those of the folds', async (t) => {
  const [all] = await loadDigits({ sizes: [400], seed: 1 });
  const options = {
    build: () =>
      new Trainer(sequential([dense(10)], { input: [64], seed: 1 }), {
        loss: 'crossEntropy',
        metrics: { accuracy: 'accuracy', f1: metrics.f1() },
      }),
    data: all,
    folds: 4,
    epochs: 12,
    seed: 2,
  };
  const found = await crossValidate(options);
  const values = found.folds.map(({ scores }) => scores.accuracy);
  const mean = values.reduce((total, value) => total + value, 0) / 4;
  const squares = values.reduce((total, value) => total + (value - mean) ** 2, 0);
  t.true(Math.abs(found.mean.accuracy - mean) < 1e-12);
  t.true(Math.abs(found.deviation.accuracy - Math.sqrt(squares / 3)) < 1e-12);
  t.true(found.mean.accuracy > 0.8 && found.mean.f1 > 0.8);
  const lines = found.table().split('\n');
  t.regex(lines[0], /^fold +rows +loss +accuracy +f1$/);
  t.is(lines.length, 2 + 4 + 2);
  t.deepEqual((await crossValidate(options)).folds, found.folds);
});

test('with a file it goes on after the last fold', async (t) => {
  const dir = await makeFolder(t);
  const file = join(dir, 'folds.jsonl');
  const data = {
    x: Float32Array.from({ length: 20 }, (_, i) => i / 20),
    y: Float32Array.from({ length: 20 }, (_, i) => i / 10),
  };
  const make = () => new Trainer(sequential([dense(1)], { input: [1], seed: 1 }), { loss: 'mse' });
  const expected = await crossValidate({ build: make, data });
  let built = 0;
  const failing = () => {
    if (++built === 4) throw new Error('mine');
    return make();
  };
  const first = crossValidate({ build: failing, data, file });
  await t.throwsAsync(first, { message: 'mine' });
  t.is((await readFile(file, 'utf8')).trim().split('\n').length, 4);
  const found = await crossValidate({ build: failing, data, file });
  t.is(built, 6);
  t.deepEqual(found.folds, expected.folds);
  await t.throwsAsync(crossValidate({ build: make, data, file, folds: 3 }), {
    code: 'ERR_ARGUMENT',
  });
});

test('several inputs and outputs, in records and arrays', async (t) => {
  const build = () => {
    const [a, b] = [input([1], { name: 'a' }), input([2, 3], { name: 'b' })];
    const outputs = { one: dense(1)(a), many: sum(b, { axes: 2 }) };
    return new Trainer(new Model({ inputs: { a, b }, outputs, seed: 1 }), {
      loss: { one: 'mse', many: 'mse' },
    });
  };
  const rows = 6;
  const data = {
    x: { a: new Float32Array(rows), b: new Float32Array(6 * rows) },
    y: { one: new Float32Array(rows), many: new Float32Array(2 * rows) },
  };
  const sizesOf = async (given) => {
    const { folds } = await crossValidate({ build, data: given, folds: 3 });
    return folds.map((fold) => fold.rows);
  };
  t.deepEqual(await sizesOf(data), [2, 2, 2]);
  // Records have their arrays in any order.
  const { a, b } = data.x;
  t.deepEqual(await sizesOf({ ...data, x: { b, a } }), [2, 2, 2]);
  await t.throwsAsync(sizesOf({ ...data, x: { b: b.subarray(1), a } }), {
    code: 'ERR_SHAPE',
    message: /6 rows, as in `x\.a` for `x\.b`/,
  });
});

test('sequences that are shorter than the model say how many they are', async (t) => {
  const build = () => {
    const model = sequential([embedding(5, 2), (x) => sum(x, { axes: 1 })], {
      input: input([4], { dtype: 'int32' }),
    });
    return new Trainer(model, { loss: 'crossEntropy' });
  };
  const data = {
    x: Int32Array.from({ length: 12 }, (_, i) => i % 5),
    y: Int32Array.of(0, 1, 0, 1, 0, 1),
    rows: 6,
  };
  const { folds } = await crossValidate({ build, data, folds: 3 });
  t.deepEqual(
    folds.map((fold) => fold.rows),
    [2, 2, 2],
  );
  for (const rows of [0, -6, 1.5, '6']) {
    await t.throwsAsync(crossValidate({ build, data: { ...data, rows }, folds: 3 }), {
      code: 'ERR_ARGUMENT',
      message: /for `rows`/,
    });
  }
});

test('a dataset in memory has the folds of its arrays', async (t) => {
  const [all] = await loadDigits({ sizes: [100], seed: 3 });
  const build = () =>
    new Trainer(sequential([dense(10)], { input: [64], seed: 1 }), { loss: 'crossEntropy' });
  const options = { build, folds: 3, epochs: 2, seed: 5, fit: { batchSize: 16 } };
  const expected = await crossValidate({ ...options, data: all });
  const dataset = fromArrays(all);
  const found = await crossValidate({ ...options, data: dataset });
  t.deepEqual(found.folds, expected.folds);
  const part = { x: all.x.subarray(64 * 10, 64 * 80), y: all.y.subarray(10, 80) };
  const some = await crossValidate({ ...options, data: dataset.take(80).skip(10) });
  t.deepEqual(some.folds, (await crossValidate({ ...options, data: part })).folds);
});

test('labels of a dataset in memory may be fractions, and below zero', async (t) => {
  const count = 60;
  const x = Float32Array.from({ length: count }, (_, i) => Math.sin(i));
  const fractions = Float32Array.from({ length: count }, (_, i) => (i % 3) / 3);
  const ignored = Int32Array.from({ length: count }, (_, i) => (i % 4 === 3 ? -100 : i % 4));
  for (const [loss, y, units] of [
    ['mse', fractions, 1],
    ['crossEntropy', ignored, 3],
  ]) {
    const build = () =>
      new Trainer(sequential([dense(units)], { input: [1], seed: 1 }), {
        loss,
        optimizer: sgd({ learningRate: 0.1 }),
      });
    const options = { build, folds: 3, stratified: true };
    const expected = await crossValidate({ ...options, data: { x, y } });
    const found = await crossValidate({ ...options, data: fromArrays({ x, y }) });
    t.deepEqual(found.folds, expected.folds);
  }
});

/** Batches of seven rows whose targets are their numbers. */
const numbered = (count) =>
  fromBatches(function* () {
    for (let begin = 0; begin < count; begin += 7) {
      const rows = Math.min(7, count - begin);
      const y = Float32Array.from({ length: rows }, (_, i) => begin + i);
      yield { rows, x: Float32Array.from({ length: 2 * rows }, (_, i) => y[i >> 1]), y };
    }
  });

test('each row of a stream is tested once, on a model that has not seen it', async (t) => {
  const seen = [];
  for (const [data, count] of [
    [numbered(41), 41],
    [numbered(41).shuffle({ window: 10, seed: 2 }).take(30), 30],
    [numbered(41).map((batch) => batch), 41],
  ]) {
    seen.length = 0;
    const found = await crossValidate({ build: () => watch(seen), data, folds: 4 });
    const tested = [];
    for (const [fold, { rows }] of found.folds.entries()) {
      const [train, held] = [seen[2 * fold], seen[2 * fold + 1]];
      t.deepEqual(
        [...train, ...held].sort((a, b) => a - b),
        [...Array(count).keys()],
      );
      t.is(rows, held.length);
      t.true(Math.abs(rows - count / 4) < 1);
      tested.push(...held);
    }
    t.is(new Set(tested).size, count);
    const again = await crossValidate({ build: () => watch([]), data, folds: 4 });
    t.deepEqual(again.folds, found.folds);
  }
});

test('rows of a file: classes are spread evenly, and only those to train on repeated', async (t) => {
  const dir = await makeFolder(t);
  const file = join(dir, 'rows.csv');
  // Of 60 rows 50 are of class a, 10 of class b.
  const lines = Array.from({ length: 60 }, (_, i) => `${i / 10},${i % 6 === 5 ? 'b' : 'a'}`);
  await writeFile(file, `x,kind\n${lines.join('\n')}\n`);
  const table = csv(file);
  const encoder = await fitEncoder(table, { x: { x: standard() }, y: { kind: 'category' } });
  const data = encoder.encode(table);
  const matrices = [];
  const build = () => {
    const trainer = new Trainer(sequential([dense(2)], { input: [1], seed: 1 }), {
      loss: 'crossEntropy',
      metrics: ['confusionMatrix'],
    });
    const evaluate = trainer.evaluate.bind(trainer);
    trainer.evaluate = async (...given) => {
      const scores = await evaluate(...given);
      matrices.push(scores.matrices.confusionMatrix.map((row) => row[0] + row[1]));
      return scores;
    };
    return trainer;
  };
  const balanced = data.oversample(await classWeights(data));
  let trained = 0;
  const onTrainBegin = () => void trained++;
  const onEpochEnd = (_, __, ___, { confusionMatrix: [a, b] }) => {
    t.deepEqual([a[0] + a[1], b[0] + b[1]], [40, 40]);
  };
  const fit = { callbacks: [{ onTrainBegin, onEpochEnd }] };
  const found = await crossValidate({ build, data: balanced, folds: 5, fit });
  t.is(trained, 5);
  t.deepEqual(
    matrices,
    found.folds.map(() => [10, 2]),
  );
});

test('sequences in buckets, too', async (t) => {
  const sequences = Array.from({ length: 30 }, (_, i) => ({
    x: Int32Array.from({ length: 1 + (i % 6) }, (_, k) => k),
    y: i % 2,
  }));
  const data = fromSequences({
    x: sequences.map(({ x }) => x),
    y: Int32Array.from(sequences, ({ y }) => y),
  }).bucketByLength({ lengths: [6] });
  const build = () =>
    new Trainer(
      sequential([embedding(6, 4), flatten(), dense(2)], {
        input: input([6], { dtype: 'int32' }),
        seed: 1,
      }),
      { loss: 'crossEntropy' },
    );
  const { folds } = await crossValidate({ build, data, folds: 3 });
  t.deepEqual(
    folds.map(({ rows }) => rows),
    [10, 10, 10],
  );
});

test('targets that are sequences, too', async (t) => {
  const x = Array.from({ length: 20 }, (_, i) => [i % 6, (i + 1) % 6, 0].slice(0, 2 + (i % 2)));
  const data = fromSequences({ x, y: x }).bucketByLength({ lengths: [2, 3] });
  const build = () =>
    new Trainer(
      sequential([embedding(6, 4), dense(6)], { input: input([3], { dtype: 'int32' }), seed: 1 }),
      { loss: 'crossEntropy' },
    );
  const { folds } = await crossValidate({ build, data, folds: 2 });
  t.deepEqual(
    folds.map(({ rows }) => rows),
    [10, 10],
  );
});

test('datasets that do not fit are refused', async (t) => {
  const build = () => new Trainer(sequential([dense(1)], { input: [2] }), { loss: 'mse' });
  const few = fromArrays({ x: new Float32Array(6), y: new Float32Array(3) });
  await t.throwsAsync(crossValidate({ build, data: few }), { code: 'ERR_SHAPE' });
  await t.throwsAsync(crossValidate({ build, data: numbered(3) }), { code: 'ERR_SHAPE' });
  const two = fromArrays({ x: new Float32Array(20), y: new Float32Array(20) }, { rows: 10 });
  await t.throwsAsync(crossValidate({ build, data: two, stratified: true }), {
    code: 'ERR_ARGUMENT',
    message: /stratified/,
  });
});

test('refuses what is wrong', async (t) => {
  const build = () => new Trainer(sequential([dense(1)], { input: [2] }), { loss: 'mse' });
  const data = { x: new Float32Array(20), y: new Float32Array(10) };
  const good = { build, data };
  const cases = [
    [{ folds: 1 }, 'ERR_ARGUMENT'],
    [{ folds: 11 }, 'ERR_SHAPE'],
    [{ build: 3 }, 'ERR_ARGUMENT'],
    [{ build: () => ({}) }, 'ERR_ARGUMENT'],
    [{ data: { x: new Float32Array(21), y: new Float32Array(10) } }, 'ERR_SHAPE'],
    [{ data: { x: new Float32Array(20), y: new Float32Array(9) } }, 'ERR_SHAPE'],
    [{ data: { x: [1, 2], y: new Float32Array(9) } }, 'ERR_ARGUMENT'],
    [
      { data: { x: new Float32Array(20), y: new Float32Array(20) }, stratified: true },
      'ERR_ARGUMENT',
    ],
    [{ fit: { signal: AbortSignal.abort() } }, 'ERR_ARGUMENT'],
    [{ fit: { checkpoint: { dir: 'x' } } }, 'ERR_ARGUMENT'],
    [{ fit: { resumeFrom: 'latest' } }, 'ERR_ARGUMENT'],
    [{ signal: AbortSignal.abort() }, 'ERR_ABORTED'],
    [{ shuffle: true }, 'ERR_ARGUMENT'],
  ];
  for (const [wrong, code] of cases) {
    await t.throwsAsync(crossValidate({ ...good, ...wrong }), { code }, Object.keys(wrong).join());
  }
});

test('a signal ends the wait for rows to test on that never come', async (t) => {
  const controller = new AbortController();
  let passes = 0;
  const data = fromBatches(async function* () {
    yield { x: new Float32Array(4), y: new Float32Array(4) };
    // The first is to train on.
    if (++passes < 2) return;
    setTimeout(() => controller.abort('enough'), 20);
    await new Promise(() => {});
  });
  const build = () => new Trainer(sequential([dense(1)], { input: [1] }), { loss: 'mse' });
  const running = crossValidate({ build, data, folds: 2, signal: controller.signal });
  const { cause } = await t.throwsAsync(running, { code: 'ERR_ABORTED' });
  t.is(cause, 'enough');
});
