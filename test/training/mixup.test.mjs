// Mixup against its definition, with soft targets and mixed rows made by hand.
import test from 'ava';
import {
  add,
  crossEntropy,
  dense,
  embedding,
  flatten,
  input,
  Model,
  mse,
  sequential,
  sgd,
  Trainer,
} from 'tandem-ml';
import { fromArrays } from 'tandem-ml/data';
import { beta, mixtureOf, generator as xoshiro } from '../../dist/internals.js';
import { makeFolder } from '../helpers/folder.mjs';
import { generator, relativeError, uniform } from '../helpers/numbers.mjs';
import { bits, quiet } from './support.mjs';

const alpha = 0.4;
const seed = 9;
const rows = 22;
const batchSize = 8;
const width = 5;
const classes = 4;
const random = generator(2);
const x = uniform(rows * width, random);
const labels = Int32Array.from({ length: rows }, (_, i) => (i * 7) % classes);
const numbers = uniform(rows * classes, random);

const linear = () => sequential([dense(classes, { name: 'a' })], { input: [width], seed: 3 });
const withMixup = { optimizer: sgd({ learningRate: 0.3 }), seed, mixup: { alpha } };
const fit = { batchSize, shuffle: false, ...quiet };

/** A model after training, its trainer closed. */
async function trained(model, options, data, more = {}) {
  const trainer = new Trainer(model, { ...withMixup, ...options });
  const history = await trainer.fit(data, { ...fit, ...more });
  await trainer.close();
  return { model, history };
}

/** The batches of an epoch in order, rows and soft targets mixed; the first is number `first`. */
function* mixedBatches(soft, first = 0) {
  for (let begin = 0, batch = first; begin < rows; begin += batchSize, batch++) {
    const count = Math.min(batchSize, rows - begin);
    const { share, partners } = mixtureOf(count, alpha, seed, batch);
    const mix = (array, of) =>
      Array.from({ length: count * of }, (_, i) => {
        const [row, k] = [Math.floor(i / of), i % of];
        const [own, other] = [begin + row, begin + partners[row]].map((at) => array[at * of + k]);
        return share * own + (1 - share) * other;
      });
    yield { count, share, partners, x: mix(x, width), y: mix(soft, classes) };
  }
}

/** Softmax regression by gradient descent, in double precision, on soft targets; and its losses. */
function regress(weights, bias, batches) {
  const [w, b] = [Float64Array.from(weights), Float64Array.from(bias)];
  let loss = 0;
  for (const { count, x: inputs, y: targets } of batches) {
    const [dw, db] = [new Float64Array(w.length), new Float64Array(b.length)];
    for (let row = 0; row < count; row++) {
      const at = inputs.slice(row * width, (row + 1) * width);
      const logits = Array.from(b, (value, c) =>
        at.reduce((sum, item, k) => sum + item * w[c * width + k], value),
      );
      const total = logits.reduce((sum, logit) => sum + Math.exp(logit), 0);
      for (const [c, logit] of logits.entries()) {
        const target = targets[row * classes + c];
        loss -= target * (logit - Math.log(total));
        const slope = (Math.exp(logit) / total - target) / count;
        db[c] += slope;
        for (let k = 0; k < width; k++) dw[c * width + k] += slope * at[k];
      }
    }
    for (const i of w.keys()) w[i] -= 0.3 * dw[i];
    for (const c of b.keys()) b[c] -= 0.3 * db[c];
  }
  return { w, b, loss: loss / rows };
}

test('class numbers: the steps and losses of soft targets', async (t) => {
  const model = linear();
  const at = (name) => model.parameters.get(`a.${name}`).data;
  const soft = Float64Array.from(
    { length: rows * classes },
    (_, i) => +(labels[Math.floor(i / classes)] === i % classes),
  );
  const expected = regress(at('weight'), at('bias'), mixedBatches(soft));
  const { history } = await trained(model, { loss: 'crossEntropy' }, { x, y: labels });
  t.true(relativeError(at('weight'), expected.w) < 1e-6);
  t.true(relativeError(at('bias'), expected.b) < 1e-6);
  t.true(Math.abs(history.loss[0] - expected.loss) < 1e-6 * expected.loss);
});

