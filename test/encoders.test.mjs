// Column encoders: what they learn, make and refuse, and predictors that take raw rows.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import {
  adam,
  concat,
  dense,
  embedding,
  flatten,
  input,
  Model,
  Predictor,
  sequential,
  Trainer,
} from 'tandem-ml';
import {
  category,
  csv,
  cyclic,
  DataError,
  fitEncoder,
  fromTable,
  minMax,
  oneHot,
  standard,
  text,
} from 'tandem-ml/data';
import { file, makeFolder } from './helpers/folder.mjs';

const table = () =>
  fromTable({
    hour: [0, 6, 12, 18],
    weather: ['rain', 'sun', 'rain', 'fog'],
    temp: [1, 2, 3, 4],
    day: ['2024-01-01', '2024-07-02T12:00', '2024-12-31 23:59:59', new Date(0)],
    kind: ['b', 'a', 'b', 'a'],
    n: Float64Array.of(5, Number.NaN, 7, 9),
  });

const only = async (dataset) => {
  for await (const batch of dataset.batches({ batchSize: 1000 })) return batch;
  throw new Error('no batch');
};

const near = (t, actual, expected, message) => {
  t.is(actual.length, expected.length, message);
  expected.forEach((value, i) => {
    t.true(Math.abs(actual[i] - value) < 1e-6, `${message} ${i}: ${actual[i]}, not ${value}`);
  });
};

const encode = async (x, y = { kind: 'category' }) => {
  const encoder = await fitEncoder(table(), { x, y });
  return { encoder, ...(await only(encoder.encode(table()))) };
};

test('numbers', async (t) => {
  const deviation = Math.sqrt(1.25);
  const expected = [-1.5, -0.5, 0.5, 1.5].map((v) => v / deviation);
  near(t, (await encode({ temp: standard() })).x, expected, 'standard');
  near(t, (await encode({ temp: minMax() })).x, [0, 1 / 3, 2 / 3, 1], 'minMax');
  near(t, (await encode({ temp: 'number' })).x, [1, 2, 3, 4], 'number');
  near(t, (await encode({ n: minMax({ missing: 'mean' }) })).x, [0, 0.5, 0.5, 1], 'mean');
  near(t, (await encode({ n: minMax({ missing: 9 }) })).x, [0, 1, 0.5, 1], 'constant');
});

test('categories', async (t) => {
  const { x, y, encoder } = await encode({ weather: oneHot({ unknown: 'own' }), hour: category() });
  t.deepEqual(encoder.categories('weather'), ['fog', 'rain', 'sun']);
  t.is(encoder.count('weather'), 4);
  t.is(encoder.count('kind'), 2);
  t.is(encoder.width, 5);
  t.deepEqual([...x], [0, 1, 0, 0, 0, 0, 0, 1, 0, 1, 0, 1, 0, 0, 2, 1, 0, 0, 0, 3]);
  t.deepEqual(y, Int32Array.of(1, 0, 1, 0));
  const rare = await encode({ weather: category({ minCount: 2 }) });
  t.deepEqual(rare.x, Int32Array.of(0, 1, 0, 1));
  const zero = await encode({ weather: oneHot({ unknown: 'zero', minCount: 2 }) });
  t.deepEqual([...zero.x], [1, 0, 1, 0]);
});

test('dates and numbers that go round', async (t) => {
  near(t, (await encode({ hour: cyclic({ period: 24 }) })).x, [0, 1, 1, 0, 0, -1, -1, 0], 'hours');
  const { x } = await encode({ day: cyclic({ period: ['year', 'day', 'week'] }) });
  const turn = 2 * Math.PI;
  const pairs = (...fractions) =>
    fractions.flatMap((f) => [Math.sin(turn * f), Math.cos(turn * f)]);
  // 2024 has 366 days; its first was a Monday, 1970-01-01 a Thursday.
  near(t, x.slice(0, 6), pairs(0, 0, 0), 'first');
  near(t, x.slice(6, 12), pairs(183.5 / 366, 0.5, 1.5 / 7), 'middle');
  near(t, x.slice(18), pairs(0, 0, 3 / 7), '1970');
});

