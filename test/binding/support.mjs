// What the tests of the addon share: the addon itself and small graphs as plain data.
import { fileURLToPath } from 'node:url';
import load from 'node-gyp-build';

export const root = fileURLToPath(new URL('../..', import.meta.url));
export const addon = load(root);

export class NativeError extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}
addon.setErrorClass(NativeError);

const uniform = { kind: 'uniform', a: -0.5, b: 0.5 };

export const parameters = (inputs, outputs) => [
  {
    name: 'w',
    shape: [outputs, inputs],
    dtype: 'float32',
    trainable: true,
    initializer: uniform,
  },
  { name: 'b', shape: [outputs], dtype: 'float32', trainable: true, initializer: uniform },
];

/** y = x w^T + b */
export const linear = (inputs, outputs) => ({
  inputs: [{ name: 'x', shape: [-1, inputs], dtype: 'float32' }],
  parameters: parameters(inputs, outputs),
  constants: [],
  nodes: [{ op: 'linear', inputs: [0, 1, 2], attributes: {} }],
  outputs: [3],
});

/** The mean squared error of linear(). */
export const regression = (inputs, outputs) => ({
  inputs: [
    { name: 'x', shape: [-1, inputs], dtype: 'float32' },
    { name: 't', shape: [-1, outputs], dtype: 'float32' },
  ],
  parameters: parameters(inputs, outputs),
  constants: [],
  nodes: [
    { op: 'linear', inputs: [0, 2, 3], attributes: {} },
    { op: 'mse', inputs: [4, 1], attributes: {} },
    { op: 'mean', inputs: [5], attributes: {} },
  ],
  outputs: [6],
});

export const trainerOptions = {
  optimizer: { op: 'sgd', groups: [{}], groupOf: [0, 0] },
  maxGradValue: 0,
  averageDecay: 0,
  accumulates: false,
  divisors: [],
  scales: 0,
  segments: 0,
  skip: null,
  maxGradNorm: 0,
  checkNumerics: false,
  precision: 'float32',
  seed: 1,
  threads: 1,
};

export const makePredictor = (inputs = 3, outputs = 2, maxBatch = 16) =>
  addon.loadPredictor(
    new addon.Parameters(parameters(inputs, outputs), 1),
    linear(inputs, outputs),
    { maxBatch, threads: 1, precision: 'float32' },
  );

export const makeTrainer = (inputs = 3, outputs = 2, options = {}) => {
  const store = new addon.Parameters(parameters(inputs, outputs), 1);
  const trainer = new addon.Trainer(store, regression(inputs, outputs), {
    ...trainerOptions,
    ...options,
  });
  return { store, trainer };
};

/** Arguments of train() and evaluate(): `steps` steps of `batch` of `rows` rows in order. */
export const work = (steps, batch, inputs = 3, outputs = 2, learningRate = 0.1) => [
  [ramp(batch * inputs), ramp(batch * outputs)],
  Uint32Array.from({ length: steps * batch }, (_, i) => i % batch),
  new Uint32Array(steps).fill(batch),
  new Float64Array(steps).fill(learningRate),
];

export const ramp = (length) => Float32Array.from({ length }, (_, i) => ((i * 7) % 11) / 11 - 0.5);

/** y = x w^T + b in double precision, with the parameters of `store`. */
export const reference = (store, x, inputs, outputs) => {
  const w = new Float32Array(store.buffer, store.offsets[0], inputs * outputs);
  const b = new Float32Array(store.buffer, store.offsets[1], outputs);
  return Array.from({ length: (x.length / inputs) * outputs }, (_, i) => {
    const row = Math.floor(i / outputs);
    const out = i % outputs;
    let sum = b[out];
    for (let k = 0; k < inputs; k++) sum += x[row * inputs + k] * w[out * inputs + k];
    return sum;
  });
};

export const close = (t, actual, expected, tolerance = 1e-5) => {
  t.is(actual.length, expected.length);
  for (const [i, value] of expected.entries()) {
    t.true(Math.abs(actual[i] - value) <= tolerance, `${i}: ${actual[i]} is not ${value}`);
  }
};
