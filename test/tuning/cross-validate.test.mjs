// Cross-validation: folds, what is trained and tested on, resuming.
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import {
  crossValidate,
  dense,
  input,
  Model,
  metrics,
  sequential,
  sgd,
  sum,
  Trainer,
} from 'tandem-ml';
import { dealFolds } from '../../dist/tuning/folds.js';
import { loadDigits } from '../../examples/lib/digits.mjs';

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
  const dir = await mkdtemp(join(tmpdir(), 'tandem-folds-'));
  t.teardown(() => rm(dir, { recursive: true }));
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
  const { folds } = await crossValidate({ build, data, folds: 3 });
  t.deepEqual(
    folds.map(({ rows: count }) => count),
    [2, 2, 2],
  );
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
    [{ signal: AbortSignal.abort() }, 'ERR_ABORTED'],
    [{ shuffle: true }, 'ERR_ARGUMENT'],
  ];
  for (const [wrong, code] of cases) {
    await t.throwsAsync(crossValidate({ ...good, ...wrong }), { code }, Object.keys(wrong).join());
  }
});