test('several inputs and targets', async (t) => {
  const { x, y, encoder } = await encode(
    { a: { weather: 'category' }, b: { temp: 'number', hour: 'number' } },
    { kind: { kind: 'category' }, temp: { temp: 'number' } },
  );
  t.deepEqual(x.a, Int32Array.of(1, 2, 1, 0));
  t.deepEqual(x.b, Float32Array.of(1, 0, 2, 6, 3, 12, 4, 18));
  t.deepEqual(y, { kind: Int32Array.of(1, 0, 1, 0), temp: Float32Array.of(1, 2, 3, 4) });
  t.deepEqual(encoder.width, { a: 1, b: 2 });
});

test('a file is encoded while it is read as a table in memory is', async (t) => {
  const lines = Array.from({ length: 20000 }, (_, i) => {
    const weather = ['rain', 'sun', '"a, b"'][i % 3];
    return `${i % 24},${weather},${(i * 37) % 101},${i % 5 === 0 ? '' : i % 7}`;
  });
  const path = await file(t, 'rows.csv', ['hour,weather,temp,y', ...lines].join('\n'));
  const raw = csv(path);
  const encoder = await fitEncoder(raw, {
    x: { hour: cyclic({ period: 24 }), weather: oneHot(), temp: standard() },
    y: { y: standard({ missing: 'mean' }) },
  });
  const [streamed, loaded] = [encoder.encode(raw), encoder.encode(await raw.load())];
  t.is(loaded.length, 20000);
  t.is(streamed.inMemory, false);
  const other = loaded.batches({ batchSize: 999 });
  for await (const batch of streamed.batches({ batchSize: 999 })) {
    t.deepEqual(batch, (await other.next()).value);
  }
  t.true((await other.next()).done);
});

test('a stream trains, is measured, and rejects with where its data are bad', async (t) => {
  const lines = Array.from({ length: 3000 }, (_, i) => `${i % 50},${(i % 50) * 2}`);
  const path = await file(t, 'rows.csv', ['a,b', ...lines].join('\n'));
  const encoder = await fitEncoder(csv(path), { x: { a: 'standard' }, y: { b: 'standard' } });
  const model = sequential([dense(1)], { input: [1], seed: 1 });
  const trainer = new Trainer(model, { loss: 'mse', optimizer: adam({ learningRate: 0.05 }) });
  t.teardown(() => trainer.close());
  const data = encoder.encode(csv(path));
  const history = await trainer.fit(data, { epochs: 3, validationData: data, verbose: 0 });
  t.true(history.valLoss[2] < 1e-3, String(history.valLoss));
  t.true((await trainer.evaluate(data)).loss < 1e-3);
  await writeFile(path, ['a,b', ...lines, '1,x', ...lines].join('\n'));
  const error = await t.throwsAsync(trainer.fit(data, { verbose: 0 }), { instanceOf: DataError });
  t.like(error, { code: 'ERR_FILE_FORMAT', file: path, row: 3002, column: 'b' });
  // The model is as good as before, and the trainer goes on.
  await writeFile(path, ['a,b', ...lines].join('\n'));
  await trainer.fit(data, { verbose: 0 });
  t.true((await trainer.evaluate(data)).loss < 1e-3);
});

const unseen = {
  hour: [1],
  weather: ['snow'],
  temp: [Number.NaN],
  day: ['soon'],
  kind: ['c'],
  n: [1],
};
for (const [name, x, column, message] of [
  ['a category never seen', { weather: oneHot({ unknown: 'throw' }) }, 'weather', /"snow"/],
  ['a missing number', { temp: standard() }, 'temp', /a number.*an empty cell/],
  ['a date that is none', { day: cyclic({ period: 'day' }) }, 'day', /a date, received "soon"/],
  ['an unknown class', { hour: 'number' }, 'kind', /one of the 2 values.*"c"/],
]) {
  test(`${name} is an error, or left out`, async (t) => {
    const encoder = await fitEncoder(table(), { x, y: { kind: 'category' } });
    const data = encoder.encode(fromTable(unseen));
    const error = await t.throwsAsync(only(data), { instanceOf: DataError, message });
    t.like(error, { code: 'ERR_ARGUMENT', row: 0, column });
    const mixed = Object.fromEntries(
      Object.entries(unseen).map(([key, [value]]) => [
        key,
        [value, { hour: 6, weather: 'sun', temp: 2, day: '2024-01-01', kind: 'a', n: 1 }[key]],
      ]),
    );
    const skipped = [];
    const options = { onError: 'skip', onSkip: (e) => skipped.push(e.message) };
    t.is((await only(encoder.encode(fromTable(mixed), options))).rows, 1);
    t.deepEqual(skipped, [error.message]);
  });
}

