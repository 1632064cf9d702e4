// Normalisations: gradients against differences, statistics that are hard to compute, misuse.
import test from 'ava';
import * as tandem from 'tandem-ml';
import { evaluate, vjp } from 'tandem-ml/autodiff';
import { check, numbers } from '../helpers/differences.mjs';
import { fixed, generator, relativeError, uniform } from '../helpers/numbers.mjs';

const { batchNorm, groupNorm, layerNorm, rmsNorm } = tandem.functional;

/** Weights and biases of some normalised shape. */
const affine = (shape) => ({
  w: numbers(shape, 41, { low: 0.5, high: 2 }),
  b: numbers(shape, 42),
});

const mismatch = { code: 'ERR_SHAPE' };
const argument = { code: 'ERR_ARGUMENT' };

test('functional.batchNorm by the statistics of the batch', (t) => {
  for (const shape of [
    [17, 5],
    [7, 67],
    [5, 3, 13],
    [3, 5, 7, 5],
    [2, 1, 3, 1, 5],
  ]) {
    const x = numbers(shape, 40);
    const floats = { x, ...affine([shape[1]]) };
    check(t, { graph: (v) => batchNorm(v.x, v.w, v.b), floats });
    check(t, {
      graph: (v) => batchNorm(v.x, undefined, v.b, { eps: 0.5 }),
      floats: { x, b: floats.b },
    });
    check(t, { graph: (v) => batchNorm(v.x), floats: { x } });
  }
});

test('a number that is normalised alone is the bias, and has no gradient', (t) => {
  for (const [shape, channels, norm] of [
    [[999, 1], 1, layerNorm],
    [[41, 7, 1], 7, (x, w, b) => groupNorm(x, w, b, { groups: 7 })],
    [[1, 37], 37, batchNorm],
  ]) {
    const count = shape.reduce((product, length) => product * length);
    const [x, w, b] = [fixed(shape), fixed([channels]), fixed([channels])];
    const bias = uniform(channels, generator(7));
    const sizes = uniform(count, generator(8)).map((value, i) => value * 10 ** ((i % 9) - 4));
    const feeds = new Map([
      [x, sizes],
      [w, uniform(channels, generator(9)).map((value) => value + 1.7)],
      [b, bias],
    ]);
    const dy = uniform(count, generator(10));
    const { outputs, gradients } = vjp(norm(x, w, b), feeds, dy, { wrt: [x, w], training: true });
    t.true(outputs[0].every((value, i) => value === bias[i % channels]));
    for (const gradient of gradients) t.true(gradient.every((value) => value === 0));
  }
});

test('weights that are null are none', (t) => {
  const [x, w, b] = [fixed([5, 4, 3]), fixed([4]), fixed([4])];
  const feeds = new Map([
    [x, uniform(60, generator(3))],
    [w, uniform(4, generator(4))],
    [b, uniform(4, generator(5))],
  ]);
  const row = tandem.transpose(x, { perm: [0, 2, 1] });
  const forms = [
    [batchNorm(x), batchNorm(x, null), batchNorm(x, null, null, { mean: null })],
    [batchNorm(x, undefined, b), batchNorm(x, null, b)],
    [layerNorm(row), layerNorm(row, null, null)],
    [layerNorm(row, w), layerNorm(row, w, null)],
    [layerNorm(row, undefined, b), layerNorm(row, null, b)],
    [rmsNorm(row), rmsNorm(row, null, { eps: 1e-6 })],
    [groupNorm(x, undefined, b, { groups: 2 }), groupNorm(x, null, b, { groups: 2 })],
  ];
  for (const values of forms) {
    const [first, ...others] = evaluate(values, feeds);
    for (const other of others) t.deepEqual(other, first);
  }
  t.throws(() => layerNorm(null), argument);
  t.throws(() => batchNorm(x, 1), argument);
});

test('functional.batchNorm by given statistics', (t) => {
  for (const shape of [
    [17, 5],
    [7, 67],
    [3, 5, 7, 5],
  ]) {
    const channels = [shape[1]];
    const floats = {
      x: numbers(shape, 43),
      ...affine(channels),
      mean: numbers(channels, 44),
      variance: numbers(channels, 45, { low: 0.5, high: 3 }),
    };
    const graph = ({ x, w, b, mean, variance }) => batchNorm(x, w, b, { mean, variance, eps: 0.1 });
    check(t, { graph, floats });
    const { b, w, ...bare } = floats;
    check(t, { graph, floats: bare });
    check(t, {
      graph,
      floats: { ...floats, w: { ...w, constant: true }, b: { ...b, constant: true } },
    });
  }
});

