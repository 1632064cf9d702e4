// A process of its own for test/memory.test.mjs: trains a small model, one of the examples', or predicts
// with it, and prints what the engine holds for that and what profile() says. Threads keep scratch
// memory, so that each measurement needs a process.
import {
  abs,
  adam,
  adamw,
  batchNorm,
  conv2d,
  dense,
  dropout,
  embedding,
  flatten,
  input,
  layerNorm,
  Model,
  maxPool2d,
  Predictor,
  relu,
  sequential,
  sub,
  Trainer,
  transformerBlock,
} from 'tandem-ml';
import { native } from '../../dist/native.js';
import { models } from '../../examples/lib/bike.mjs';
import { generator, uniform } from './numbers.mjs';

const random = generator(1);
const rows = 200;
const classes = () => Int32Array.from({ length: rows }, () => Math.floor(10 * random()));
const pixels = 64;
const images = () => uniform(rows * pixels, random, 0, 1);

/** The perceptron of examples/digits.mjs. */
function digits() {
  const drop = dropout(0.3);
  const layers = [128, 64].flatMap((units) => [dense(units, { activation: 'relu' }), drop]);
  return {
    model: sequential([...layers, dense(10)], { input: [pixels], seed: 1 }),
    options: { loss: 'crossEntropy', optimizer: adamw(), metrics: ['accuracy', 'confusionMatrix'] },
    data: { x: images(), y: classes() },
    batchSize: 32,
  };
}

/** The perceptron of examples/bike-demand.mjs. */
function bike() {
  const width = 43;
  const { build, fit } = models.mlp;
  return {
    model: build(width, 1),
    options: { loss: 'mse', optimizer: adam() },
    data: { x: uniform(rows * width, random), y: uniform(rows, random) },
    batchSize: fit.batchSize,
  };
}

/** The model of examples/two-tower.mjs. */
function twoTower() {
  const [hidden, code] = [
    dense(128, { activation: 'relu', name: 'hidden' }),
    dense(32, { activation: 'tanh', name: 'code' }),
  ];
  const [drop, digit] = [dropout(0.2), dense(10, { name: 'digit' })];
  const [left, right] = ['left', 'right'].map((name) => input([pixels], { name }));
  const [a, b] = [left, right].map((image) => code(drop(hidden(image))));
  const same = dense(1, { name: 'same' })(abs(sub(a, b)));
  const outputs = { same, leftDigit: digit(a), rightDigit: digit(b) };
  return {
    model: new Model({ inputs: [left, right], outputs, seed: 1 }),
    options: {
      loss: { same: 'bceWithLogits', leftDigit: 'crossEntropy', rightDigit: 'crossEntropy' },
      optimizer: adamw(),
      metrics: ['accuracy'],
    },
    data: {
      x: { left: images(), right: images() },
      y: {
        same: Float32Array.from({ length: rows }, (_, i) => i % 2),
        leftDigit: classes(),
        rightDigit: classes(),
      },
    },
    batchSize: 64,
  };
}

/** The GRU of examples/bike-demand.mjs. */
function gru() {
  const width = 43;
  const { build, fit } = models.gru;
  const model = build(width, 1);
  // Of each hour the count before it, too.
  const [, hours, values] = model.inputs[0].shape;
  return {
    model,
    options: { loss: 'mse', optimizer: adam() },
    data: { x: uniform(rows * hours * values, random), y: uniform(rows, random) },
    batchSize: fit.batchSize,
  };
}

/** The network of examples/mnist-cnn.mjs. */
function cnn() {
  const side = 28;
  const blocks = [16, 32, 64].flatMap((filters) => [
    conv2d(filters, { kernel: 3, padding: 1, bias: false }),
    batchNorm(),
    relu(),
    maxPool2d({ kernel: 2 }),
  ]);
  return {
    model: sequential([...blocks, flatten(), dropout(0.5), dense(10)], {
      input: [1, side, side],
      seed: 1,
    }),
    options: { loss: 'crossEntropy', optimizer: adamw(), metrics: ['accuracy'] },
    data: { x: uniform(rows * side * side, random, 0, 1), y: classes() },
    batchSize: 64,
  };
}

/** The model of examples/shakespeare-gpt.mjs. */
function gpt() {
  const [characters, width, context, texts] = [65, 128, 64, 24];
  const blocks = Array.from({ length: 4 }, () => transformerBlock({ heads: 4, causal: true }));
  const tokens = () =>
    Int32Array.from({ length: texts * context }, () => Math.floor(characters * random()));
  return {
    model: sequential(
      [
        embedding(characters, width, { positions: context }),
        ...blocks,
        layerNorm(),
        dense(characters, { bias: false }),
      ],
      { input: input([context], { dtype: 'int32' }), seed: 1 },
    ),
    options: { loss: 'crossEntropy', optimizer: adamw(), maxGradNorm: 1 },
    data: { x: tokens(), y: tokens() },
    batchSize: 12,
  };
}

const makers = { digits, bike, 'two-tower': twoTower, gru, cnn, gpt };
const [name, phase, more] = process.argv.slice(2);
const { model, options, data, batchSize } = makers[name]();
// The parameters are made when they are first wanted.
model.parameters;
const before = native.heldMemory();

async function training() {
  const trainer = new Trainer(model, { ...options, ...JSON.parse(more) });
  await trainer.fit(data, { epochs: 2, batchSize, validationData: data, verbose: 0 });
  const measured = { held: native.heldMemory(), profiled: trainer.profile().memory };
  await trainer.close();
  return measured;
}

/** A Predictor has weights of its own, beside the model's. */
async function prediction() {
  const predictor = await Predictor.load(model);
  await predictor.predict(data.x);
  const { blocks, scratch } = native.heldMemory();
  const held = { blocks: blocks - before.blocks, scratch };
  const profiled = predictor.profile().memory;
  await predictor.close();
  return { held, profiled };
}

const measured = await { training, prediction }[phase]();
console.log(JSON.stringify({ ...measured, before, left: native.heldMemory() }));
