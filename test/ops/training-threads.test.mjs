// Whole trainings of models that use every kernel of training give the same bits with any number of
// threads: losses, parameters and running statistics. Sizes are large enough for steps that threads
// share, and odd.
import { createHash } from 'node:crypto';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import * as tandem from 'tandem-ml';
import { generator, uniform } from '../helpers/numbers.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
const native = createRequire(import.meta.url)('node-gyp-build')(root);
const { conv1d, conv2d, convTranspose2d, dense, dropout, embedding, groupNorm } = tandem;
const { add, concat, cumsum, gather, input, mul, pad, reshape, slice, where } = tandem;
const byName = { ...tandem };
const threadCounts = [1, 2, 3, 5];

/** A digest of the bits: 0 differs from -0 here, and AVA takes long over large arrays. */
const bits = (array) => createHash('sha256').update(array).digest('hex');

const integers = (length, end, random) =>
  Int32Array.from({ length }, () => Math.floor(end * random()));

const [time, width, tokens] = [37, 36, 23];

/** Blocks of both kinds, and behind them values that are chosen, moved and summed along the time. */
function transformer() {
  const random = generator(1);
  const rows = 11;
  const inputs = {
    tokens: input([time], { dtype: 'int32', name: 'tokens' }),
    flags: input([time, 1], { dtype: 'int32', name: 'flags' }),
    order: input([time, width], { dtype: 'int32', name: 'order' }),
  };
  const block = { heads: 3, causal: true, dropout: 0.1 };
  const swiglu = { norm: 'rms', activation: 'swiglu', rotary: true, bias: false };
  let x = embedding(tokens, width, { positions: time })(inputs.tokens);
  x = tandem.transformerBlock({ ...block })(x);
  x = tandem.transformerBlock({ ...block, ...swiglu })(dropout(0.05)(x));
  const none = [0, 0];
  const late = slice(pad(x, { pads: [none, [1, 0], none] }), { axis: 1, end: -1 });
  const chosen = where(inputs.flags, late, mul(cumsum(x, { axis: 1 }), 0.1));
  x = add(x, gather(chosen, inputs.order, { axis: 1 }));
  const y = dense(tokens)(tandem.layerNorm()(x));
  return {
    model: new tandem.Model({ inputs: Object.values(inputs), outputs: [y], seed: 1 }),
    options: { loss: 'crossEntropy', maxGradNorm: 0.5 },
    optimizer: tandem.adamw({ learningRate: 0.003 }),
    data: {
      x: {
        tokens: integers(rows * time, tokens, random),
        flags: integers(rows * time, 2, random),
        order: integers(rows * time * width, time, random),
      },
      y: integers(rows * time, tokens, random),
    },
    batchSize: 4,
  };
}

/** A transformer that learns the distribution of a teacher, with a mean over ranks of positions. */
function student() {
  const random = generator(2);
  const rows = 12;
  const x = input([time], { dtype: 'int32', name: 'x' });
  const block = tandem.transformerBlock({ heads: 2, mlpRatio: 3, dropout: 0.2 });
  const y = dense(tokens)(tandem.rmsNorm()(block(embedding(tokens, width)(x))));
  return {
    model: new tandem.Model({ inputs: [x], outputs: [y], seed: 2 }),
    options: { loss: 'distillation', gradientAccumulationSteps: 2 },
    optimizer: tandem.lamb({ learningRate: 0.01 }),
    data: {
      x: integers(rows * time, tokens, random),
      y: uniform(rows * time * tokens, random, -3, 3),
    },
    batchSize: 3,
  };
}

/** Planes: every kind of convolution, pooling and norm of channels. */
function convolutions() {
  const random = generator(3);
  const [rows, classes] = [22, 7];
  const x = input([3, 19, 17], { name: 'x' });
  let y = tandem.relu(groupNorm({ groups: 3 })(conv2d(12, { kernel: 3, padding: 1 })(x)));
  y = tandem.maxPool2d(y, { kernel: 2 });
  y = tandem.relu(tandem.batchNorm()(conv2d(16, { kernel: 3, padding: 1, groups: 4 })(y)));
  y = tandem.silu(tandem.batchNorm()(convTranspose2d(10, { kernel: 3, stride: 2 })(y)));
  y = conv2d(10, { kernel: 3, padding: 1, activation: 'gelu' })(y);
  y = tandem.avgPool2d(y, { kernel: 3, stride: 2, padding: 1 });
  y = tandem.maxPool2d(tandem.relu(tandem.batchNorm()(conv2d(8, { kernel: 1 })(y))), { kernel: 2 });
  const line = conv1d(9, { kernel: 3, padding: 1 })(reshape(x, [-1, 3, 19 * 17]));
  const both = concat([tandem.flatten(y), tandem.mean(line, { axes: [2] })], { axis: 1 });
  return {
    model: new tandem.Model({ inputs: [x], outputs: [dense(classes)(both)], seed: 3 }),
    options: { loss: 'crossEntropy' },
    optimizer: tandem.sgd({ learningRate: 0.05, momentum: 0.9 }),
    data: { x: uniform(rows * 3 * 19 * 17, random), y: integers(rows, classes, random) },
    batchSize: 11,
  };
}

/** Sequences: both recurrences, one of them from the end on, and a loss of all states. */
function recurrences() {
  const random = generator(4);
  const [rows, features] = [38, 13];
  const x = input([time, features], { name: 'x' });
  const states = tandem.lstm(35, { sequence: true })(x);
  const y = dense(5)(tandem.gru(29, { sequence: true })(tandem.flip(states, { axis: 1 })));
  return {
    model: new tandem.Model({ inputs: [x], outputs: [y], seed: 4 }),
    options: { loss: 'huber' },
    optimizer: tandem.rmsprop({ learningRate: 0.003 }),
    data: { x: uniform(rows * time * features, random), y: uniform(rows * time * 5, random) },
    batchSize: 19,
  };
}