test('a channel far from zero keeps its variance', (t) => {
  for (const shape of [
    [64, 3],
    [8, 3, 64],
  ]) {
    const x = fixed(shape, 'float32', 'x');
    const count = shape.reduce((product, length) => product * length, 1);
    const data = Float32Array.from({ length: count }, (_, i) => 30000 + (i % 2));
    const y = batchNorm(x, undefined, undefined, { eps: 0 });
    for (const value of evaluate(y, new Map([[x, data]]))[0]) {
      t.true(Math.abs(Math.abs(value) - 1) < 0.01, `${shape}: ${value}`);
    }
  }
});

test('channels that are constant, and a single value a channel, give the bias', (t) => {
  for (const shape of [
    [1, 3],
    [4, 3, 5],
  ]) {
    const [x, b] = [fixed(shape, 'float32', 'x'), fixed([3], 'float32', 'b')];
    const count = shape.reduce((product, length) => product * length, 1);
    const feeds = new Map([
      [x, new Float32Array(count).fill(7)],
      [b, Float32Array.of(1, 2, 3)],
    ]);
    const run = count / shape[0] / 3;
    const [y] = evaluate(batchNorm(x, undefined, b), feeds);
    y.forEach((value, i) => {
      t.is(value, 1 + (Math.floor(i / run) % 3));
    });
  }
});

test('functional.batchNorm checks shapes and options', (t) => {
  const x = tandem.input([5, 3]);
  const five = tandem.input([], { batch: 5 });
  const four = tandem.input([], { batch: 4 });
  t.throws(() => batchNorm(tandem.input([])), mismatch);
  t.throws(() => batchNorm(x, four), mismatch);
  t.throws(() => batchNorm(x, five, four), mismatch);
  t.throws(() => batchNorm(x, five, five, { mean: four, variance: five }), mismatch);
  t.throws(() => batchNorm(x, five, five, { mean: five }), argument);
  t.throws(() => batchNorm(x, five, five, { variance: five }), argument);
  t.throws(() => batchNorm(x, five, five, { eps: -1 }), argument);
  t.throws(() => batchNorm(x, five, five, { eps: Number.NaN }), argument);
  t.throws(() => batchNorm(x, five, five, { epsilon: 1 }), argument);
  t.throws(() => batchNorm(x, [1]), argument);
  t.throws(() => batchNorm(), argument);
  t.throws(() => batchNorm(tandem.input([5], { dtype: 'int32' })), { code: 'ERR_DTYPE' });
});

test('functional.layerNorm over the last axis', (t) => {
  for (const shape of [
    [17, 5],
    [3, 5, 67],
    [1, 130],
    [40, 33],
  ]) {
    const x = numbers(shape, 50);
    const floats = { x, ...affine([shape.at(-1)]) };
    check(t, { graph: (v) => layerNorm(v.x, v.w, v.b), floats });
    check(t, {
      graph: (v) => layerNorm(v.x, undefined, v.b, { eps: 0.5 }),
      floats: { x, b: floats.b },
    });
    check(t, { graph: (v) => layerNorm(v.x, v.w), floats: { x, w: floats.w } });
    check(t, { graph: (v) => layerNorm(v.x), floats: { x } });
  }
});

test('functional.layerNorm over several axes', (t) => {
  const floats = { x: numbers([3, 5, 1, 7], 51), ...affine([5, 1, 7]) };
  check(t, { graph: (v) => layerNorm(v.x, v.w, v.b), floats });
  const ones = { x: numbers([3, 5], 51), ...affine([3, 5]) };
  check(t, { graph: (v) => layerNorm(v.x, v.w, v.b), floats: ones });
});

test('functional.rmsNorm', (t) => {
  for (const shape of [
    [17, 5],
    [3, 5, 67],
    [1, 130],
  ]) {
    const floats = { x: numbers(shape, 52), w: affine([shape.at(-1)]).w };
    check(t, { graph: (v) => rmsNorm(v.x, v.w), floats });
    check(t, { graph: (v) => rmsNorm(v.x, undefined, { eps: 0.5 }), floats: { x: floats.x } });
  }
  const floats = { x: numbers([3, 5, 7], 53), w: affine([5, 7]).w };
  check(t, { graph: (v) => rmsNorm(v.x, v.w), floats });
});

