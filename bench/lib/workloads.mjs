// The models that are trained and served beside the peers. One entry is one model for all suites:
// ours, what bench/peers/torch_models.py builds of it, and its ONNX file.
import {
  adam,
  adamw,
  batchNorm,
  conv2d,
  dense,
  embedding,
  flatten,
  gru,
  input,
  layerNorm,
  lstm,
  maxPool2d,
  relu,
  sequential,
  transformerBlock,
} from 'tandem-ml';
import { perceptronToOnnx } from '../peers/onnx.mjs';

/** The characters that language models here know. */
export const characters = 65;

/**
 * @typedef {object} Workload
 * @property {string} name
 * @property {() => import('tandem-ml').Model} model
 * @property {(rows: number) => Float32Array | Int32Array} input
 * @property {(rows: number) => Int32Array} target
 * @property {'crossEntropy'} loss
 * @property {() => import('tandem-ml').Optimizer} optimizer
 * @property {{ kind: string } & Record<string, unknown>} torch a function of torch_models.py and
 *   its arguments
 * @property {(model: import('tandem-ml').Model) => Uint8Array} [onnx] of models that are served
 * @property {number[]} trained batch sizes that training is measured with
 * @property {number[]} served rows that predictions are measured with
 * @property {number} rows in an epoch of fit, at most
 */

/** @type {Workload[]} */
export const workloads = [
  perceptron([784, 512, 256, 10], { trained: [8, 128, 1024], served: [1, 256], rows: 2 ** 13 }),
  perceptron([30, 64, 32, 2], { trained: [32], served: [1], rows: 2 ** 15 }),
  convolutional({ trained: [64], served: [], rows: 2 ** 12 }),
  feedForward(128, 4, { trained: [768], served: [], rows: 2 ** 14 }),
  feedForward(384, 6, { trained: [2048], served: [], rows: 2 ** 14 }),
  gpt({ layers: 4, width: 128, heads: 4, time: 64, batch: 12, steps: 16 }),
  gpt({ layers: 6, width: 384, heads: 6, time: 256, batch: 8, steps: 4 }),
  recurrent('lstm', { time: 50, inputs: 64, units: 128 }),
  recurrent('gru', { time: 50, inputs: 64, units: 128 }),
];

/**
 * The workload of this name.
 * @param {string} name
 */
export function workload(name) {
  const found = workloads.find((one) => one.name === name);
  if (found === undefined) throw new Error(`no workload is called ${name}`);
  return found;
}

/**
 * A perceptron with ReLU between its layers, trained by Adam.
 * @param {number[]} sizes
 * @param {Pick<Workload, 'trained' | 'served' | 'rows'>} cases
 * @returns {Workload}
 */
function perceptron(sizes, cases) {
  const classes = sizes[sizes.length - 1];
  const layers = () =>
    sizes
      .slice(1)
      .map((units, i) => dense(units, i < sizes.length - 2 ? { activation: 'relu' } : {}));
  return {
    name: `MLP ${sizes.join('-')}`,
    model: () => sequential(layers(), { input: [sizes[0]], seed: 1 }),
    input: (rows) => noise(rows * sizes[0]),
    target: (rows) => labels(rows, classes),
    loss: 'crossEntropy',
    optimizer: () => adam({ learningRate: 1e-3 }),
    torch: { kind: 'mlp', sizes },
    onnx: perceptronToOnnx,
    ...cases,
  };
}

/**
 * The linear layers of a transformer's feed-forward parts one after the other, with GELU within each
 * and a class for each of `width` outputs, trained by AdamW.
 * @param {number} width
 * @param {number} blocks
 * @param {Pick<Workload, 'trained' | 'served' | 'rows'>} cases
 * @returns {Workload}
 */
