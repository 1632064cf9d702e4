// Models that are quantized in tests, and what is put into them.
import { batchNorm, conv2d, dense, dropout, flatten, maxPool2d, relu, sequential } from 'tandem-ml';
import { languageModel } from './language.mjs';

export const noise = (length, seed = 1) =>
  Float32Array.from({ length }, (_, i) => Math.sin(seed * 12.9898 + i * 78.233 + i * i * 0.37));

export const perceptron = () =>
  sequential(
    [dense(48, { activation: 'relu' }), dropout(0.2), dense(33, { activation: 'gelu' }), dense(5)],
    { input: [20], seed: 1 },
  );

export const images = () =>
  sequential(
    [
      conv2d(8, { kernel: 3, padding: 1, bias: false }),
      batchNorm(),
      relu(),
      maxPool2d({ kernel: 2 }),
      conv2d(16, { kernel: 3, padding: 1, activation: 'relu' }),
      maxPool2d({ kernel: 2 }),
      flatten(),
      dense(10),
    ],
    { input: [3, 12, 12], seed: 2 },
  );

export const kernels = (predictor) => predictor.profile().kernels.join(' ');

export const transformer = () => languageModel({ vocabulary: 30, time: 12, width: 32, seed: 4 });
