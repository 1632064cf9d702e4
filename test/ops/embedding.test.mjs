// embedding: gradients, layers, numbers out of range, files and predictors.
import { join } from 'node:path';
import test from 'ava';
import {
  add,
  concat,
  crossEntropy,
  dense,
  embedding,
  flatten,
  flip,
  functional,
  input,
  Model,
  Predictor,
  pad,
  reshape,
  sequential,
  sgd,
  slice,
  square,
  Trainer,
} from 'tandem-ml';
import { evaluate, vjp } from 'tandem-ml/autodiff';
import { check, numbers } from '../helpers/differences.mjs';
import { makeFolder } from '../helpers/folder.mjs';
import { fixed } from '../helpers/numbers.mjs';

const argument = (message) => ({ code: 'ERR_ARGUMENT', message });
const shape = (message) => ({ code: 'ERR_SHAPE', message });

test('gradients by the table', (t) => {
  for (const [rows, count, dim] of [
    [[5, 7], 11, 3],
    [[13], 2, 17],
    [[1, 3], 129, 35],
  ]) {
    const size = rows.reduce((product, length) => product * length, 1);
    const data = Int32Array.from({ length: size }, (_, i) => (i * i + 3 * i) % count);
    check(t, {
      graph: (v) => square(functional.embedding(v.i, v.w)),
      floats: { w: numbers([count, dim], 41) },
      integers: { i: { shape: rows, data } },
    });
  }
});

test('a table that is used twice gets both gradients', (t) => {
  const graph = (v) => functional.linear(functional.embedding(v.i, v.w), v.w);
  check(t, {
    graph,
    floats: { w: numbers([5, 9], 42, { low: -1, high: 1 }) },
    integers: { i: { shape: [7], data: Int32Array.of(0, 4, 4, 2, 0, 1, 4) } },
  });
});

test('the same bits on one thread and on several', (t) => {
  const [i, w] = [fixed([600], 'int32'), fixed([37, 130])];
  const feeds = new Map([
    [i, Int32Array.from({ length: 600 }, (_, k) => (k * 7 + (k >> 3)) % 37)],
    [w, numbers([37, 130], 43).data],
  ]);
  const cotangent = numbers([600, 130], 44).data;
  const run = (threads) => vjp(functional.embedding(i, w), feeds, cotangent, { threads });
  const [one] = run(1).gradients;
  for (const threads of [2, 3, 4]) t.deepEqual(run(threads).gradients[0], one);
});

test('shapes and names of a layer, with and without positions', (t) => {
  const tokens = input([6], { dtype: 'int32' });
  const layer = embedding(11, 4, { positions: 8 });
  const y = layer(tokens);
  t.deepEqual(y.shape, [null, 6, 4]);
  const model = new Model({ inputs: [tokens], outputs: [y], seed: 3 });
  t.deepEqual(
    [...model.parameters].map(([name, parameter]) => [name, parameter.shape]),
    [
      ['embedding.weight', [11, 4]],
      ['embedding.positions', [8, 4]],
    ],
  );
  t.deepEqual(embedding(3, 2)(input([], { dtype: 'int32' })).shape, [null, 2]);
  const weights = model.parameters.get('embedding.weight').data;
  t.true(
    weights.some((value) => Math.abs(value) > 1),
    'a normal distribution has a deviation of 1',
  );
});

test('the first rows of positions are added when the time is shorter', (t) => {
  for (const time of [5, 3]) {
    const tokens = input([time], { dtype: 'int32', name: 'tokens' });
    const y = embedding(7, 3, { positions: 5, name: 'e' })(tokens);
    const model = new Model({ inputs: [tokens], outputs: [y], seed: 2 });
    const [weight, positions] = ['e.weight', 'e.positions'].map(
      (name) => model.parameters.get(name).data,
    );
    const data = Int32Array.from({ length: 2 * time }, (_, i) => (3 * i + 1) % 7);
    const [result] = evaluate(y, new Map([[tokens, data]]));
    const wanted = Float32Array.from({ length: 2 * time * 3 }, (_, i) => {
      const row = Math.floor(i / 3);
      return weight[data[row] * 3 + (i % 3)] + positions[(row % time) * 3 + (i % 3)];
    });
    t.deepEqual(result, wanted);
  }
});

test('arguments and shapes are checked', (t) => {
  const tokens = input([6], { dtype: 'int32' });
  t.throws(() => embedding(0, 4), argument(/`count`/));
  t.throws(() => embedding(4, 1.5), argument(/`dim`/));
  t.throws(() => embedding(4, 4, { positions: 0 }), argument(/`positions`/));
  t.throws(() => embedding(4, 4, { position: 3 }), argument(/did you mean `positions`/));
  t.throws(() => embedding(4, 4, { initializer: 'big' }), argument(/`initializer`/));
  t.throws(() => embedding(4, 4)(input([6])), { code: 'ERR_DTYPE', message: /int32/ });
  t.throws(
    () => embedding(4, 4, { positions: 5, name: 'words' })(tokens),
    shape(
      /^in layer `words`: expected .* at most 5 .* received index \[batch, 6\], positions \[5, 4\]$/,
    ),
  );
  t.throws(
    () => functional.embedding(tokens, input([3, 4])),
    shape(/`embedding`, received index \[batch, 6\], w \[batch, 3, 4\]/),
  );
  t.throws(() => functional.embedding(tokens, 3), argument(/a Value for `w`/));
});

