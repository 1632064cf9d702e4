// Sequences of many lengths: each is computed at the least bucket that holds it, and what comes out
// is what the whole length gives.
import { join } from 'node:path';
import test from 'ava';
import {
  add,
  batchNorm,
  conv1d,
  dense,
  embedding,
  flatten,
  input,
  Model,
  mul,
  Predictor,
  quantize,
  reshape,
  sequential,
  sub,
  sum,
  transformerBlock,
  transpose,
} from 'tandem-ml';
import { sharedFolder } from './helpers/folder.mjs';
import { relativeError } from './helpers/numbers.mjs';

const [vocabulary, time, width] = [17, 24, 12];

/** A classifier whose attention and mean leave out what the mask says is none of the text. */
function classifier() {
  const tokens = input([time], { dtype: 'int32', name: 'tokens' });
  const mask = input([time], { name: 'mask' });
  const extra = input([3], { name: 'extra' });
  const hidden = reshape(mul(sub(mask, 1), 1e9), [-1, 1, 1, time]);
  let x = embedding(vocabulary, width, { positions: time })(tokens);
  for (let i = 0; i < 2; i++) x = transformerBlock({ heads: 3 })(x, { mask: hidden });
  const kept = mul(x, reshape(mask, [-1, time, 1]));
  const pooled = sum(kept, { axes: 1 });
  const y = add(dense(5)(pooled), dense(5)(extra));
  return new Model({ inputs: [tokens, mask, extra], outputs: { y, each: kept }, seed: 3 });
}

const sample = (rows, length) => ({
  tokens: Int32Array.from({ length: rows * length }, (_, i) => (i * 7 + rows) % vocabulary),
  mask: new Float32Array(rows * length).fill(1),
  extra: Float32Array.from({ length: rows * 3 }, (_, i) => Math.sin(i)),
});

/** With zeros behind each row. */
function padded(x, rows, length) {
  const longer = (array) => {
    const made = new array.constructor(rows * time);
    for (let i = 0; i < rows; i++) {
      made.set(array.subarray(i * length, (i + 1) * length), i * time);
    }
    return made;
  };
  return { ...x, tokens: longer(x.tokens), mask: longer(x.mask) };
}

/** The first `length` of `time` positions of each row. */
const cut = (each, rows, length) =>
  Float32Array.from({ length: rows * length * width }, (_, i) => {
    const [row, at] = [Math.floor(i / (length * width)), i % (length * width)];
    return each[row * time * width + at];
  });

function near(t, got, wanted) {
  t.is(got.length, wanted.length);
  const off = got.reduce((most, y, i) => Math.max(most, Math.abs(y - wanted[i])), 0);
  t.true(off < 1e-4, `${off}`);
}

const folder = sharedFolder(test);

for (const options of [{}, { batching: { maxBatch: 8 } }, { file: true }]) {
  test(`every length gives what the whole one gives, ${JSON.stringify(options)}`, async (t) => {
    const { file, ...rest } = /** @type {any} */ (options);
    const model = classifier();
    const path = join(folder, `${JSON.stringify(options).replaceAll(/\W/g, '')}.safetensors`);
    await model.save(path);
    const predictor = await Predictor.load(file ? path : model, {
      lengths: [16, 4, 9, 16],
      ...rest,
    });
    for (const length of [1, 3, 4, 5, 9, 10, 16, 17, time]) {
      for (const rows of [1, 3]) {
        const x = sample(rows, length);
        const whole = predictor.predictSync(padded(x, rows, length));
        const found = await predictor.predict(x, { length });
        near(t, found.y, whole.y);
        near(t, found.each, cut(whole.each, rows, length));
        const out = { y: new Float32Array(rows * 5), each: new Float32Array(found.each.length) };
        t.is(predictor.predictSync(x, out, { length }).y, out.y);
        near(t, out.y, whole.y);
        near(t, out.each, found.each);
        const later = { y: new Float32Array(rows * 5), each: new Float32Array(found.each.length) };
        t.is((await predictor.predict(x, { length, out: later })).each, later.each);
        near(t, later.each, found.each);
      }
    }
    await predictor.close();
    await t.throwsAsync(predictor.predict(sample(1, 4), { length: 4 }), { code: 'ERR_CLOSED' });
  });
}

