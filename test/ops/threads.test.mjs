// Every kind of kernel gives the same bits with any number of threads, and so do its gradients. Sizes
// are large enough for several tiles, whose sums have to be added in one order, and odd.
import { createHash } from 'node:crypto';
import test from 'ava';
import {
  adamw,
  add,
  bceWithLogits,
  concat,
  crossEntropy,
  cumsum,
  dense,
  distillation,
  div,
  exp,
  flip,
  functional,
  gather,
  gelu,
  huber,
  l1,
  logSoftmax,
  matmul,
  maximum,
  mean,
  mse,
  mul,
  pad,
  pow,
  rotary,
  sequential,
  softmax,
  sub,
  sum,
  Trainer,
  transpose,
  variance,
  where,
} from 'tandem-ml';
import { evaluate, vjp } from 'tandem-ml/autodiff';
import { count } from '../helpers/differences.mjs';
import { fixed, generator, uniform } from '../helpers/numbers.mjs';

const { groupNorm, layerNorm, linear, rmsNorm } = functional;
const threadCounts = [1, 2, 3, 8];

/** A digest of the bits: 0 differs from -0 here, and AVA takes long over large arrays. */
const bits = (array) => createHash('sha256').update(array).digest('hex');

/** Values of a graph with the numbers that go into them: floats from 0.5 to 1.5, integers below `end`. */
function leaves() {
  const random = generator(2);
  const feeds = new Map();
  const feed = (value, data) => {
    feeds.set(value, data);
    return value;
  };
  const floats = (...shape) => feed(fixed(shape), uniform(count(shape), random, 0.5, 1.5));
  const integers = (end, ...shape) =>
    feed(
      fixed(shape, 'int32'),
      Int32Array.from({ length: count(shape) }, () => Math.floor(end * random())),
    );
  return { feeds, floats, integers };
}

/** Compares the output that `graph` makes of leaves, and the gradients of all of its floats. */
function check(t, name, graph) {
  const { feeds, floats, integers } = leaves();
  const output = graph({ floats, integers });
  const wrt = [...feeds.keys()].filter(({ dtype }) => dtype === 'float32');
  const [first, ...others] = threadCounts.map((threads) => {
    const [result] = evaluate(output, feeds, { threads });
    const cotangent = uniform(result.length, generator(3));
    const { outputs, gradients } = vjp(output, feeds, cotangent, { threads, wrt });
    return [result, ...outputs, ...gradients].map(bits);
  });
  for (const other of others) t.deepEqual(other, first, name);
}

const [rows, width, classes] = [1037, 67, 131];
const logits = ({ floats }) => linear(floats(rows, width), floats(classes, width));