/** Rows: every elementwise op and reduction, products of values, and both kinds of softmax. */
function elementwise() {
  const random = generator(5);
  const [rows, features] = [302, 67];
  const x = input([features], { name: 'x' });
  const unary = [
    ...['gelu', 'silu', 'sigmoid', 'tanh', 'leakyRelu', 'elu', 'softplus', 'hardSwish', 'mish'],
    ...['hardSigmoid', 'exp', 'abs', 'neg', 'square', 'sin', 'cos', 'erf', 'relu'],
  ];
  let y = dense(131)(x);
  const parts = unary.map((name) => mul(byName[name](y), 0.1));
  parts.push(tandem.gelu(y, { approximate: 'tanh' }), tandem.clamp(y, { min: -0.4, max: 0.6 }));
  const positive = add(tandem.square(y), 0.5);
  parts.push(tandem.gelu(positive));
  parts.push(...['log', 'sqrt', 'rsqrt', 'reciprocal'].map((name) => byName[name](positive)));
  parts.push(tandem.div(y, positive), tandem.pow(positive, y), tandem.sub(y, positive));
  parts.push(tandem.maximum(y, parts[0]), tandem.minimum(y, parts[1]));
  for (const name of ['sum', 'mean', 'max', 'min', 'variance'])
    parts.push(mul(byName[name](y, { axes: [1], keepDims: true }), 0.1));
  parts.push(tandem.sub(y, tandem.mean(y, { axes: [0], keepDims: true })));
  y = parts.reduce((sum, part) => add(sum, part));
  const scores = tandem.softmax(tandem.matmul(y, tandem.transpose(y)));
  y = add(tandem.logSoftmax(y), tandem.matmul(scores, y));
  return {
    model: new tandem.Model({ inputs: [x], outputs: [dense(11)(y)], seed: 5 }),
    options: {
      // Both ways round, for the gradients of targets.
      loss: (output, target) =>
        ['mse', 'l1', 'huber', 'bceWithLogits']
          .flatMap((name) => [byName[name](output, target), byName[name](target, output)])
          .reduce((sum, part) => add(sum, part)),
      ema: { decay: 0.9 },
    },
    optimizer: tandem.adagrad({ learningRate: 0.003 }),
    data: { x: uniform(rows * features, random), y: uniform(rows * 11, random, 0.1, 0.9) },
    batchSize: 151,
  };
}

/** Gradients that are clipped one by one, and a metric. */
function clipped() {
  const random = generator(6);
  const [rows, features, classes] = [302, 67, 5];
  const layers = [dense(259, { activation: 'relu' }), dense(classes)];
  return {
    model: tandem.sequential(layers, { input: [features], seed: 6 }),
    options: { loss: 'crossEntropy', maxGradValue: 0.001, metrics: ['accuracy'] },
    optimizer: tandem.lion({ learningRate: 0.001 }),
    data: { x: uniform(rows * features, random), y: integers(rows, classes, random) },
    batchSize: 151,
  };
}

const models = { transformer, student, convolutions, recurrences, elementwise, clipped };
const precisions = ['float32', 'bf16-mixed', 'fp16-mixed'];

/** Losses, parameters and kernels of two epochs. */
async function train(make, threads, precision) {
  const { model, options, optimizer, data, batchSize } = make();
  const trainer = new tandem.Trainer(model, { ...options, optimizer, threads, precision, seed: 3 });
  const { loss } = await trainer.fit(data, { epochs: 2, batchSize, verbose: 0 });
  const { loss: last } = await trainer.evaluate(data);
  const { kernels } = trainer.profile();
  await trainer.close();
  const parameters = [...model.parameters].map(([name, { data }]) => [name, bits(data)]);
  return { kernels, results: { loss, last, parameters } };
}

/** Names of ops in those of kernels: `chain(sub square)`, `linear bf16`, `fusedMatmul(residual)`. */
const opsOf = (kernels) => kernels.flatMap((kernel) => kernel.match(/\w+/g));
const ran = new Set();

for (const [name, make] of Object.entries(models)) {
  for (const precision of precisions) {
    test.serial(`training ${name} in ${precision}: the same bits with any threads`, async (t) => {
      const first = await train(make, threadCounts[0], precision);
      for (const op of opsOf(first.kernels)) ran.add(op);
      const { loss, last } = first.results;
      t.true(Number.isFinite(last) && last !== loss[0], `${loss}, then ${last}`);
      for (const threads of threadCounts.slice(1)) {
        const other = await train(make, threads, precision);
        t.deepEqual(other.results, first.results, `${threads} threads`);
      }
    });
  }
}

/** What no plan of a training runs on the CPU, and why. */
const others = [
  // Other names for the same memory.
  ...['reshape', 'flatten'],
  // Made by passes and gradients alone, which are not differentiated again.
  'scaleGrad',
  // Of predictions.
  ...['pooledConv', 'cachedAttention', 'quantize', 'quantizedLinear', 'quantizedConv'],
  ...['quantizedEmbedding', 'quantizedAttention', 'quantizedLstm', 'quantizedGru'],
  ...['dequantizeWeight', 'maxPoolBytes', 'moveChannels', 'addBytes', 'averagePoolBytes'],
  // Of devices whose products do not round.
  'roundFactor',
];

test.serial('every kernel of training is in one of these models', (t) => {
  const names = native.ops().map(({ name }) => name);
  const unseen = names.filter((name) => !ran.has(name));
  t.deepEqual(unseen.sort(), [...others].sort());
});
