// Finite but extreme numbers, and infinities where they mask something: values of PyTorch where
// those are right to float32, and of its float64 where sums or squares of floats overflow in it.
import test from 'ava';
import * as tandem from 'tandem-ml';
import { vjp } from 'tandem-ml/autodiff';
import { fixed, relativeError } from '../helpers/numbers.mjs';

const { NaN: nan, POSITIVE_INFINITY: inf } = Number;
const { functional } = tandem;
const third = Math.fround(Math.log(3));

const repeated = (row, times) =>
  Float32Array.from({ length: row.length * times }, (_, i) => row[i % row.length]);
const close = (actual, expected) =>
  actual.every((v, i) =>
    Number.isFinite(expected[i])
      ? Math.abs(v - expected[i]) <= 4e-6 * Math.abs(expected[i]) + 1e-6
      : Object.is(v, Math.fround(expected[i])),
  );
/** `actual` is `row` over and over, except where that says undefined. */
const checkRow = (t, actual, row, what) => {
  const expected = repeated(row, actual.length / row.length);
  const shown = `${what}: ${actual.slice(0, row.length)}, expected ${row}`;
  t.true(close(actual, expected), shown);
};

/** A row, its softmax, its logSoftmax. */
const softmaxes = [
  [
    [1e9, 1e9, 1e9],
    [1 / 3, 1 / 3, 1 / 3],
    [-third, -third, -third],
  ],
  [
    [1e30, -1e30, 1e30],
    [0.5, 0, 0.5],
    [-Math.LN2, -2e30, -Math.LN2],
  ],
  [
    [3e38, -3e38, 0],
    [1, 0, 0],
    [0, -inf, -3e38],
  ],
  [
    [-3e38, -3e38, -3e38],
    [1 / 3, 1 / 3, 1 / 3],
    [-third, -third, -third],
  ],
  [
    [-inf, 0, -1e9],
    [0, 1, 0],
    [-inf, 0, -1e9],
  ],
  [
    [-inf, -inf, -inf],
    [nan, nan, nan],
    [nan, nan, nan],
  ],
  [[inf, 0, 1], [nan, 0, 0].fill(nan), [nan, nan, nan]],
  [
    [1e-45, -1e-45, 1e-40],
    [1 / 3, 1 / 3, 1 / 3],
    [-third, -third, -third],
  ],
  [
    [1e4, 10001, 9999],
    [0.24472848, 0.66524094, 0.09003057],
    [-1.407606, -0.407606, -2.407606],
  ],
];

const { logSoftmax, softmax } = tandem;
for (const [i, [name, op]] of Object.entries({ softmax, logSoftmax }).entries()) {
  test(`${name} along rows and columns`, (t) => {
    for (const [row, ...expected] of softmaxes) {
      const wanted = expected[i];
      const x = fixed([19, 3]);
      const along = vjp(op(x, { axis: 1 }), new Map([[x, repeated(row, 19)]]), repeated([1], 57));
      checkRow(t, along.outputs[0], wanted, `${name} of ${row}`);
      const z = fixed([3, 19]);
      const data = Float32Array.from({ length: 57 }, (_, j) => row[Math.floor(j / 19)]);
      const down = vjp(op(z, { axis: 0 }), new Map([[z, data]]), repeated([1], 57));
      const [y] = down.outputs;
      checkRow(t, Float32Array.of(y[18], y[37], y[56]), wanted, `${name} down ${row}`);
    }
  });
}

/** Logits, the target, the loss, its gradient. */
const crossEntropies = [
  [[1e9, 1e9, 1e9], 1, third, [1 / 3, -2 / 3, 1 / 3]],
  [[1e30, -1e30, 0], 0, 0, [0, 0, 0]],
  [[1e30, -1e30, 0], 1, 2e30, [1, -1, 0]],
  [[3e38, -3e38, 0], 1, inf, [1, -1, 0]],
  [[-inf, 2, 2], 1, Math.LN2, [0, -0.5, 0.5]],
  [[-inf, 2, 2], 0, inf, [-1, 0.5, 0.5]],
];

test('crossEntropy', (t) => {
  for (const [row, target, loss, slopes] of crossEntropies) {
    const [x, classes] = [fixed([1, 3]), fixed([1], 'int32')];
    const feeds = new Map([
      [x, Float32Array.from(row)],
      [classes, Int32Array.of(target)],
    ]);
    const { outputs, gradients } = vjp(tandem.crossEntropy(x, classes), feeds, Float32Array.of(1), {
      wrt: [x],
    });
    checkRow(t, outputs[0], [loss], `loss of ${row} at ${target}`);
    checkRow(t, gradients[0], slopes, `gradient of ${row} at ${target}`);
  }
});

/** Logits of a student and of its teacher, the temperature, the loss, its gradient. */
const distillations = [
  [[1e9, 1e9, 0], [1e9, 1e9, 0], 2, 0, [0, 0, 0]],
  [[1e30, 0, 0], [0, 0, 1e30], 1, 1e30, [1, 0, -1]],
  [[3e38, -3e38, 0], [0, -3e38, 3e38], 2, inf, [2, 0, -2]],
  // classes that both leave out
  [[1, 1, -inf], [2, 2, -inf], 1, 0, [0, 0, 0]],
  [[0, 50, -60], [0, -60, 50], 1, 110, [0, 1, -1]],
];

