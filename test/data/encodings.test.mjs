// What encodings make of categories never seen and of empty cells.
import test from 'ava';
import { adam, dense, Predictor, sequential, Trainer } from 'tandem-ml';
import {
  category,
  csv,
  cyclic,
  DataError,
  fitEncoder,
  fromTable,
  oneHot,
  RowEncoder,
  text,
} from 'tandem-ml/data';
import { checkState } from '../../dist/internals.js';
import { file } from '../helpers/folder.mjs';
import { collect } from '../helpers/outcomes.mjs';

const encode = async (encoder, columns) => {
  const rows = Object.values(columns)[0].map(() => 0);
  const all = [];
  for await (const { x } of encoder.encode(fromTable({ ...columns, y: rows })).batches()) {
    all.push(...x);
  }
  return all;
};

const learn = (columns, x) => {
  const rows = Object.values(columns)[0].map(() => 0);
  return fitEncoder(fromTable({ ...columns, y: rows }), { x, y: { y: 'number' } });
};

test('a category never seen has no weights of its own that were never trained', async (t) => {
  const sky = ['rain', 'sun', 'snow', 'rain', 'sun', 'snow'];
  const plain = await learn({ sky }, { sky: oneHot() });
  t.is(plain.width, 3);
  t.deepEqual(await encode(plain, { sky: ['hail', 'sun'] }), [0, 0, 0, 0, 0, 1]);
  const guesses = [];
  for (const seed of [1, 2, 3]) {
    const table = fromTable({ sky, y: [10, 20, 30, 10, 20, 30] });
    const encoder = await fitEncoder(table, { x: { sky: 'oneHot' }, y: { y: 'number' } });
    const model = sequential([dense(1, { bias: false })], { input: [encoder.width], seed });
    const trainer = new Trainer(model, { loss: 'mse', optimizer: adam({ learningRate: 0.1 }) });
    t.teardown(() => trainer.close());
    await trainer.fit(encoder.encode(table), { epochs: 5, verbose: 0 });
    const predictor = await Predictor.load(model);
    t.teardown(() => predictor.close());
    guesses.push(...(await predictor.predictRows([{ sky: 'hail' }])));
  }
  t.deepEqual(guesses, [0, 0, 0]);
});

test('where rare or missing ones make it learnt, a category never seen is one of those', async (t) => {
  const sky = ['rain', 'sun', 'rain', 'sun', 'snow'];
  const rare = await learn({ sky }, { sky: oneHot({ minCount: 2 }) });
  t.is(rare.width, 3);
  t.deepEqual(await encode(rare, { sky: ['hail', 'snow'] }), [0, 0, 1, 0, 0, 1]);
  const gaps = ['rain', null, 'sun'];
  const missing = await learn({ sky: gaps }, { sky: oneHot({ missing: 'unknown' }) });
  t.is(missing.width, 3);
  const none = await learn({ sky: ['rain', 'sun'] }, { sky: oneHot({ missing: 'unknown' }) });
  t.deepEqual(await encode(none, { sky: [null, 'sun'] }), [0, 0, 0, 1]);
  t.is((await learn({ sky }, { sky: oneHot({ unknown: 'own' }) })).width, 4);
  t.is((await learn({ sky }, { sky: category() })).count('sky'), 4);
});

test('an empty cell of a date', async (t) => {
  const days = ['2024-01-01', '', null];
  const strict = { d: cyclic({ period: 'day' }) };
  const refusal = {
    instanceOf: DataError,
    message: /column `d`: expected a date, received an empty/,
  };
  t.is((await t.throwsAsync(learn({ d: days }, strict), refusal)).row, 1);
  const encoder = await learn({ d: days }, { d: cyclic({ period: 'day', missing: 'zero' }) });
  t.deepEqual(await encode(encoder, { d: days }), [0, 1, 0, 0, 0, 0]);
  await t.throwsAsync(encode(encoder, { d: ['never'] }), { message: /a date, received "never"/ });
  const again = new RowEncoder(checkState(JSON.parse(JSON.stringify(encoder.state))));
  t.deepEqual(await encode(again, { d: [null] }), [0, 0]);
  t.throws(() => cyclic({ period: 'day', missing: 'mean' }), { code: 'ERR_ARGUMENT' });
});

