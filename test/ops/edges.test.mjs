// Kinks, ties, saturation, infinities and NaN, as PyTorch treats them.
import test from 'ava';
import * as tandem from 'tandem-ml';
import { evaluate, vjp } from 'tandem-ml/autodiff';
import { fixed, relativeError } from '../helpers/numbers.mjs';

const { NaN: nan, POSITIVE_INFINITY: inf } = Number;

/** x, then f(x), then f'(x) where it is worth a look, in whole vectors and in the rest of them. */
const points = {
  relu: [
    [0, 0, 0],
    [-0, 0, 0],
    [inf, inf, 1],
    [-inf, 0, 0],
    [nan, nan],
  ],
  leakyRelu: [
    [0, 0, 0.01],
    [-inf, -inf, 0.01],
    [nan, nan],
  ],
  elu: [
    [0, 0, 1],
    [-200, -1, 0],
    [200, 200, 1],
    [-inf, -1, 0],
    [nan, nan, nan],
  ],
  gelu: [
    [0, 0, 0.5],
    [-200, 0, 0],
    [200, 200, 1],
    [1e30, 1e30, 1],
    // PyTorch: infinity, by doubling first, and NaN
    [3e38, 3e38, 1],
    [inf, inf],
    [nan, nan],
  ],
  geluTanh: [
    [0, 0, 0.5],
    [-200, 0, 0],
    [200, 200, 1],
    [1e15, 1e15, 1],
    [-1e15, 0, 0],
    [1e20, 1e20, 1],
    [-1e20, 0, 0],
    [3e38, 3e38, 1],
    [-3e38, 0, 0],
    [nan, nan, nan],
  ],
  silu: [
    [0, 0, 0.5],
    [-200, 0, 0],
    [200, 200, 1],
    [1e30, 1e30, 1],
    [nan, nan],
  ],
  mish: [
    [0, 0, 0.6],
    [-200, 0, 0],
    [200, 200, 1],
    [1e30, 1e30, 1],
    [nan, nan],
  ],
  sigmoid: [
    [-200, 0, 0],
    [200, 1, 0],
    [-inf, 0, 0],
    [inf, 1, 0],
    [nan, nan, nan],
  ],
  tanh: [
    [-200, -1, 0],
    [200, 1, 0],
    [-inf, -1, 0],
    [inf, 1, 0],
    [nan, nan, nan],
  ],
  softplus: [
    [-200, 0, 0],
    [200, 200, 1],
    [-inf, 0, 0],
    [inf, inf, 1],
    [nan, nan, nan],
  ],
  hardSwish: [
    [-4, 0, 0],
    [4, 4, 1],
    [0, 0, 0.5],
    [-3, 0, 0],
    [3, 3, 1],
    [nan, nan, nan],
  ],
  hardSigmoid: [
    [-4, 0, 0],
    [4, 1, 0],
    [inf, 1, 0],
    [-inf, 0, 0],
    [nan, nan],
  ],
  exp: [
    [-200, 0, 0],
    [200, inf, inf],
    [-inf, 0, 0],
    [inf, inf, inf],
    [nan, nan, nan],
  ],
  log: [
    [0, -inf, inf],
    [-1, nan],
    [inf, inf, 0],
    [1e-40, -92.1034, inf],
    [nan, nan, nan],
  ],
  sqrt: [
    [0, 0, inf],
    [-1, nan, nan],
    [inf, inf, 0],
    [nan, nan, nan],
  ],
  rsqrt: [
    [0, inf, -inf],
    [-1, nan, nan],
    [inf, 0],
    [nan, nan, nan],
  ],
  reciprocal: [
    [0, inf, -inf],
    [-0, -inf, -inf],
    [inf, 0],
    [nan, nan, nan],
  ],
  abs: [
    [0, 0, 0],
    [-inf, inf, -1],
    [nan, nan],
  ],
  sin: [
    [1e6, -0.3499935, 0.9367521],
    [inf, nan, nan],
    [nan, nan, nan],
  ],
  cos: [
    [1e6, 0.9367521, 0.3499935],
    [inf, nan, nan],
    [nan, nan, nan],
  ],
  erf: [
    [-20, -1, 0],
    [20, 1, 0],
    [inf, 1, 0],
    [-inf, -1, 0],
    [1e-20, 1.128379e-20],
    [nan, nan],
  ],
};