function feedForward(width, blocks, cases) {
  const layers = () =>
    Array.from({ length: blocks }, () => [
      dense(4 * width, { activation: 'gelu' }),
      dense(width),
    ]).flat();
  return {
    name: `feed-forward ${blocks}x${width}`,
    model: () => sequential(layers(), { input: [width], seed: 1 }),
    input: (rows) => noise(rows * width),
    target: (rows) => labels(rows, width),
    loss: 'crossEntropy',
    optimizer: () => adamw({ learningRate: 1e-4 }),
    torch: { kind: 'feed_forward', width, blocks },
    ...cases,
  };
}

/**
 * A causal model of them: the one of examples/shakespeare-gpt.mjs in other sizes.
 * @param {{ layers: number, width: number, heads: number, time: number }} sizes
 */
export const gptModel = ({ layers, width, heads, time }) =>
  sequential(
    [
      embedding(characters, width, { positions: time }),
      ...Array.from({ length: layers }, () => transformerBlock({ heads, causal: true })),
      layerNorm(),
      dense(characters, { bias: false }),
    ],
    { input: input([time], { dtype: 'int32' }), seed: 1 },
  );

/**
 * A model of characters, trained by AdamW; `steps` make an epoch of fit.
 * @param {{ layers: number, width: number, heads: number, time: number, batch: number,
 *   steps: number }} sizes
 * @returns {Workload}
 */
function gpt({ layers, width, heads, time, batch, steps }) {
  return {
    name: `GPT ${layers}x${width}`,
    model: () => gptModel({ layers, width, heads, time }),
    input: (rows) => labels(rows * time, characters),
    target: (rows) => labels(rows * time, characters),
    loss: 'crossEntropy',
    optimizer: () => adamw({ learningRate: 1e-3 }),
    torch: { kind: 'gpt', layers, width, heads, time, characters },
    trained: [batch],
    served: [],
    rows: steps * batch,
  };
}

/**
 * Two convolutions with normalisation and pooling, then a perceptron, for images of 28 x 28 pixels.
 * @param {Pick<Workload, 'trained' | 'served' | 'rows'>} cases
 * @returns {Workload}
 */
function convolutional(cases) {
  const block = (filters) => [
    conv2d(filters, { kernel: 3, padding: 1 }),
    batchNorm(),
    relu(),
    maxPool2d({ kernel: 2 }),
  ];
  return {
    name: 'CNN 28x28',
    model: () => imageClassifier(block),
    input: (rows) => noise(rows * 28 * 28),
    target: (rows) => labels(rows, 10),
    loss: 'crossEntropy',
    optimizer: () => adam({ learningRate: 1e-3 }),
    torch: { kind: 'cnn' },
    ...cases,
  };
}

/**
 * Two blocks of convolution and two dense layers, for images of 28 x 28 and 10 classes.
 * @param {(filters: number) => import('tandem-ml').Layer[]} block
 */
export function imageClassifier(block) {
  const head = [flatten(), dense(128, { activation: 'relu' }), dense(10)];
  return sequential([...block(32), ...block(64), ...head], { input: [1, 28, 28], seed: 1 });
}

/**
 * The last state of a recurrent layer, classified; trained by Adam.
 * @param {'lstm' | 'gru'} kind
 * @param {{ time: number, inputs: number, units: number }} sizes
 * @returns {Workload}
 */
function recurrent(kind, { time, inputs, units }) {
  const classes = 10;
  const layer = kind === 'lstm' ? lstm : gru;
  return {
    name: `${kind.toUpperCase()} ${time}x${inputs}-${units}`,
    model: () => sequential([layer(units), dense(classes)], { input: [time, inputs], seed: 1 }),
    input: (rows) => noise(rows * time * inputs),
    target: (rows) => labels(rows, classes),
    loss: 'crossEntropy',
    optimizer: () => adam({ learningRate: 1e-3 }),
    torch: { kind: 'recurrent', layer: kind, time, inputs, units, classes },
    trained: [16, 64],
    served: [],
    rows: 2 ** 11,
  };
}

/** Uniform in [-1, 1). */
const noise = (length) => Float32Array.from({ length }, () => 2 * Math.random() - 1);

const labels = (length, classes) =>
  Int32Array.from({ length }, () => Math.floor(Math.random() * classes));
