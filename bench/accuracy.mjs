// What 8-bit integers cost on held-out data: the models of the examples, trained as there, predicted in
// float32, with static calibration, by the ranges of rows, and with 8-bit weights alone. Calibration
// data come from the rows to train on. Of each: accuracy, error or perplexity, and bytes by float32's.
import {
  adam,
  adamw,
  batchNorm,
  conv2d,
  cosine,
  dense,
  dropout,
  earlyStopping,
  embedding,
  flatten,
  input,
  layerNorm,
  maxPool2d,
  Predictor,
  relu,
  sequential,
  Trainer,
  transformerBlock,
} from 'tandem-ml';
import { loadBike, meanError, models } from '../examples/lib/bike.mjs';
import { loadDigits } from '../examples/lib/digits.mjs';
import { loadMnist, size } from '../examples/lib/mnist.mjs';
import { allWindows, loadPlays, randomWindows } from '../examples/lib/text.mjs';
import { quick, wanted } from './lib/options.mjs';
import { openSuite } from './lib/suite.mjs';

const argmax = (row) => row.indexOf(Math.max(...row));

/** Share of rows whose largest score is that of their class. */
function accuracy(scores, y) {
  const classes = scores.length / y.length;
  let right = 0;
  y.forEach((target, i) => {
    if (argmax(scores.subarray(i * classes, (i + 1) * classes)) === target) right++;
  });
  return right / y.length;
}

/** e to the cross-entropy of logits. */
function perplexity(logits, y) {
  const classes = logits.length / y.length;
  let sum = 0;
  y.forEach((target, i) => {
    const row = logits.subarray(i * classes, (i + 1) * classes);
    const most = Math.max(...row);
    sum += most + Math.log(row.reduce((a, v) => a + Math.exp(v - most), 0)) - row[target];
  });
  return Math.exp(sum / y.length);
}

async function digits() {
  const [train, validation, test] = await loadDigits({ sizes: [1280, 240], seed: 1 });
  const hidden = (units) => [dense(units, { activation: 'relu' }), dropout(0.3)];
  const model = sequential([...hidden(128), ...hidden(64), dense(10)], { input: [64], seed: 1 });
  const optimizer = adamw({ learningRate: 3e-3 });
  const trainer = new Trainer(model, { loss: 'crossEntropy', optimizer, seed: 1 });
  const callbacks = [earlyStopping({ patience: 12, restoreBestWeights: true })];
  const rest = { validationData: validation, callbacks };
  await trainer.fit(train, { epochs: 60, batchSize: 32, verbose: 0, ...rest });
  await trainer.close();
  return { model, calibration: train.x, rows: test.x, score: (y) => accuracy(y, test.y) };
}

async function mnist() {
  const [train, test] = await loadMnist(8000);
  const block = (filters) => [
    conv2d(filters, { kernel: 3, padding: 1, bias: false }),
    batchNorm(),
    relu(),
    maxPool2d({ kernel: 2 }),
  ];
  const layers = [...block(16), ...block(32), ...block(64), flatten(), dropout(0.5), dense(10)];
  const model = sequential(layers, { input: [1, size, size], seed: 1 });
  const epochs = quick ? 2 : 12;
  const totalSteps = epochs * 125;
  const trainer = new Trainer(model, {
    loss: 'crossEntropy',
    optimizer: adamw({ learningRate: 4e-3, weightDecay: 0.05 }),
    lrScheduler: cosine({ warmupSteps: totalSteps / 10, totalSteps }),
    seed: 1,
  });
  await trainer.fit(train, { epochs, batchSize: 64, verbose: 0 });
  await trainer.close();
  const score = (y) => accuracy(y, test.y);
  return { model, calibration: train.x.subarray(0, 512 * size * size), rows: test.x, score };
}

const bike = (name) => async () => {
  const { train, test, mean, deviation, width } = await loadBike();
  const { build, fit, learningRate } = models[name];
  const model = build(width, 1);
  const trainer = new Trainer(model, { loss: 'mse', optimizer: adam({ learningRate }), seed: 1 });
  await trainer.fit({ x: train[name], y: train.y }, { ...fit, verbose: 0 });
  await trainer.close();
  const rentals = (y) => Array.from(y, (value) => Math.max(0, mean + deviation * value));
  const score = (y) => meanError(rentals(y), test.counts);
  return { model, calibration: train[name], rows: test[name], score };
};

async function gpt() {
  const { characters, train, validation } = await loadPlays();
  const [layers, width, heads, context] = [4, 128, 4, 64];
  const [steps, batchSize, rounds] = [quick ? 200 : 2000, 12, quick ? 1 : 8];
  const blocks = Array.from({ length: layers }, () => transformerBlock({ heads, causal: true }));
  const table = embedding(characters.length, width, { positions: context });
  const model = sequential(
    [table, ...blocks, layerNorm(), dense(characters.length, { bias: false })],
    { input: input([context], { dtype: 'int32' }), seed: 1 },
  );
  const trainer = new Trainer(model, {
    loss: 'crossEntropy',
    optimizer: adamw({ learningRate: 3e-3, weightDecay: 0.1, betas: [0.9, 0.99] }),
    lrScheduler: cosine({ warmupSteps: 100, totalSteps: steps, minimum: 0.1 }),
    maxGradNorm: 1,
    seed: 1,
  });
  for (let round = 0; round < rounds; round++) {
    const count = (batchSize * steps) / rounds;
    const data = randomWindows(train, { count, length: context, seed: round });
    await trainer.fit(data, { batchSize, verbose: 0 });
  }
  await trainer.close();
  const held = allWindows(validation, context);
  const calibration = randomWindows(train, { count: 256, length: context, seed: 99 }).x;
  return { model, calibration, rows: held.x, score: (y) => perplexity(y, held.y) };
}

const cases = {
  'digits, accuracy': digits,
  'MNIST CNN, accuracy': mnist,
  'bike-demand MLP, mean error': bike('mlp'),
  'bike-demand GRU, mean error': bike('gru'),
  'GPT 4x128, perplexity': gpt,
};

const suite = openSuite('accuracy');
for (const [name, train] of Object.entries(cases)) {
  if (!wanted(name)) continue;
  const { model, calibration, rows, score } = await train();
  const data = { calibration: { x: calibration } };
  /** @type {Record<string, import('tandem-ml').PredictorOptions>} */
  const kinds = {
    float32: {},
    bfloat16: { precision: 'bfloat16' },
    'int8, minMax': { precision: 'int8', ...data, quantization: { observer: 'minMax' } },
    'int8, percentile': { precision: 'int8', ...data, quantization: { observer: 'percentile' } },
    'int8, entropy': { precision: 'int8', ...data, quantization: { observer: 'entropy' } },
    'int8, mse': { precision: 'int8', ...data },
    'int8, symmetric': { precision: 'int8', ...data, quantization: { symmetric: true } },
    'int8, dynamic': { precision: 'int8' },
    'int8 weights': { precision: 'int8-weights' },
  };
  let plain;
  for (const [precision, options] of Object.entries(kinds)) {
    const predictor = await Predictor.load(model, options);
    const value = score(await predictor.predict(rows));
    const bytes = predictor.profile().memory.parameters;
    plain ??= { value, bytes };
    const found = { value, change: value / plain.value - 1, memory: bytes / plain.bytes };
    suite.add({ name, precision, unit: name.split(', ').at(-1) ?? '', ...found, peers: {} });
    await predictor.close();
  }
}
suite.finish();
