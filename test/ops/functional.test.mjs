// Forms of layers whose weights are values: the bits of the layers, gradients that go on to what the
// weights are computed from, and errors that name the op and the shapes.
import test from 'ava';
import * as tandem from 'tandem-ml';
import { evaluate } from 'tandem-ml/autodiff';
import { check, count, numbers } from '../helpers/differences.mjs';
import { fixed, generator, uniform } from '../helpers/numbers.mjs';

const { dense, exp, functional, input, Model, reshape, sgd, slice, Trainer } = tandem;

const [time, dim, heads] = [5, 8, 2];
const row = [time, dim];
const last = (states) => reshape(slice(states, { axis: 1, start: -1 }), [-1, states.shape[2]]);
const recurrent = (form) => (x, w) => form(x, w.weightIh, w.weightHh, w.biasIh, w.biasHh);
const withWeights = (form, options) => (x, w) => form(x, w.weight, w.bias, options);
const attention = (options) => ({
  layer: () => tandem.multiHeadAttention({ heads, ...options }),
  form: (x, w) => {
    const { bias, ...others } = options;
    return functional.multiHeadAttention(x, w, { heads, ...others });
  },
  row,
});
const block = (options) => ({
  layer: () => tandem.transformerBlock({ heads, ...options }),
  form: (x, w) => {
    const { bias, mlpRatio, ...others } = options;
    return functional.transformerBlock(x, w, { heads, ...others });
  },
  row,
});
const windows = { stride: 2, padding: 1 };
const planes = [4, 7, 6];

/** Each layer with parameters, and the same from values by the names of its parameters. */
const pairs = {
  dense: {
    layer: () => dense(3, { activation: 'gelu' }),
    form: (x, w) => tandem.gelu(functional.linear(x, w.weight, w.bias)),
    row,
  },
  'dense without a bias': {
    layer: () => dense(3, { bias: false }),
    form: (x, w) => functional.linear(x, w.weight),
    row,
  },
  conv1d: {
    layer: () => tandem.conv1d(3, { kernel: 3, ...windows }),
    form: withWeights(functional.conv1d, windows),
    row,
  },
  conv2d: {
    layer: () => tandem.conv2d(6, { kernel: [3, 2], groups: 2, activation: 'relu', ...windows }),
    form: (x, w) => tandem.relu(functional.conv2d(x, w.weight, w.bias, { groups: 2, ...windows })),
    row: planes,
  },
  convTranspose2d: {
    layer: () => tandem.convTranspose2d(3, { kernel: 3, ...windows }),
    form: withWeights(functional.convTranspose2d, windows),
    row: planes,
  },
  // The batch's statistics train, given ones predict.
  batchNorm: {
    layer: () => tandem.batchNorm(),
    form: (x, w) => {
      const given = { mean: w.runningMean, variance: w.runningVar };
      return functional.batchNorm(x, w.weight, w.bias, given);
    },
    row: planes,
  },
  layerNorm: {
    layer: () => tandem.layerNorm({ eps: 1e-3 }),
    form: withWeights(functional.layerNorm, { eps: 1e-3 }),
    row,
  },
  rmsNorm: {
    layer: () => tandem.rmsNorm(),
    form: (x, w) => functional.rmsNorm(x, w.weight),
    row,
  },
  groupNorm: {
    layer: () => tandem.groupNorm({ groups: 2 }),
    form: withWeights(functional.groupNorm, { groups: 2 }),
    row: planes,
  },
  embedding: {
    layer: () => tandem.embedding(11, dim),
    form: (x, w) => functional.embedding(x, w.weight),
    row: [time],
    dtype: 'int32',
  },
  'embedding with positions': {
    layer: () => tandem.embedding(11, dim, { positions: time + 2 }),
    form: (x, w) => functional.embedding(x, w.weight, { positions: w.positions }),
    row: [time],
    dtype: 'int32',
  },
  lstm: {
    layer: () => tandem.lstm(3, { sequence: true }),
    form: recurrent(functional.lstm),
    row,
  },
  gru: {
    layer: () => tandem.gru(3),
    form: (x, w) => last(recurrent(functional.gru)(x, w)),
    row,
  },
  multiHeadAttention: attention({}),
  'multiHeadAttention, causal, rotary, without biases': attention({
    causal: true,
    rotary: { base: 100 },
    bias: false,
  }),
  transformerBlock: block({ causal: true }),
  'transformerBlock with rms, swiglu and rotary positions': block({
    norm: 'rms',
    activation: 'swiglu',
    rotary: true,
    bias: false,
    mlpRatio: 3,
  }),
  'transformerBlock with swiglu, biases and dropout': block({ activation: 'swiglu', dropout: 0.3 }),
};