test('rows of a file that cannot be encoded are named', async (t) => {
  const path = await file(t, 'rows.csv', 'a,k\n1,x\n2,y\n3,z\n');
  const encoder = await fitEncoder(csv(path).take(2), { x: { a: 'number' }, y: { k: 'category' } });
  const error = await t.throwsAsync(only(encoder.encode(csv(path))));
  t.regex(error.message, /rows\.csv, row 4, column `k`: expected one of the 2 values.*"z"$/);
  t.is((await only(encoder.encode(csv(path).take(2)))).rows, 2);
  const skipped = [];
  const options = { onError: 'skip', onSkip: ({ row }) => skipped.push(row) };
  t.is((await only(encoder.encode(csv(path), options))).rows, 2);
  t.deepEqual(skipped, [4]);
  const fitting = fitEncoder(csv(path, { types: { k: 'text' } }), {
    x: { a: 'number' },
    y: { k: 'number' },
  });
  const wrong = await t.throwsAsync(fitting, { instanceOf: DataError });
  t.regex(wrong.message, /rows\.csv, row 2, column `k`: expected a number, received "x"$/);
});

test('a table of which no row is left is one without rows', async (t) => {
  const encoder = await fitEncoder(table(), { x: { temp: 'number' }, y: { kind: 'category' } });
  const data = encoder.encode(fromTable({ temp: [1e60], kind: ['a'] }), { onError: 'skip' });
  const message = 'expected one row or more for `dataset`, received none';
  await t.throwsAsync(only(data), { code: 'ERR_SHAPE', message });
  await t.throwsAsync(data.load(), { code: 'ERR_SHAPE', message });
});

test('a predictor takes raw rows and gives back categories and numbers', async (t) => {
  const rows = 300;
  const data = fromTable({
    size: Array.from({ length: rows }, (_, i) => i % 10),
    color: Array.from({ length: rows }, (_, i) => ['red', 'blue'][i % 2]),
    label: Array.from({ length: rows }, (_, i) => (i % 10 < 5 ? 'small' : i % 2 ? 'blue' : 'red')),
    price: Array.from({ length: rows }, (_, i) => 100 + 3 * (i % 10)),
  });
  const encoder = await fitEncoder(data, {
    x: { size: 'standard', color: 'oneHot' },
    y: { label: { label: 'category' }, price: { price: 'standard' } },
  });
  const x = input([encoder.width]);
  const hidden = dense(32, { activation: 'tanh' })(x);
  const outputs = { label: dense(3)(hidden), price: dense(1)(hidden) };
  const model = new Model({ inputs: x, outputs, seed: 1 });
  const loss = { label: 'crossEntropy', price: 'mse' };
  const trainer = new Trainer(model, { loss, optimizer: adam({ learningRate: 0.02 }) });
  await trainer.fit(encoder.encode(data), { epochs: 60, verbose: 0 });
  await trainer.close();
  const path = join(await makeFolder(t), 'm.safetensors');
  await model.save(path);

  t.deepEqual((await Model.load(path)).encoder?.state, encoder.state);
  for (const source of [path, model]) {
    const predictor = await Predictor.load(source);
    t.teardown(() => predictor.close());
    const [a, b, c] = await predictor.predictRows([
      { size: 1, color: 'red' },
      { size: '8', color: 'blue', label: 'ignored' },
      { size: 9, color: 'never seen' },
    ]);
    t.is(a.label, 'small');
    t.is(b.label, 'blue');
    t.true(Math.abs(b.price - 124) < 1, String(b.price));
    t.is(typeof c.label, 'string');
    const bad = (rows, message) =>
      t.throwsAsync(predictor.predictRows(rows), { code: 'ERR_ARGUMENT', message });
    await bad([{ size: 1 }], /column `color`/);
    await bad([{ size: 'big', color: 'red' }], /"big"/);
    await bad([{ size: null, color: 'red' }], /empty cell/);
    await bad([], /one row or more/);
    await bad({ size: 1 }, /an array/);
  }
  const plain = await Predictor.load(sequential([dense(1)], { input: [1] }));
  await t.throwsAsync(plain.predictRows([{ a: 1 }]), { code: 'ERR_ARGUMENT', message: /encoder/ });
  await plain.close();
});

