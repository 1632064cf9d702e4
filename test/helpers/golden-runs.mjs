// The training runs in test/golden/train as models of ours: the same layers, initial parameters, batches
// and optimizers.
import {
  adagrad,
  adam,
  adamw,
  add,
  batchNorm,
  conv2d,
  cosine,
  dense,
  embedding,
  flatten,
  gelu,
  input,
  layerNorm,
  maxPool2d,
  multiHeadAttention,
  relu,
  rmsprop,
  sequential,
  sgd,
} from 'tandem-ml';
import { readGolden } from './safetensors.mjs';

/**
 * Of each loss, relative. The adaptive optimizers divide by the root of a mean of squares, which
 * enlarges the last bits of small gradients.
 */
const lossTolerance = { plain: 1e-5, adaptive: 1e-4 };
const classifier = ({ hidden }) => [
  dense(hidden[0], { activation: 'relu', name: '0' }),
  dense(hidden[1], { activation: 'tanh', name: '2' }),
  dense(hidden[2], { name: '4' }),
];

const regression = ({ hidden }) => [
  dense(hidden[0], { activation: 'silu', name: '0' }),
  dense(hidden[1], { name: '2' }),
];

/** x + f(x) */
const residual = (layers) => (x) =>
  add(
    x,
    layers.reduce((value, layer) => layer(value), x),
  );
const tanhGelu = (x) => gelu(x, { approximate: 'tanh' });

/** Two blocks of 4 heads over 16 of 32 tokens, 32 wide. */
const gpt = () => [
  embedding(32, 32, { positions: 16, name: 'tok' }),
  ...[0, 1].flatMap((i) => {
    const name = `blocks.${i}`;
    return [
      residual([
        layerNorm({ name: `${name}.ln1` }),
        multiHeadAttention({ heads: 4, causal: true, name }),
      ]),
      residual([
        layerNorm({ name: `${name}.ln2` }),
        dense(128, { activation: tanhGelu, name: `${name}.up` }),
        dense(32, { name: `${name}.down` }),
      ]),
    ];
  }),
  layerNorm({ name: 'ln' }),
  dense(32, { bias: false, name: 'head' }),
];

/**
 * A bias of keys adds the same to all scores of a query, which changes nothing: its gradient is rounding
 * alone, and Adam makes steps of full length of it. Of [queries, keys, values] it is left out.
 */
const withoutKeyBias = (key, data) => {
  const dim = data.length / 3;
  const counts = (_, i) => i < dim || i >= 2 * dim;
  return key.endsWith('inProj.bias') ? data.filter(counts) : data;
};

/** What the file of the GPT calls a parameter. */
const gptNames = (key) =>
  key.replace('tok.positions', 'pos.weight').replace('inProj', 'qkv').replace('outProj', 'proj');

const convolutions = () => [
  ...[8, 16].flatMap((filters, i) => [
    conv2d(filters, { kernel: 3, padding: 1, name: `c${i + 1}` }),
    batchNorm({ name: `b${i + 1}` }),
    relu(),
    maxPool2d({ kernel: 2 }),
  ]),
  flatten(),
  dense(10, { name: 'fc' }),
];

/**
 * Normalisation takes a bias before it away again: its gradient is rounding alone, of which Adam makes
 * steps of full length. Running means follow it.
 */
const withoutBiasesBeforeNorms = (key, all) =>
  /^(c\d\.bias|b\d\.runningMean)$/.test(key) ? undefined : all;

const plain = (options) => ({ options, layers: classifier, tolerance: lossTolerance.plain });
const adaptive = (options) => ({ options, layers: classifier, tolerance: lossTolerance.adaptive });

/**
 * Each file's run: options of the trainer from the file's spec, layers, how near losses are to be, what the
 * file calls a parameter, and what of a parameter's values is compared.
 */
export const runs = {
  mlp_sgd: plain((spec) => ({ optimizer: sgd({ learningRate: spec.lr }) })),
  mlp_sgd_nesterov: plain((spec) => ({
    optimizer: sgd({
      learningRate: spec.lr,
      momentum: spec.momentum,
      nesterov: spec.nesterov,
      weightDecay: spec.weight_decay,
    }),
  })),
  mlp_adam: adaptive((spec) => ({
    optimizer: adam({ learningRate: spec.lr, betas: spec.betas, eps: spec.eps }),
  })),
  mlp_adamw: adaptive((spec) => ({
    optimizer: adamw({ learningRate: spec.lr, weightDecay: spec.weight_decay }),
  })),
  mlp_adamw_cosine_clip: adaptive((spec) => ({
    optimizer: adamw({ learningRate: spec.lr, weightDecay: spec.weight_decay }),
    maxGradNorm: spec.max_grad_norm,
    lrScheduler: cosine({ warmupSteps: 10, totalSteps: spec.steps, warmupStart: 0.1 }),
  })),
  mlp_rmsprop: adaptive((spec) => ({
    optimizer: rmsprop({ learningRate: spec.lr, alpha: spec.alpha, eps: spec.eps }),
  })),
  mlp_adagrad: adaptive((spec) => ({ optimizer: adagrad({ learningRate: spec.lr }) })),
  mlp_mse_regression: {
    options: (spec) => ({ loss: 'mse', optimizer: adam({ learningRate: spec.lr }) }),
    layers: regression,
    tolerance: lossTolerance.adaptive,
  },
  gpt_adamw: {
    options: (spec) => ({
      optimizer: adamw({ learningRate: spec.lr, weightDecay: spec.weight_decay }),
    }),
    layers: gpt,
    names: gptNames,
    compared: withoutKeyBias,
    tolerance: lossTolerance.adaptive,
  },
  cnn_adam: {
    options: (spec) => ({ optimizer: adam({ learningRate: spec.lr }) }),
    layers: convolutions,
    names: (key) => key.replace('running', 'running_').toLowerCase(),
    compared: withoutBiasesBeforeNorms,
    tolerance: lossTolerance.adaptive,
  },
};

/**
 * The model of a run with its initial parameters, and its batches by step. `unmatched` names what only the
 * model or only the file has.
 */
export function openRun(name) {
  const { spec, tensors } = readGolden(`train/${name}`);
  const { layers, names = (key) => key } = runs[name];
  const [x, y] = [tensors.get('x'), tensors.get('y')];
  const hidden = [...tensors].flatMap(([key, { shape }]) =>
    /^init\..*bias$/.test(key) ? shape : [],
  );
  const dtype = x.data instanceof Int32Array ? 'int32' : 'float32';
  const model = sequential(layers({ hidden }), { input: input(x.shape.slice(2), { dtype }) });
  const unmatched = new Set([...tensors.keys()].filter((key) => key.startsWith('init.')));
  for (const [key, { shape, data }] of model.parameters) {
    const from = `init.${names(key)}`;
    const initial = tensors.get(from);
    if (initial?.shape.join() === shape.join()) data.set(initial.data);
    else unmatched.add(key);
    unmatched.delete(from);
  }
  const part = ({ data }, step) => {
    const size = data.length / spec.steps;
    return data.subarray(step * size, (step + 1) * size);
  };
  const batch = (step) => ({ x: part(x, step), y: part(y, step) });
  return { spec, tensors, model, batch, unmatched: [...unmatched] };
}