test('fitting finds what encoding would', async (t) => {
  for (const d of ['2011-13-45', '2011-02-29', '2011/4/31 12:00', 'x', true]) {
    const fitting = learn({ d: ['2024-01-01', d] }, { d: cyclic({ period: 'year' }) });
    t.is((await t.throwsAsync(fitting, { instanceOf: DataError, message: /a date/ })).row, 1);
  }
  const numbers = learn({ d: [3, 'x'] }, { d: cyclic({ period: 24 }) });
  await t.throwsAsync(numbers, { instanceOf: DataError, message: /a number, received "x"/ });
});

test('an empty cell of a text', async (t) => {
  const contents = {
    ...{ version: '1.0', truncation: null, padding: null, post_processor: null, decoder: null },
    added_tokens: [{ id: 0, content: '[PAD]', special: true }],
    normalizer: { type: 'Lowercase' },
    pre_tokenizer: { type: 'Whitespace' },
    model: {
      ...{ type: 'WordPiece', unk_token: '[UNK]', continuing_subword_prefix: '##' },
      max_input_chars_per_word: 100,
      vocab: { '[PAD]': 0, a: 1, b: 2, '[UNK]': 3 },
    },
  };
  const tokenizer = await file(t, 'tokenizer.json', JSON.stringify(contents));
  const given = { t: ['a b', null, 'b'] };
  const strict = learn(given, { t: text({ tokenizer, length: 2 }) });
  const error = await t.throwsAsync(strict, {
    instanceOf: DataError,
    message: /a text, received an/,
  });
  t.is(error.row, 1);
  await t.throwsAsync(
    learn({ t: ['a', 7] }, { t: text({ tokenizer, length: 2, missing: 'empty' }) }),
    {
      message: /a text, received 7/,
    },
  );
  const encoder = await learn(given, { t: text({ tokenizer, length: 2, missing: 'empty' }) });
  t.deepEqual(await encode(encoder, given), [1, 2, 0, 0, 2, 0]);
  const { missing: _, ...before } = encoder.state.x[0].columns[0][1];
  const state = { x: [{ name: null, columns: [['t', before]] }], y: [] };
  t.is(checkState(state).x[0].columns[0][1].missing, 'throw');
});

test('one logit for two categories, from raw rows and back', async (t) => {
  const rows = { a: [-2, -1, 1, 2], passed: ['no', 'no', 'yes', 'yes'] };
  const learnt = async (y, extra = {}) => {
    const table = fromTable({ ...rows, ...extra });
    const encoder = await fitEncoder(table, { x: { a: 'number' }, y });
    const model = sequential([dense(1)], { input: [1], seed: 1 });
    const trainer = new Trainer(model, {
      loss: 'bceWithLogits',
      metrics: ['accuracy'],
      optimizer: adam({ learningRate: 0.1 }),
    });
    t.teardown(() => trainer.close());
    const data = encoder.encode(table);
    await trainer.fit(data, { epochs: 60, verbose: 0, validationData: data });
    t.is((await trainer.evaluate(data)).accuracy, 1);
    const predictor = await Predictor.load(model);
    t.teardown(() => predictor.close());
    return await predictor.predictRows([{ a: 3 }, { a: -3 }]);
  };
  t.deepEqual(await learnt({ passed: 'category' }), ['yes', 'no']);
  const three = { passed: ['no', 'maybe', 'yes', 'yes'] };
  await t.throwsAsync(learnt({ passed: 'category' }, three), { code: 'ERR_DTYPE' });
});