/** Values by dotted names as records within records. */
function nested(entries) {
  const all = {};
  for (const [name, value] of entries) {
    const path = name.split('.');
    const key = path.pop();
    let inner = all;
    for (const part of path) inner = inner[part] ??= {};
    inner[key] = value;
  }
  return all;
}

/** A model of the layer alone with its weights away from where they start. */
function modelOf({ layer, row: shape, dtype = 'float32' }) {
  const x = input(shape, { dtype });
  const y = layer()(x);
  const model = new Model({ inputs: [x], outputs: [y], seed: 3 });
  const random = generator(5);
  for (const { data, trainable } of model.parameters.values()) {
    // Of the others one is a variance.
    data.set(uniform(data.length, random, trainable ? -0.5 : 0.1, 0.5));
  }
  const weights = [...model.parameters].map(([name, parameter]) => [
    name.slice(name.indexOf('.') + 1),
    parameter,
  ]);
  return { x, y, model, weights };
}

const rowsOf = ({ row: shape, dtype }, batch) => {
  const numbersOf = uniform(batch * count(shape), generator(7), 0, dtype ? 11 : 1);
  return dtype ? Int32Array.from(numbersOf) : numbersOf;
};

const batch = 3;

for (const [name, pair] of Object.entries(pairs)) {
  test(`${name} computes the bits of its layer`, (t) => {
    const { x: rows, y, weights } = modelOf(pair);
    const x = fixed([batch, ...pair.row], pair.dtype);
    const values = weights.map(([key, { shape }]) => [key, fixed(shape)]);
    const feeds = new Map([[x, rowsOf(pair, batch)]]);
    values.forEach(([, value], i) => {
      feeds.set(value, weights[i][1].data);
    });
    const [got] = evaluate(pair.form(x, nested(values)), feeds);
    const [wanted] = evaluate(y, new Map([[rows, rowsOf(pair, batch)]]));
    t.deepEqual(got, wanted);
  });

  // Weights that other layers compute as their own parameters times one: gradients of those are the
  // gradients of these, so that both models train alike.
  test(`${name} trains what computes its weights`, async (t) => {
    const { model, weights: all } = modelOf(pair);
    const weights = all.filter(([, { trainable }]) => trainable);
    const x = input(pair.row, { dtype: pair.dtype ?? 'float32' });
    const one = reshape(exp(0), [1, 1]);
    const made = weights.map(([key, { shape }]) => {
      const layer = dense(count(shape), { bias: false, name: key });
      return [key, reshape(layer(one), shape)];
    });
    const hyper = new Model({ inputs: [x], outputs: [pair.form(x, nested(made))], seed: 3 });
    for (const [key, { data }] of weights) hyper.parameters.get(`${key}.weight`).data.set(data);
    const data = { x: rowsOf(pair, batch), y: new Float32Array(0) };
    data.y = uniform(batch * count(model.outputs[0].shape.slice(1)), generator(9));
    const before = weights.map(([, parameter]) => parameter.data.slice());
    for (const trained of [model, hyper]) {
      const trainer = new Trainer(trained, {
        loss: 'mse',
        optimizer: sgd({ learningRate: 0.5 }),
        seed: 1,
      });
      for (let i = 0; i < 2; i++) await trainer.step(data);
      await trainer.close();
    }
    weights.forEach(([key, parameter], i) => {
      t.notDeepEqual(parameter.data, before[i], key);
      t.deepEqual(hyper.parameters.get(`${key}.weight`).data, parameter.data, key);
    });
  });
}