test('distillation', (t) => {
  for (const [row, teacher, temperature, loss, slopes] of distillations) {
    const [x, z] = [fixed([1, 3]), fixed([1, 3])];
    const feeds = new Map([
      [x, Float32Array.from(row)],
      [z, Float32Array.from(teacher)],
    ]);
    const { outputs, gradients } = vjp(
      tandem.distillation(x, z, { temperature }),
      feeds,
      Float32Array.of(1),
      { wrt: [x] },
    );
    checkRow(t, outputs[0], [loss], `loss of ${row} by ${teacher}`);
    checkRow(t, gradients[0], slopes, `gradient of ${row} by ${teacher}`);
  }
});

/** A logit, its target, the weight of positives, the gradients of the logit and of the target. */
const binary = [
  [-20, 0, 1, 2.0611537e-9, 20],
  [20, 1, 1, -2.0611537e-9, -20],
  [-50, 0, 3, 1.9287499e-22, 150],
  [3e38, 1, 3, 0, -3e38],
  [-3e38, 0, 1, 0, 3e38],
  [-1e9, 1, 2, -2, 2e9],
  [-inf, 0, 1, 0, inf],
];

test('bceWithLogits', (t) => {
  for (const [logit, target, posWeight, slope, ofTarget] of binary) {
    const [x, z] = [fixed([1]), fixed([1])];
    const feeds = new Map([
      [x, Float32Array.of(logit)],
      [z, Float32Array.of(target)],
    ]);
    const { gradients } = vjp(tandem.bceWithLogits(x, z, { posWeight }), feeds, Float32Array.of(1));
    const shown = `gradients at ${logit} for ${target}: ${gradients}`;
    t.true(
      relativeError(gradients[0], [Math.fround(slope)]) < 1e-6 || slope === gradients[0][0],
      shown,
    );
    t.true(
      gradients[1][0] === Math.fround(ofTarget) || relativeError(gradients[1], [ofTarget]) < 1e-6,
      shown,
    );
  }
});

test('huber', (t) => {
  for (const [at, target, loss, slope] of [
    [3e38, 0, 3e38, 1],
    [-1e30, 1e30, 2e30, -1],
    [1e9, 1e9, 0, 0],
    [1e-40, 0, 0, 0],
    [inf, 0, inf, 1],
  ]) {
    const [x, z] = [fixed([1]), fixed([1])];
    const feeds = new Map([
      [x, Float32Array.of(at)],
      [z, Float32Array.of(target)],
    ]);
    const { outputs, gradients } = vjp(tandem.huber(x, z), feeds, Float32Array.of(1));
    checkRow(t, outputs[0], [loss], `huber of ${at} and ${target}`);
    checkRow(t, gradients[0], [slope], `gradient of huber of ${at} and ${target}`);
  }
});

const evenly = [-Math.SQRT2, -Math.SQRT1_2, 0, Math.SQRT1_2, Math.SQRT2];
/** The same where the epsilon counts beside a variance of 2. */
const steps = evenly.map((v) => v / Math.sqrt(1 + 0.5e-5));
/** A row and, with an epsilon of 1e-5, what layerNorm makes of it. */
const rows = [
  [
    [3e38, 3e38, 3e38, 3e38, 3e38],
    [0, 0, 0, 0, 0],
  ],
  [
    [-3.4e38, -3.4e38, -3.4e38, -3.4e38, -3.4e38],
    [0, 0, 0, 0, 0],
  ],
  [
    [1e9, 1e9, 1e9, 1e9, 1e9],
    [0, 0, 0, 0, 0],
  ],
  [
    [1e-40, 1e-40, 1e-40, 1e-40, 1e-40],
    [0, 0, 0, 0, 0],
  ],
  [[1e7, 10000001, 10000002, 10000003, 10000004], steps],
  [
    [1e30, 1e30, -1e30, 0, 1e30],
    [0.75, 0.75, -1.75, -0.5, 0.75],
  ],
  [[1e15, 2e15, 3e15, 4e15, 5e15], evenly],
  [
    [inf, 0, 0, 0, 0],
    [nan, nan, nan, nan, nan],
  ],
];
/** The layouts of `count` copies of a row: the shape of x, and the norm. */
const norms = {
  layerNorm: (count) => [[2, 5 * count], (x) => functional.layerNorm(x)],
  groupNorm: (count) => [
    [1, 2, 5 * count],
    (x) => functional.groupNorm(x, undefined, undefined, { groups: 2 }),
  ],
  'batchNorm of planes': (count) => [[count, 1, 5], (x) => functional.batchNorm(x)],
  'batchNorm of columns': (count) => [[5 * count, 1], (x) => functional.batchNorm(x)],
};