test('numbers out of range are refused where they are fed', async (t) => {
  const tokens = input([3], { dtype: 'int32', name: 'tokens' });
  const y = dense(2)(flatten(embedding(5, 4)(flip(reshape(tokens, [-1, 3])))));
  const model = new Model({ inputs: [tokens], outputs: [y], seed: 1 });
  const bad = Int32Array.of(0, 4, 2, 1, 5, 0);
  const message = /indices from 0 to 4 .*received 5 at position 4/;
  t.throws(() => evaluate(y, new Map([[tokens, bad]])), argument(message));
  t.throws(() => evaluate(y, new Map([[tokens, Int32Array.of(0, -1, 0)]])), argument(/-1/));
  const predictor = await Predictor.load(model);
  t.teardown(() => predictor.close());
  t.throws(() => predictor.predictSync(bad), argument(message));
  await t.throwsAsync(predictor.predict(bad), argument(message));
  t.true(predictor.predictSync(bad.map((i) => Math.min(i, 4))).every(Number.isFinite));
  const trainer = new Trainer(model, { loss: 'mse', optimizer: sgd({ learningRate: 0.1 }) });
  t.teardown(() => trainer.close());
  const data = { x: bad, y: new Float32Array(4) };
  await t.throwsAsync(trainer.fit(data, { epochs: 1, verbose: 0 }), argument(message));
  await t.throwsAsync(trainer.step(data), argument(message));
});

test('numbers out of range are refused beside others, too', (t) => {
  const [a, b] = [fixed([2, 1], 'int32'), fixed([2, 2], 'int32')];
  const w = fixed([3, 2]);
  const run = (index, first, second) => {
    const feeds = new Map([
      [a, Int32Array.from(first)],
      [b, Int32Array.from(second)],
      [w, new Float32Array(6)],
    ]);
    return evaluate(functional.embedding(index, w), feeds);
  };
  const edge = {
    pads: [
      [0, 0],
      [1, 0],
    ],
    value: 1,
  };
  const joined = concat([a, pad(b, edge)], { axis: 1 });
  t.notThrows(() => run(joined, [0, 2], [1, 2, 0, 1]));
  t.throws(() => run(joined, [0, 3], [1, 2, 0, 1]), argument(/from 0 to 2 .* 3 at position 1/));
  t.throws(() => run(joined, [0, 2], [1, 2, -4, 1]), argument(/from 0 to 2 .* -4 at position 2/));
  // What is cut off may be anything.
  t.notThrows(() => run(slice(joined, { axis: 1, end: 2 }), [0, 2], [9, 9, 9, 9]));
});

test('an input with two meanings has to fit both', (t) => {
  const [tokens, w, logits] = [fixed([3], 'int32'), fixed([9, 2]), fixed([3, 4])];
  const loss = add(functional.embedding(tokens, w), crossEntropy(logits, tokens));
  const run = (data) =>
    evaluate(
      loss,
      new Map([
        [tokens, Int32Array.from(data)],
        [w, new Float32Array(18)],
        [logits, new Float32Array(12)],
      ]),
    );
  t.notThrows(() => run([0, 3, 2]));
  t.throws(() => run([0, 4, 2]), argument(/from 0 to 3/));
  t.throws(() => run([0, -100, 2]), argument(/-100/));
});

test('a number that the graph computes may be anything', (t) => {
  const [tokens, w] = [fixed([2, 2], 'int32'), fixed([3, 2])];
  const feeds = new Map([
    [tokens, Int32Array.of(0, 1, 2, 3)],
    [w, Float32Array.of(1, 2, 3, 4, 5, 6)],
  ]);
  const y = functional.embedding(slice(tokens, { axis: 1, start: 1 }), w);
  const { outputs, gradients } = vjp(y, feeds, new Float32Array(4).fill(1), { wrt: [w] });
  t.deepEqual(outputs[0], Float32Array.of(3, 4, Number.NaN, Number.NaN));
  t.deepEqual(gradients[0], Float32Array.of(0, 0, 1, 1, 0, 0));
});

test('training fits a table, and a file keeps it', async (t) => {
  const folder = await makeFolder(t);
  const model = sequential([embedding(6, 5, { positions: 2 }), flatten(), dense(6)], {
    input: input([2], { dtype: 'int32' }),
    seed: 1,
  });
  const trainer = new Trainer(model, {
    loss: 'crossEntropy',
    optimizer: sgd({ learningRate: 0.5 }),
  });
  t.teardown(() => trainer.close());
  const x = Int32Array.from({ length: 72 }, (_, i) =>
    i % 2 === 0 ? Math.floor(i / 2) % 6 : Math.floor(i / 12),
  );
  const y = Int32Array.from({ length: 36 }, (_, i) => (5 * x[2 * i] + 1) % 6);
  const { loss } = await trainer.fit({ x, y }, { epochs: 150, batchSize: 36, verbose: 0 });
  t.true(loss.at(-1) < 0.2 * loss[0], `${loss[0]} to ${loss.at(-1)}`);
  const file = join(folder, 'm.safetensors');
  await model.save(file);
  const predictors = [await Predictor.load(model), await Predictor.load(file)];
  const [mine, loaded] = predictors.map((predictor) => predictor.predictSync(x));
  t.deepEqual(loaded, mine);
  for (const predictor of predictors) await predictor.close();
});
