// What is applied to values that do not fit: the error names layer or op, the values by their public
// names, and the shapes of all of them.
import test from 'ava';
import * as tandem from 'tandem-ml';

const { functional, input, parameter } = tandem;
const floats = (...row) => input(row);
const integers = (...row) => input(row, { dtype: 'int32' });
const weights = (...shape) => parameter(shape);
/** Of a layer that has been applied before, to something of another size. */
const again = (layer, first, second) => {
  layer(first);
  return layer(second);
};

const shape = {
  dense: [
    () => again(tandem.dense(3), floats(4), floats(5)),
    'in layer `dense`: expected x [..., in] and w [out, in] for `linear`, received x [batch, 5], w [3, 4], b [3]',
  ],
  'dense of scalars': [
    () => tandem.dense(3, { name: 'head' })(weights()),
    'in layer `head`: expected x [..., in] whose last dimension is known for `dense`, received x []',
  ],
  conv2d: [
    () => tandem.conv2d(3, { kernel: 3 })(floats(4)),
    'in layer `conv2d`: expected x [n, channels, h, w] for `conv2d`, received x [batch, 4]',
  ],
  batchNorm: [
    () => again(tandem.batchNorm(), floats(4), floats(5)),
    'in layer `batchNorm`: expected x [batch, channels, ...] and one number a channel for `batchNorm`, received x [batch, 5], w [4], b [4], mean [4], variance [4]',
  ],
  layerNorm: [
    () => tandem.layerNorm()(floats()),
    'in layer `layerNorm`: expected x [..., n] for `layerNorm`, received x [batch]',
  ],
  gru: [
    () => tandem.gru(3)(floats(4)),
    'in layer `gru`: expected x [batch, time, in] of a fixed time for `gru`, received x [batch, 4]',
  ],
  embedding: [
    () => tandem.embedding(5, 3, { positions: 3 })(integers(4)),
    'in layer `embedding`: expected index [..., time] with a time of at most 3 for `embedding`, received index [batch, 4], positions [3, 3]',
  ],
  multiHeadAttention: [
    () => again(tandem.multiHeadAttention({ heads: 2 }), floats(4, 6), floats(4, 8)),
    'in layer `multiHeadAttention`: expected inProj.weight [24, 8] for `multiHeadAttention`, received x [batch, 4, 8], inProj.weight [18, 6]',
  ],
  transformerBlock: [
    () => tandem.transformerBlock({ heads: 4 })(floats(4, 6)),
    'in layer `transformerBlock`: expected x [batch, time, dim] of a width that 4 heads divide for `transformerBlock`, received x [batch, 4, 6]',
  ],
  globalAvgPool2d: [
    () => tandem.globalAvgPool2d(floats(4)),
    'expected x [n, c, h, w] for `globalAvgPool2d`, received x [batch, 4]',
  ],
  linear: [
    () => functional.linear(floats(4), weights(3, 4), weights(4)),
    'expected b [out] for `linear`, received x [batch, 4], w [3, 4], b [4]',
  ],
  lstm: [
    () => functional.lstm(floats(4, 5), weights(12, 5), weights(12, 3), weights(12), weights(11)),
    'expected x [batch, time, in], wIh [4 * units, in], wHh [4 * units, units], bIh and bHh [4 * units] for `lstm`, received x [batch, 4, 5], wIh [12, 5], wHh [12, 3], bIh [12], bHh [11]',
  ],
  matmul: [
    () => tandem.matmul(floats(4), weights(3, 5)),
    'expected a [..., m, k] and b [..., k, n] for `matmul`, received a [batch, 4], b [3, 5]',
  ],
  where: [
    () => tandem.where(floats(4), floats(4), floats(5)),
    'expected shapes that broadcast for `where`, received condition [batch, 4], a [batch, 4], b [batch, 5]',
  ],
  concat: [
    () => tandem.concat([floats(4), floats(4, 5)], { axis: 1 }),
    'expected operands of one rank for `concat`, received values[0] [batch, 4], values[1] [batch, 4, 5]',
  ],
  reshape: [
    () => tandem.reshape(floats(4), [-1, 3]),
    'expected as many elements as [-1, 3] for `reshape`, received x [batch, 4]',
  ],
  mse: [
    () => tandem.mse(floats(4), floats(5)),
    'expected x and target of one shape for `mse`, received x [batch, 4], target [batch, 5]',
  ],
  'weights of mse': [
    () => tandem.mse(floats(4), floats(4), { weights: floats(5) }),
    'expected weights [batch, 4], its first axes, or 1 in place of some for `mse`, received weights [batch, 5]',
  ],
  'posWeight of bceWithLogits': [
    () => tandem.bceWithLogits(floats(4), floats(4), { posWeight: [1, 2] }),
    'expected posWeight [n] for x [..., n] for `bceWithLogits`, received x [batch, 4], posWeight [2]',
  ],
};