// Small weights keep third derivatives small, and so does a large x before a norm.
const range = { low: -0.4, high: 0.4 };

/** Operands of attention within a name: `attention.inProj.weight` and so on. */
const attentionFloats = (prefix, width, { bias = true, seed = 80 } = {}) => ({
  [`${prefix}inProj.weight`]: numbers([3 * width, width], seed, range),
  [`${prefix}outProj.weight`]: numbers([width, width], seed + 1, range),
  ...(bias && {
    [`${prefix}inProj.bias`]: numbers([3 * width], seed + 2, range),
    [`${prefix}outProj.bias`]: numbers([width], seed + 3, range),
  }),
});

const blockFloats = (width, hidden, { norm, gated }) => ({
  ...attentionFloats('attention.', width),
  'norm1.weight': numbers([width], 84, { low: 0.5, high: 1.5 }),
  'norm2.weight': numbers([width], 85, { low: 0.5, high: 1.5 }),
  ...(norm === 'layer' && {
    'norm1.bias': numbers([width], 86, range),
    'norm2.bias': numbers([width], 87, range),
  }),
  'mlp.up.weight': numbers([hidden, width], 88, range),
  'mlp.up.bias': numbers([hidden], 89, range),
  ...(gated && { 'mlp.gate.weight': numbers([hidden, width], 90, range) }),
  'mlp.down.weight': numbers([width, hidden], 91, range),
});

test('gradients of multiHeadAttention', (t) => {
  const differentiate = (floats, graph) =>
    check(t, {
      graph: ({ x, context, mask, ...v }) => graph(x, nested(Object.entries(v)), { context, mask }),
      floats: { x: numbers([2, 5, 6], 92), ...floats },
    });
  for (const options of [
    { heads: 2, causal: true },
    { heads: 3, rotary: true },
  ]) {
    for (const bias of [true, false]) {
      differentiate(attentionFloats('', 6, { bias }), (x, w) =>
        functional.multiHeadAttention(x, w, options),
      );
    }
  }
  const context = numbers([2, 3, 6], 93, range);
  const mask = numbers([2, 1, 1, 3], 94);
  differentiate({ ...attentionFloats('', 6), context, mask }, (x, w, others) =>
    functional.multiHeadAttention(x, w, { heads: 2, ...others }),
  );
});

test('gradients of transformerBlock', (t) => {
  const x = numbers([2, 5, 6], 92);
  const mask = numbers([2, 1, 5, 5], 94);
  for (const options of [{ causal: true }, { norm: 'rms', activation: 'swiglu', rotary: true }]) {
    const { norm = 'layer', activation } = options;
    const heads = norm === 'rms' ? 3 : 2;
    check(t, {
      graph: ({ x: rows, mask: added, ...v }) =>
        functional.transformerBlock(rows, nested(Object.entries(v)), {
          heads,
          mask: added,
          ...options,
        }),
      floats: { x, mask, ...blockFloats(6, 10, { norm, gated: activation === 'swiglu' }) },
    });
  }
});

test('gradients of embedding with positions', (t) => {
  const index = { shape: [2, 4], data: Int32Array.of(0, 4, 4, 2, 0, 1, 4, 3) };
  for (const length of [4, 7]) {
    check(t, {
      graph: (v) => functional.embedding(v.i, v.w, { positions: v.p }),
      floats: { w: numbers([5, 3], 95), p: numbers([length, 3], 96) },
      integers: { i: index },
    });
  }
});

test('weights that two attentions share get the gradients of both', (t) => {
  const { 'inProj.weight': w, 'inProj.bias': b } = attentionFloats('', 6);
  const graph = (v) => {
    // The matrix of the queries is that of the result, too.
    const outProj = { weight: slice(v.w, { axis: 0, end: 6 }) };
    const weights = { inProj: { weight: v.w, bias: v.b }, outProj };
    const once = functional.multiHeadAttention(v.x, weights, { heads: 2 });
    return functional.multiHeadAttention(once, weights, { heads: 3, causal: true });
  };
  check(t, { graph, floats: { x: numbers([2, 4, 6], 97), w, b } });
});

