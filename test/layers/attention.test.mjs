// Layers of attention against the same computed with plain ops, their parameters, and files of them.
import { join } from 'node:path';
import test from 'ava';
import {
  attention,
  functional,
  input,
  Model,
  multiHeadAttention,
  Predictor,
  reshape,
  rotary,
  sequential,
  slice,
  Trainer,
  transpose,
} from 'tandem-ml';
import { evaluate } from 'tandem-ml/autodiff';
import { makeFolder } from '../helpers/folder.mjs';
import { fixed, generator, relativeError, uniform } from '../helpers/numbers.mjs';

const [batch, time, keys, dim, heads] = [3, 7, 5, 24, 4];

/** Heads as an axis of their own. */
const split = (x) => transpose(reshape(x, [batch, -1, heads, dim / heads]), { perm: [0, 2, 1, 3] });
const join3 = (y) => reshape(transpose(y, { perm: [0, 2, 1, 3] }), [batch, -1, dim]);

/** multiHeadAttention by plain ops, from values of its parameters. */
function plain({ x, context = x, mask, causal, turn = (value) => value, p }) {
  const part = (i, of) => {
    const range = { axis: 0, start: i * dim, end: (i + 1) * dim };
    const bias = p['inProj.bias'] && slice(p['inProj.bias'], range);
    return split(functional.linear(of, slice(p['inProj.weight'], range), bias));
  };
  const [q, k, v] = [part(0, x), part(1, context), part(2, context)];
  const y = attention(turn(q), turn(k), v, { causal, ...(mask && { mask }) });
  return functional.linear(join3(y), p['outProj.weight'], p['outProj.bias']);
}

/** The parameters of a model as values with feeds, all moved away from zero, by their suffixes. */
function opened(model, random) {
  const feeds = new Map();
  const p = {};
  for (const [name, { shape, data }] of model.parameters) {
    data.set(uniform(data.length, random, -0.5, 0.5));
    const suffix = name.slice(name.indexOf('.') + 1);
    p[suffix] = fixed(shape, 'float32', suffix);
    feeds.set(p[suffix], data);
  }
  return { p, feeds };
}

const forms = {
  'to itself': {},
  causal: { causal: true },
  'without biases': { bias: false },
  'to another value': { cross: true },
  'with a mask': { masked: true },
  'to another value with a mask': { cross: true, masked: true, causal: true },
  'with rotary positions': { rotary: true, causal: true },
  'to another value with rotary positions': { rotary: { base: 100 }, cross: true },
};

for (const [form, { cross, masked, ...options }] of Object.entries(forms)) {
  test(`multiHeadAttention ${form}`, async (t) => {
    const random = generator(61);
    const x = fixed([batch, time, dim], 'float32', 'x');
    const context = cross ? fixed([batch, keys, dim], 'float32', 'context') : undefined;
    const mask = masked ? fixed([batch, 1, 1, cross ? keys : time], 'float32', 'mask') : undefined;
    const layer = multiHeadAttention({ heads, ...options });
    const y = layer(x, context, mask && { mask });
    t.deepEqual(y.shape, [batch, time, dim]);
    const inputs = [x, context, mask].filter((value) => value !== undefined);
    const model = new Model({ inputs, outputs: [y], seed: 1 });
    const { p, feeds } = opened(model, random);
    const arrays = Object.fromEntries(
      inputs.map(({ name, shape }) => [
        name,
        uniform(
          shape.reduce((a, b) => a * b),
          random,
        ),
      ]),
    );
    for (const value of inputs) feeds.set(value, arrays[value.name]);
    const turn = options.rotary
      ? (value) => rotary(value, options.rotary === true ? {} : options.rotary)
      : undefined;
    const expected = plain({ x, context, mask, causal: options.causal ?? false, turn, p });
    const [wanted] = evaluate(expected, feeds);
    const predictor = await Predictor.load(model);
    t.teardown(() => predictor.close());
    const result = await predictor.predict(inputs.length === 1 ? arrays.x : arrays);
    const error = relativeError(ArrayBuffer.isView(result) ? result : result[0], wanted);
    t.true(error < 1e-5, `relative error ${error}`);
  });
}