test('functional.groupNorm', (t) => {
  for (const [shape, groups] of [
    [[5, 6], 3],
    [[3, 6, 13], 2],
    [[2, 4, 5, 7], 4],
    [[2, 3, 67], 1],
  ]) {
    const x = numbers(shape, 54);
    const floats = { x, ...affine([shape[1]]) };
    // Groups of one element would leave nothing but noise.
    const options = { groups, eps: 0.1 };
    check(t, { graph: (v) => groupNorm(v.x, v.w, v.b, options), floats });
    check(t, { graph: (v) => groupNorm(v.x, v.w, undefined, options), floats: { x, w: floats.w } });
    check(t, { graph: (v) => groupNorm(v.x, undefined, undefined, options), floats: { x } });
  }
});

test('norms of rows and groups check shapes and options', (t) => {
  const x = tandem.input([6, 4]);
  const [four, six, five] = [4, 6, 5].map((batch) => tandem.input([], { batch }));
  for (const norm of [layerNorm, rmsNorm]) {
    t.throws(() => norm(x, five), mismatch);
    t.throws(() => norm(four, tandem.input([4], { batch: 6 })), mismatch);
    t.throws(() => norm(tandem.sum(x)), mismatch);
    t.throws(() => norm(x, [1]), argument);
    t.throws(() => norm(), argument);
    t.throws(() => norm(tandem.input([4], { dtype: 'int32' })), { code: 'ERR_DTYPE' });
  }
  t.throws(() => layerNorm(x, four, six), mismatch);
  t.throws(() => layerNorm(x, four, four, { eps: -1 }), argument);
  t.throws(() => rmsNorm(x, four, { eps: Number.NaN }), argument);
  t.throws(() => rmsNorm(x, four, { epsilon: 1 }), argument);
  t.throws(() => groupNorm(x, four, six, { groups: 2 }), mismatch);
  t.throws(() => groupNorm(x, six, four, { groups: 2 }), mismatch);
  t.throws(() => groupNorm(tandem.input([]), undefined, undefined, { groups: 1 }), mismatch);
  for (const groups of [0, -1, 4, 12, 1.5, undefined]) {
    t.throws(() => groupNorm(x, six, six, { groups }), argument);
  }
});

// ---- residuals ----------------------------------------------------------------------------------

const norms = {
  layerNorm: (x, w, b) => layerNorm(x, w, b),
  rmsNorm: (x, w) => rmsNorm(x, w),
};

for (const [name, norm] of Object.entries(norms)) {
  test(`${name} of a sum that others read, too`, (t) => {
    const random = generator(60);
    const shape = [3, 5, 33];
    const floats = {
      x: numbers(shape, 61),
      r: numbers(shape, 62),
      ...affine([33]),
    };
    const graph = ({ x, r, w, b }) => {
      const sum = tandem.add(x, r);
      const next = tandem.add(sum, tandem.tanh(norm(sum, w, b)));
      return tandem.add(next, norm(next, w, b));
    };
    const used = name === 'rmsNorm' ? { x: floats.x, r: floats.r, w: floats.w } : floats;
    check(t, { graph, floats: used });
    // The same without sums that a norm could take over.
    const values = Object.fromEntries(
      Object.entries(used).map(([key, value]) => [key, fixed(value.shape, 'float32', key)]),
    );
    const apart = ({ x, r, w, b }) => {
      const sum = tandem.sub(x, tandem.neg(r));
      const next = tandem.sub(sum, tandem.neg(tandem.tanh(norm(sum, w, b))));
      return tandem.sub(next, tandem.neg(norm(next, w, b)));
    };
    const feeds = new Map(Object.keys(used).map((key) => [values[key], used[key].data]));
    const cotangent = uniform(3 * 5 * 33, random);
    const [one, two] = [graph, apart].map((make) => vjp(make(values), feeds, cotangent));
    t.true(relativeError(one.outputs[0], two.outputs[0]) < 1e-6);
    one.gradients.forEach((gradient, i) => {
      t.true(relativeError(gradient, two.gradients[i]) < 1e-6, `gradient ${i}`);
    });
  });

  test(`${name} of a sum that nobody else reads, or that is broadcast`, (t) => {
    const floats = { x: numbers([5, 19], 63), r: numbers([5, 19], 64) };
    check(t, { graph: ({ x, r }) => norm(tandem.add(x, r)), floats });
    check(t, { graph: ({ x }) => norm(tandem.add(x, x)), floats: { x: floats.x } });
    const bias = { x: numbers([5, 19], 63), r: numbers([19], 64) };
    check(t, { graph: ({ x, r }) => norm(tandem.add(x, r)), floats: bias });
  });
}