test('a mask and weights that are left out may be null', (t) => {
  const x = fixed([2, 3, 4]);
  const [w, v] = [fixed([12, 4]), fixed([4, 4])];
  const feeds = new Map([x, w, v].map((value, i) => [value, numbers(value.shape, i).data]));
  const all = { inProj: { weight: w, bias: null }, outProj: { weight: v, bias: null } };
  const values = [
    functional.multiHeadAttention(x, all, { heads: 2, context: null, mask: null, rotary: false }),
    functional.multiHeadAttention(
      x,
      { inProj: { weight: w }, outProj: { weight: v } },
      { heads: 2 },
    ),
  ];
  const [first, second] = evaluate(values, feeds);
  t.deepEqual(first, second);
});

/** What each form with weights refuses: its name, a call, and what the message says of shapes. */
const refused = {
  linear: [() => functional.linear(fixed([2, 3]), fixed([4, 5])), 'x [2, 3], w [4, 5]'],
  'linear by its bias': [
    () => functional.linear(fixed([2, 3]), fixed([4, 3]), fixed([3])),
    'x [2, 3], w [4, 3], b [3]',
  ],
  conv1d: [() => functional.conv1d(fixed([2, 3, 9]), fixed([4, 5, 3])), 'x [2, 3, 9], w [4, 5, 3]'],
  conv2d: [
    () => functional.conv2d(fixed([2, 3, 9, 9]), fixed([4, 3, 3])),
    'x [2, 3, 9, 9], w [4, 3, 3]',
  ],
  convTranspose2d: [
    () => functional.convTranspose2d(fixed([2, 3, 9, 9]), fixed([4, 3, 3, 3])),
    'x [2, 3, 9, 9], w [4, 3, 3, 3]',
  ],
  batchNorm: [() => functional.batchNorm(fixed([2, 3]), fixed([4])), 'x [2, 3], w [4]'],
  layerNorm: [() => functional.layerNorm(fixed([2, 3]), fixed([4])), 'x [2, 3], w [4]'],
  rmsNorm: [() => functional.rmsNorm(fixed([2, 3]), fixed([4])), 'x [2, 3], w [4]'],
  groupNorm: [
    () => functional.groupNorm(fixed([2, 4, 5]), fixed([3]), null, { groups: 2 }),
    'x [2, 4, 5], w [3]',
  ],
  embedding: [
    () => functional.embedding(fixed([2, 3], 'int32'), fixed([4])),
    'index [2, 3], w [4]',
  ],
  'embedding by its positions': [
    () => functional.embedding(fixed([2, 3], 'int32'), fixed([9, 4]), { positions: fixed([3, 5]) }),
    'w [9, 4], positions [3, 5]',
  ],
  'embedding by too few positions': [
    () => functional.embedding(fixed([2, 3], 'int32'), fixed([9, 4]), { positions: fixed([2, 4]) }),
    'index [2, 3], positions [2, 4]',
  ],
  lstm: [
    () => functional.lstm(fixed([2, 3, 4]), fixed([8, 5]), fixed([8, 2]), fixed([8]), fixed([8])),
    'x [2, 3, 4], wIh [8, 5]',
  ],
  gru: [
    () => functional.gru(fixed([2, 4]), fixed([6, 4]), fixed([6, 2]), fixed([6]), fixed([6])),
    'x [2, 4], wIh [6, 4]',
  ],
};

for (const [name, [call, shapes]] of Object.entries(refused)) {
  test(`functional.${name}: wrong shapes`, (t) => {
    const { code, message } = t.throws(call);
    t.is(code, 'ERR_SHAPE');
    t.true(message.includes(`for \`${name.split(' ')[0]}\`, received `), message);
    t.true(message.includes(shapes), message);
  });
}

