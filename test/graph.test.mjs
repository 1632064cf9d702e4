// Values, their shapes, and the errors of ops.
import test from 'ava';
import * as tandem from 'tandem-ml';
import {
  add,
  concat,
  crossEntropy,
  dense,
  flatten,
  functional,
  gather,
  gelu,
  input,
  matmul,
  mean,
  mul,
  multiHeadAttention,
  parameter,
  relu,
  reshape,
  slice,
  softmax,
  sum,
  TandemError,
  transpose,
  Value,
} from 'tandem-ml';

/** Runs `body` and checks the error's code and a part of its message. */
const fails = (t, body, code, message) => {
  const error = t.throws(body, { instanceOf: TandemError });
  t.is(error?.code, code, error?.message);
  if (message !== undefined) t.regex(error?.message ?? '', message);
};

test('a shape of more elements than numbers count is refused at once', (t) => {
  fails(t, () => input([2 ** 40, 2 ** 40]), 'ERR_ARGUMENT', /`shape`, received \[1099511627776, /);
  fails(t, () => input([2 ** 52], { batch: 2 }), 'ERR_ARGUMENT', /2\^53 - 1 elements/);
  fails(t, () => parameter([2 ** 27, 2 ** 26]), 'ERR_ARGUMENT', /`shape`/);
  t.deepEqual(input([2 ** 52]).shape, [null, 2 ** 52]);
});

test('arguments that a layer would ignore are refused', (t) => {
  const calls = {
    dense: () => tandem.dense(2, {}, 'relu'),
    embedding: () => tandem.embedding(2, 3, {}, 'e'),
    conv1d: () => tandem.conv1d(2, { kernel: 3 }, 'relu'),
    conv2d: () => tandem.conv2d(2, { kernel: 3 }, 'relu'),
    convTranspose2d: () => tandem.convTranspose2d(2, { kernel: 3 }, 'relu'),
    batchNorm: () => tandem.batchNorm({}, 1),
    layerNorm: () => tandem.layerNorm({}, 1),
    rmsNorm: () => tandem.rmsNorm({}, 1),
    groupNorm: () => tandem.groupNorm({ groups: 1 }, 1),
    dropout: () => tandem.dropout(0.5, {}, 'd'),
    lstm: () => tandem.lstm(2, {}, true),
    gru: () => tandem.gru(2, {}, true),
    multiHeadAttention: () => tandem.multiHeadAttention({ heads: 1 }, 8),
    transformerBlock: () => tandem.transformerBlock({ heads: 1 }, 8),
    relu: () => tandem.relu({}, 3),
    elu: () => tandem.elu(input([2]), {}, 3),
    reshape: () => tandem.reshape([2], [1]),
    maxPool2d: () => tandem.maxPool2d({ kernel: 2 }, 2),
  };
  for (const [name, call] of Object.entries(calls)) {
    fails(t, call, 'ERR_ARGUMENT', new RegExp(`no more arguments for \`${name}\`, received`));
  }
});

test('an input has a free batch unless it is fixed', (t) => {
  const x = input([1, 28, 28], { name: 'x' });
  t.deepEqual(x.shape, [null, 1, 28, 28]);
  t.is(x.dtype, 'float32');
  t.is(x.name, 'x');
  t.deepEqual(input([3], { batch: 4, dtype: 'int32' }).shape, [4, 3]);
  t.is(String(x), 'Value(float32 [batch, 1, 28, 28])');
});

test('shapes follow from ops', (t) => {
  const x = input([4, 6]);
  t.deepEqual(flatten(x).shape, [null, 24]);
  t.deepEqual(reshape(x, [-1, 24]).shape, [null, 24]);
  t.deepEqual(reshape(x, [null, 2, 12]).shape, [null, 2, 12]);
  t.deepEqual(transpose(x, { perm: [0, 2, 1] }).shape, [null, 6, 4]);
  t.deepEqual(transpose(x).shape, [6, 4, null]);
  t.deepEqual(sum(x).shape, []);
  t.deepEqual(mean(x, { axes: [1], keepDims: true }).shape, [null, 1, 6]);
  t.deepEqual(mean(x, { axes: -1 }).shape, [null, 4]);
  t.deepEqual(slice(x, { axis: 1, start: 1, end: -1 }).shape, [null, 2, 6]);
  t.deepEqual(concat([x, x], { axis: 2 }).shape, [null, 4, 12]);
  t.deepEqual(matmul(x, input([6, 5])).shape, [null, 4, 5]);
  t.deepEqual(add(x, 1).shape, [null, 4, 6]);
  t.deepEqual(mul(2, sum(x)).shape, []);
  t.is(String(concat([x, x], { axis: 0 })), 'Value(float32 [2·batch, 4, 6])');
});

test('values cannot be changed', (t) => {
  const x = input([2]);
  t.throws(() => x.shape.push(1), { instanceOf: TypeError });
  t.throws(() => Object.assign(x, { dtype: 'int32' }), { instanceOf: TypeError });
});

test('shape errors speak of the batch', (t) => {
  const x = input([5]);
  fails(t, () => add(x, input([4])), 'ERR_SHAPE', /\[batch, 5\].*\[batch, 4\]/);
  fails(t, () => reshape(x, [-1, 3, 7]), 'ERR_SHAPE', /\[batch, 5\]/);
  fails(t, () => concat([x, concat([x, x], { axis: 0 }), input([6])]), 'ERR_SHAPE', /2·batch/);
  const w = relu(input([3], { batch: 2 }));
  fails(
    t,
    () => functional.linear(x, w),
    'ERR_SHAPE',
    /`linear`, received x \[batch, 5\], w \[2, 3\]/,
  );
});

test('shape errors in a layer name it', (t) => {
  const head = dense(3, { name: 'head' });
  head(input([4]));
  fails(t, () => head(input([5])), 'ERR_SHAPE', /^in layer `head`: /);
  const unnamed = dense(3);
  unnamed(input([4]));
  fails(t, () => unnamed(dense(5)(input([4]))), 'ERR_SHAPE', /^in layer `dense_1`: /);
});

test('a layer whose first call failed has no parameters yet', (t) => {
  const layer = dense(3);
  fails(t, () => layer(input([4], { dtype: 'int32' })), 'ERR_DTYPE');
  t.deepEqual(layer(input([7])).shape, [null, 3]);
});

test('types are checked', (t) => {
  const x = input([3]);
  const labels = input([], { dtype: 'int32' });
  fails(t, () => relu(labels), 'ERR_DTYPE');
  fails(t, () => crossEntropy(x, input([])), 'ERR_DTYPE');
  t.deepEqual(crossEntropy(x, labels).shape, []);
});

test('arguments are checked', (t) => {
  const x = input([3]);
  fails(t, () => input('784'), 'ERR_ARGUMENT', /an array of integers for `shape`, received "784"/);
  fails(t, () => input([0]), 'ERR_ARGUMENT', /`shape\[0\]`, received 0/);
  fails(t, () => input([1.5]), 'ERR_ARGUMENT');
  fails(t, () => input([3], { dtype: 'float64' }), 'ERR_ARGUMENT', /"float32" or "int32"/);
  fails(t, () => add(x, '1'), 'ERR_ARGUMENT', /a Value or a number for `b`, received "1"/);
  fails(t, () => softmax(x, { axes: 1 }), 'ERR_ARGUMENT', /did you mean `axis`\?/);
  fails(t, () => softmax(x, { axis: 2 }), 'ERR_ARGUMENT');
  fails(t, () => gelu(x, { approximate: 'tan' }), 'ERR_ARGUMENT', /"none" or "tanh"/);
  fails(t, () => crossEntropy(x, x, { labelSmoothing: 2 }), 'ERR_ARGUMENT', /labelSmoothing/);
  fails(t, () => concat([]), 'ERR_ARGUMENT');
  fails(t, () => concat([x, 1]), 'ERR_ARGUMENT', /`values\[1\]`/);
});

test('errors show dimensions as they are, however large, and values as they were given', (t) => {
  const logits = input([50257]);
  fails(
    t,
    () => add(logits, input([65536])),
    'ERR_SHAPE',
    /a \[batch, 50257\], b \[batch, 65536\]/,
  );
  const twice = concat([logits, logits], { axis: 0 });
  fails(
    t,
    () => add(twice, input([720721])),
    'ERR_SHAPE',
    /a \[2·batch, 50257\], b \[batch, 720721\]/,
  );
  const fixed = (shape, dtype = 'float32') => input(shape.slice(1), { batch: shape[0], dtype });
  const index = fixed([7, 2, 9], 'int32');
  fails(t, () => gather(fixed([5, 4, 3]), index), 'ERR_SHAPE', /x \[5, 4, 3\], index \[7, 2, 9\]/);
  const wide = { dilation: 3, outputPadding: 2 };
  const plane = fixed([1, 3, 5, 5]);
  const transposed = () => functional.convTranspose2d(plane, fixed([4, 2, 3, 3]), null, wide);
  fails(t, transposed, 'ERR_SHAPE', /x \[1, 3, 5, 5\], w \[4, 2, 3, 3\]/);
  const attention = multiHeadAttention({ heads: 1, name: 'att' });
  const context = () => attention(fixed([2, 4, 3]), fixed([3, 4, 3]));
  fails(t, context, 'ERR_SHAPE', /in layer `att`.*\[2, 4, 3\].*\[3, 4, 3\]/);
});

test('recurrences refuse weights that would broadcast', (t) => {
  const x = input([4, 3]);
  const fixed = (shape) => input(shape.slice(1), { batch: shape[0] });
  for (const [op, rows] of [
    [functional.lstm, 16],
    [functional.gru, 12],
  ]) {
    const right = [[rows, 3], [rows, 4], [rows], [rows]];
    t.deepEqual(op(x, ...right.map(fixed)).shape, [null, 4, 4]);
    for (const [i, wrong] of [
      [0, [rows, 2]],
      [1, [rows, 5]],
      [2, [1]],
      [2, [rows - 1]],
      [3, [1, rows]],
    ]) {
      const weights = right.map((shape, k) => fixed(k === i ? wrong : shape));
      fails(
        t,
        () => op(x, ...weights),
        'ERR_SHAPE',
        new RegExp(`${op.name}.*\\[${wrong.join(', ')}\\]`),
      );
    }
  }
});

test('class weights fit the classes', (t) => {
  const [x, labels] = [input([3]), input([], { dtype: 'int32' })];
  t.true(crossEntropy(x, labels, { classWeights: [1, 2, 3] }) instanceof Value);
  t.true(crossEntropy(x, labels, { classWeights: Float64Array.of(1, 2, 3) }) instanceof Value);
  fails(t, () => crossEntropy(x, labels, { classWeights: [1, 2] }), 'ERR_SHAPE');
  fails(t, () => crossEntropy(x, labels, { classWeights: [1, 2, -3] }), 'ERR_ARGUMENT');
});