test('calls of several lengths at one time get their own results', async (t) => {
  const predictor = await Predictor.load(classifier(), {
    lengths: [4, 9, 16],
    batching: { maxBatch: 16, maxDelayUs: 200 },
  });
  const calls = Array.from({ length: 60 }, (_, i) => ({
    rows: 1 + (i % 3),
    length: 1 + (i % time),
  }));
  const results = await Promise.all(
    calls.map(({ rows, length }) => predictor.predict(sample(rows, length), { length })),
  );
  for (const [i, { rows, length }] of calls.entries()) {
    const whole = predictor.predictSync(padded(sample(rows, length), rows, length));
    near(t, results[i].y, whole.y);
  }
  const pending = predictor.predict(sample(1, 3), { length: 3 });
  await predictor.close();
  t.is((await pending).y.length, 5);
});

test('maxQueue counts calls of all lengths', async (t) => {
  const predictor = await Predictor.load(classifier(), { lengths: [4], maxQueue: 2 });
  const calls = [4, time, 4].map((length) => predictor.predict(sample(1, length), { length }));
  const states = await Promise.allSettled(calls);
  t.deepEqual(
    states.map(({ status }) => status),
    ['fulfilled', 'fulfilled', 'rejected'],
  );
  t.is(/** @type {any} */ (states[2]).reason.code, 'ERR_BUSY');
  await predictor.close();
});

test('norms become part of the weights at every length', async (t) => {
  const x = input([time, 3], { name: 'x' });
  const y = batchNorm()(conv1d(4, { kernel: 1 })(transpose(x, { perm: [0, 2, 1] })));
  const model = new Model({ inputs: x, outputs: y, seed: 2 });
  const numbers = (name) => /** @type {any} */ (model.parameters.get(name)).data;
  const [w, b] = [numbers('conv1d.weight'), numbers('conv1d.bias')];
  const norm = ['weight', 'bias', 'runningMean', 'runningVar'].map((name, k) => {
    const data = numbers(`batchNorm.${name}`);
    return data.map((_, i) => (data[i] = 0.4 + 0.3 * i + 0.2 * k));
  });
  const predictor = await Predictor.load(model, { lengths: [4, 8] });
  const rows = Float32Array.from({ length: time * 3 }, (_, i) => Math.sin(i));
  for (const length of [5, time]) {
    const wanted = Float32Array.from({ length: 4 * length }, (_, i) => {
      const [c, at] = [Math.floor(i / length), i % length];
      const [scale, shift, average, variance] = norm.map((data) => data[c]);
      const sum = [0, 1, 2].reduce((all, k) => all + w[c * 3 + k] * rows[at * 3 + k], b[c]);
      return ((sum - average) / Math.sqrt(variance + 1e-5)) * scale + shift;
    });
    near(t, await predictor.predict(rows.subarray(0, length * 3), { length }), wanted);
  }
  t.false(/batchNorm/.test(predictor.profile().kernels.join(' ')));
  await predictor.close();
});

test('a causal model needs no mask', async (t) => {
  const model = sequential(
    [
      embedding(vocabulary, width, { positions: time }),
      transformerBlock({ heads: 2, causal: true, rotary: true }),
      dense(vocabulary),
    ],
    { input: input([time], { dtype: 'int32' }), seed: 1 },
  );
  const predictor = await Predictor.load(model, { lengths: [8], warmup: [1] });
  const x = Int32Array.from({ length: 2 * 5 }, (_, i) => i % vocabulary);
  const whole = new Int32Array(2 * time);
  whole.set(x.subarray(0, 5));
  whole.set(x.subarray(5), time);
  const wanted = predictor.predictSync(whole);
  const found = await predictor.predict(x, { length: 5 });
  for (const row of [0, 1]) {
    const [from, to] = [row * 5 * vocabulary, (row + 1) * 5 * vocabulary];
    const at = row * time * vocabulary;
    near(t, found.slice(from, to), wanted.slice(at, at + 5 * vocabulary));
  }
  await predictor.close();
});