test('numbers: the targets themselves are mixed', async (t) => {
  const { model } = await trained(linear(), { loss: 'mse' }, { x, y: numbers });
  const expected = linear();
  const trainer = new Trainer(expected, { ...withMixup, mixup: undefined, loss: 'mse' });
  for (const batch of mixedBatches(numbers)) {
    await trainer.step({ x: Float32Array.from(batch.x), y: Float32Array.from(batch.y) });
  }
  await trainer.close();
  t.deepEqual(bits(model), bits(expected));
});

const weighted = () => {
  const [a, b] = [input([width], { name: 'a' }), input([2, 3], { name: 'b' })];
  const hidden = add(dense(6)(a), dense(6)(flatten(b)));
  return new Model({
    inputs: [a, b],
    outputs: { kind: dense(classes)(hidden), size: dense(2)(hidden) },
    seed: 4,
  });
};
const several = {
  x: { a: x, b: uniform(rows * 6, random) },
  y: { kind: labels, size: uniform(rows * 2, random) },
};
const objective = { loss: { kind: 'crossEntropy', size: 'mse' }, lossWeights: { kind: 0.5 } };

test('several inputs and outputs share a mixture, whatever makes their loss', async (t) => {
  const one = await trained(weighted(), objective, several);
  const { loss, kindLoss, sizeLoss } = one.history;
  t.true(Math.abs(loss[0] - kindLoss[0] - sizeLoss[0]) < 1e-6);
  const sum = ({ kind, size }, target) =>
    add(crossEntropy(kind, target.kind), mse(size, target.size));
  const own = await trained(weighted(), { loss: sum }, several);
  const plain = await trained(weighted(), { loss: objective.loss }, several);
  t.true(Math.abs(own.history.loss[0] - plain.history.loss[0]) < 1e-6);
  for (const [name, { data }] of own.model.parameters) {
    t.true(relativeError(data, plain.model.parameters.get(name).data) < 1e-6, name);
  }
  const unmixed = await trained(weighted(), { loss: objective.loss, mixup: undefined }, several);
  t.notDeepEqual(bits(unmixed.model), bits(plain.model));
});

test('evaluation and validation mix nothing', async (t) => {
  for (const [loss, y] of [
    ['crossEntropy', labels],
    ['mse', numbers],
  ]) {
    const model = linear();
    const metrics = loss === 'mse' ? ['mae'] : ['accuracy', 'f1'];
    const mixing = new Trainer(model, { ...withMixup, loss, metrics });
    const { valLoss } = await mixing.fit({ x, y }, { ...fit, validationData: { x, y } });
    const scores = await mixing.evaluate({ x, y }, { batchSize });
    const plain = new Trainer(model, { loss, metrics });
    t.deepEqual(scores, await plain.evaluate({ x, y }, { batchSize }));
    t.deepEqual(scores, await mixing.evaluate(fromArrays({ x, y }, { rows }), { batchSize }));
    t.is(valLoss[0], scores.loss);
    await mixing.close();
    await plain.close();
  }
});

test('yes and no that are mixed are met as the larger share says', async (t) => {
  // Rows that are told apart whatever share below a half is mixed in.
  const y = Float32Array.from({ length: 64 }, (_, i) => i % 2);
  const x = y.map((yes) => 2 * yes - 1);
  for (const units of [1, 2]) {
    const model = sequential([dense(units, { bias: false })], { input: [1] });
    for (const { data } of model.parameters.values()) data.fill(1);
    const trainer = new Trainer(model, {
      loss: 'bceWithLogits',
      optimizer: sgd({ learningRate: 0 }),
      metrics: ['accuracy', 'recall'],
      mixup: { alpha: 0.4 },
    });
    const each = Float32Array.from({ length: 64 * units }, (_, i) => y[Math.floor(i / units)]);
    const { accuracy, recall } = await trainer.fit({ x, y: each }, { batchSize: 8, verbose: 0 });
    t.deepEqual([accuracy, recall], [[1], [1]]);
    await trainer.close();
  }
});

