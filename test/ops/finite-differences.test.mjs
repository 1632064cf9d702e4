// The gradients of every op against central differences, at sizes that leave odd ends everywhere.
import { readdir, readFile } from 'node:fs/promises';
import test from 'ava';
import * as tandem from 'tandem-ml';
import { ops } from '../../dist/internals.js';
import { check, count, distinct, numbers } from '../helpers/differences.mjs';

const exported = { ...tandem };
const covered = new Set();

/** One test for `op`, of all its cases: `cases` calls its argument once for each. */
function differentiates(op, cases) {
  covered.add(op);
  test(op, (t) => cases((details) => check(t, details), exported[op]));
}

// Elementwise, one operand: where they have kinks, their options, and the range of x.
const unary = {
  relu: { kinks: [0] },
  gelu: { options: [{}, { approximate: 'tanh' }] },
  silu: {},
  sigmoid: {},
  tanh: {},
  leakyRelu: { kinks: [0], options: [{}, { alpha: 0.3 }] },
  elu: { kinks: [0], options: [{}, { alpha: 0.7 }] },
  softplus: {},
  hardSwish: { kinks: [-3, 3], low: -5, high: 5 },
  hardSigmoid: { kinks: [-3, 3], low: -5, high: 5 },
  mish: {},
  exp: {},
  log: { low: 0.4, high: 4 },
  sqrt: { low: 0.4, high: 4 },
  rsqrt: { low: 0.4, high: 4 },
  abs: { kinks: [0] },
  neg: {},
  square: {},
  reciprocal: { low: 0.5, high: 4 },
  sin: {},
  cos: {},
  erf: {},
  clamp: { kinks: [-0.5, 0.75], options: [{ min: -0.5, max: 0.75 }, { min: -0.5 }, { max: 0.75 }] },
};

for (const [name, { options = [{}], ...range }] of Object.entries(unary)) {
  differentiates(name, (each, op) => {
    for (const set of options) {
      for (const shape of [[1], [17], [5, 7, 13]]) {
        const graph = ({ x }) => op(x, ...(Object.keys(set).length > 0 ? [set] : []));
        each({ graph, floats: { x: numbers(shape, 2, range) } });
      }
    }
  });
}

// Elementwise, two operands, which broadcast both ways.
const pairs = [
  [
    [5, 7, 13],
    [5, 7, 13],
  ],
  [[5, 7, 13], [13]],
  [
    [5, 7, 13],
    [7, 1],
  ],
  [
    [3, 1, 13],
    [7, 1],
  ],
  [[1], [5, 7]],
  [
    [5, 1, 3],
    [5, 7, 3],
  ],
];

const smooth = (a, b) => (each, op) => {
  for (const [left, right] of pairs) {
    const floats = { a: numbers(left, 3, a), b: numbers(right, 4, b) };
    each({ graph: (value) => op(value.a, value.b), floats });
  }
};

differentiates('add', smooth());
differentiates('sub', smooth());
differentiates('mul', smooth());
differentiates('div', smooth({}, { low: 0.6, high: 3 }));
differentiates('pow', smooth({ low: 0.5, high: 3 }, { low: -2, high: 2 }));

for (const name of ['maximum', 'minimum']) {
  differentiates(name, (each, op) => {
    for (const [left, right] of pairs) {
      // One grid lies between the other's points.
      const floats = { a: distinct(left, 5), b: distinct(right, 6, 1 / 20) };
      each({ graph: (value) => op(value.a, value.b), floats });
    }
  });
}

test('an operand that is a number or stands on both sides', (t) => {
  const x = numbers([5, 13], 7, { low: 0.5, high: 3 });
  const graphs = [
    (v) => tandem.div(2, v.x),
    (v) => tandem.pow(v.x, 2.5),
    (v) => tandem.pow(1.5, v.x),
    (v) => tandem.mul(v.x, v.x),
    (v) => tandem.div(tandem.exp(v.x), tandem.add(v.x, 1)),
    (v) => tandem.sub(tandem.square(v.x), tandem.mul(v.x, tandem.log(v.x))),
  ];
  for (const graph of graphs) check(t, { graph, floats: { x } });
});

// Reductions over the last, the first, a middle, several and all axes.
const shapes = [[7, 5, 13], [3, 67], [17]];
const axesOf = ({ length }) => (length === 3 ? [-1, 0, 1, [0, 2], [1, 2], undefined] : [-1, [0]]);