test('a category that is called NaN is no missing number', async (t) => {
  const encoder = await learn({ c: ['NaN', 'b', '7'] }, { c: oneHot() });
  t.deepEqual(await encode(encoder, { c: ['NaN', 7] }), [0, 1, 0, 1, 0, 0]);
  await t.throwsAsync(encode(encoder, { c: [Number.NaN] }), {
    instanceOf: DataError,
    message: /an empty cell/,
  });
});

test('an only category is what is always predicted', async (t) => {
  const table = fromTable({ a: [1, 2, 3], label: ['cat', 'cat', 'cat'] });
  for (const encoding of ['category', 'oneHot']) {
    const encoder = await fitEncoder(table, { x: { a: 'number' }, y: { label: encoding } });
    const model = sequential([dense(1)], { input: [1], seed: 1 });
    model.encoder = encoder;
    const predictor = await Predictor.load(model);
    t.teardown(() => predictor.close());
    t.deepEqual(await predictor.predictRows([{ a: -9 }, { a: 9 }]), ['cat', 'cat'], encoding);
  }
});

test('a target of numbers that go round is read back', async (t) => {
  const hours = [0, 1.5, 6, 11, 12, 18, 23.75];
  const table = fromTable({
    a: hours,
    hour: hours,
    day: hours.map((hour) => new Date(3.6e6 * hour)),
  });
  const read = async (y) => {
    const encoder = await fitEncoder(table, { x: { a: cyclic({ period: [24, 12] }) }, y });
    // What goes in comes out: the input is encoded as the target is.
    const model = sequential([dense(4, { bias: false, name: 'same' })], { input: [4] });
    model.parameters.get('same.weight')?.data.set([1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]);
    model.encoder = encoder;
    const predictor = await Predictor.load(model);
    t.teardown(() => predictor.close());
    return await predictor.predictRows(hours.map((a) => ({ a })));
  };
  const found = await read({ hour: cyclic({ period: [24, 12] }) });
  for (const [i, hour] of hours.entries()) t.true(Math.abs(found[i] - hour) < 1e-4, `${found[i]}`);
  const error = { code: 'ERR_ARGUMENT', message: /`day`.*dates/ };
  const dates = await fitEncoder(table, {
    x: { a: 'number' },
    y: { day: cyclic({ period: 'day' }) },
  });
  const model = sequential([dense(2)], { input: [1], seed: 1 });
  model.encoder = dates;
  const predictor = await Predictor.load(model);
  t.teardown(() => predictor.close());
  await t.throwsAsync(predictor.predictRows([{ a: 1 }]), error);
});

test('records and invalid dates are no categories', async (t) => {
  const day = new Date(0);
  const encoder = await learn({ c: [day, 'b', 7, true] }, { c: 'category' });
  t.deepEqual(encoder.categories('c'), ['1970-01-01T00:00:00.000Z', '7', 'b', 'true']);
  t.deepEqual(await encode(encoder, { c: [new Date(0), 'b'] }), [0, 2]);
  for (const bad of [{ city: 'Rome' }, Object.create(null), new Date(Number.NaN)]) {
    const refusal = { instanceOf: DataError, message: /row 1, column `c`: expected a text/ };
    await t.throwsAsync(learn({ c: ['a', bad] }, { c: 'category' }), refusal);
    await t.throwsAsync(encode(encoder, { c: ['b', bad] }), refusal);
  }
  const invalid = learn({ c: [new Date(Number.NaN)] }, { c: 'category' });
  await t.throwsAsync(invalid, { message: /received an invalid Date/ });
});