test('ignored targets: what a mean divides by is the same for both halves', async (t) => {
  const y = labels.map((label, i) => (i % 3 === 0 ? -100 : label));
  const model = linear();
  for (const { data } of model.parameters.values()) data.fill(0);
  // Of a model that knows nothing each target that counts costs the logarithm of the classes.
  const { history } = await trained(
    model,
    { loss: 'crossEntropy', optimizer: sgd({ learningRate: 1e-30 }) },
    { x, y },
  );
  t.true(Math.abs(history.loss[0] - Math.log(classes)) < 1e-6);
});

test('batches count by what their losses divide by, and none without targets spoils a step', async (t) => {
  // Nearly all of each share is a row's own, so that this is training as without mixup.
  const mixup = { alpha: 1e-6 };
  const y = Int32Array.from(labels, (label, i) => (i < batchSize || i % 3 === 0 ? -100 : label));
  for (const gradientAccumulationSteps of [1, 3]) {
    const options = { loss: 'crossEntropy', gradientAccumulationSteps };
    const plain = await trained(linear(), { ...options, mixup: undefined }, { x, y });
    const mixed = await trained(linear(), { ...options, mixup }, { x, y });
    t.true(Math.abs(mixed.history.loss[0] / plain.history.loss[0] - 1) < 1e-5);
    for (const [name, { data }] of plain.model.parameters) {
      t.true(relativeError(mixed.model.parameters.get(name).data, data) < 1e-5, name);
    }
  }
});

test('each half of a mixture divides by what counts in it, over all batches of a step', async (t) => {
  const y = Int32Array.from(labels, (label, i) => (i < 5 || i % 4 === 0 ? -100 : label));
  const model = linear();
  const [weight, bias] = ['a.weight', 'a.bias'].map((name) => model.parameters.get(name).data);
  const sums = [0, 0];
  const counts = [0, 0];
  let begin = 0;
  for (const { count, x: mixed, share, partners } of mixedBatches(numbers)) {
    for (let i = 0; i < count; i++) {
      const logits = Array.from({ length: classes }, (_, k) =>
        mixed
          .slice(i * width, (i + 1) * width)
          .reduce((sum, value, j) => sum + value * weight[k * width + j], bias[k]),
      );
      const total = Math.log(logits.reduce((sum, value) => sum + Math.exp(value), 0));
      for (const [half, row, part] of [
        [0, i, share],
        [1, partners[i], 1 - share],
      ]) {
        const target = y[begin + row];
        if (target < 0) continue;
        sums[half] += part * (total - logits[target]);
        counts[half]++;
      }
    }
    begin += count;
  }
  const still = { loss: 'crossEntropy', optimizer: sgd({ learningRate: 0 }) };
  const expected = sums[0] / counts[0] + sums[1] / counts[1];
  for (const gradientAccumulationSteps of [1, 3]) {
    const { history } = await trained(model, { ...still, gradientAccumulationSteps }, { x, y });
    t.true(Math.abs(history.loss[0] - expected) < 1e-5, `${history.loss[0]}, ${expected}`);
  }
});

test('the same bits for every number of threads and after going on from a checkpoint', async (t) => {
  const dir = await makeFolder(t);
  const options = { ...objective, gradientAccumulationSteps: 2 };
  const more = { epochs: 4, shuffle: true };
  const whole = await trained(weighted(), { ...options, threads: 1 }, several, more);
  const threads = await trained(weighted(), { ...options, threads: 2 }, several, more);
  t.deepEqual(bits(threads.model), bits(whole.model));
  t.deepEqual({ ...threads.history }, { ...whole.history });
  const checkpoint = { dir, everySteps: 3 };
  const until = { callbacks: [{ onBatchEnd: (step) => step < 4 }] };
  await trained(weighted(), options, several, { ...more, ...until, checkpoint });
  const resumeFrom = `${dir}/step-000000003.safetensors`;
  const rest = await trained(weighted(), options, several, { ...more, resumeFrom });
  t.deepEqual(bits(rest.model), bits(whole.model));
  t.deepEqual({ ...rest.history }, { ...whole.history });
  await t.throwsAsync(
    trained(weighted(), { ...options, mixup: { alpha: 1 } }, several, { ...more, resumeFrom }),
    { code: 'ERR_ARGUMENT', message: /mixup\.alpha/ },
  );
});