for (const name of ['sum', 'mean', 'max', 'min', 'variance']) {
  differentiates(name, (each, op) => {
    const make = name === 'max' || name === 'min' ? distinct : numbers;
    for (const shape of shapes) {
      for (const axes of axesOf(shape)) {
        for (const keepDims of [false, true]) {
          const options = { keepDims, ...(axes !== undefined && { axes }) };
          each({ graph: ({ x }) => op(x, options), floats: { x: make(shape, 8) } });
        }
      }
    }
  });
}

for (const name of ['softmax', 'logSoftmax']) {
  differentiates(name, (each, op) => {
    for (const axis of [-1, 0, 1]) {
      each({ graph: ({ x }) => op(x, { axis }), floats: { x: numbers([5, 7, 33], 9) } });
    }
    each({ graph: ({ x }) => op(x), floats: { x: numbers([3, 131], 10) } });
  });
}

// Movement. The square after each makes its gradient depend on the position.
differentiates('transpose', (each, op) => {
  const x = numbers([3, 5, 7], 11);
  for (const perm of [
    [2, 1, 0],
    [0, 2, 1],
    [1, 0, 2],
    [2, 0, 1],
    [1, 2, 0],
    [0, 1, 2],
  ]) {
    each({ graph: (v) => tandem.square(op(v.x, { perm })), floats: { x } });
  }
  each({ graph: (v) => tandem.square(op(v.x)), floats: { x: numbers([37, 19], 12) } });
});
differentiates('reshape', (each, op) => {
  const floats = { x: numbers([3, 5, 7], 13) };
  for (const shape of [[-1], [15, 7], [7, -1, 3]]) {
    each({ graph: (v) => tandem.square(op(v.x, shape)), floats });
  }
});
differentiates('flatten', (each, op) => {
  each({ graph: (v) => tandem.square(op(v.x)), floats: { x: numbers([3, 5, 7], 14) } });
});
differentiates('concat', (each, op) => {
  const lengths = [3, 1, 9];
  for (const axis of [0, 1, -1]) {
    const [a, b, c] = lengths.map((length, i) => numbers([5, 7, 3].with(axis, length), 15 + i));
    const graph = (v) => tandem.square(op([v.a, v.b, v.c, v.a], { axis }));
    each({ graph, floats: { a, b, c } });
  }
});
differentiates('slice', (each, op) => {
  const floats = { x: numbers([9, 11, 5], 18) };
  const cases = [
    { start: 2 },
    { axis: 1, start: 1, end: -1, step: 2 },
    { axis: 1, start: -4, step: 3 },
    { axis: -1, end: 3 },
    { axis: 0, start: 1, end: 8, step: 4 },
  ];
  for (const options of cases) {
    each({ graph: (v) => tandem.square(op(v.x, options)), floats });
  }
});

// Products; batches of both operands, broadcast too.
differentiates('matmul', (each, op) => {
  const sizes = [
    [
      [5, 9],
      [9, 3],
    ],
    [
      [1, 17],
      [17, 1],
    ],
    [
      [33, 67],
      [67, 19],
    ],
    [
      [3, 5, 9],
      [3, 9, 7],
    ],
    [
      [2, 3, 5, 9],
      [9, 7],
    ],
    [
      [5, 9],
      [3, 9, 7],
    ],
    [
      [2, 1, 5, 9],
      [3, 9, 7],
    ],
    [
      [2, 3, 5, 9],
      [1, 3, 9, 1],
    ],
  ];
  for (const [left, right] of sizes) {
    const floats = { a: numbers(left, 19), b: numbers(right, 20) };
    each({ graph: (v) => op(v.a, v.b), floats });
  }
  const floats = { a: numbers([9, 5], 21), b: numbers([7, 9], 22) };
  each({ graph: (v) => op(tandem.transpose(v.a), tandem.transpose(v.b)), floats });
});
covered.add('functional.linear');
test('functional.linear', (t) => {
  const { linear } = tandem.functional;
  for (const [x, units] of [
    [[5, 9], 3],
    [[3, 5, 7], 17],
    [[1, 13], 1],
    [[33, 67], 35],
  ]) {
    const floats = {
      x: numbers(x, 23),
      w: numbers([units, x.at(-1)], 24),
      b: numbers([units], 25),
    };
    check(t, { graph: (v) => linear(v.x, v.w, v.b), floats });
    check(t, { graph: (v) => linear(v.x, v.w, null), floats: { x: floats.x, w: floats.w } });
  }
});

