// Training on sequences of several lengths: each batch is computed at its own length, and what comes
// of it is what batches padded to the longest give.
import { join } from 'node:path';
import test from 'ava';
import {
  adamw,
  dense,
  embedding,
  flatten,
  gru,
  input,
  Model,
  metrics,
  mse,
  reshape,
  sequential,
  sgd,
  Trainer,
  transformerBlock,
} from 'tandem-ml';
import { fromBatches, fromSequences } from 'tandem-ml/data';
import { makeFolder } from '../helpers/folder.mjs';
import { generator, relativeError } from '../helpers/numbers.mjs';
import { collect } from '../helpers/outcomes.mjs';
import { bits, quiet } from './support.mjs';

const [vocabulary, time] = [11, 16];
const lengths = [4, 9, time];

/**
 * Texts in which each token follows from the one before, and the tokens that follow: as many for each
 * length, of which they have up to so many tokens.
 */
function texts(count, seed = 5) {
  const random = generator(seed);
  const next = (token) => (token * 3 + 1) % vocabulary;
  const x = Array.from({ length: count }, (_, i) => {
    const bucket = i % lengths.length;
    const least = lengths[bucket - 1] ?? 0;
    const length = least + 1 + Math.floor(random() * (lengths[bucket] - least));
    const text = [Math.floor(random() * vocabulary)];
    while (text.length < length) text.push(next(text.at(-1) ?? 0));
    return text;
  });
  return { x, y: x.map((text) => [...text.slice(1), next(text.at(-1) ?? 0)]) };
}

const language = (rate = 0) =>
  sequential(
    [
      embedding(vocabulary, 12, { positions: time }),
      transformerBlock({ heads: 2, causal: true, dropout: rate }),
      dense(vocabulary),
    ],
    { input: input([time], { dtype: 'int32' }), seed: 3 },
  );

const open = (t, model, options) => {
  const trainer = new Trainer(model, { loss: 'crossEntropy', optimizer: adamw(), ...options });
  t.teardown(() => trainer.close());
  return trainer;
};

/** A batch with all rows as long as `time`. */
function longest(batch, padding) {
  const longer = (array, fill) => {
    const length = array.length / batch.rows;
    const made = new array.constructor(batch.rows * time).fill(fill);
    for (let row = 0; row < batch.rows; row++) {
      made.set(array.subarray(row * length, (row + 1) * length), row * time);
    }
    return made;
  };
  const { x } = batch;
  const inputs = ArrayBuffer.isView(x)
    ? longer(x, 0)
    : Object.fromEntries(Object.entries(x).map(([name, array]) => [name, longer(array, 0)]));
  return { rows: batch.rows, x: inputs, y: longer(batch.y, padding) };
}

function near(t, model, expected, limit) {
  for (const [name, { data }] of expected.parameters) {
    const error = relativeError(model.parameters.get(name).data, data);
    t.true(error <= limit, `${name}: ${error}`);
  }
}

/** Loss of each epoch and model, after two epochs of these batches. */
async function train(t, model, data, options) {
  // No adam: where a gradient is 0 but for rounding, as that of the keys' bias, it makes much of that.
  const optimizer = sgd({ learningRate: 0.1, momentum: 0.9 });
  const trainer = open(t, model, { optimizer, ...options });
  const fit = { ...quiet, epochs: 2, batchSize: 8, shuffle: false };
  const { loss } = await trainer.fit(data, fit);
  return { model, loss, trainer };
}

for (const [name, options] of /** @type {const} */ ([
  ['a step for each batch', {}],
  ['three batches a step', { gradientAccumulationSteps: 3 }],
  ['bf16-mixed', { precision: 'bf16-mixed' }],
  ['clipped, recomputed', { maxGradNorm: 0.5, gradientCheckpointing: true }],
])) {
  test(`a transformer learns of all lengths what it learns of the longest: ${name}`, async (t) => {
    const data = fromSequences(texts(72)).bucketByLength({ lengths });
    const batches = await collect(data.batches({ batchSize: 8 }));
    t.deepEqual(new Set(batches.map(({ rows, x }) => x.length / rows)), new Set(lengths));
    const all = batches.map((batch) => longest(batch, -100));
    const found = await train(t, language(), data, options);
    const whole = fromBatches(() => all);
    const wanted = await train(t, language(), whole, options);
    const limit = 'precision' in options ? 2e-2 : 2e-5;
    near(t, found.model, wanted.model, limit);
    for (const [i, loss] of wanted.loss.entries()) {
      t.true(Math.abs((found.loss[i] ?? 0) - loss) < limit * loss);
    }
    t.notDeepEqual(bits(found.model), bits(language()));
  });
}