test('rows of a dataset are mixed as those of arrays', async (t) => {
  const data = { x, y: labels };
  const arrays = await trained(linear(), { loss: 'crossEntropy' }, data);
  const dataset = await trained(linear(), { loss: 'crossEntropy' }, fromArrays(data));
  t.deepEqual(bits(dataset.model), bits(arrays.model));
});

test('large batches are mixed over several turns', async (t) => {
  const wide = 2 ** 16;
  const model = () => sequential([dense(1, { name: 'a' })], { input: [wide], seed: 1 });
  const data = { x: uniform(5 * wide, random), y: uniform(5, random) };
  const mixing = new Trainer(model(), { ...withMixup, loss: 'mse' });
  const { loss } = await mixing.step(data);
  await mixing.close();
  const { share, partners } = mixtureOf(5, alpha, seed, 0);
  const mixed = data.x.map((own, i) => {
    const other = data.x[partners[Math.floor(i / wide)] * wide + (i % wide)];
    return share * own + (1 - share) * other;
  });
  const y = data.y.map((own, i) => share * own + (1 - share) * data.y[partners[i]]);
  const plain = new Trainer(model(), { loss: 'mse' });
  t.is(loss, (await plain.evaluate({ x: mixed, y })).loss);
  await plain.close();
});

test('shares are those of Beta(alpha, alpha)', (t) => {
  for (const a of [0.01, 0.2, 1, 7]) {
    const draws = 20_000;
    const next = xoshiro(5, Math.round(a * 100));
    const samples = Array.from({ length: draws }, () => beta(a, next));
    t.true(samples.every((share) => share >= 0 && share <= 1));
    // Central moments of Beta(a, a); 5 standard errors of each mean.
    const variance = 1 / (4 * (2 * a + 1));
    const fourth = (3 * variance ** 2 * (2 * a + 1)) / (2 * a + 3);
    const mean = samples.reduce((sum, share) => sum + share, 0) / draws;
    const spread = samples.reduce((sum, share) => sum + (share - 0.5) ** 2, 0) / draws;
    t.true(Math.abs(mean - 0.5) < 5 * Math.sqrt(variance / draws), `mean for ${a}`);
    const error = Math.sqrt((fourth - variance ** 2) / draws);
    t.true(Math.abs(spread - variance) < 5 * error, `variance for ${a}`);
  }
  const { share, partners } = mixtureOf(100, 0.2, 1, 3);
  t.true(share >= 0.5 && share <= 1);
  t.deepEqual(
    [...partners].sort((a, b) => a - b),
    [...Array(100).keys()],
  );
  t.notDeepEqual(mixtureOf(100, 0.2, 1, 4), { share, partners });
});

test('what does not mix is refused', (t) => {
  const model = linear();
  for (const alpha of [0, -1, Number.NaN, '1', undefined]) {
    const options = { loss: 'crossEntropy', mixup: { alpha } };
    t.throws(() => new Trainer(model, options), { code: 'ERR_ARGUMENT', message: /mixup\.alpha/ });
  }
  t.throws(() => new Trainer(model, { loss: 'mse', mixup: { lambda: 1 } }), {
    code: 'ERR_ARGUMENT',
  });
  const tokens = sequential([embedding(7, 4), dense(7)], {
    input: input([6], { dtype: 'int32', name: 'tokens' }),
  });
  t.throws(() => new Trainer(tokens, { loss: 'crossEntropy', mixup: { alpha } }), {
    code: 'ERR_ARGUMENT',
    message: /tokens/,
  });
});
