// What 8-bit integers cost on rows that had no part in training or calibration: small forms of the
// models of the examples.
import test from 'ava';
import {
  adam,
  adamw,
  batchNorm,
  conv2d,
  dense,
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
import { loadBike, models } from '../examples/lib/bike.mjs';
import { loadDigits } from '../examples/lib/digits.mjs';
import { loadMnist, size } from '../examples/lib/mnist.mjs';
import { loadPlays, randomWindows } from '../examples/lib/text.mjs';
import { loadPredictor } from './helpers/predictors.mjs';

async function trainModel(model, data, { loss = 'crossEntropy', optimizer, ...options }) {
  const trainer = new Trainer(model, { loss, optimizer, seed: 1 });
  await trainer.fit(data, { verbose: 0, ...options });
  await trainer.close();
}

/** The report of a model that loses at most `maxAccuracyLoss`. */
async function gate(t, model, x, validation, maxAccuracyLoss) {
  const options = { calibration: { x }, validation, maxAccuracyLoss };
  const predictor = await loadPredictor(t, model, { precision: 'int8', ...options });
  t.true(predictor.quantization.validation.loss <= maxAccuracyLoss);
  t.true(predictor.quantization.layers.some(({ precision }) => precision === 'static'));
  return predictor.quantization.validation;
}

test.serial('digits: at most 0.3 points of accuracy', async (t) => {
  const [train, held] = await loadDigits({ sizes: [1280], seed: 1 });
  const model = sequential([dense(64, { activation: 'relu' }), dense(10)], {
    input: [64],
    seed: 1,
  });
  await trainModel(model, train, { optimizer: adamw({ learningRate: 3e-3 }), epochs: 10 });
  const { metric, float32 } = await gate(t, model, train.x, held, 0.003);
  t.is(metric, 'accuracy');
  t.true(float32 > 0.95);
});

test.serial('MNIST by a convolutional network: at most 0.3 points of accuracy', async (t) => {
  const [all, test2000] = await loadMnist(8000);
  const pixels = size * size;
  const train = { x: all.x.subarray(0, 2000 * pixels), y: all.y.subarray(0, 2000) };
  const held = { x: test2000.x.subarray(0, 1000 * pixels), y: test2000.y.subarray(0, 1000) };
  const block = (filters) => [
    conv2d(filters, { kernel: 3, padding: 1, bias: false }),
    batchNorm(),
    relu(),
    maxPool2d({ kernel: 2 }),
  ];
  const layers = [...block(8), ...block(16), flatten(), dense(10)];
  const model = sequential(layers, { input: [1, size, size], seed: 1 });
  const optimizer = adamw({ learningRate: 4e-3 });
  await trainModel(model, train, { optimizer, epochs: 1, batchSize: 16 });
  const { float32 } = await gate(t, model, train.x.subarray(0, 256 * pixels), held, 0.003);
  t.true(float32 > 0.9);
});

test.serial('bicycle rentals: at most 1 % of error', async (t) => {
  const { train, test: held, width } = await loadBike();
  const model = models.mlp.build(width, 1);
  const options = { loss: 'mse', optimizer: adam({ learningRate: 1e-3 }), epochs: 8 };
  await trainModel(model, { x: train.mlp, y: train.y }, { ...options, batchSize: 64 });
  const { metric } = await gate(t, model, train.mlp, { x: held.mlp, y: held.y }, 0.01);
  t.is(metric, 'rootMeanSquaredError');
});

/** Mean cross-entropy of logits. */
function crossEntropy(logits, y) {
  const classes = logits.length / y.length;
  let sum = 0;
  y.forEach((target, i) => {
    const row = logits.subarray(i * classes, (i + 1) * classes);
    const most = Math.max(...row);
    sum += most + Math.log(row.reduce((a, v) => a + Math.exp(v - most), 0)) - row[target];
  });
  return sum / y.length;
}

test.serial('a GPT: at most 1 % of perplexity', async (t) => {
  const { characters, train, validation } = await loadPlays();
  const [width, context] = [64, 32];
  const table = embedding(characters.length, width, { positions: context });
  const block = transformerBlock({ heads: 4, causal: true });
  const model = sequential([table, block, layerNorm(), dense(characters.length)], {
    input: input([context], { dtype: 'int32' }),
    seed: 1,
  });
  const data = randomWindows(train, { count: 1800, length: context, seed: 1 });
  await trainModel(model, data, {
    optimizer: adamw({ learningRate: 3e-3 }),
    epochs: 2,
    batchSize: 12,
  });
  const held = randomWindows(validation, { count: 300, length: context, seed: 2 });
  const calibration = { x: data.x.subarray(0, 128 * context) };
  const [exact, int8] = [
    await Predictor.load(model),
    await Predictor.load(model, { precision: 'int8', calibration }),
  ];
  const [plain, quantized] = [exact, int8].map((one) =>
    crossEntropy(one.predictSync(held.x), held.y),
  );
  t.true(plain < 3, String(plain));
  t.true(Math.exp(quantized - plain) < 1.01, `${quantized} ${plain}`);
  await exact.close();
  await int8.close();
});

test('a GPT of the size of the example takes at most 0.30 of its memory', async (t) => {
  const [characters, context] = [65, 256];
  const blocks = [1, 2, 3, 4].map(() => transformerBlock({ heads: 4, causal: true }));
  const model = sequential(
    [embedding(characters, 128, { positions: context }), ...blocks, layerNorm(), dense(characters)],
    { input: input([context], { dtype: 'int32' }), seed: 1 },
  );
  await staysSmall(
    t,
    model,
    new Int32Array(context).map((_, i) => (i * 7) % characters),
  );
});

test('a model of some kilobytes takes at most 0.30 of its memory', async (t) => {
  const width = 43;
  const x = Float32Array.from({ length: 64 * width }, (_, i) => Math.sin(i));
  await staysSmall(t, models.mlp.build(width, 1), x);
});

/** In 8-bit integers of every kind; `x`: to calibrate with. */
async function staysSmall(t, model, x) {
  const [all, ...sizes] = await Promise.all(
    [
      {},
      { precision: 'int8', calibration: { x } },
      { precision: 'int8' },
      { precision: 'int8-weights' },
    ].map(async (options) => {
      const predictor = await Predictor.load(model, options);
      const { parameters } = predictor.profile().memory;
      await predictor.close();
      return parameters;
    }),
  );
  for (const bytes of sizes) t.true(bytes <= 0.3 * all, `${bytes} of ${all}`);
}
