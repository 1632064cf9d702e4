// Models whose outputs have other rows than the batch, or that take some numbers of rows alone.
import { join } from 'node:path';
import test from 'ava';
import {
  add,
  concat,
  input,
  Model,
  mean,
  Predictor,
  relu,
  reshape,
  slice,
  softmax,
  TandemError,
} from 'tandem-ml';
import { vjp } from 'tandem-ml/autodiff';
import { layoutIn, layoutOf, outputShapes } from '../dist/internals.js';
import { makeFolder } from './helpers/folder.mjs';

const width = 4;
const counts = [1, 2, 3, 4, 5, 6, 7, 8, 9, 12];

/** Each row is its number, from 1 on. */
const numbered = (rows) =>
  Float32Array.from({ length: rows * width }, (_, i) => Math.floor(i / width) + 1);
/** Of n rows: the numbers of those in the result. */
const all = (n) => Array.from({ length: n }, (_, i) => i + 1);

const sizes = {
  'every third row': [(v) => slice(v, { step: 3 }), (n) => all(n).filter((i) => i % 3 === 1)],
  'every third from the second on': [
    (v) => slice(v, { start: 1, step: 3 }),
    (n) => all(n).filter((i) => i % 3 === 2),
  ],
  'all but the first three': [(v) => slice(v, { start: 3 }), (n) => all(n).slice(3)],
  'the last three': [(v) => slice(v, { start: -3 }), (n) => all(n).slice(-3)],
  'all but the last three': [(v) => slice(v, { end: -3 }), (n) => all(n).slice(0, -3)],
  'two in the middle': [(v) => slice(v, { start: 3, end: 5 }), (n) => all(n).slice(3, 5)],
  // As many rows as the batch where that is even, as the samples are that shapes are known at.
  'odd ones twice': [
    (v) => concat([slice(v, { step: 2 }), slice(v, { step: 2 })]),
    (n) => [...all(n), ...all(n)].filter((i) => i % 2 === 1),
  ],
};

function build(make) {
  const x = input([width], { name: 'x' });
  return new Model({ inputs: x, outputs: make(relu(x)) });
}

/** What a predictor is loaded from, and how: the model, its file, and the model with other options. */
async function sources(t, model, others) {
  const path = join(await makeFolder(t), 'm.safetensors');
  await model.save(path);
  return [[model, {}], [path, {}], ...others.map((options) => [model, options])];
}

const rowsIn = (y) => [...y].filter((_, i) => i % width === 0);

for (const [name, [make, wanted]] of Object.entries(sizes)) {
  test(`as many rows as there are: ${name}`, async (t) => {
    const queued = { batching: { maxDelayUs: 100 } };
    for (const [source, options] of await sources(t, build(make), [queued])) {
      const predictor = await Predictor.load(source, options);
      for (const n of counts) {
        const x = numbered(n);
        t.deepEqual(rowsIn(predictor.predictSync(x)), wanted(n), `predictSync of ${n}`);
        t.deepEqual(rowsIn(await predictor.predict(x)), wanted(n), `predict of ${n}`);
        t.deepEqual(rowsIn(await predictor.predict(x, { priority: 1 })), wanted(n));
        const out = new Float32Array(wanted(n).length * width);
        t.is(predictor.predictSync(x, out), out);
        t.deepEqual(rowsIn(await predictor.predict(x, { out })), wanted(n));
        const short = new Float32Array(out.length + 1);
        const refusal = { code: 'ERR_SHAPE', message: new RegExp(`${out.length} elements`) };
        t.throws(() => predictor.predictSync(x, short), refusal);
        const io = predictor.bind(n);
        io.inputs.x.set(x);
        io.runSync();
        t.deepEqual(rowsIn(io.outputs.y), wanted(n), `bind(${n})`);
        io.close();
      }
      await predictor.close();
      t.throws(() => predictor.predictSync(numbered(1)), { code: 'ERR_CLOSED' });
    }
  });
}

