// Layers, their parameters and names, and models.
import test from 'ava';
import {
  adam,
  add,
  dense,
  dropout,
  flatten,
  gelu,
  input,
  Model,
  relu,
  reshape,
  sequential,
  softmax,
  Trainer,
  transformerBlock,
} from 'tandem-ml';

const names = (model) => [...model.parameters.keys()];
const argument = (message) => ({ code: 'ERR_ARGUMENT', message });

test('sequential makes a model of layers and layer forms of ops', (t) => {
  const layers = [
    reshape([-1, 2, 3]),
    flatten(),
    dense(4, { activation: 'relu' }),
    gelu({ approximate: 'tanh' }),
    dropout(0.5),
    (x) => add(x, 1),
    dense(2, { bias: false }),
    softmax(),
  ];
  const model = sequential(layers, { input: [6], seed: 1 });
  t.deepEqual(names(model), ['dense.weight', 'dense.bias', 'dense_1.weight']);
  t.deepEqual(model.inputs, [{ name: 'x', shape: [null, 6], dtype: 'float32' }]);
  t.deepEqual(model.outputs, [{ name: 'y', shape: [null, 2], dtype: 'float32' }]);
});

test('parameters are live, typed and shaped as in PyTorch', (t) => {
  const model = sequential([dense(3)], { input: [5], seed: 1 });
  const weight = model.parameters.get('dense.weight');
  t.deepEqual(weight?.shape, [3, 5]);
  t.is(weight?.dtype, 'float32');
  t.true(weight?.trainable);
  t.true(weight?.data instanceof Float32Array);
  t.is(weight?.data.length, 15);
  const limit = 1 / Math.sqrt(5);
  t.true(weight?.data.every((value) => Math.abs(value) <= limit));
  t.true(new Set(weight?.data).size > 10);
  t.is(model.parameters.get('dense.weight')?.data, weight?.data);
});

test('the seed decides where parameters start', (t) => {
  const start = (seed) => {
    const model = sequential([dense(3)], { input: [5], seed });
    return [...(model.parameters.get('dense.weight')?.data ?? [])];
  };
  t.deepEqual(start(1), start(1));
  t.notDeepEqual(start(1), start(2));
});

test('initializers keep to their limits', (t) => {
  const weights = (initializer) => {
    const model = sequential([dense(300, { initializer })], { input: [200], seed: 1 });
    t.true([...model.parameters.values()][1]?.data.every((value) => value === 0));
    return model.parameters.get('dense.weight')?.data ?? new Float32Array(0);
  };
  const deviation = (values) =>
    Math.sqrt(values.reduce((sum, value) => sum + value * value, 0) / values.length);
  const largest = (values) => values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const near = (actual, expected) => t.true(Math.abs(actual / expected - 1) < 0.02, `${actual}`);

  for (const [name, scale] of [
    ['heUniform', 2 / 200],
    ['glorotUniform', 2 / 500],
    ['lecunUniform', 1 / 200],
  ]) {
    const values = weights(name);
    near(deviation(values), Math.sqrt(scale));
    t.true(largest(values) <= Math.sqrt(3 * scale) * 1.0001);
  }
  for (const [name, scale] of [
    ['heNormal', 2 / 200],
    ['glorotNormal', 2 / 500],
    ['lecunNormal', 1 / 200],
  ]) {
    const values = weights(name);
    near(deviation(values), Math.sqrt(scale));
    t.true(largest(values) <= (2 / 0.8796) * Math.sqrt(scale) * 1.001);
  }
  t.true(weights('zeros').every((value) => value === 0));
  t.true(weights('ones').every((value) => value === 1));
});

test('a layer called twice shares its parameters', (t) => {
  const [a, b] = [input([4], { name: 'a' }), input([4], { name: 'b' })];
  const shared = dense(3);
  const model = new Model({ inputs: [a, b], outputs: [shared(a), shared(b)] });
  t.deepEqual(names(model), ['dense.weight', 'dense.bias']);
  t.deepEqual(
    model.outputs.map(({ name }) => name),
    ['y', 'y_1'],
  );
});