const dtype = {
  dense: [() => tandem.dense(3)(integers(4)), 'float32', 'x` of `linear', 'int32 [batch, 4]'],
  lstm: [() => tandem.lstm(3)(integers(4, 5)), 'float32', 'x` of `lstm', 'int32 [batch, 4, 5]'],
  block: [
    () => tandem.transformerBlock({ heads: 2 })(integers(4, 6)),
    ...['float32', 'x` of `transformerBlock', 'int32 [batch, 4, 6]'],
  ],
  'bHh of lstm': [
    () =>
      functional.lstm(
        ...[floats(4, 5), weights(12, 5), weights(12, 3), weights(12)],
        input([], { dtype: 'int32', batch: 12 }),
      ),
    ...['float32', 'bHh` of `lstm', 'int32 [12]'],
  ],
  'projection of attention': [
    () =>
      functional.multiHeadAttention(
        floats(4, 6),
        {
          inProj: { weight: input([6], { dtype: 'int32', batch: 18 }) },
          outProj: { weight: weights(6, 6) },
        },
        { heads: 2 },
      ),
    ...['float32', 'inProj.weight` of `multiHeadAttention', 'int32 [18, 6]'],
  ],
  globalAvgPool2d: [
    () => tandem.globalAvgPool2d(integers(4, 3, 3)),
    ...['float32', 'x` of `globalAvgPool2d', 'int32 [batch, 4, 3, 3]'],
  ],
  embedding: [
    () => tandem.embedding(5, 3)(floats(4)),
    ...['int32', 'index` of `embedding', 'float32 [batch, 4]'],
  ],
  add: [() => tandem.add(floats(4), integers(4)), 'float32', 'b` of `add', 'int32 [batch, 4]'],
  concat: [
    () => tandem.concat([floats(4), integers(4)], { axis: 1 }),
    ...['float32', 'values[1]` of `concat', 'int32 [batch, 4]'],
  ],
  crossEntropy: [
    () => tandem.crossEntropy(floats(4), floats()),
    ...['int32', 'target` of `crossEntropy', 'float32 [batch]'],
  ],
  'weights of crossEntropy': [
    () => tandem.crossEntropy(floats(4), integers(), { weights: integers() }),
    ...['float32', 'weights` of `crossEntropy', 'int32 [batch]'],
  ],
};

for (const [name, [apply, message]] of Object.entries(shape)) {
  test(`shapes that do not fit: ${name}`, (t) => {
    t.throws(apply, { code: 'ERR_SHAPE', message });
  });
}

for (const [name, [apply, expected, operand, received]] of Object.entries(dtype)) {
  test(`a type that does not fit: ${name}`, (t) => {
    const { code, message } = t.throws(apply);
    t.is(code, 'ERR_DTYPE');
    const own = message.replace(/^in layer `\w+`: /, '');
    t.is(own, `expected ${expected} for \`${operand}\`, received ${received}`);
  });
}

const { metrics } = tandem;
const two = () => [floats(4), floats(4)];
const ignored = {
  sgd: () => tandem.sgd({}, 0.9),
  adam: () => tandem.adam({}, 3),
  adamw: () => tandem.adamw({ learningRate: 1e-3 }, { weightDecay: 0.1 }),
  lion: () => tandem.lion({}, 3),
  lamb: () => tandem.lamb({}, 3),
  rmsprop: () => tandem.rmsprop(undefined, 3),
  adagrad: () => tandem.adagrad({}, 3),
  constant: () => tandem.constant({}, 3),
  cosine: () => tandem.cosine({ totalSteps: 9 }, 3),
  linearDecay: () => tandem.linearDecay({ totalSteps: 9 }, 3),
  stepDecay: () => tandem.stepDecay({ stepSize: 9 }, 0.5),
  exponential: () => tandem.exponential({ gamma: 0.9 }, 3),
  oneCycle: () => tandem.oneCycle({ totalSteps: 9 }, 3),
  reduceOnPlateau: () => tandem.reduceOnPlateau({}, 3),
  crossEntropy: () => tandem.crossEntropy(floats(4), integers(), {}, 3),
  mse: () => tandem.mse(...two(), {}, 3),
  l1: () => tandem.l1(...two(), {}, 3),
  huber: () => tandem.huber(...two(), { delta: 1 }, 3),
  bceWithLogits: () => tandem.bceWithLogits(...two(), {}, 3),
  distillation: () => tandem.distillation(...two(), {}, 3),
  earlyStopping: () => tandem.earlyStopping({}, 3),
  detectOverfitting: () => tandem.detectOverfitting({}, 3),
  tensorBoard: () => tandem.tensorBoard({ dir: 'runs' }, 3),
  htmlReport: () => tandem.htmlReport({ path: 'report.html' }, 3),
  accuracy: () => metrics.accuracy({ k: 3 }),
  mae: () => metrics.mae({}),
  rmse: () => metrics.rmse({}),
  r2: () => metrics.r2({}),
  confusionMatrix: () => metrics.confusionMatrix({ labels: [] }),
  topKAccuracy: () => metrics.topKAccuracy({ k: 3 }, 3),
  rocAuc: () => metrics.rocAuc({}, 3),
  perplexity: () => metrics.perplexity({}, 3),
  precision: () => metrics.precision({}, 'macro'),
  recall: () => metrics.recall({}, 'macro'),
  f1: () => metrics.f1({}, 'macro'),
};

for (const [name, call] of Object.entries(ignored)) {
  test(`arguments that would be ignored: ${name}`, (t) => {
    const message = new RegExp(`^expected no more arguments for \`${name}\`, received `);
    t.throws(call, { code: 'ERR_ARGUMENT', message });
  });
}
