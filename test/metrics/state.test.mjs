// What accumulators and callbacks keep in checkpoints: going on is the same as not having stopped.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { detectOverfitting, htmlReport, input, metrics } from 'tandem-ml';
import { packMatrix, Tally, unpackMatrix } from '../../dist/internals.js';
import { makeFolder } from '../helpers/folder.mjs';

/** Nothing is shared with what a checkpoint kept. */
const copy = structuredClone;

function random(seed) {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

const classOutput = {
  output: input([4]),
  target: input([], { dtype: 'int32' }),
  loss: 'crossEntropy',
};
const yesOutput = { output: input([1]), target: input([1]), loss: 'bceWithLogits' };
const numbers = { output: input([2]), target: input([2]), loss: 'mse' };

/** Batches of numbers for the values of a metric: one array a value. */
const cases = {
  precision: [metrics.precision(), classOutput, (next) => [whole(next, 5, 4), whole(next, 5, 4)]],
  f1: [metrics.f1(), yesOutput, (next) => [whole(next, 5, 2), whole(next, 5, 2)]],
  confusionMatrix: [
    metrics.confusionMatrix(),
    classOutput,
    (next) => [whole(next, 5, 4), whole(next, 5, 4)],
  ],
  largeMatrix: [
    metrics.confusionMatrix(),
    { ...classOutput, output: input([70]) },
    (next) => [whole(next, 500, 70), whole(next, 500, 70)],
  ],
  topK: [
    metrics.topKAccuracy({ k: 2 }),
    classOutput,
    (next) => [whole(next, 5, 4), real(next, 5), whole(next, 5, 4)],
  ],
  rocAuc: [metrics.rocAuc(), classOutput, (next) => [real(next, 20), whole(next, 5, 4)]],
  binaryAuc: [metrics.rocAuc(), yesOutput, (next) => [real(next, 5), whole(next, 5, 2)]],
  rmse: [metrics.rmse(), numbers, (next) => [real(next, 1)]],
  r2: [metrics.r2(), numbers, (next) => [real(next, 2), real(next, 10)]],
  perplexity: [metrics.perplexity(), classOutput, (next) => [real(next, 1), whole(next, 5, 4)]],
};
const real = (next, count) => Float64Array.from({ length: count }, () => Math.fround(next()));
const whole = (next, count, below) =>
  Float64Array.from({ length: count }, () => Math.floor(next() * below));

for (const [name, [metric, pair, batch]] of Object.entries(cases)) {
  test(`${name} goes on from its state`, async (t) => {
    const { accumulate } = metric.build(pair);
    const next = random(7);
    const batches = Array.from({ length: 6 }, () => batch(next));
    const once = accumulate();
    let parts = accumulate();
    for (const values of batches) {
      once.add(values, 5);
      parts = accumulate(copy(parts.state()));
      parts.add(values, 5);
    }
    const expected = await once.result();
    t.deepEqual(await parts.result(), expected);
    t.true(Array.isArray(expected) || Number.isFinite(expected));
  });

  test(`${name} refuses a state that is none`, (t) => {
    const { accumulate } = metric.build(pair);
    for (const state of [3, 'x', [1], ['a', 'b'], { scores: 3, errors: 'x' }]) {
      t.throws(() => accumulate(state), { code: 'ERR_FILE_FORMAT' }, JSON.stringify(state));
    }
  });
}

test('large matrices go through checkpoints as arrays', (t) => {
  const matrix = (size, most) =>
    Array.from({ length: size }, (_, i) =>
      Array.from({ length: size }, (_, k) => (i + k === 0 ? most : (i * 31 + k * 7) % 9)),
    );
  for (const [size, most, array] of [
    [64, 9, false],
    [65, 9, true],
    [65, 2 ** 25, true],
    [65, 2 ** 25 + 1, false],
    [65, -0.1, false],
  ]) {
    const made = packMatrix(matrix(size, most));
    t.is(made.counts instanceof Float32Array, array);
    t.deepEqual(unpackMatrix(copy(made), 'm'), matrix(size, most));
  }
  const ragged = [...matrix(65, 9), [1]];
  t.deepEqual(unpackMatrix(copy(packMatrix(ragged)), 'm'), ragged);
  for (const bad of [
    3,
    [1],
    [['a']],
    { columns: 0, counts: new Float32Array(9) },
    { columns: 2 },
  ]) {
    t.throws(() => unpackMatrix(bad, 'm'), { code: 'ERR_FILE_FORMAT' }, JSON.stringify(bad));
  }
  const odd = { columns: 2, counts: new Float32Array(9) };
  t.throws(() => unpackMatrix(odd, 'm'), { code: 'ERR_FILE_FORMAT' });
});

test('a metric without a state reports NaN where it missed a part of an epoch', async (t) => {
  const part = { begin: { fixed: 0, perRow: 0 }, size: { fixed: 1, perRow: 0 } };
  const start = (state = [0]) => {
    let [sum] = state;
    const add = ([[value]]) => {
      sum += value;
    };
    return { add, result: () => sum, state: () => [sum] };
  };
  const tracked = [
    { name: 'kept', parts: [[part]], start },
    { name: 'lost', parts: [[part]], start: () => ({ ...start(), state: undefined }) },
  ];
  const first = new Tally(tracked);
  first.add({ values: Float64Array.of(3), offset: 0, rows: 1, graph: 0 });
  const second = new Tally(tracked, copy(first.state));
  second.add({ values: Float64Array.of(4), offset: 0, rows: 1, graph: 0 });
  t.deepEqual((await second.results()).numbers, { kept: 7, lost: Number.NaN });
  const third = new Tally(tracked, copy(second.state));
  t.deepEqual((await third.results()).numbers, { kept: 7, lost: Number.NaN });
});

test('callbacks go on from their state', async (t) => {
  const dir = await makeFolder(t);
  const [loss, valLoss] = [(i) => 1 / (i + 1), (i) => 0.5 + (i - 4) ** 2];
  const reports = ['loss', 'valLoss'];
  const trainer = { model: { summary: () => '' } };
  const texts = [];
  const detected = [];
  for (const stop of [undefined, 6]) {
    const path = join(dir, `${stop}.html`);
    let callbacks = [htmlReport({ path }), detectOverfitting()];
    for (const callback of callbacks) await callback.onTrainBegin(trainer, reports);
    for (let epoch = 0; epoch < 20; epoch++) {
      if (epoch === stop) {
        const states = callbacks.map((callback) => copy(callback.saveState()));
        callbacks = [htmlReport({ path }), detectOverfitting()];
        for (const [i, callback] of callbacks.entries()) {
          await callback.onTrainBegin(trainer, reports);
          callback.loadState(states[i]);
        }
      }
      const logs = { loss: loss(epoch), valLoss: valLoss(epoch), learningRate: 1 };
      const matrices = epoch < 5 ? { confusionMatrix: [[epoch]] } : {};
      for (const callback of callbacks) await callback.onEpochEnd(epoch, logs, trainer, matrices);
    }
    await callbacks[0].onTrainEnd(trainer);
    texts.push(await readFile(path, 'utf8'));
    detected.push([callbacks[1].detectedEpoch, callbacks[1].found]);
  }
  t.is(texts[0], texts[1]);
  t.regex(texts[0], /confusionMatrix/);
  t.deepEqual(detected[0], detected[1]);
  t.true(detected[0][0] > 4);
});