/** Whether `actual` is `expected`, or close to it where it is finite. */
const same = (actual, expected) =>
  Number.isFinite(expected)
    ? Math.abs(actual - expected) <= 2e-6 * Math.abs(expected) + 1e-37
    : Object.is(actual, expected);

const exported = { ...tandem, geluTanh: (x) => tandem.gelu(x, { approximate: 'tanh' }) };

for (const [name, rows] of Object.entries(points)) {
  test(name, (t) => {
    for (const [at, value, slope] of rows) {
      for (const length of [1, 37]) {
        const x = fixed([length]);
        const feeds = new Map([[x, new Float32Array(length).fill(at)]]);
        const ones = new Float32Array(length).fill(1);
        const { outputs, gradients } = vjp(exported[name](x), feeds, ones);
        const [[y], [dx]] = [
          outputs[0].filter((v) => !same(v, value)),
          gradients[0].filter((v) => !same(v, slope)),
        ];
        t.is(y, undefined, `${name}(${at}) of ${length}, expected ${value}`);
        if (slope !== undefined)
          t.is(dx, undefined, `slope at ${at} of ${length}, expected ${slope}`);
      }
    }
  });
}

/** Both operands, the result and the two gradients. */
const pairs = {
  maximum: [
    [2, 2, 2, 0.5, 0.5],
    [1, 2, 2, 0, 1],
    [inf, inf, inf, 0.5, 0.5],
    [nan, 1, nan],
    [1, nan, nan],
  ],
  minimum: [
    [2, 2, 2, 0.5, 0.5],
    [1, 2, 1, 1, 0],
    [-inf, 1, -inf, 1, 0],
    [nan, 1, nan],
    [1, nan, nan],
  ],
  div: [
    [1, 0, inf, inf, -inf],
    [-1, inf, -0, 0, 0],
    [0, 0, nan],
  ],
  pow: [
    [0, 0, 1, 0, 0],
    [0, 2, 0, 0, 0],
    [-2, 3, -8, 12],
    [-2, 2, 4, -4],
    [-2, 0.5, nan],
    [2, 0, 1, 0, Math.LN2],
    [nan, 0, 1],
    [1, nan, 1],
    [0, -1, inf, -inf, -inf],
    [-0, -1, -inf, -inf, inf],
    [0, nan, nan, nan, nan],
    [-1e-45, 3, -0, 0, nan],
  ],
};

for (const [name, rows] of Object.entries(pairs)) {
  test(name, (t) => {
    for (const [left, right, ...expected] of rows) {
      for (const length of [1, 37]) {
        const [a, b] = [fixed([length]), fixed([length])];
        const feeds = new Map([
          [a, new Float32Array(length).fill(left)],
          [b, new Float32Array(length).fill(right)],
        ]);
        const ones = new Float32Array(length).fill(1);
        const { outputs, gradients } = vjp(exported[name](a, b), feeds, ones);
        [outputs[0], ...gradients].forEach((actual, i) => {
          if (expected[i] === undefined) return;
          const wrong = actual.filter((v) => !same(v, expected[i]));
          t.is(wrong[0], undefined, `${i} of ${name}(${left}, ${right}), expected ${expected[i]}`);
        });
      }
    }
  });
}

