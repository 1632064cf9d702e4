// Rows that depend on each other are never computed in parts, nor joined with those of other calls;
// rows that do not are, however the graph moves them about.
import test from 'ava';
import {
  add,
  attention,
  batchNorm,
  concat,
  conv1d,
  cumsum,
  dense,
  div,
  embedding,
  flatten,
  flip,
  functional,
  gather,
  input,
  layerNorm,
  lstm,
  Model,
  matmul,
  max,
  mean,
  mul,
  multiHeadAttention,
  Predictor,
  pad,
  relu,
  reshape,
  slice,
  softmax,
  sub,
  sum,
  transpose,
  where,
} from 'tandem-ml';
import { constant } from '../../dist/internals.js';
import { generator, relativeError, uniform } from '../helpers/numbers.mjs';

const rows = 7;
const row = 12;
const numbers = (length, seed) => uniform(length, generator(seed));
const x = numbers(rows * row, 5);
const table = constant(numbers(12, 6), [12]);
const square = constant(numbers(144, 7), [12, 12]);

/** [batch, 12] -> [batch, ...] */
const apart = {
  'a layer': (v) => dense(5)(v),
  'a table beside rows': (v) => mul(add(v, table), 2),
  'axes that move and come back': (v) => {
    const first = transpose(reshape(v, [null, 3, 4]), { perm: [1, 0, 2] });
    return transpose(softmax(first, { axis: 2 }), { perm: [1, 0, 2] });
  },
  'rows taken apart and put together': (v) =>
    flatten(reshape(layerNorm()(reshape(v, [-1, 4])), [-1, 3, 4])),
  'a product from the left': (v) => transpose(matmul(square, transpose(v))),
  'a product of each row': (v) => {
    const m = reshape(v, [null, 3, 4]);
    return matmul(m, transpose(m, { perm: [0, 2, 1] }));
  },
  'sums behind the batch': (v) => sub(v, mean(v, { axes: 1, keepDims: true })),
  'parts of each row': (v) =>
    concat(
      [
        slice(v, { axis: 1, end: 4 }),
        pad(cumsum(flip(v)), {
          pads: [
            [0, 0],
            [1, 2],
          ],
        }),
      ],
      { axis: -1 },
    ),
  'the largest, without its axis': (v) => max(reshape(v, [null, 3, 4]), { axes: [-1] }),
  'statistics that are known': (v) =>
    flatten(batchNorm()(relu(conv1d(4, { kernel: 2 })(reshape(v, [null, 3, 4]))))),
  'heads of attention': (v) => multiHeadAttention({ heads: 2 })(reshape(v, [null, 3, 4])),
  'attention with masks of rows': (v) => {
    const q = reshape(v, [null, 1, 3, 4]);
    const mask = reshape(slice(v, { axis: 1, end: 9 }), [null, 1, 3, 3]);
    return reshape(attention(q, q, q, { mask }), [null, 12]);
  },
  'a recurrence': (v) => lstm(3)(reshape(v, [null, 3, 4])),
  'a choice by element': (v) => where(v, sum(v, { axes: [1], keepDims: true }), table),
};

/** The same, where some row depends on others. */
const related = {
  mean: (v) => sub(v, mean(v, { axes: 0 })),
  max: (v) => div(v, max(v, { keepDims: true })),
  softmax: (v) => softmax(v, { axis: 0 }),
  cumsum: (v) => cumsum(v, { axis: -2 }),
  flip: (v) => flip(v, { axis: 0 }),
  matmul: (v) => matmul(matmul(v, transpose(v)), v),
  batchNorm: (v) => functional.batchNorm(v),
  layerNorm: (v) => transpose(functional.layerNorm(transpose(v))),
  linear: (v) => mul(v, sum(functional.linear(v, v), { axes: 1, keepDims: true })),
  sub: (v) => {
    const apart = sub(reshape(v, [null, 1, 12]), reshape(v, [1, -1, 12]));
    return sum(apart, { axes: 1 });
  },
  reshape: (v) => reshape(transpose(v), [null, 12]),
  concat: (v) => {
    const twice = concat([v, v]);
    return reshape(twice, [2, -1, 12]);
  },
};

const build = (make, options) => {
  const v = input([row], { name: 'x' });
  return Predictor.load(new Model({ inputs: v, outputs: make(v), seed: 3 }), options);
};

for (const [name, make] of Object.entries(apart)) {
  test(`computed in parts: ${name}`, async (t) => {
    const whole = await build(make);
    const parts = await build(make, { maxBatch: 3 });
    t.true(relativeError(parts.predictSync(x), whole.predictSync(x)) < 1e-6);
    await Promise.all([whole.close(), parts.close()]);
  });
}

for (const [name, make] of Object.entries(related)) {
  test(`computed as a whole: ${name}`, async (t) => {
    const joined = await build(make, { batching: { maxDelayUs: 1000 } });
    const alone = await build(make);
    const calls = [x.subarray(0, 4 * row), x.subarray(4 * row), x.subarray(row, 3 * row)];
    const results = await Promise.all(calls.map((call) => joined.predict(call)));
    for (const [i, call] of calls.entries()) t.deepEqual(results[i], alone.predictSync(call));

    const parts = await build(make, { maxBatch: 3 });
    const few = x.subarray(0, 3 * row);
    t.deepEqual(parts.predictSync(few), alone.predictSync(few));
    const error = { code: 'ERR_SHAPE', message: /`maxBatch`/ };
    t.throws(() => parts.predictSync(x), error);
    await t.throwsAsync(parts.predict(x), error);
    t.deepEqual(parts.predictSync(few), alone.predictSync(few));
    await Promise.all([joined.close(), alone.close(), parts.close()]);
  });
}

test('the op is named', async (t) => {
  const predictor = await build(related.softmax, { maxBatch: 3 });
  t.throws(() => predictor.predictSync(x), { message: /depend on each other, as in softmax/ });
  await predictor.close();
});

test('rows of tables and of indices', async (t) => {
  const ids = input([3], { name: 'ids', dtype: 'int32' });
  const rowsOf = (outputs) => new Model({ inputs: ids, outputs, seed: 3 });
  const numbersOf = Int32Array.from({ length: 3 * rows }, (_, i) => (5 * i) % 12);
  const looked = [embedding(12, 4)(ids), gather(constant(numbers(36, 8), [12, 3]), ids)];
  for (const outputs of looked) {
    const whole = await Predictor.load(rowsOf(outputs));
    const parts = await Predictor.load(rowsOf(outputs), { maxBatch: 2 });
    t.deepEqual(parts.predictSync(numbersOf), whole.predictSync(numbersOf));
    await Promise.all([whole.close(), parts.close()]);
  }
});