/** A loss that knows of the padding by an input. */
function recurrent() {
  const x = input([time], { name: 'x' });
  const mask = input([time], { name: 'mask' });
  const y = dense(1)(gru(7, { sequence: true })(reshape(x, [-1, time, 1])));
  const model = new Model({ inputs: [x, mask], outputs: reshape(y, [-1, time]), seed: 2 });
  return { model, loss: (output, target) => mse(output, target, { weights: mask }) };
}

test('a recurrent network learns of all lengths what it learns of the longest', async (t) => {
  const random = generator(8);
  const { x: like } = texts(72);
  const x = like.map((text) => Float32Array.from(text, () => random()));
  const y = x.map((numbers) => numbers.map((_, i) => numbers[i - 1] ?? 0));
  const data = fromSequences({ x, y }).bucketByLength({
    ...{ lengths, mask: 'mask', dtype: 'float32', targets: { dtype: 'float32' } },
  });
  const all = (await collect(data.batches({ batchSize: 8 }))).map((batch) => longest(batch, 9));
  for (const gradientAccumulationSteps of [1, 3]) {
    const { model, loss } = recurrent();
    const options = { loss, gradientAccumulationSteps, metrics: { rmse: metrics.rmse() } };
    const found = await train(t, model, data, options);
    const reference = recurrent();
    const again = { ...options, loss: reference.loss };
    const whole = fromBatches(() => all);
    const wanted = await train(t, reference.model, whole, again);
    near(t, found.model, wanted.model, 2e-5);
    const [short, long] = [
      await found.trainer.evaluate(data),
      await wanted.trainer.evaluate(whole),
    ];
    t.true(Math.abs(short.loss - long.loss) < 1e-4 * long.loss, `${short.loss} ${long.loss}`);
    t.true(short.loss < 1, `${short.loss}`);
  }
});

test('metrics are of all lengths', async (t) => {
  const data = fromSequences(texts(50)).bucketByLength({ lengths });
  const all = (await collect(data.batches({ batchSize: 1 }))).map((batch) => longest(batch, -100));
  const names = /** @type {const} */ (['accuracy', 'f1', 'perplexity', 'confusionMatrix']);
  const trainer = open(t, language(), { metrics: names });
  await trainer.fit(data, { ...quiet, epochs: 3, validationData: data });
  const found = await trainer.evaluate(data, { batchSize: 7 });
  const wanted = await trainer.evaluate(fromBatches(() => all));
  t.deepEqual(found.matrices, wanted.matrices);
  for (const name of ['accuracy', 'f1']) t.is(found[name], wanted[name]);
  for (const name of ['loss', 'perplexity']) {
    t.true(Math.abs(found[name] - wanted[name]) < 1e-5 * wanted[name], name);
  }
});

test('training on several lengths goes on bit for bit', async (t) => {
  const dir = await makeFolder(t);
  const { x, y } = texts(100);
  const data = fromSequences({ x, y }).bucketByLength({ lengths });
  const run = async (last, more = {}) => {
    const model = language(0.2);
    const trainer = open(t, model, { ema: { validate: true }, seed: 4 });
    const stop = { onBatchEnd: (step) => step < last - 1 };
    const fit = { ...quiet, epochs: 9, batchSize: 8, validationData: data, callbacks: [stop] };
    const history = await trainer.fit(data, { ...fit, ...more });
    return { parameters: bits(model), history: JSON.stringify(history) };
  };
  const whole = await run(40);
  await run(23, { checkpoint: { dir, everySteps: 7 } });
  const resumeFrom = join(dir, 'step-000000021.safetensors');
  t.deepEqual(await run(40, { resumeFrom }), whole);
});

test('memory is that of the longest batch, and short ones take less', async (t) => {
  const memory = async (sequences, options) => {
    const trainer = open(t, language(), {});
    const data = fromSequences(sequences).bucketByLength(options);
    await trainer.fit(data, { ...quiet, batchSize: 8 });
    return trainer.profile();
  };
  const sequences = texts(48);
  const all = await memory(sequences, { lengths });
  const long = await memory(sequences, { lengths: [time] });
  const short = await memory(sequences, { lengths: [4] });
  t.is(all.memory.activations, long.memory.activations);
  t.true(short.memory.activations < 0.6 * long.memory.activations);
  for (const name of ['parameters', 'gradients', 'optimizer']) {
    t.is(all.memory[name], long.memory[name]);
  }
  t.deepEqual([all.batch, all.flops], [long.batch, long.flops]);
  t.true(short.flops < 0.5 * long.flops);
});

