// Metrics against scikit-learn's: over one batch, over small batches, in training and in evaluation.
import { readFile } from 'node:fs/promises';
import test from 'ava';
import { dense, metrics, sequential, sgd, Trainer } from 'tandem-ml';

const golden = JSON.parse(
  await readFile(new URL('../golden/metrics/metrics.json', import.meta.url), 'utf8'),
);
const { rows } = golden;

/** A trainer of a model that gives its input, and learns nothing. */
function identity(t, width, loss, wanted) {
  const model = sequential([dense(width, { bias: false, name: 'same' })], { input: [width] });
  const { data } = model.parameters.get('same.weight');
  for (let i = 0; i < data.length; i++) data[i] = Math.floor(i / width) === i % width ? 1 : 0;
  const trainer = new Trainer(model, {
    loss,
    optimizer: sgd({ learningRate: 0 }),
    metrics: wanted,
  });
  t.teardown(() => trainer.close());
  return trainer;
}

/** The metrics of fit, of its validation and of evaluate, over batches of several sizes. */
async function measure(t, width, loss, x, y, wanted) {
  const data = { x: Float32Array.from(x), y };
  const found = [];
  for (const batchSize of [rows, 7, 1]) {
    const trainer = identity(t, width, loss, wanted);
    const scores = await trainer.evaluate(data, { batchSize });
    const history = await trainer.fit(data, { batchSize, verbose: 0, validationData: data });
    const { numbers, held } = lastEpoch(history);
    found.push({ scores, matrices: scores.matrices });
    found.push({ scores: numbers, matrices: history.matrices });
    found.push({ scores: held, matrices: unprefixed(history.matrices) });
  }
  return found;
}

const unprefixed = (record) =>
  Object.fromEntries(
    Object.entries(record)
      .filter(([name]) => name.startsWith('val'))
      .map(([name, value]) => [name[3].toLowerCase() + name.slice(4), value]),
  );

function lastEpoch(history) {
  const all = Object.fromEntries(
    Object.entries(history).map(([name, list]) => [name, list.at(-1)]),
  );
  return { numbers: all, held: unprefixed(all) };
}

const near = (t, found, expected, what) =>
  t.true(
    Math.abs(found - expected) <= 1e-6 * Math.max(1, Math.abs(expected)),
    `${what}: ${found}, expected ${expected}`,
  );

const averages = (name, options) =>
  options.map((average) => [`${name}_${average}`, metrics[name]({ average })]);

function checkAverages(t, scores, expected, options) {
  for (const name of ['precision', 'recall', 'f1']) {
    for (const average of options) {
      near(t, scores[`${name}_${average}`], expected[name][average], `${name} ${average}`);
    }
  }
}

test('of several classes', async (t) => {
  const { logits, target, ...expected } = golden.multiclass;
  const options = ['macro', 'weighted', 'micro'];
  const found = await measure(t, 7, 'crossEntropy', logits, Int32Array.from(target), {
    accuracy: 'accuracy',
    precision: 'precision',
    perplexity: 'perplexity',
    confusionMatrix: 'confusionMatrix',
    top1: metrics.topKAccuracy({ k: 1 }),
    top2: metrics.topKAccuracy({ k: 2 }),
    topKAccuracy: 'topKAccuracy',
    rocAuc: 'rocAuc',
    weightedAuc: metrics.rocAuc({ average: 'weighted' }),
    ...Object.fromEntries(['precision', 'recall', 'f1'].flatMap((name) => averages(name, options))),
  });
  for (const { scores, matrices } of found) {
    near(t, scores.accuracy, expected.accuracy, 'accuracy');
    near(t, scores.precision, expected.precision.macro, 'precision');
    near(t, scores.perplexity, expected.perplexity, 'perplexity');
    near(t, scores.top1, expected.topK[1], 'top 1');
    near(t, scores.top2, expected.topK[2], 'top 2');
    near(t, scores.topKAccuracy, expected.topK[5], 'top 5');
    near(t, scores.rocAuc, expected.rocAuc.macro, 'rocAuc');
    near(t, scores.weightedAuc, expected.rocAuc.weighted, 'weighted rocAuc');
    checkAverages(t, scores, expected, options);
    t.deepEqual(matrices.confusionMatrix, expected.confusionMatrix);
  }
});

test('area under the curve of each class against the rest', async (t) => {
  const { logits, target, rocAuc } = golden.multiclassAuc;
  const y = Int32Array.from(target);
  for (const { scores } of await measure(t, 4, 'crossEntropy', logits, y, {
    macro: 'rocAuc',
    weighted: metrics.rocAuc({ average: 'weighted' }),
  })) {
    near(t, scores.macro, rocAuc.macro, 'macro');
    near(t, scores.weighted, rocAuc.weighted, 'weighted');
  }
});

test('of yes and no, with one logit', async (t) => {
  const { logits, target, ...expected } = golden.binary;
  const options = ['binary', 'macro', 'weighted', 'micro'];
  const wanted = {
    f1: 'f1',
    rocAuc: 'rocAuc',
    confusionMatrix: 'confusionMatrix',
    ...Object.fromEntries(['precision', 'recall', 'f1'].flatMap((name) => averages(name, options))),
  };
  const y = Float32Array.from(target);
  for (const { scores, matrices } of await measure(t, 1, 'bceWithLogits', logits, y, wanted)) {
    near(t, scores.f1, expected.f1.binary, 'f1');
    near(t, scores.rocAuc, expected.rocAuc, 'rocAuc');
    checkAverages(t, scores, expected, options);
    t.deepEqual(matrices.confusionMatrix, expected.confusionMatrix);
  }
});

test('of yes and no, with two logits', async (t) => {
  const { logits, target, ...expected } = golden.binary;
  const x = logits.flatMap((logit) => [0, logit]);
  const y = Int32Array.from(target);
  for (const { scores, matrices } of await measure(t, 2, 'crossEntropy', x, y, [
    'precision',
    'recall',
    'f1',
    'rocAuc',
    'confusionMatrix',
  ])) {
    for (const name of ['precision', 'recall', 'f1']) {
      near(t, scores[name], expected[name].binary, name);
    }
    near(t, scores.rocAuc, expected.rocAuc, 'rocAuc');
    t.deepEqual(matrices.confusionMatrix, expected.confusionMatrix);
  }
});

test('of several labels', async (t) => {
  const { logits, target, ...expected } = golden.multilabel;
  const options = ['macro', 'weighted', 'micro'];
  const y = Float32Array.from(target);
  const met = logits.filter((logit, i) => logit > 0 === target[i] > 0.5);
  for (const { scores } of await measure(t, 3, 'bceWithLogits', logits, y, {
    accuracy: 'accuracy',
    rocAuc: 'rocAuc',
    weightedAuc: metrics.rocAuc({ average: 'weighted' }),
    ...Object.fromEntries(['precision', 'recall', 'f1'].flatMap((name) => averages(name, options))),
  })) {
    near(t, scores.accuracy, met.length / logits.length, 'accuracy');
    near(t, scores.rocAuc, expected.rocAuc.macro, 'rocAuc');
    near(t, scores.weightedAuc, expected.rocAuc.weighted, 'weighted rocAuc');
    checkAverages(t, scores, expected, options);
  }
});

test('of numbers, also far from zero', async (t) => {
  const { output, target, ...expected } = golden.regression;
  const y = Float32Array.from(target);
  for (const { scores } of await measure(t, 2, 'mse', output, y, ['mae', 'rmse', 'r2'])) {
    for (const name of ['mae', 'rmse', 'r2']) near(t, scores[name], expected[name], name);
  }
});