test('names count in the order in which layers were first called', (t) => {
  const [first, second] = [dense(3), dense(3)];
  const x = input([3]);
  const model = new Model({ inputs: x, outputs: second(dense(3, { name: 'mid' })(first(x))) });
  t.deepEqual(names(model), [
    'dense.weight',
    'dense.bias',
    'mid.weight',
    'mid.bias',
    'dense_1.weight',
    'dense_1.bias',
  ]);
});

test('two layers of one name are an error', (t) => {
  const layers = [dense(3, { name: 'a' }), dense(3, { name: 'a' })];
  t.throws(() => sequential(layers, { input: [3] }), argument(/two layers called `a`/));
});

test('a layer in a second model starts from its values in the first', (t) => {
  const layer = dense(2);
  const first = sequential([layer], { input: [3], seed: 1 });
  const data = first.parameters.get('dense.weight')?.data;
  data?.fill(7);
  const second = sequential([layer, dense(2)], { input: [3], seed: 2 });
  const copy = second.parameters.get('dense.weight')?.data;
  t.deepEqual(copy, data);
  copy?.fill(1);
  t.true(data?.every((value) => value === 7));
});

test('records name inputs and outputs', (t) => {
  const [a, b] = [input([4]), input([2], { name: 'own' })];
  const model = new Model({
    inputs: { left: a, right: b },
    outputs: { logits: add(dense(2)(a), b) },
  });
  t.deepEqual(
    model.inputs.map(({ name }) => name),
    ['left', 'right'],
  );
  t.deepEqual(
    model.outputs.map(({ name }) => name),
    ['logits'],
  );
});

test('a summary shows layers, shapes and totals', (t) => {
  const model = sequential([dense(4, { name: 'first' }), relu(), dense(2)], { input: [3] });
  const summary = model.summary();
  t.regex(summary, /first \(dense\)\s+\[batch, 4\]\s+16/);
  t.regex(summary, /dense \(dense\)\s+\[batch, 2\]\s+10/);
  t.regex(summary, /parameters: 26 \(104 bytes\), trainable: 26/);
});

test('a summary has a line for each call of a layer, however it branches', (t) => {
  const block = transformerBlock({ heads: 2, activation: 'swiglu', name: 'block' });
  const shared = dense(8, { name: 'shared' });
  const x = input([5, 8]);
  const model = new Model({ inputs: x, outputs: [block(shared(x)), shared(x)] });
  const lines = model.summary().split('\n');
  t.is(lines.filter((line) => /^block \(/.test(line)).length, 1);
  t.is(lines.filter((line) => /^shared \(/.test(line)).length, 2);
});

test('models check what they are made of', (t) => {
  const x = input([3]);
  const y = dense(2)(x);
  t.throws(() => new Model({ inputs: [], outputs: y }), argument(/`inputs`/));
  t.throws(() => new Model({ inputs: input([3]), outputs: y }), argument(/`inputs`/));
  t.throws(() => new Model({ inputs: x, output: y }), argument(/did you mean `outputs`\?/));
  t.throws(() => new Model({ inputs: x, outputs: 1 }), argument(/`outputs`, received 1/));
  t.throws(() => new Model({ inputs: [x, x], outputs: y }), argument(/`inputs`/));
  t.throws(() => sequential([], { input: [3] }), argument(/one layer or more for `layers`/));
  t.throws(() => sequential([dense], { input: [3] }), argument(/`units`/));
  t.throws(
    () => sequential([3], { input: [3] }),
    argument(/a layer for `layers\[0\]`, received 3/),
  );
  t.throws(() => sequential([dense(3)], { inputs: [3] }), argument(/did you mean `input`\?/));
  t.throws(() => dense(0), argument(/an integer of 1 or more for `units`, received 0/));
  t.throws(() => dense(3, { activaton: 'relu' }), argument(/did you mean `activation`\?/));
  t.throws(() => dense(3, { activation: 'rleu' }), argument(/did you mean `relu`\?/));
  t.throws(() => dense(3, { initializer: 'heNormall' }), argument(/did you mean `heNormal`\?/));
  t.throws(() => dense(3, { name: '' }), argument(/`name`/));
  t.throws(() => dropout(1), argument(/`rate`, received 1/));
  t.throws(() => new Trainer({}, { loss: 'mse', optimizer: adam() }), argument(/a Model/));
});