test('batches that map changes, and single steps, have lengths of their own', async (t) => {
  const { x } = texts(40);
  const plain = fromSequences({ x, y: new Int32Array(40) });
  const data = plain.bucketByLength({ lengths }).map(({ rows, x: tokens }) => {
    const width = tokens.length / rows;
    const next = Int32Array.from(tokens, (_, i) => ((i + 1) % width === 0 ? -100 : tokens[i + 1]));
    return { rows, x: tokens, y: next };
  });
  const model = language();
  const trainer = open(t, model, {});
  await trainer.fit(data, { ...quiet, batchSize: 8, shuffle: false });
  const other = language();
  const singly = open(t, other, {});
  for await (const batch of data.batches({ batchSize: 8 })) await singly.step(batch);
  t.deepEqual(bits(other), bits(model));
  t.is(singly.profile().memory.activations, trainer.profile().memory.activations);
  const wrong = { rows: 2, x: new Int32Array(34), y: new Int32Array(34) };
  await t.throwsAsync(singly.step(wrong), { code: 'ERR_SHAPE', message: /multiple of 16/ });
});

test('arrays that say their rows have a length of their own, whoever takes them', async (t) => {
  const data = fromSequences(texts(12)).bucketByLength({ lengths: [9, time] });
  const [batch] = await collect(data.batches({ batchSize: 4 }));
  t.is(batch.x.length, batch.rows * 9);
  const once = { ...quiet, batchSize: batch.rows, shuffle: false };
  const [stepped, fitted, validated] = [language(), language(), language()];
  const trainer = open(t, stepped, {});
  const { loss } = await trainer.step(batch);
  const { loss: losses, valLoss } = await open(t, fitted, {}).fit(batch, {
    ...once,
    validationData: batch,
  });
  t.deepEqual(losses, [loss]);
  t.deepEqual(bits(fitted), bits(stepped));
  const whole = longest(batch, -100);
  const after = await open(t, validated, {}).fit(whole, { ...once, validationData: whole });
  const scores = await trainer.evaluate(batch);
  t.deepEqual(valLoss, [scores.loss]);
  t.true(Math.abs(scores.loss - after.valLoss[0]) < 1e-5);
  t.is((await trainer.findLearningRate(batch, { steps: 3, batchSize: 2 })).losses.length, 3);
});

test('rows of a length that the model has not say which op belongs to another', async (t) => {
  const tokens = input([time], { dtype: 'int32' });
  const model = new Model({ inputs: tokens, outputs: dense(3)(flatten(embedding(9, 3)(tokens))) });
  const trainer = open(t, model, {});
  for (const [rows, message] of /** @type {const} */ ([
    [3, /multiple of 16 elements for `x`.* 24; at length 8: .*`linear` belongs to a length of 16/],
    [4, /2 rows, as in `x` for `y`, .* 4 rows; at length 8: .*`linear` belongs to a length of 16/],
  ])) {
    const data = { x: new Int32Array(rows * 8), y: new Int32Array(rows), rows };
    const refusal = { code: 'ERR_SHAPE', message };
    for (const call of ['step', 'fit', 'evaluate'])
      await t.throwsAsync(trainer[call](data), refusal);
  }
  const wrong = { x: new Float32Array(24), y: new Int32Array(3), rows: 3 };
  await t.throwsAsync(trainer.step(wrong), { code: 'ERR_DTYPE', message: /^((?!at length).)*$/ });
});

test('single steps of more lengths than there is room for say so', async (t) => {
  const model = sequential([dense(1)], { input: [70, 2], seed: 1 });
  const trainer = open(t, model, { loss: 'mse', optimizer: sgd({ learningRate: 0.1 }) });
  const batch = (length) => ({
    x: new Float32Array(2 * length),
    y: new Float32Array(length),
    rows: 1,
  });
  for (let length = 1; length <= 63; length++) await trainer.step(batch(length));
  await t.throwsAsync(trainer.step(batch(64)), {
    code: 'ERR_ARGUMENT',
    message: /at most 64 lengths/,
  });
  for (const length of [63, 70]) t.true(Number.isFinite((await trainer.step(batch(length))).loss));
  const wide = { ...batch(64), x: new Float32Array(2 * 71) };
  await t.throwsAsync(trainer.step(wide), { code: 'ERR_SHAPE' });
});