for (const [name, layout] of Object.entries(norms)) {
  test(name, (t) => {
    for (const count of [1, 7, 60]) {
      const [shape, norm] = layout(count);
      for (const [row, expected] of rows) {
        const x = fixed(shape);
        const data = repeated(row, x.shape.reduce((a, b) => a * b, 1) / 5);
        const dy = repeated([1, -2, 0.5, 3, 0], data.length / 5);
        const { outputs, gradients } = vjp(norm(x), new Map([[x, data]]), dy);
        checkRow(t, outputs[0], expected, `${name} of ${count} times ${row}`);
        // Constant rows: only the mean of dy goes, and 1 / sqrt(1e-5) multiplies.
        if (expected.every((v) => v === 0)) {
          const slopes = [0.5, -2.5, 0, 2.5, -0.5].map((v) => v * 316.22777);
          checkRow(t, gradients[0], slopes, `gradient of ${name} of ${count} times ${row}`);
        }
      }
    }
  });
}

test('rmsNorm', (t) => {
  for (const [row, expected] of [
    [
      [3e38, 3e38, -3e38],
      [1, 1, -1],
    ],
    [
      [1e30, 0, 0],
      [Math.sqrt(3), 0, 0],
    ],
    [
      [1e-40, 0, 0],
      [0, 0, 0],
    ],
    [
      [1e9, 1e9, 1e9],
      [1, 1, 1],
    ],
  ]) {
    for (const count of [1, 40]) {
      const x = fixed([2, 3 * count]);
      const data = repeated(row, 2 * count);
      const { outputs } = vjp(functional.rmsNorm(x), new Map([[x, data]]), data);
      checkRow(t, outputs[0], expected, `rmsNorm of ${count} times ${row}`);
    }
  }
});

test('variances of numbers that are large beside their distances', (t) => {
  for (const [shape, axes] of [
    [[1, 5], 1],
    [[1, 450], 1],
    [[450, 1], 0],
    [
      [90, 5],
      [0, 1],
    ],
    [
      [50000, 5],
      [0, 1],
    ],
    [[50000, 1], 0],
  ]) {
    const x = fixed(shape);
    const count = x.shape.reduce((a, b) => a * b, 1);
    const data = repeated([1e7, 10000001, 10000002, 10000003, 10000004], count / 5);
    const { outputs } = vjp(tandem.variance(x, { axes }), new Map([[x, data]]), repeated([1], 1));
    t.true(relativeError(outputs[0], [2]) < 1e-6, `${shape}: ${outputs[0]}`);
    const equal = vjp(
      tandem.variance(x, { axes }),
      new Map([[x, repeated([1e9], count)]]),
      repeated([1], 1),
    );
    t.is(equal.outputs[0][0], 0);
  }
});

test('attention', (t) => {
  const v = Float32Array.of(1, 2, 4);
  for (const [scores, mask, y, dv] of [
    [[1e9, 1e9, 0], [0, 0, 0], 1.5, [0.5, 0.5, 0]],
    [[-1e9, -1e9, -1e9], [0, 0, 0], 7 / 3, [1 / 3, 1 / 3, 1 / 3]],
    [[1e30, -1e30, 1e30], [0, 0, 0], 2.5, [0.5, 0, 0.5]],
    [[1, 2, 3], [-1e9, -1e9, -1e9], 7 / 3, [1 / 3, 1 / 3, 1 / 3]],
    [[1e9, 1e9, 1e9], [0, -inf, 0], 2.5, [0.5, 0, 0.5]],
    [[1e30, 1e30, 1e30], [-inf, -inf, -inf], 0, [0, 0, 0]],
  ]) {
    const [q, k, values, m] = [
      fixed([1, 1, 1, 1]),
      fixed([1, 1, 3, 1]),
      fixed([1, 1, 3, 1]),
      fixed([1, 3]),
    ];
    const feeds = new Map([
      [q, Float32Array.of(1)],
      [k, Float32Array.from(scores)],
      [values, v],
      [m, Float32Array.from(mask)],
    ]);
    const { outputs, gradients } = vjp(
      tandem.attention(q, k, values, { mask: m }),
      feeds,
      Float32Array.of(1),
    );
    checkRow(t, outputs[0], [y], `attention of ${scores} with ${mask}`);
    checkRow(t, gradients[2], dv, `values' gradient of ${scores} with ${mask}`);
    const dk = dv.map((p, i) => p * (v[i] - y));
    checkRow(t, gradients[1], dk, `keys' gradient of ${scores} with ${mask}`);
  }
});

test('the gradients of elu and hardSwish at NaN are NaN', (t) => {
  const { elu, hardSwish } = tandem;
  for (const [name, op] of Object.entries({ elu, hardSwish })) {
    // Of vectors and of what is left of them; PyTorch has NaN for vectors, and 1 for what is left.
    for (const count of [1, 40]) {
      const x = fixed([count]);
      const feeds = new Map([[x, repeated([nan], count)]]);
      const { gradients } = vjp(op(x), feeds, repeated([1], count));
      checkRow(t, gradients[0], [nan], `${name} of ${count}`);
    }
  }
});