test('native code is asked once for the shapes at a number of rows', (t) => {
  const asked = [];
  const native = {
    relatesRows: 'slice',
    shapes(rows) {
      asked.push(rows);
      return { inputs: [], outputs: [{ dtype: 'float32', shape: [rows - 3, width] }] };
    },
  };
  const layout = layoutIn(native, layoutOf({ inputs: [], outputs: [] }, []));
  const counts = Array.from({ length: 40 }, (_, i) => i + 3);
  for (const rows of counts) {
    for (let i = 0; i < 3; i++) t.deepEqual(outputShapes(layout, rows), [[rows - 3, width]]);
  }
  t.deepEqual(asked, counts);
});

test('cotangents are as long as outputs are', (t) => {
  const x = input([width], { name: 'x' });
  const feeds = new Map([[x, numbered(7)]]);
  const every = slice(x, { step: 3 });
  const { outputs, gradients } = vjp(every, feeds, new Float32Array(3 * width).fill(1));
  t.deepEqual(rowsIn(outputs[0]), [1, 4, 7]);
  t.deepEqual(rowsIn(gradients[0]), [1, 0, 0, 1, 0, 0, 1]);
  const refusal = { code: 'ERR_SHAPE', message: /12 elements for `cotangents\[0\]`/ };
  t.throws(() => vjp(every, feeds, new Float32Array(2 * width)), refusal);
});

test('sequences of any length in every third row', async (t) => {
  const x = input([6, 2], { name: 'x' });
  const model = new Model({ inputs: x, outputs: softmax(slice(x, { step: 3 })) });
  const predictor = await Predictor.load(model, { lengths: [3] });
  for (const length of [2, 3, 5, 6]) {
    const rows = Float32Array.from({ length: 4 * length * 2 }, (_, i) => (i * i) % 7);
    const kept = [rows.subarray(0, length * 2), rows.subarray(3 * length * 2)];
    const alone = await Promise.all(kept.map((row) => predictor.predict(row, { length })));
    const want = alone.flatMap((y) => [...y]);
    t.deepEqual([...predictor.predictSync(rows, undefined, { length })], want);
    const out = new Float32Array(want.length);
    t.deepEqual([...(await predictor.predict(rows, { length, out }))], want);
  }
  await predictor.close();
});

/** Those that take n rows where n is a multiple of the number. */
const divided = {
  pairs: [2, (v) => reshape(v, [-1, 2, width])],
  'pairs, put together again': [2, (v) => reshape(reshape(v, [-1, 2, width]), [-1, width])],
  'threes and a mean': [3, (v) => add(reshape(v, [-1, 3, width]), mean(v))],
};

for (const [name, [divisor, make]] of Object.entries(divided)) {
  test(`loads without taking one row: ${name}`, async (t) => {
    const model = build(make);
    const others = [{ maxBatch: 7 }, { maxBatch: 255, precision: 'bfloat16' }];
    for (const [source, options] of await sources(t, model, others)) {
      const predictor = await Predictor.load(source, options);
      t.true(predictor.profile().flops > 0);
      const refusal = { instanceOf: TandemError, code: 'ERR_SHAPE', message: /`reshape`/ };
      for (const n of [1, 2, 3, 4, 6]) {
        if (n % divisor === 0) {
          t.is(predictor.predictSync(numbered(n)).length, n * width);
          t.is((await predictor.predict(numbered(n))).length, n * width);
          predictor.bind(n).close();
        } else {
          t.throws(() => predictor.predictSync(numbered(n)), refusal);
          await t.throwsAsync(predictor.predict(numbered(n)), refusal);
          t.throws(() => predictor.bind(n), refusal);
        }
      }
      await predictor.close();
    }
    const error = { code: 'ERR_SHAPE', message: /`reshape`/ };
    await t.throwsAsync(Predictor.load(model, { maxBatch: 1 }), error);
  });
}