test('the learning rate is looked for on all lengths, and NaN is found in them', async (t) => {
  const { model, loss } = recurrent();
  const random = generator(3);
  const x = texts(60).x.map((text) => Float32Array.from(text, () => random()));
  const buckets = { lengths, mask: 'mask', dtype: 'float32', targets: { dtype: 'float32' } };
  const trainer = open(t, model, { loss, checkNumerics: true });
  const before = bits(model);
  const data = fromSequences({ x, y: x }).bucketByLength(buckets);
  const { losses } = await trainer.findLearningRate(data, { steps: 20, batchSize: 8 });
  t.is(losses.length, 20);
  t.deepEqual(bits(model), before);
  const bad = x.map((numbers) => (numbers.length < 4 ? numbers.map(() => Number.NaN) : numbers));
  const broken = fromSequences({ x: bad, y: x })
    .bucketByLength(buckets)
    .map((batch) => batch);
  const failing = trainer.fit(broken, { ...quiet, shuffle: false, batchSize: 4 });
  await t.throwsAsync(failing, { code: 'ERR_NUMERIC', message: /`data: x \(x\)`/ });
  const large = x.map((numbers) => (numbers.length < 4 ? numbers.map(() => 1e30) : numbers));
  const overflowing = fromSequences({ x: large, y: large }).bucketByLength(buckets);
  const fit = trainer.fit(overflowing, { ...quiet, shuffle: false, batchSize: 4 });
  await t.throwsAsync(fit, { code: 'ERR_NUMERIC', message: /first in .*mse/ });
});

test('what cannot be trained on several lengths is refused before it begins', async (t) => {
  const begun = [];
  const fit = { ...quiet, callbacks: [{ onTrainBegin: () => begun.push(true) }] };
  const data = fromSequences(texts(8));
  const refuses = async (model, options, buckets, message) => {
    const trainer = open(t, model, options);
    const refusal = { code: 'ERR_ARGUMENT', message };
    await t.throwsAsync(trainer.fit(data.bucketByLength(buckets), fit), refusal);
    await t.throwsAsync(trainer.evaluate(data.bucketByLength(buckets)), refusal);
  };
  await refuses(language(), {}, { lengths: [4, 17] }, /up to the 16 of the model's inputs.*17/);
  const tokens = input([time], { dtype: 'int32' });
  const flat = reshape(dense(time * vocabulary)(flatten(embedding(9, 3)(tokens))), [-1, time, 11]);
  const fixed = new Model({ inputs: tokens, outputs: flat });
  await refuses(fixed, {}, { lengths }, /`linear` belongs to a length of 16/);
  const batch = sequential([embedding(11, 3), dense(11)], {
    input: input([time], { dtype: 'int32', batch: 8 }),
  });
  await refuses(batch, {}, { lengths }, /free batch/);
  const mixing = new Trainer(sequential([dense(time)], { input: [time] }), {
    ...{ loss: 'mse', mixup: { alpha: 0.2 } },
  });
  t.teardown(() => mixing.close());
  const floats = { lengths, dtype: 'float32', targets: { dtype: 'float32' } };
  const refusal = { code: 'ERR_ARGUMENT', message: /without `mixup`/ };
  await t.throwsAsync(mixing.fit(data.bucketByLength(floats), fit), refusal);
  const many = Array.from({ length: 70 }, (_, i) => i + 1);
  const wide = sequential([embedding(11, 2), dense(11)], {
    input: input([70], { dtype: 'int32' }),
  });
  await refuses(wide, {}, { lengths: many }, /at most 64/);
  t.deepEqual(begun, []);
});

test('targets of sequences are as long', async (t) => {
  const { x, y } = texts(3);
  const error = { code: 'ERR_SHAPE' };
  t.throws(() => fromSequences({ x, y: y.slice(1) }), error);
  t.throws(() => fromSequences({ x, y: y.map((text) => [...text, 1]) }), error);
  const bad = { code: 'ERR_ARGUMENT', message: /targets\.padding/ };
  const data = fromSequences({ x: [[1, 2, 3]], y: [[4, 5, 6]] });
  t.throws(() => data.bucketByLength({ lengths, targets: { padding: 0.5 } }), bad);
  const [batch] = await collect(data.bucketByLength({ lengths: [2, 4] }).batches());
  t.deepEqual(batch, { rows: 1, x: Int32Array.of(1, 2, 3, 0), y: Int32Array.of(4, 5, 6, -100) });
});
