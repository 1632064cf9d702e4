// The cases of bench/gpu.mjs, the most telling first: what is built of each, and the modes of PyTorch
// that stand beside it.
import {
  adamw,
  dense,
  embedding,
  input,
  layerNorm,
  sequential,
  slice,
  transformerBlock,
} from 'tandem-ml';
import { served } from './served.mjs';
import { workload } from './workloads.mjs';

/**
 * One way of PyTorch to compute a case.
 * @typedef {{ precision: string, mode: string }} Peer
 */

/**
 * @typedef {object} GpuCase
 * @property {string} name
 * @property {'train' | 'predict'} task
 * @property {() => import('tandem-ml').Model} model
 * @property {number} batch rows of a step or a prediction
 * @property {string[]} precisions of ours
 * @property {Record<string, unknown>} torch a function of torch_models.py or torch_forward.py and its
 *   arguments
 * @property {Peer[]} peers
 * @property {(rows: number) => Float32Array | Int32Array} input
 * @property {boolean} [quick] whether quick runs have it
 * @property {boolean} [large] a step takes long: few rounds
 * @property {((rows: number) => Int32Array)} [target]
 * @property {() => import('tandem-ml').Optimizer} [optimizer]
 * @property {number} [rows] in an epoch of fit
 * @property {number} [tokens] of a step
 */

const noise = (length) => Float32Array.from({ length }, () => 2 * Math.random() - 1);
const numbers = (length, count) =>
  Int32Array.from({ length }, () => Math.floor(Math.random() * count));

/** @param {string[]} precisions  @param {string[]} modes  @returns {Peer[]} */
const each = (precisions, modes) =>
  precisions.flatMap((precision) => modes.map((mode) => ({ precision, mode })));

const allModes = ['eager', 'graph', 'compile', 'reduce-overhead'];

/**
 * @param {string} name of a workload
 * @param {number} batch
 * @param {string} precision
 * @param {Partial<GpuCase>} more
 * @returns {GpuCase}
 */
function training(name, batch, precision, more) {
  const { model, torch, input: x, target, optimizer, rows } = workload(name);
  return {
    ...{ name: `${name} b${batch}, ${precision}`, task: 'train', model, batch, torch },
    ...{ precisions: [precision], peers: each([precision], allModes) },
    ...{ input: x, target, optimizer, rows: Math.max(8 * batch, Math.min(rows, 256 * batch)) },
    ...more,
  };
}

/**
 * GPT-2's smallest, or a model of its kind that a CPU steps through: 12 layers of 768 for 1024 tokens.
 * Its head has weights of its own, so that it has 163 million of them, and GELU is exact.
 * @param {boolean} tiny
 * @param {number} [vocabulary]
 */
function gpt2(tiny, vocabulary = tiny ? 257 : 50257) {
  const sizes = tiny
    ? { layers: 2, width: 64, heads: 2, time: 32 }
    : { layers: 12, width: 768, heads: 12, time: 1024 };
  const { layers, width, heads, time } = sizes;
  /** @param {boolean} last whether only the logits of what follows the last token are computed */
  const model = (last) =>
    sequential(
      [
        embedding(vocabulary, width, { positions: time }),
        ...Array.from({ length: layers }, () => transformerBlock({ heads, causal: true })),
        layerNorm(),
        ...(last ? [(x) => slice(x, { axis: 1, start: time - 1 })] : []),
        dense(vocabulary, { bias: false }),
      ],
      { input: input([time], { dtype: 'int32' }), seed: 1 },
    );
  const tokens = (rows) => numbers(rows * time, vocabulary);
  const torch = { kind: 'gpt', ...sizes, characters: vocabulary };
  return { model, tokens, torch, time, title: tiny ? 'GPT-2 (tiny)' : 'GPT-2 124M' };
}

/**
 * @param {boolean} tiny
 * @param {number} batch
 * @param {Partial<GpuCase>} [more]
 * @param {number} [padded] the vocabulary, where it is not that of GPT-2
 * @returns {GpuCase}
 */
function gpt2Training(tiny, batch, more = {}, padded) {
  const { model, tokens, torch, time, title } = gpt2(tiny, padded);
  const precision = 'bf16-mixed';
  const name = `${title}${padded ? `, vocabulary ${padded},` : ''} b${batch}, ${precision}`;
  return {
    ...{ name, task: 'train', model: () => model(false), batch, torch, large: true },
    ...{ precisions: [precision], peers: each([precision], ['eager', 'compile']) },
    ...{ input: tokens, target: tokens, optimizer: () => adamw({ learningRate: 1e-3 }) },
    ...{ rows: 64 * batch, tokens: batch * time, ...more },
  };
}

/** @returns {GpuCase} */
function gpt2Forward(tiny) {
  const { model, tokens, torch, time, title } = gpt2(tiny);
  return {
    ...{ name: `${title}, next token of ${time}`, task: 'predict', model: () => model(true) },
    ...{ batch: 1, torch, precisions: ['bfloat16'], input: tokens },
    peers: each(['bfloat16'], allModes),
  };
}

/**
 * @param {string} name of one that bench/quantized.mjs serves
 * @param {number} batch
 * @param {Record<string, unknown>} torch
 * @param {Partial<GpuCase>} more
 * @returns {GpuCase}
 */
function serving(name, batch, torch, more) {
  const { model } = served.find((one) => one.name === name) ?? {};
  if (model === undefined) throw new Error(`nothing served is called ${name}`);
  const { shape } = model().inputs[0];
  const row = shape.slice(1).reduce((/** @type {number} */ product, n) => product * Number(n), 1);
  return {
    ...{ name: `${name} x${batch}`, task: 'predict', model, batch, torch },
    precisions: ['float32', 'bfloat16', 'int8'],
    peers: [
      ...each(['float32', 'bfloat16', 'float16'], ['eager', 'graph']),
      ...each(['float32', 'bfloat16'], ['compile', 'reduce-overhead']),
    ],
    input: (rows) => noise(rows * row),
    ...more,
  };
}

/**
 * @param {boolean} tiny for a CPU, to see that everything works
 * @returns {GpuCase[]}
 */
export function gpuCases(tiny) {
  const mlp = 'MLP 784-512-256-10';
  const mlpTorch = { kind: 'mlp', sizes: [784, 512, 256, 10] };
  const encoder = { kind: 'encoder', layers: 6, width: 384, heads: 12, time: 128 };
  const quick = true;
  const [small, medium] = tiny ? [1, 2] : [8, 16];
  const [encoderName, cnn, gpt] = ['encoder 6x384, 128 tokens', 'CNN 28x28', 'GPT 4x128'];
  return [
    training(mlp, 128, 'float32', { quick }),
    gpt2Training(tiny, small, { quick }),
    serving(mlp, 1, mlpTorch, { quick }),
    gpt2Forward(tiny),
    serving(encoderName, 1, encoder, { quick }),
    training(cnn, 64, 'float32', { quick }),
    gpt2Training(tiny, medium),
    training(mlp, 1024, 'float32', {}),
    training(gpt, 12, 'float32', {}),
    serving(mlp, 256, mlpTorch, {}),
    training(cnn, tiny ? 32 : 512, 'float32', {}),
    serving(encoderName, tiny ? 2 : 32, encoder, {}),
    gpt2Training(tiny, medium, {}, tiny ? 320 : 50304),
    training(mlp, 1024, 'bf16-mixed', {}),
    training(gpt, 12, 'bf16-mixed', {}),
    training(cnn, tiny ? 32 : 512, 'bf16-mixed', {}),
  ];
}