test('functional.multiHeadAttention and transformerBlock: wrong shapes and weights', (t) => {
  const x = fixed([2, 3, 4]);
  const shapes = {
    'norm1.weight': [4],
    'norm1.bias': [4],
    'attention.inProj.weight': [12, 4],
    'attention.inProj.bias': [12],
    'attention.outProj.weight': [4, 4],
    'attention.outProj.bias': [4],
    'norm2.weight': [4],
    'norm2.bias': [4],
    'mlp.up.weight': [7, 4],
    'mlp.up.bias': [7],
    'mlp.gate.weight': [7, 4],
    'mlp.gate.bias': [7],
    'mlp.down.weight': [4, 7],
    'mlp.down.bias': [4],
  };
  const values = Object.entries(shapes).map(([name, shape]) => [name, fixed(shape)]);
  const withOne = (name, value) => nested([...values, [name, value]]);
  const ops = {
    transformerBlock: (w, options) =>
      functional.transformerBlock(x, w, { heads: 2, activation: 'swiglu', ...options }),
    multiHeadAttention: ({ attention: w }, options) =>
      functional.multiHeadAttention(x, w, { heads: 2, ...options }),
  };
  const refuses = (body, code, ...parts) => {
    const error = t.throws(body);
    t.is(error.code, code);
    for (const part of parts) t.true(error.message.includes(part), error.message);
  };
  for (const [op, call] of Object.entries(ops)) {
    const prefix = op === 'multiHeadAttention' ? 'attention.' : '';
    t.deepEqual(call(nested(values)).shape, [2, 3, 4]);
    for (const [name, shape] of Object.entries(shapes)) {
      if (!name.startsWith(prefix)) continue;
      const own = name.slice(prefix.length);
      const row = name === 'mlp.up.weight' ? '[hidden, 4]' : `[${shape.join(', ')}]`;
      const expected = `expected ${own} ${row} for \`${op}\`, received x [2, 3, 4], ${own} [5`;
      const other = [5, ...shape.slice(1), ...(name === 'mlp.up.weight' ? [1] : [])];
      refuses(() => call(withOne(name, fixed(other))), 'ERR_SHAPE', expected);
      refuses(() => call(withOne(name, 3)), 'ERR_ARGUMENT', `a Value for \`${own}\``);
      if (!name.endsWith('weight')) continue;
      refuses(() => call(withOne(name, null)), 'ERR_ARGUMENT', `\`${own}\`, received undefined`);
    }
    refuses(
      () => call(nested(values), { heads: 3 }),
      'ERR_SHAPE',
      op,
      '3 heads divide',
      'x [2, 3, 4]',
    );
    refuses(() => call(nested(values), { mask: 2 }), 'ERR_ARGUMENT', '`mask`');
    const mask = fixed([5]);
    refuses(
      () => call(nested(values), { mask }),
      'ERR_SHAPE',
      'broadcasts to [batch, 2, time, keys]',
      'received mask [5], x [2, 3, 4]',
    );
  }
  const { transformerBlock, multiHeadAttention } = ops;
  const all = nested(values);
  refuses(() => transformerBlock({ ...all, norm: 1 }), 'ERR_ARGUMENT', '`weights`', '`norm1`?');
  refuses(() => transformerBlock({ ...all, mlp: undefined }), 'ERR_ARGUMENT', '`mlp.up.weight`');
  refuses(() => transformerBlock(all, { norm: 'rms' }), 'ERR_ARGUMENT', '`norm1.bias`');
  refuses(() => transformerBlock(all, { activation: 'gelu' }), 'ERR_ARGUMENT', '`mlp.gate`');
  const context = fixed([2, 3, 5]);
  refuses(
    () => multiHeadAttention(all, { context }),
    'ERR_SHAPE',
    'multiHeadAttention',
    'x [2, 3, 4], context [2, 3, 5]',
  );
  refuses(() => functional.multiHeadAttention(x), 'ERR_ARGUMENT', '`heads`');
  refuses(
    () => functional.multiHeadAttention(x, {}, { heads: 2 }),
    'ERR_ARGUMENT',
    '`inProj.weight`',
  );
});
