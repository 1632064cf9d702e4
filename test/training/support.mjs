// Small models to train, and bits to compare.
import {
  adamw,
  batchNorm,
  conv2d,
  dense,
  dropout,
  embedding,
  flatten,
  input,
  layerNorm,
  lion,
  maxPool2d,
  multiHeadAttention,
  relu,
  sequential,
  sgd,
  Trainer,
  transformerBlock,
} from 'tandem-ml';
import { generator, uniform } from '../helpers/numbers.mjs';

export const quiet = { verbose: 0 };

const classes = (count, n, random) =>
  Int32Array.from({ length: count }, () => Math.floor(random() * n));

/** What a test trains: a model, its trainer's options, its data and how fit goes through them. */
export const kinds = {
  mlp: () => {
    const random = generator(1);
    return {
      model: sequential(
        [
          dense(24, { activation: 'relu' }),
          dropout(0.2),
          dense(16, { activation: 'tanh' }),
          dense(3),
        ],
        { input: [6], seed: 3 },
      ),
      options: {
        loss: 'crossEntropy',
        optimizer: adamw({ learningRate: 3e-3 }),
        metrics: ['accuracy'],
        seed: 11,
      },
      data: { x: uniform(230 * 6, random), y: classes(230, 3, random) },
      fit: { batchSize: 8, ...quiet },
    };
  },
  cnn: () => {
    const random = generator(2);
    return {
      model: sequential(
        [
          conv2d(6, { kernel: 3, padding: 1 }),
          batchNorm(),
          relu(),
          maxPool2d({ kernel: 2 }),
          flatten(),
          dropout(0.1),
          dense(3),
        ],
        { input: [1, 8, 8], seed: 4 },
      ),
      options: {
        loss: 'crossEntropy',
        optimizer: sgd({ learningRate: 0.05, momentum: 0.9, nesterov: true }),
        seed: 5,
      },
      data: { x: uniform(68 * 64, random), y: classes(68, 3, random) },
      fit: { batchSize: 4, ...quiet },
    };
  },
  gpt: () => {
    const random = generator(3);
    return {
      model: sequential(
        [
          embedding(17, 16, { positions: 8 }),
          transformerBlock({ heads: 2, causal: true, dropout: 0.1 }),
          layerNorm(),
          multiHeadAttention({ heads: 2, causal: true }),
          dense(17),
        ],
        { input: input([8], { dtype: 'int32' }), seed: 6 },
      ),
      options: {
        loss: 'crossEntropy',
        optimizer: lion({ learningRate: 1e-3, weightDecay: 0.1 }),
        maxGradNorm: 1,
        ema: { decay: 0.9, validate: true },
        seed: 7,
      },
      data: { x: classes(44 * 8, 17, random), y: classes(44 * 8, 17, random) },
      fit: { batchSize: 4, ...quiet },
    };
  },
};

export const start = (kind, more = {}) => {
  const { model, options, data, fit } = kinds[kind]();
  return { model, data, fit, trainer: new Trainer(model, { ...options, ...more }) };
};

export const hex = (array) =>
  Buffer.from(array.buffer, array.byteOffset, array.byteLength).toString('hex');

/** All parameters, bit for bit. */
export const bits = ({ parameters }) =>
  Object.fromEntries([...parameters].map(([name, { data }]) => [name, hex(data)]));