test('a target is a category by its name, or none', async (t) => {
  const read = async (labels, logits) => {
    const table = fromTable({ a: labels.map((_, i) => i), label: labels });
    const y = { label: category({ unknown: 'own' }) };
    const encoder = await fitEncoder(table, { x: { a: 'number' }, y });
    const model = sequential([dense(logits.length)], { input: [1], seed: 1 });
    model.parameters.get('dense.weight')?.data.fill(0);
    model.parameters.get('dense.bias')?.data.set(logits);
    model.encoder = encoder;
    const predictor = await Predictor.load(model);
    t.teardown(() => predictor.close());
    const [found] = await predictor.predictRows([{ a: 1 }]);
    return found;
  };
  t.is(await read([true, false], [1, 2, 0]), 'true');
  t.is(await read([true, false], [1, 2, 3]), '');
  t.is(await read([0, 7], [1, 2, 0]), 7);
  t.is(await read([0, 7], [1, 2, 3]), Number.NaN);
  t.is(await read(['a', 'b'], [1, Number.NaN, 0]), '');
  t.is(await read(['a', 'b'], [Number.NaN]), '');
  t.is(await read(['a', 'b'], [-1]), 'a');
  t.is(await read(['a', 'b'], [1]), 'b');
});

test('a file is encoded as what was fitted on it, whatever its cells look like', async (t) => {
  const same = async (cells, encodings, options) => {
    const path = await file(t, 'file.csv', `a,b\n${cells.map((cell) => `${cell},1\n`).join('')}`);
    const y = encodings.y ?? { b: 'number' };
    const encoder = await fitEncoder(csv(path, options), { ...encodings, y });
    const read = (table) => collect(encoder.encode(table).batches());
    const [expected] = await read(await csv(path, options).load());
    t.deepEqual(await read(csv(path, options)), [expected]);
    return expected;
  };
  // Of texts, as numbers and as categories.
  const { y } = await same(
    ['007', '7', '007', '12'],
    { x: { a: 'number' }, y: { a: 'category' } },
    { types: { a: 'text' } },
  );
  t.deepEqual([...y], [0, 2, 0, 1]);
  // Dates in milliseconds, in texts, and in what might be either.
  const x = { a: cyclic({ period: ['day', 'year'] }) };
  const noon = Date.UTC(2024, 1, 3, 12);
  const inMilliseconds = await same([noon, noon + 3600e3], { x });
  t.deepEqual(await same(['2024-02-03 12:00', '2024-02-03 13:00'], { x }), inMilliseconds);
  await same(['2023', '2024'], { x });
  await same(['2023', '2024'], { x }, { types: { a: 'text' } });
});

test('texts are the numbers that they would be in a file', async (t) => {
  const encoder = await learn({ a: [1, 2] }, { a: 'number' });
  t.deepEqual(await encode(encoder, { a: [' 7 ', '+2.5e1', '-.5'] }), [7, 25, -0.5]);
  for (const cell of ['0x10', '-0b1', '0o7', 'Infinity', '1_000']) {
    const refusal = { instanceOf: DataError, message: /expected a number/ };
    await t.throwsAsync(encode(encoder, { a: [cell] }), refusal, cell);
    await t.throwsAsync(learn({ a: [cell] }, { a: 'standard' }), refusal, cell);
  }
});

test('encoded rows of another width than the model are told by their width', async (t) => {
  const table = fromTable({ a: [1, 2, 3], plan: ['basic', 'family', 'pro'], paid: [0, 1, 0] });
  const y = { paid: 'category' };
  const wide = await fitEncoder(table, { x: { a: 'standard', plan: 'oneHot' }, y });
  const trained = (inputs, data) => {
    const model = sequential([dense(2)], { input: [inputs], seed: 1 });
    const trainer = new Trainer(model, { loss: 'crossEntropy' });
    t.teardown(() => trainer.close());
    return trainer.fit(data, { verbose: 0 });
  };
  // 12 numbers, which would be 4 rows of 3.
  const x = {
    code: 'ERR_SHAPE',
    message: /rows of 3, as in the model, for `x`, received rows of 4/,
  };
  await t.throwsAsync(trained(3, wide.encode(table)), x);
  const pair = await fitEncoder(table, { x: { a: 'standard' }, y: { ...y, plan: 'category' } });
  const targets = {
    code: 'ERR_SHAPE',
    message: /rows of 1, as in the model, for `y`, received rows of 2/,
  };
  await t.throwsAsync(trained(1, pair.encode(table)), targets);
  await t.notThrowsAsync(trained(4, wide.encode(table)));
});