// Losses, by the prediction and, of those of two float operands, by the target.
differentiates('mse', smoothLoss([{}]));
differentiates('huber', (each, op) => {
  for (const delta of [undefined, 0.6, 2]) {
    const limit = delta ?? 1;
    // Differences away from both kinks.
    const t = numbers([5, 7, 3], 26);
    const gap = numbers([5, 7, 3], 27, { kinks: [-limit, limit] });
    const x = { shape: t.shape, data: t.data.map((value, i) => value + gap.data[i]) };
    const graph = (v) => op(v.x, v.t, ...(delta === undefined ? [] : [{ delta }]));
    each({ graph, floats: { x, t } });
  }
});
differentiates('l1', (each, op) => {
  const floats = { x: distinct([5, 7, 3], 28), t: distinct([5, 7, 3], 29, 1 / 20) };
  each({ graph: (v) => op(v.x, v.t), floats });
});
differentiates('bceWithLogits', smoothLoss([{}, { posWeight: 2.5 }], { low: 0.05, high: 0.95 }));

function smoothLoss(options, targets) {
  return (each, op) => {
    for (const set of options) {
      for (const shape of [[1], [17], [5, 7, 3]]) {
        const floats = { x: numbers(shape, 30), t: numbers(shape, 31, targets) };
        each({ graph: (v) => op(v.x, v.t, set), floats });
      }
    }
  };
}

differentiates('crossEntropy', (each, op) => {
  const classes = 7;
  const classWeights = Float32Array.of(0.5, 1, 2, 0.1, 3, 1.5, 0.7);
  for (const rows of [[11], [3, 5], [1]]) {
    const data = Int32Array.from({ length: count(rows) }, (_, i) => (3 * i + 1) % classes);
    const some = data.map((target, i) => (i % 3 === 1 ? -100 : target));
    const none = data.map((target, i) => (i % 4 === 2 ? -1 : target));
    const cases = [
      [data, {}],
      [data, { labelSmoothing: 0.1 }],
      [data, { classWeights }],
      [some, {}],
      [none, { ignoreIndex: -1 }],
      [data, { ignoreIndex: 2 }],
      [some, { labelSmoothing: 0.2, classWeights }],
    ];
    for (const [target, options] of cases) {
      each({
        graph: (v) => op(v.x, v.t, options),
        floats: { x: numbers([...rows, classes], 32) },
        integers: { t: { shape: rows, data: target } },
      });
    }
  }
});

// Convolutions, whose operands are values: shapes of x and w, and options.
const convolutions = {
  conv1d: [
    [[2, 3, 17], [5, 3, 3], { stride: 2, padding: 1 }],
    [[2, 4, 19], [6, 2, 4], { dilation: 2, groups: 2, padding: 3 }],
    [[3, 5, 9], [7, 5, 3], { padding: 'same' }],
  ],
  conv2d: [
    [[2, 3, 9, 7], [5, 3, 3, 3], { padding: 1 }],
    [[2, 3, 9, 7], [5, 3, 3, 2], { stride: [2, 3], padding: [1, 0], dilation: [1, 2] }],
    [[2, 6, 5, 7], [4, 3, 3, 3], { groups: 2 }],
    [[2, 3, 5, 19], [6, 1, 3, 3], { groups: 3, stride: 2, padding: 1 }],
    [[2, 5, 7, 7], [3, 5, 1, 1], {}],
    [[1, 2, 8, 9], [3, 2, 3, 5], { padding: 'same' }],
  ],
  convTranspose2d: [
    [[2, 3, 5, 4], [3, 5, 3, 3], { padding: 1 }],
    [[2, 3, 5, 4], [3, 5, 3, 2], { stride: [2, 3], padding: [1, 0], outputPadding: [1, 2] }],
    [[2, 6, 3, 4], [6, 2, 3, 3], { groups: 3, stride: 2, dilation: 2 }],
    [[1, 5, 6, 7], [5, 4, 1, 1], {}],
    [[2, 3, 4, 5], [3, 2, 3, 2], { stride: [1, 2], dilation: [3, 4], outputPadding: [2, 3] }],
  ],
};