test('one target gives its values, two classes may have one logit', async (t) => {
  const data = fromTable({ a: [0, 1, 2, 3, 4, 5, 6, 7], big: [0, 0, 0, 0, 1, 1, 1, 1] });
  const encoder = await fitEncoder(data, { x: { a: 'standard' }, y: { big: 'number' } });
  const classes = await fitEncoder(data, { x: { a: 'standard' }, y: { big: 'category' } });
  const model = sequential([dense(1)], { input: [1], seed: 1 });
  const trainer = new Trainer(model, {
    loss: 'bceWithLogits',
    optimizer: adam({ learningRate: 0.1 }),
  });
  await trainer.fit(encoder.encode(data), { epochs: 200, verbose: 0 });
  await trainer.close();
  t.deepEqual(model.encoder?.state, encoder.state);
  model.encoder = classes;
  const predictor = await Predictor.load(model);
  t.teardown(() => predictor.close());
  t.deepEqual(await predictor.predictRows([{ a: 0 }, { a: 7 }]), [0, 1]);
  t.throws(() => Object.assign(model, { encoder: {} }), { code: 'ERR_ARGUMENT' });
});

test('many raw rows are predicted as each alone', async (t) => {
  const rows = 40_000;
  const raw = Array.from({ length: rows }, (_, i) => ({ a: i % 97, b: `k${i % 5}` }));
  const data = fromTable({
    a: raw.map(({ a }) => a),
    b: raw.map(({ b }) => b),
    c: raw.map(({ a }) => 2 * a),
    d: raw.map((_, i) => `d${i % 3}`),
  });
  const encoder = await fitEncoder(data, {
    x: { left: { a: 'standard' }, right: { b: 'category' } },
    y: { one: { c: 'standard' }, two: { d: 'category' } },
  });
  const left = input([1], { name: 'left' });
  const right = input([1], { name: 'right', dtype: 'int32' });
  const both = concat([left, flatten(embedding(5, 4)(right))], { axis: 1 });
  const outputs = { one: dense(1)(both), two: dense(3)(both) };
  const model = new Model({ inputs: [left, right], outputs, seed: 1 });
  model.encoder = encoder;
  const predictor = await Predictor.load(model, { maxBatch: 1000 });
  t.teardown(() => predictor.close());
  const all = await predictor.predictRows(raw);
  t.is(all.length, rows);
  for (const i of [0, 1, 4095, 4096, 4097, 8191, 8192, 20_001, rows - 1]) {
    const [alone] = await predictor.predictRows(raw.slice(i, i + 1));
    t.is(all[i].d, alone.d);
    t.true(Math.abs(all[i].c - alone.c) < 1e-3, `${i}`);
  }
  raw[30_000] = { a: 'warm', b: 'k1' };
  const error = await t.throwsAsync(predictor.predictRows(raw), { instanceOf: DataError });
  t.is(error.row, 30_000);
  raw[30_000] = { b: 'k1' };
  await t.throwsAsync(predictor.predictRows(raw), { message: /column `a`.*`rows\[30000\]`/ });
});

test('validation data are of the encoder that the training data are of', async (t) => {
  const [data, held] = [
    fromTable({ a: [0, 1, 2, 3], y: [1, 2, 3, 4] }),
    fromTable({ a: [5, 6], y: [9, 7] }),
  ];
  const encodings = { x: { a: 'standard' }, y: { y: 'standard' } };
  const encoder = await fitEncoder(data, encodings);
  const model = sequential([dense(1)], { input: [1], seed: 1 });
  const trainer = new Trainer(model, { loss: 'mse' });
  t.teardown(() => trainer.close());
  const train = (validationData) =>
    trainer.fit(encoder.encode(data), { validationData, verbose: 0 });
  const other = await fitEncoder(held, encodings);
  await t.throwsAsync(train(other.encode(held)), {
    code: 'ERR_ARGUMENT',
    message: /`validationData`, received rows of another/,
  });
  t.is(model.encoder, undefined);
  await train(encoder.encode(held));
  await train((await fitEncoder(data, encodings)).encode(held));
  await t.throwsAsync(trainer.evaluate(other.encode(held)), {
    code: 'ERR_ARGUMENT',
    message: /`data`, received rows of another/,
  });
  await trainer.evaluate(encoder.encode(held));
  const path = join(await makeFolder(t), 'model.safetensors');
  await model.save(path);
  const loaded = new Trainer(await Model.load(path), { loss: 'mse' });
  t.teardown(() => loaded.close());
  await loaded.evaluate(encoder.encode(held));
  await t.throwsAsync(loaded.evaluate(other.encode(held)), { code: 'ERR_ARGUMENT' });
});

