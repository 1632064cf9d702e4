// Probabilities of categories, from raw rows.
import test from 'ava';
import { dense, Predictor, sequential } from 'tandem-ml';
import { category, fitEncoder, fromTable } from 'tandem-ml/data';

/** A predictor whose outputs are the rows' numbers `a`, `b` and so on times `weight`, with targets `y` of `table`. */
async function passing(t, table, y, columns = ['a', 'b', 'c'], weight = 1) {
  const x = Object.fromEntries(columns.map((name) => [name, 'number']));
  const zeros = table.label.map(() => 0);
  const numbers = Object.fromEntries(columns.map((name) => [name, zeros]));
  const width = columns.length;
  const model = sequential([dense(width, { bias: false, name: 'same' })], { input: [width] });
  const same = Array.from({ length: width ** 2 }, (_, i) => (i % (width + 1) === 0 ? weight : 0));
  model.parameters.get('same.weight')?.data.set(same);
  model.encoder = await fitEncoder(fromTable({ ...table, ...numbers }), { x, y });
  const predictor = await Predictor.load(model);
  t.teardown(() => predictor.close());
  return predictor;
}

const near = (t, found, expected) => {
  t.deepEqual(Object.keys(found), Object.keys(expected));
  for (const [name, value] of Object.entries(expected)) {
    t.true(Math.abs(found[name] - value) < 1e-6, `${name}: ${found[name]} and not ${value}`);
  }
};

test('probabilities of three categories are the softmax of their logits', async (t) => {
  const predictor = await passing(t, { label: ['cat', 'dog', 'owl'] }, { label: 'category' });
  const rows = [
    { a: 1, b: 2, c: 3 },
    { a: 1000, b: 0, c: -1000 },
    { a: 0, b: -3e38, c: 3e38 },
  ];
  const probabilities = true;
  const [spread, sure, extreme] = await predictor.predictRows(rows, { probabilities });
  const sum = Math.exp(1) + Math.exp(2) + Math.exp(3);
  near(t, spread, { cat: Math.exp(1) / sum, dog: Math.exp(2) / sum, owl: Math.exp(3) / sum });
  t.deepEqual(sure, { cat: 1, dog: 0, owl: 0 });
  t.deepEqual(extreme, { cat: 0, dog: 0, owl: 1 });
  const plain = ['owl', 'cat', 'owl'];
  t.deepEqual(await predictor.predictRows(rows, { probabilities: false }), plain);
});

test('logits that are infinite or no number', async (t) => {
  const targets = [{ label: ['cat', 'dog', 'owl'] }, { label: 'category' }];
  const of = async (weight) => {
    const predictor = await passing(t, ...targets, ['a', 'b', 'c'], weight);
    const [found] = await predictor.predictRows([{ a: 1, b: 3e38, c: -1 }], {
      probabilities: true,
    });
    return found;
  };
  t.deepEqual(await of(10), { cat: 0, dog: 1, owl: 0 });
  t.deepEqual(await of(Number.NaN), { cat: Number.NaN, dog: Number.NaN, owl: Number.NaN });
});

test('one logit of two categories is the probability of the second', async (t) => {
  const predictor = await passing(t, { label: ['no', 'yes'] }, { label: 'category' }, ['a']);
  const rows = [{ a: 2 }, { a: -2 }, { a: 0 }, { a: -800 }];
  const found = await predictor.predictRows(rows, { probabilities: true });
  for (const [i, { a }] of rows.entries()) {
    near(t, found[i], { no: 1 / (1 + Math.exp(a)), yes: 1 / (1 + Math.exp(-a)) });
  }
});

test('a quantized file gives probabilities, too', async (t) => {
  const table = fromTable({ a: [-1, 0, 1, 2], label: ['no', 'no', 'yes', 'yes'] });
  const encoder = await fitEncoder(table, { x: { a: 'number' }, y: { label: 'category' } });
  const model = sequential([dense(1)], { input: [1], seed: 1 });
  model.encoder = encoder;
  const predictor = await Predictor.load(model, { precision: 'int8' });
  t.teardown(() => predictor.close());
  const [found] = await predictor.predictRows([{ a: 1 }], { probabilities: true });
  const [logit] = await predictor.predict(Float32Array.of(1));
  near(t, found, { no: 1 / (1 + Math.exp(logit)), yes: 1 / (1 + Math.exp(-logit)) });
});

test('what is unknown has a probability under no name, and numbers stay values', async (t) => {
  const table = { label: ['x', 'x', 'rare'], price: [5, 5, 5] };
  const y = { label: category({ unknown: 'own', minCount: 2 }), price: 'number' };
  const predictor = await passing(t, table, y);
  const probabilities = true;
  const [found] = await predictor.predictRows([{ a: 0, b: Math.log(3), c: 7 }], { probabilities });
  near(t, found.label, { x: 0.25, '': 0.75 });
  t.is(found.price, 7);
});

test('probabilities are refused where no target has any', async (t) => {
  const numbers = await passing(t, { label: [1, 2] }, { label: 'standard' }, ['a']);
  const expected = { code: 'ERR_ARGUMENT', message: /`probabilities`/ };
  await t.throwsAsync(numbers.predictRows([{ a: 1 }], { probabilities: true }), expected);
  const classes = await passing(t, { label: [1, 2] }, { label: 'category' }, ['a']);
  await t.throwsAsync(classes.predictRows([{ a: 1 }], { probabilities: 'yes' }), expected);
  const [found] = await classes.predictRows([{ a: 0 }], { probabilities: true });
  t.deepEqual(found, { 1: 0.5, 2: 0.5 });
});