const groups = {
  'products and elementwise ops': {
    linear: logits,
    products: (of) => {
      const z = logits(of);
      return matmul(transpose(z), z);
    },
    elementwise: ({ floats }) => {
      const x = floats(rows, width);
      return gelu(mul(x, exp(x)));
    },
    broadcast: ({ floats }) => {
      const [x, row, column] = [floats(rows, width), floats(1, width), floats(rows, 1)];
      return pow(div(add(x, row), column), maximum(row, column));
    },
  },
  'reductions and softmax': {
    'sum of the first axis': ({ floats }) => sum(floats(rows, width), { axes: [0] }),
    'sum of the last axis': ({ floats }) => sum(floats(rows, width), { axes: [1] }),
    'sum of all': ({ floats }) => sum(floats(rows, width)),
    mean: ({ floats }) => mean(floats(rows, width)),
    variance: ({ floats }) => variance(floats(rows, width), { axes: [0] }),
    softmax: (of) => softmax(logits(of)),
    'softmax of the first axis': (of) => softmax(logits(of), { axis: 0 }),
    logSoftmax: (of) => logSoftmax(logits(of)),
  },
  losses: {
    crossEntropy: (of) =>
      crossEntropy(logits(of), of.integers(classes, rows), { labelSmoothing: 0.1 }),
    mse: ({ floats }) => {
      const x = floats(rows, width);
      return mse(x, sub(x, floats(1, width)));
    },
    huber: ({ floats }) =>
      huber(floats(rows, width), mul(floats(1, width), floats(rows, 1)), { delta: 0.3 }),
    l1: ({ floats }) => l1(floats(rows, width), mul(floats(1, width), floats(rows, 1))),
    bceWithLogits: ({ floats }) => {
      const x = floats(rows, width);
      return bceWithLogits(x, softmax(x));
    },
    distillation: (of) => distillation(logits(of), of.floats(rows, classes), { temperature: 1.7 }),
    'distillation of a head a place': ({ floats }) =>
      distillation(floats(61, 53, 29), floats(61, 53, 29)),
    'distillation with weights': ({ floats }) =>
      distillation(floats(61, 53, 29), floats(61, 53, 29), { weights: floats(61) }),
  },
  'norms of rows': {
    ...over({ layerNorm: (x, w, b) => layerNorm(x, w, b), rmsNorm: (x, w) => rmsNorm(x, w) }, [
      [20011, 7],
      [3049, 65],
      [541, 517],
      [83, 4099],
      [19, 71, 131],
    ]),
    'layerNorm of several axes': ({ floats }) =>
      layerNorm(floats(733, 3, 5, 17), floats(3, 5, 17), floats(3, 5, 17)),
    'layerNorm of a bias alone': ({ floats }) => layerNorm(floats(rows, 131), null, floats(131)),
    'layerNorm without weights': ({ floats }) => layerNorm(floats(rows, 131)),
    'layerNorm of a sum that others read': ({ floats }) => {
      const both = add(floats(3049, 131), floats(3049, 131));
      return mul(both, layerNorm(both, floats(131), floats(131)));
    },
    'rmsNorm of a sum that others read': ({ floats }) => {
      const both = add(floats(3049, 131), floats(3049, 131));
      return mul(both, rmsNorm(both, floats(131)));
    },
  },
  groupNorm: {
    ...over({ groupNorm: (x, w, b) => groupNorm(x, w, b, { groups: 3 }) }, [
      [1039, 129],
      [37, 12, 311],
      [41, 6, 23, 29],
      [7, 771, 31],
    ]),
    'groupNorm, a group a channel': ({ floats }) =>
      groupNorm(floats(23, 35, 11, 13), floats(35), null, { groups: 35 }),
    'groupNorm, one group without weights': ({ floats }) =>
      groupNorm(floats(61, 5, 1009), null, null, { groups: 1 }),
  },
  rotary: {
    'rotary of heads': ({ floats }) => rotary(floats(5, 3, 259, 34)),
    'rotary of one long row': ({ floats }) => rotary(floats(1, 4099, 66)),
  },
  indexing: {
    'gather of the first axis': ({ floats, integers }) =>
      gather(floats(31, 4099), integers(31, 47, 4099), { axis: 0 }),
    'gather between others': ({ floats, integers }) =>
      gather(floats(59, 13, 301), integers(13, 59, 7, 301), { axis: 1 }),
    'gather of the last axis': ({ floats, integers }) =>
      gather(floats(rows, 131), integers(131, rows, 151), { axis: -1 }),
    'gather of one row': ({ floats, integers }) =>
      gather(floats(101), integers(101, 150001), { axis: 0 }),
    'pad of every axis': ({ floats }) =>
      pad(floats(37, 61, 67), {
        pads: [
          [2, 1],
          [0, 3],
          [5, 2],
        ],
        value: 0.5,
      }),
    'pad of the first axis': ({ floats }) =>
      pad(floats(601, 13, 31), {
        pads: [
          [7, 3],
          [0, 0],
          [0, 0],
        ],
      }),
    'flip of the first axis': ({ floats }) => flip(floats(rows, 151), { axis: 0 }),
    'flip of the last axis': ({ floats }) => flip(floats(rows, 151)),
    'cumsum of the first axis': ({ floats }) => cumsum(floats(151, rows), { axis: 0 }),
    'cumsum between others': ({ floats }) => cumsum(floats(67, 19, 131), { axis: 1 }),
    'cumsum of the last axis': ({ floats }) => cumsum(floats(rows, 151), { axis: -1 }),
    where: ({ floats, integers }) =>
      where(integers(2, 83, 31, 61), floats(83, 31, 61), floats(83, 31, 61)),
    'where of operands that are repeated': ({ floats, integers }) =>
      where(integers(2, 1, 31, 61), floats(83, 1, 61), floats(31, 1)),
    concat: (of) => {
      const x = of.floats(rows, width);
      return concat([x, logits(of), x], { axis: 1 });
    },
    transpose: ({ floats }) => transpose(floats(rows, width)),
  },
};

/** Each norm over each shape, with weights and a bias of its last axis, or of channels. */
function over(norms, shapes) {
  const entries = Object.entries(norms).flatMap(([name, norm]) =>
    shapes.map((shape) => [
      `${name} of ${shape}`,
      ({ floats }) => {
        const affine = name === 'groupNorm' ? shape[1] : shape.at(-1);
        return norm(floats(...shape), floats(affine), floats(affine));
      },
    ]),
  );
  return Object.fromEntries(entries);
}

for (const [group, graphs] of Object.entries(groups)) {
  test(`${group}: the same bits with any number of threads`, (t) => {
    for (const [name, graph] of Object.entries(graphs)) check(t, name, graph);
  });
}

test('training by distillation gives the same bits with any number of threads', async (t) => {
  const random = generator(4);
  const batch = 517;
  const x = uniform(batch * width, random);
  const y = uniform(batch * classes, random, -4, 4);
  const loss = (output, teacher) => distillation(output, teacher, { temperature: 2.5 });
  for (const [name, options] of Object.entries({
    'by name': { loss: 'distillation' },
    'clipped, in parts': { loss, maxGradNorm: 0.1, gradientAccumulationSteps: 3 },
  })) {
    const run = async (threads) => {
      const layers = [dense(259, { activation: 'gelu' }), dense(classes)];
      const model = sequential(layers, { input: [width], seed: 1 });
      const optimizer = adamw({ learningRate: 0.01 });
      const trainer = new Trainer(model, { ...options, optimizer, threads, seed: 1 });
      const history = await trainer.fit({ x, y }, { epochs: 4, batchSize: 173, verbose: 0 });
      const { loss: last } = await trainer.evaluate({ x, y });
      await trainer.close();
      const parameters = [...model.parameters.values()].map(({ data }) => bits(data));
      return { losses: history.loss, last, parameters };
    };
    const first = await run(1);
    t.true(first.last < first.losses[0], `${name}: ${first.losses}, then ${first.last}`);
    for (const threads of threadCounts.slice(1)) t.deepEqual(await run(threads), first, name);
  }
});