test('a fit that takes no step leaves the encoder of the steps before', async (t) => {
  const data = fromTable({ a: [0, 1, 2, 3], b: [1, 2, 3, 4], y: [10, 20, 30, 40] });
  const large = fromTable({ a: [0, 1, 2, 3], y: [1e3, 2e3, 3e3, 4e3] });
  const fitted = (table, ...columns) => {
    const x = Object.fromEntries(columns.map((column) => [column, 'standard']));
    return fitEncoder(table, { x, y: { y: 'standard' } });
  };
  const [own, wide, other] = [
    await fitted(data, 'a'),
    await fitted(data, 'a', 'b'),
    await fitted(large, 'a'),
  ];
  const model = sequential([dense(1)], { input: [1], seed: 1 });
  const trainer = new Trainer(model, { loss: 'mse' });
  t.teardown(() => trainer.close());
  await t.throwsAsync(trainer.fit(wide.encode(data), { verbose: 0 }), { code: 'ERR_SHAPE' });
  t.is(model.encoder, undefined);
  await trainer.fit(own.encode(data), { verbose: 0 });
  await t.throwsAsync(trainer.fit(wide.encode(data), { verbose: 0 }), { code: 'ERR_SHAPE' });
  t.is(model.encoder?.state, own.state);
  const aborted = { verbose: 0, signal: AbortSignal.abort() };
  await t.throwsAsync(trainer.fit(other.encode(large), aborted), { code: 'ERR_ABORTED' });
  t.is(model.encoder?.state, own.state);
  const failing = {
    verbose: 0,
    callbacks: [{ onBatchEnd: () => Promise.reject(new Error('no')) }],
  };
  await t.throwsAsync(trainer.fit(other.encode(large), failing), { message: 'no' });
  t.is(model.encoder?.state, other.state);
});

/** A tokenizer of whole words as Hugging Face's files describe it. */
const words = (vocabulary) => ({
  version: '1.0',
  truncation: null,
  padding: null,
  added_tokens: [{ id: 0, content: '[PAD]', special: true }],
  normalizer: { type: 'Lowercase' },
  pre_tokenizer: { type: 'Whitespace' },
  post_processor: null,
  decoder: null,
  model: {
    type: 'WordPiece',
    unk_token: '[UNK]',
    continuing_subword_prefix: '##',
    max_input_chars_per_word: 100,
    vocab: Object.fromEntries(['[PAD]', '[UNK]', ...vocabulary].map((word, i) => [word, i])),
  },
});

test('text becomes numbers of tokens, and travels in the file', async (t) => {
  const tokenizer = await file(t, 'tokenizer.json', JSON.stringify(words(['good', 'bad', 'film'])));
  const data = fromTable({ review: ['good film', 'bad film really bad'], label: ['+', '-'] });
  const encoder = await fitEncoder(data, {
    x: { review: text({ tokenizer, length: 3 }) },
    y: { label: 'category' },
  });
  const { x } = await only(encoder.encode(data));
  t.deepEqual(x, Int32Array.of(2, 4, 0, 3, 4, 1));
  const tokens = input([3], { dtype: 'int32' });
  const outputs = dense(2)(flatten(embedding(5, 4)(tokens)));
  const model = new Model({ inputs: tokens, outputs, seed: 1 });
  const trainer = new Trainer(model, {
    loss: 'crossEntropy',
    optimizer: adam({ learningRate: 0.1 }),
  });
  await trainer.fit(encoder.encode(data), { epochs: 50, verbose: 0 });
  await trainer.close();
  const path = join(await makeFolder(t), 'm.safetensors');
  await model.save(path);
  const predictor = await Predictor.load(path);
  t.teardown(() => predictor.close());
  t.deepEqual(await predictor.predictRows([{ review: 'Good film' }, { review: 'bad' }]), [
    '+',
    '-',
  ]);
});

