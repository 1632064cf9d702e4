// lstm and gru: gradients at odd sizes, layers, files, predictors, threads.
import { join } from 'node:path';
import test from 'ava';
import {
  adam,
  concat,
  dense,
  flip,
  functional,
  gru,
  input,
  lstm,
  Model,
  Predictor,
  sequential,
  slice,
  sum,
  Trainer,
} from 'tandem-ml';
import { evaluate, vjp } from 'tandem-ml/autodiff';
import { check, numbers } from '../helpers/differences.mjs';
import { makeFolder } from '../helpers/folder.mjs';
import { fixed, generator, relativeError, uniform } from '../helpers/numbers.mjs';

const kinds = { lstm: { layer: lstm, gates: 4 }, gru: { layer: gru, gates: 3 } };

/** Small weights keep third derivatives small. */
const operands = (x, gates, units, range = { low: -0.5, high: 0.5 }) => ({
  x: numbers(x, 61, { low: -1, high: 1 }),
  wIh: numbers([gates * units, x[2]], 62, range),
  wHh: numbers([gates * units, units], 63, range),
  bIh: numbers([gates * units], 64, range),
  bHh: numbers([gates * units], 65, range),
});

for (const [name, { layer, gates }] of Object.entries(kinds)) {
  const run = (v) => functional[name](v.x, v.wIh, v.wHh, v.bIh, v.bHh);

  test(`gradients of ${name}`, (t) => {
    for (const [x, units] of [
      [[3, 5, 7], 3],
      [[1, 1, 3], 1],
      [[11, 3, 5], 17],
    ]) {
      check(t, { graph: run, floats: operands(x, gates, units) });
    }
  });

  test(`gradients of ${name} with some operands constant; of its last state alone`, (t) => {
    const floats = operands([3, 4, 5], gates, 6);
    for (const constant of [['x'], ['wHh', 'bHh'], ['x', 'wIh', 'bIh', 'bHh']]) {
      const mixed = Object.fromEntries(
        Object.entries(floats).map(([key, value]) => [
          key,
          constant.includes(key) ? { ...value, constant: true } : value,
        ]),
      );
      check(t, { graph: run, floats: mixed });
    }
    const last = (v) => slice(run(v), { axis: 1, start: -1 });
    check(t, { graph: last, floats });
  });

  test(`${name} has the same bits on one thread and on several`, (t) => {
    const floats = operands([37, 6, 9], gates, 33);
    const values = Object.fromEntries(
      Object.entries(floats).map(([key, value]) => [key, fixed(value.shape)]),
    );
    const feeds = new Map(Object.entries(floats).map(([key, { data }]) => [values[key], data]));
    const cotangent = uniform(37 * 6 * 33, generator(5));
    const results = [1, 2, 4].map((threads) => vjp(run(values), feeds, cotangent, { threads }));
    for (const other of results.slice(1)) t.deepEqual(other, results[0]);
  });

  test(`shapes and parameters of the layer ${name}`, (t) => {
    const x = input([5, 3], { name: 'x' });
    const states = layer(4, { sequence: true })(x);
    const last = layer(2)(states);
    t.deepEqual(
      [states.shape, last.shape],
      [
        [null, 5, 4],
        [null, 2],
      ],
    );
    const model = new Model({ inputs: [x], outputs: [last], seed: 1 });
    t.deepEqual(
      [...model.parameters].map(([key, parameter]) => [key, parameter.shape]),
      [
        [`${name}.weightIh`, [gates * 4, 3]],
        [`${name}.weightHh`, [gates * 4, 4]],
        [`${name}.biasIh`, [gates * 4]],
        [`${name}.biasHh`, [gates * 4]],
        [`${name}_1.weightIh`, [gates * 2, 4]],
        [`${name}_1.weightHh`, [gates * 2, 2]],
        [`${name}_1.biasIh`, [gates * 2]],
        [`${name}_1.biasHh`, [gates * 2]],
      ],
    );
    // torch.nn.LSTM and GRU start all of them within 1/sqrt(units).
    const { data } = model.parameters.get(`${name}.weightIh`);
    t.true(data.every((value) => Math.abs(value) <= 0.5) && data.some((v) => Math.abs(v) > 0.4));
  });

  test(`the last state of ${name} is the end of its sequence`, (t) => {
    const x = input([5, 3]);
    const all = layer(4, { sequence: true, name: 'a' });
    const y = all(x);
    const model = new Model({ inputs: [x], outputs: [y], seed: 1 });
    const weights = ['weightIh', 'weightHh', 'biasIh', 'biasHh'].map(
      (suffix) => model.parameters.get(`a.${suffix}`).data,
    );
    const data = uniform(2 * 15, generator(1));
    const [states] = evaluate(y, new Map([[x, data]]));
    const z = layer(4, { name: 'b' })(x);
    const other = new Model({ inputs: [x], outputs: [z], seed: 2 });
    ['weightIh', 'weightHh', 'biasIh', 'biasHh'].forEach((suffix, i) => {
      other.parameters.get(`b.${suffix}`).data.set(weights[i]);
    });
    const [last] = evaluate(z, new Map([[x, data]]));
    t.deepEqual(last, Float32Array.of(...states.slice(16, 20), ...states.slice(36, 40)));
  });

  test(`arguments and shapes of ${name} are checked`, (t) => {
    const argument = (message) => ({ code: 'ERR_ARGUMENT', message });
    const shape = (message) => ({ code: 'ERR_SHAPE', message });
    t.throws(() => layer(0), argument(/`units`/));
    t.throws(() => layer(3, { sequence: 1 }), argument(/`sequence`/));
    t.throws(() => layer(3, { sequences: true }), argument(/did you mean `sequence`/));
    const named = layer(3, { name: 'memory' });
    t.throws(
      () => named(input([5])),
      shape(/^in layer `memory`: expected x \[batch, time, in\] .* received x \[batch, 5\]$/),
    );
    named(input([5, 7]));
    t.throws(
      () => named(input([5, 6])),
      shape(/^in layer `memory`: .* received x \[batch, 5, 6\], wIh \[\d+, 7\]/),
    );
    t.throws(() => named(input([5, 7], { dtype: 'int32' })), { code: 'ERR_DTYPE' });
    const [x, w] = [fixed([2, 3, 5]), fixed([gates * 4, 5])];
    const bias = fixed([gates * 4]);
    t.throws(() => functional[name](x, w, fixed([gates * 4, 5]), bias, bias), shape(/wHh/));
    t.throws(() => functional[name](x, w, fixed([gates * 3, 3]), bias, bias), shape(/x \[batch/));
    t.throws(() => functional[name](x, w, 4, bias, bias), argument(/`wHh`/));
    t.throws(() => functional[name](x, w, fixed([gates * 4, 4]), bias), argument(/`bHh`/));
  });

  test(`a model with ${name} trains, and a file keeps it`, async (t) => {
    const folder = await makeFolder(t);
    const model = sequential([layer(24), dense(1)], { input: [6, 1], seed: 3 });
    const trainer = new Trainer(model, { loss: 'mse', optimizer: adam({ learningRate: 0.01 }) });
    t.teardown(() => trainer.close());
    // The first number of a sequence has to be remembered.
    const x = uniform(256 * 6, generator(7));
    const y = Float32Array.from({ length: 256 }, (_, i) => x[6 * i]);
    const { loss } = await trainer.fit({ x, y }, { epochs: 80, batchSize: 32, verbose: 0 });
    t.true(loss.at(-1) < 0.1 * loss[0], `${loss[0]} to ${loss.at(-1)}`);
    const file = join(folder, 'm.safetensors');
    await model.save(file);
    const output = model.outputs.map(({ shape }) => shape);
    t.deepEqual(output, [[null, 1]]);
    const predictors = [await Predictor.load(model), await Predictor.load(file, { threads: 1 })];
    const [mine, loaded] = predictors.map((predictor) => predictor.predictSync(x));
    t.deepEqual(loaded, mine);
    const [single] = predictors.map((predictor) => predictor.predictSync(x.subarray(6, 12)));
    t.true(relativeError(single, mine.subarray(1, 2)) < 1e-5);
    for (const predictor of predictors) await predictor.close();
  });
}

test('a value between layers can be an output, too', (t) => {
  const x = input([4, 3]);
  const states = lstm(5, { sequence: true })(x);
  const model = new Model({ inputs: [x], outputs: [states, sum(states, { axes: 1 })], seed: 1 });
  t.deepEqual(
    model.outputs.map(({ shape }) => shape),
    [
      [null, 4, 5],
      [null, 5],
    ],
  );
});

/** What torch.nn.LSTM and GRU give with `bidirectional=True`, and the gradient of x. */
const bidirectional = {
  lstm: {
    y: [
      ...[0.0372982, 0.0660035, 0.0019481, -0.1329602, -0.0077559, -0.0312813],
      ...[0.0588198, -0.2209249, -0.4964322, -0.0063365, 0.1544702, -0.3704695],
    ],
    dx: [0.014036, -0.966875, 1.844637, -1.72185, -0.807172, -1.706453],
  },
  gru: {
    y: [
      ...[0.1184512, 0.018176, -0.1675631, -0.2730399, 0.0221438, -0.2426411],
      ...[0.3497832, -0.3154141, -0.2100177, -0.2758276, 0.342705, -0.744621],
    ],
    dx: [-3.14268, -2.407057, 3.787259, -1.598822, -4.013916, -3.683176],
  },
};

for (const [name, expected] of Object.entries(bidirectional)) {
  test(`with flip, ${name} reads both ways, as bidirectional ones of PyTorch`, (t) => {
    const recurrence = functional[name];
    const feeds = new Map();
    const x = fixed([1, 3, 2]);
    feeds.set(x, Float32Array.of(0.5, -1, 1.5, 0.25, -0.75, 2));
    const rows = 2 * kinds[name].gates;
    const shapes = [[rows, 2], [rows, 2], [rows], [rows]];
    const weights = [...shapes, ...shapes].map((shape, k) => {
      const value = fixed(shape);
      const count = shape.reduce((product, length) => product * length);
      const at = (_, i) => 0.7 * Math.sin((k + 1) * i + 1);
      feeds.set(value, Float32Array.from({ length: count }, at));
      return value;
    });
    const backwards = recurrence(flip(x, { axis: 1 }), ...weights.slice(4));
    const states = [recurrence(x, ...weights.slice(0, 4)), flip(backwards, { axis: 1 })];
    const { outputs, gradients } = vjp(
      concat(states, { axis: 2 }),
      feeds,
      Float32Array.from({ length: 12 }, (_, i) => i),
      { wrt: [x] },
    );
    t.true(relativeError(outputs[0], expected.y) < 1e-6);
    t.true(relativeError(gradients[0], expected.dx) < 2e-6);
  });
}