test('limits of clamp belong to its range', (t) => {
  const x = fixed([5]);
  const feeds = new Map([[x, Float32Array.of(-1, -0.5, 0, 0.75, 1)]]);
  const clamped = tandem.clamp(x, { min: -0.5, max: 0.75 });
  const { outputs, gradients } = vjp(clamped, feeds, new Float32Array(5).fill(1));
  t.deepEqual(outputs[0], Float32Array.of(-0.5, -0.5, 0, 0.75, 0.75));
  t.deepEqual(gradients[0], Float32Array.of(0, 1, 1, 1, 0));
});

test('options that float32 holds as infinite or 0 are refused', (t) => {
  const [x, target] = [fixed([3, 2]), fixed([3, 2])];
  const { bceWithLogits, crossEntropy, distillation, elu, functional, huber, leakyRelu } = tandem;
  const uses = {
    alpha: [(alpha) => leakyRelu(x, { alpha }), (alpha) => elu(x, { alpha })],
    delta: [(delta) => huber(x, target, { delta })],
    posWeight: [
      (posWeight) => bceWithLogits(x, target, { posWeight }),
      (weight) => bceWithLogits(x, target, { posWeight: [1, weight] }),
    ],
    classWeights: [(weight) => crossEntropy(x, fixed([3], 'int32'), { classWeights: [1, weight] })],
    temperature: [(temperature) => distillation(x, target, { temperature })],
    eps: [(eps) => functional.layerNorm(x, null, null, { eps })],
    max: [(max) => tandem.clamp(x, { max })],
  };
  for (const [name, functions] of Object.entries(uses)) {
    for (const use of functions) {
      for (const [number, as] of [
        [1e39, 'infinite'],
        [1e-60, '0'],
      ]) {
        const error = t.throws(() => use(number), { code: 'ERR_ARGUMENT' });
        const shown = `\\b${name}\\b.*received ${number}, which is ${as} in float32`.replace(
          '+',
          '\\+',
        );
        t.regex(error.message, new RegExp(shown));
      }
      t.notThrows(() => use(1e-30));
    }
  }
  const { Trainer, adam, dense, sequential } = tandem;
  const optimizer = adam({ eps: 1e-60 });
  const model = sequential([dense(1)], { input: [1] });
  const error = t.throws(() => new Trainer(model, { loss: 'mse', optimizer }));
  t.is(error.code, 'ERR_ARGUMENT');
  t.regex(error.message, /`eps`.*0 in float32/);
});

test('axes that x does not have are refused with the op and the shape of x', (t) => {
  const x = tandem.input([4, 3]);
  const { concat, cumsum, flip, gather, logSoftmax, max, min, slice, softmax, sum, variance } =
    tandem;
  const { mean, transpose } = tandem;
  const index = tandem.input([4, 3], { dtype: 'int32' });
  const along = (op) => (axis) => op(x, { axis });
  const over = (op) => (axes) => op(x, { axes });
  const uses = {
    axis: {
      ...{ softmax: along(softmax), logSoftmax: along(logSoftmax) },
      ...{ cumsum: along(cumsum), flip: along(flip), slice: along(slice) },
      concat: (axis) => concat([x, x], { axis }),
      gather: (axis) => gather(x, index, { axis }),
    },
    axes: {
      sum: over(sum),
      mean: over(mean),
      max: over(max),
      min: over(min),
      variance: over(variance),
    },
    perm: { transpose: (axis) => transpose(x, { perm: [0, 1, axis] }) },
  };
  for (const [option, ops] of Object.entries(uses)) {
    for (const [op, use] of Object.entries(ops)) {
      for (const axis of [3, -4]) {
        const message = `expected \`${option}\` in [-3, 3) for \`${op}\`, received ${axis} for [batch, 4, 3]`;
        t.throws(() => use(axis), { code: 'ERR_ARGUMENT', message });
      }
      t.notThrows(() => use(option === 'perm' ? 2 : -3));
    }
  }
  const twice = /distinct `(axes|perm)` for `\w+`, received axis 1 twice/;
  t.throws(() => sum(x, { axes: [1, -2] }), { code: 'ERR_ARGUMENT', message: twice });
  t.throws(() => transpose(x, { perm: [1, 0, 1] }), { code: 'ERR_ARGUMENT', message: twice });
});