for (const options of [
  { precision: 'int8-weights' },
  { precision: 'int8' },
  { precision: 'int8', calibration: { x: sample(32, time) } },
]) {
  const { precision, calibration } = /** @type {any} */ (options);
  const name = `${precision}${calibration ? ', calibrated' : ''}`;
  test(`a model of 8-bit integers is there at every length: ${name}`, async (t) => {
    const quantized = await quantize(classifier(), /** @type {any} */ (options));
    const path = join(folder, name);
    await quantized.save(path);
    const plain = await Predictor.load(path);
    const lengths = [4, 9, 16];
    const loaded = await Promise.all([
      Predictor.load(classifier(), /** @type {any} */ ({ ...options, lengths })),
      Predictor.load(quantized, { lengths, batching: { maxBatch: 8 } }),
      Predictor.load(path, { lengths }),
    ]);
    for (const predictor of loaded) {
      for (const length of [3, 4, 7, 16, 20, time]) {
        const x = sample(2, length);
        const whole = plain.predictSync(padded(x, 2, length));
        const found = await predictor.predict(x, { length });
        if (length === 3) t.regex(predictor.profile().kernels.join(' '), /quantizedLinear/);
        t.is(found.y.length, 2 * 5);
        t.is(found.each.length, 2 * length * width);
        // The bytes of attention's values have the range of all rows, padding among them.
        t.true(relativeError(found.y, whole.y) < 0.02);
        t.true(relativeError(found.each, cut(whole.each, 2, length)) < 0.02);
        const sync = predictor.predictSync(x, undefined, { length });
        t.deepEqual(sync, found);
      }
    }
    const memory = (one) => one.profile().memory.parameters;
    t.is(memory(loaded[2]), memory(plain));
    for (const predictor of [plain, ...loaded]) await predictor.close();
  });
}

test('the length of the model itself is enough for shorter calls', async (t) => {
  const model = classifier();
  const x = sample(2, 10);
  const several = await Predictor.load(model, { lengths: [4] });
  const expected = await several.predict(x, { length: 10 });
  await several.close();
  for (const lengths of [[time], []]) {
    const alone = await Predictor.load(model, { lengths });
    t.deepEqual(await alone.predict(x, { length: 10 }), expected);
    t.deepEqual(alone.predictSync(x, undefined, { length: 10 }), expected);
    await alone.close();
  }
});

test('bad lengths, and models of one length, are refused', async (t) => {
  const model = classifier();
  const refuses = async (lengths, pattern, of = model) => {
    const error = await t.throwsAsync(Predictor.load(of, { lengths }));
    t.is(/** @type {any} */ (error).code, 'ERR_ARGUMENT');
    t.regex(/** @type {any} */ (error).message, pattern);
  };
  await refuses([0], /`lengths/);
  await refuses([4.5], /`lengths/);
  await refuses([time + 1], /up to the model's 24 for `lengths`, received 25/);
  await refuses(/** @type {any} */ ('4'), /`lengths`/);
  await refuses(
    Array.from({ length: 65 }, (_, i) => i + 1),
    /`lengths`|up to/,
  );
  const flat = sequential([flatten(), dense(2)], { input: [8, 4] });
  for (const lengths of [[4], [8], []]) {
    await refuses(lengths, /whose `linear` belongs to a length of 8/, flat);
  }
  const fixed = sequential([dense(2)], { input: input([8, 4], { batch: 2 }) });
  await refuses([4], /free batch/, fixed);
  const row = sequential([dense(2)], { input: [8] });
  await refuses([4], /whose `linear` belongs to a length of 8/, row);
  const both = { lengths: [4], generation: {} };
  await t.throwsAsync(Predictor.load(model, both), { code: 'ERR_ARGUMENT' });
  const bytes = await quantize(row, { calibration: { x: new Float32Array(64).fill(0.5) } });
  await t.throwsAsync(Predictor.load(bytes, { lengths: [4] }), { code: 'ERR_ARGUMENT' });

  const plain = await Predictor.load(model);
  await t.throwsAsync(plain.predict(sample(1, 4), { length: 4 }), {
    code: 'ERR_ARGUMENT',
    message: /`lengths` among the options/,
  });
  await plain.close();
  const predictor = await Predictor.load(model, { lengths: [4] });
  for (const length of [0, time + 1, 1.5, '4']) {
    const call = predictor.predict(sample(1, 4), /** @type {any} */ ({ length }));
    await t.throwsAsync(call, { code: 'ERR_ARGUMENT' });
  }
  await t.throwsAsync(predictor.predict(sample(1, 5), { length: 4 }), { code: 'ERR_SHAPE' });
  const uneven = { ...sample(2, 4), mask: new Float32Array(4) };
  t.throws(() => predictor.predictSync(uneven, undefined, { length: 4 }), { code: 'ERR_SHAPE' });
  const short = { y: new Float32Array(4), each: new Float32Array(4 * width) };
  t.throws(() => predictor.predictSync(sample(1, 4), short, { length: 4 }), { code: 'ERR_SHAPE' });
  const foreign = { ...sample(1, 4), tokens: Int32Array.of(1, 2, 3, vocabulary) };
  t.throws(() => predictor.predictSync(foreign, undefined, { length: 4 }), {
    code: 'ERR_ARGUMENT',
  });
  await predictor.close();
});