for (const [name, cases] of Object.entries(convolutions)) {
  covered.add(`functional.${name}`);
  test(`functional.${name}`, (t) => {
    const op = tandem.functional[name];
    for (const [shape, weight, options] of cases) {
      const { groups = 1 } = options;
      const filters = name === 'convTranspose2d' ? weight[1] * groups : weight[0];
      const floats = {
        x: numbers(shape, 40, { low: -1, high: 1 }),
        w: numbers(weight, 41, { low: -1, high: 1 }),
        b: numbers([filters], 42),
      };
      check(t, { graph: ({ x, w, b }) => tandem.square(op(x, w, b, options)), floats });
      const { x, w } = floats;
      check(t, { graph: (v) => op(v.x, v.w, null, options), floats: { x, w } });
    }
  });
}

const windows = [
  [[2, 3, 8, 6], { kernel: 2 }],
  [[2, 3, 11, 10], { kernel: 3, stride: 2, padding: 1 }],
  [[1, 2, 7, 37], { kernel: [2, 3], stride: 1, padding: [0, 1] }],
];

for (const name of ['maxPool2d', 'avgPool2d']) {
  differentiates(name, (each, op) => {
    for (const [shape, options] of windows) {
      const graph = (v) => tandem.square(op(v.x, options));
      each({ graph, floats: { x: distinct(shape, 43) } });
    }
  });
}
differentiates('globalAvgPool2d', (each, op) => {
  each({ graph: (v) => tandem.square(op(v.x)), floats: { x: numbers([3, 5, 7, 3], 44) } });
});

differentiates('dropout', (each, op) => {
  for (const shape of [[17], [5, 7, 13]]) {
    const options = { training: true, seed: 3 };
    each({
      graph: (v) => op(tandem.square(v.x), { rate: 0.4 }),
      floats: { x: numbers(shape, 33) },
      options,
    });
  }
});

test('a network of several ops, each value used more than once', (t) => {
  const graph = ({ x, w, u, b }) => {
    const hidden = tandem.gelu(tandem.functional.linear(x, w, b));
    const mean = tandem.mean(hidden, { axes: [-1], keepDims: true });
    const spread = tandem.variance(hidden, { axes: [-1], keepDims: true });
    const normal = tandem.mul(tandem.sub(hidden, mean), tandem.rsqrt(tandem.add(spread, 0.1)));
    const scores = tandem.softmax(tandem.matmul(normal, tandem.transpose(normal)));
    return tandem.add(tandem.matmul(scores, hidden), tandem.matmul(normal, u));
  };
  const floats = {
    x: numbers([11, 13], 34, { low: -1, high: 1 }),
    w: numbers([17, 13], 35, { low: -1, high: 1 }),
    u: numbers([17, 17], 36, { low: -1, high: 1 }),
    b: numbers([17], 37, { low: -1, high: 1 }),
  };
  check(t, { graph, floats });
});

const here = new URL('.', import.meta.url);
const sources = new URL('../../lib/ops/', import.meta.url);

/** What the modules of ops export, by name: what else the package exports is no op. */
const opsByName = new Map(Object.values(ops).flatMap((module) => Object.entries(module)));

/**
 * The files beside this one that compare gradients with differences. Which forms they call is told by their
 * texts alone; test/native/gradients_test.cpp proves of the ops themselves that each is differentiated,
 * by each of its operands.
 */
async function filesBeside() {
  const files = (await readdir(here)).filter((file) => !import.meta.url.endsWith(file));
  const texts = await Promise.all(files.map((file) => readFile(new URL(file, here), 'utf8')));
  return texts.filter((text) => text.includes('helpers/differences.mjs'));
}

test('every form of an op that the package exports is named here, or in a file of its own', async (t) => {
  t.deepEqual(
    (await readdir(sources)).sort(),
    Object.keys(ops)
      .map((name) => `${name}.ts`)
      .sort(),
  );
  const beside = await filesBeside();
  const named = (name) => beside.some((text) => new RegExp(`\\b${name}\\b`).test(text));
  for (const [space, forms] of [
    ['', exported],
    ['functional.', tandem.functional],
  ]) {
    const names = Object.keys(forms).filter((name) => opsByName.get(name) === forms[name]);
    t.true(names.length >= 10);
    const lacking = names.filter((name) => !covered.has(`${space}${name}`) && !named(name));
    t.deepEqual(lacking, [], `${space}ops without a test`);
  }
});