test('parameters are named and shaped as in PyTorch', (t) => {
  const model = sequential([multiHeadAttention({ heads })], { input: [time, dim], seed: 1 });
  const shapes = [...model.parameters].map(([name, { shape }]) => [name, shape]);
  t.deepEqual(shapes, [
    ['multiHeadAttention.inProj.weight', [3 * dim, dim]],
    ['multiHeadAttention.inProj.bias', [3 * dim]],
    ['multiHeadAttention.outProj.weight', [dim, dim]],
    ['multiHeadAttention.outProj.bias', [dim]],
  ]);
  const limit = Math.sqrt(6 / (4 * dim));
  const weight = model.parameters.get('multiHeadAttention.inProj.weight').data;
  const largest = weight.reduce((most, item) => Math.max(most, Math.abs(item)), 0);
  t.true(largest <= limit && largest > 0.95 * limit);
  t.true(model.parameters.get('multiHeadAttention.inProj.bias').data.every((item) => item === 0));
});

test('a file keeps the layer', async (t) => {
  const folder = await makeFolder(t);
  const layers = [multiHeadAttention({ heads, causal: true, rotary: true })];
  const model = sequential(layers, { input: [time, dim], seed: 2 });
  const file = join(folder, 'model.safetensors');
  await model.save(file);
  const x = uniform(2 * time * dim, generator(62));
  const predictors = [await Predictor.load(model), await Predictor.load(file)];
  const [before, after] = await Promise.all(predictors.map((predictor) => predictor.predict(x)));
  t.deepEqual(after, before);
  await Promise.all(predictors.map((predictor) => predictor.close()));
});

test('training a layer lowers the loss', async (t) => {
  const layers = [multiHeadAttention({ heads, causal: true })];
  const model = sequential(layers, { input: [time, dim], seed: 3 });
  const trainer = new Trainer(model, { loss: 'mse', seed: 1 });
  t.teardown(() => trainer.close());
  const random = generator(63);
  const data = { x: uniform(8 * time * dim, random), y: uniform(8 * time * dim, random) };
  const first = await trainer.step(data);
  let last = first;
  for (let i = 0; i < 30; i++) last = await trainer.step(data);
  t.true(last.loss < 0.9 * first.loss, `${first.loss} to ${last.loss}`);
});

test('a context and a mask that are null are none', (t) => {
  const [x, mask] = [fixed([2, 3, 4]), fixed([2, 1, 3, 3])];
  const layer = multiHeadAttention({ heads: 2 });
  const forms = [
    [layer(x), layer(x, null), layer(x, null, { mask: null })],
    [layer(x, undefined, { mask }), layer(x, null, { mask })],
  ];
  new Model({ inputs: [x, mask], outputs: forms.flat(), seed: 1 });
  const feeds = new Map([
    [x, uniform(24, generator(1))],
    [mask, uniform(18, generator(2))],
  ]);
  for (const values of forms) {
    const [first, ...others] = evaluate(values, feeds);
    for (const other of others) t.deepEqual(other, first);
  }
});

test('what it refuses', (t) => {
  const refuses = (body, code, message) => {
    const error = t.throws(body);
    t.is(error.code, code);
    t.regex(error.message, message);
  };
  const x = input([time, dim]);
  refuses(() => multiHeadAttention(), 'ERR_ARGUMENT', /`heads`/);
  refuses(() => multiHeadAttention({ heads: 0 }), 'ERR_ARGUMENT', /`heads`/);
  refuses(() => multiHeadAttention({ heads: 2, causal: 1 }), 'ERR_ARGUMENT', /`causal`/);
  refuses(() => multiHeadAttention({ heads: 2, rotary: { base: -1 } }), 'ERR_ARGUMENT', /`base`/);
  refuses(() => multiHeadAttention({ heads: 2, head: 1 }), 'ERR_ARGUMENT', /did you mean `heads`/);
  refuses(() => multiHeadAttention({ heads: 5 })(x), 'ERR_SHAPE', /multiHeadAttention/);
  refuses(
    () => multiHeadAttention({ heads: 2 })(input([dim])),
    'ERR_SHAPE',
    /\[batch, time, dim\]/,
  );
  refuses(() => multiHeadAttention({ heads: 2 })(x, 3), 'ERR_ARGUMENT', /`context`/);
  refuses(() => multiHeadAttention({ heads: 2 })(x, x, { mask: 1 }), 'ERR_ARGUMENT', /`mask`/);
  refuses(
    () => multiHeadAttention({ heads: 2 })(x, input([time, 5])),
    'ERR_SHAPE',
    /a context .*, 5\]$/,
  );
  refuses(
    () => multiHeadAttention({ heads: 8, rotary: true })(x),
    'ERR_SHAPE',
    /expected x .* an even width for each of 8 heads, .*received x \[batch, 7, 24\]$/,
  );
});