test('equal extremes share the gradient', (t) => {
  const x = fixed([2, 3]);
  const feeds = new Map([[x, Float32Array.of(1, 1, 0, 2, 2, 2)]]);
  const run = (op, axes) =>
    vjp(op(x, { axes }), feeds, Float32Array.of(6, 6, 6).subarray(0, axes === 1 ? 2 : 3));
  t.deepEqual(run(tandem.max, 1).gradients[0], Float32Array.of(3, 3, 0, 2, 2, 2));
  t.deepEqual(run(tandem.min, 1).gradients[0], Float32Array.of(0, 0, 6, 2, 2, 2));
  t.deepEqual(run(tandem.max, 0).gradients[0], Float32Array.of(0, 0, 0, 6, 6, 6));
});

test('NaN wins in maxima, minima and sums', (t) => {
  for (const op of [tandem.max, tandem.min, tandem.sum, tandem.mean]) {
    for (const [shape, axes] of [
      [[1, 37], 1],
      [[37, 1], 0],
      [[37, 19], 0],
      [[19, 37], 1],
    ]) {
      const x = fixed(shape);
      const data = new Float32Array(shape[0] * shape[1]).fill(1);
      data[0] = nan;
      const [result] = evaluate(op(x, { axes }), new Map([[x, data]]));
      t.true(Number.isNaN(result[0]));
      t.is(result.filter(Number.isNaN).length, 1);
    }
  }
});

test('the variance of large, close numbers keeps its digits', (t) => {
  const x = fixed([2, 3]);
  const data = Float32Array.of(10000, 10001, 10002, 1e5, 1e5, 1e5);
  const [rows] = evaluate(tandem.variance(x, { axes: 1 }), new Map([[x, data]]));
  t.true(relativeError(rows, [2 / 3, 0]) < 1e-6);
});

test('losses stay finite for large logits', (t) => {
  const [x, classes, shares] = [fixed([2, 3]), fixed([2], 'int32'), fixed([2, 3])];
  const logits = Float32Array.of(1e4, -1e4, 0, -1e4, 1e4, 5);
  const cross = vjp(
    tandem.crossEntropy(x, classes),
    new Map([
      [x, logits],
      [classes, Int32Array.of(1, 1)],
    ]),
    Float32Array.of(1),
    { wrt: [x] },
  );
  t.is(cross.outputs[0][0], 1e4);
  t.deepEqual(cross.gradients[0], Float32Array.of(0.5, -0.5, 0, 0, 0, 0));
  const binary = vjp(
    tandem.bceWithLogits(x, shares),
    new Map([
      [x, logits],
      [shares, Float32Array.of(0, 1, 0.5, 0, 1, 1)],
    ]),
    Float32Array.of(6),
    { wrt: [x] },
  );
  const expected = [2e4 + Math.LN2 + Math.log1p(Math.exp(-5))];
  t.true(
    relativeError(
      binary.outputs[0],
      expected.map((v) => v / 6),
    ) < 1e-6,
  );
  t.true(relativeError(binary.gradients[0], [1, -1, 0, 0, 0, -1 / (1 + Math.exp(5))]) < 1e-6);
});

test('crossEntropy without a target that counts is NaN, its gradient zero', (t) => {
  const [x, classes] = [fixed([2, 3]), fixed([2], 'int32')];
  const feeds = new Map([
    [x, Float32Array.of(1, 2, 3, 4, 5, 6)],
    [classes, Int32Array.of(-100, -100)],
  ]);
  const { outputs, gradients } = vjp(tandem.crossEntropy(x, classes), feeds, Float32Array.of(1));
  t.true(Number.isNaN(outputs[0][0]));
  t.deepEqual(gradients[0], new Float32Array(6));
});