test('a tokenizer that is not there or none', async (t) => {
  const data = fromTable({ review: ['a'], y: [1] });
  const learn = (tokenizer) =>
    fitEncoder(data, { x: { review: text({ tokenizer, length: 3 }) }, y: { y: 'number' } });
  const missing = await t.throwsAsync(learn('/nowhere/tokenizer.json'), { instanceOf: DataError });
  t.like(missing, { code: 'ERR_FILE_FORMAT', file: '/nowhere/tokenizer.json', column: 'review' });
  for (const contents of ['{', '[]', '{}']) {
    const path = await file(t, 'tokenizer.json', contents);
    await t.throwsAsync(learn(path), { instanceOf: DataError, code: 'ERR_FILE_FORMAT' });
  }
});

test('misuse', async (t) => {
  const bad = (encodings, message) =>
    t.throwsAsync(fitEncoder(table(), encodings), { code: 'ERR_ARGUMENT', message });
  await bad({ x: { temp: 'standard' } }, /`y`/);
  await bad({ x: { temp: 'standart' }, y: { kind: 'category' } }, /did you mean `standard`/);
  await bad({ x: { tmp: 'standard' }, y: { kind: 'category' } }, /did you mean `temp`/);
  await bad({ x: { weather: 'standard' }, y: { kind: 'category' } }, /column `weather`|"rain"/);
  await bad({ x: {}, y: { kind: 'category' } }, /columns/);
  await t.throwsAsync(fitEncoder({ x: 1 }, {}), { code: 'ERR_ARGUMENT' });
  t.throws(() => cyclic({ period: 'decade' }), { code: 'ERR_ARGUMENT' });
  t.throws(() => cyclic({ period: [] }), { code: 'ERR_ARGUMENT' });
  t.throws(() => oneHot({ unknown: 'maybe' }), { code: 'ERR_ARGUMENT' });
  t.throws(() => category({ unknown: 'zero' }), { code: 'ERR_ARGUMENT' });
  t.throws(() => standard({ missing: 'median' }), { code: 'ERR_ARGUMENT' });
});

test('an encoder in a file is checked', async (t) => {
  const data = table();
  const encoder = await fitEncoder(data, { x: { temp: 'standard' }, y: { kind: 'category' } });
  const model = sequential([dense(2)], { input: [1] });
  const path = join(await makeFolder(t), 'm.safetensors');
  const states = [
    {},
    { x: [], y: 3 },
    { ...encoder.state, x: [{ name: null, columns: [['temp', { kind: 'magic' }]] }] },
    { ...encoder.state, x: [{ name: null, columns: [['temp', { kind: 'number', mean: 'a' }]] }] },
    { ...encoder.state, y: [{ name: 4, columns: [] }] },
  ];
  for (const state of states) {
    model.encoder = Object.assign(Object.create(Object.getPrototypeOf(encoder)), { state });
    await model.save(path);
    await t.throwsAsync(Model.load(path), { code: 'ERR_FILE_FORMAT' }, JSON.stringify(state));
  }
});

test('numbers that no scale fits, and dates beyond those that there are, are refused', async (t) => {
  const learn = (values, encoding) =>
    fitEncoder(fromTable({ v: values, y: values.map(() => 0) }), {
      x: { v: encoding },
      y: { y: 'number' },
    });
  const refused = async (values, encoding, message) => {
    const error = await t.throwsAsync(learn(values, encoding), { instanceOf: DataError, message });
    t.deepEqual([error.code, error.column], ['ERR_ARGUMENT', 'v']);
  };
  // Squares that overflow, a range that does, and one whose reciprocal does.
  await refused(
    [1e200, -1e200],
    'standard',
    /`standard` can scale, received numbers from -1e\+200/,
  );
  await refused([1e308, -1e308], 'minMax', /`minMax` can scale/);
  await refused([0, 1e-310], 'minMax', /`minMax` can scale/);
  await t.notThrowsAsync(learn([1e30, -1e30], 'standard'));
  // Nanoseconds for milliseconds.
  for (const period of ['day', 'month', 'year']) {
    await refused([1.7e18], cyclic({ period }), /expected a date, received 1700000000000000000/);
    await t.notThrowsAsync(learn([1.7e12], cyclic({ period })));
  }
  await refused([1e300], cyclic({ period: 1e-300 }), /expected a number/);
});
