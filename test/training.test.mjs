// Whole training runs against the same runs by PyTorch: losses, learning rates, parameters.
import { readFile } from 'node:fs/promises';
import test from 'ava';
import { adagrad, adam, adamw, cosine, dense, rmsprop, sequential, sgd, Trainer } from 'tandem-ml';

/** The run's description, and its tensors by name. */
async function readRun(name) {
  const bytes = await readFile(new URL(`golden/train/${name}.safetensors`, import.meta.url));
  const start = 8 + Number(bytes.readBigUInt64LE(0));
  const { __metadata__, ...entries } = JSON.parse(bytes.subarray(8, start).toString());
  const tensors = new Map();
  for (const [key, { dtype, shape, data_offsets: offsets }] of Object.entries(entries)) {
    const data = Uint8Array.from(bytes.subarray(start + offsets[0], start + offsets[1])).buffer;
    tensors.set(key, {
      shape,
      data: dtype === 'I32' ? new Int32Array(data) : new Float32Array(data),
    });
  }
  return { spec: JSON.parse(__metadata__.spec), tensors };
}

const classifier = () => [
  dense(48, { activation: 'relu', name: '0' }),
  dense(24, { activation: 'tanh', name: '2' }),
  dense(5, { name: '4' }),
];

const runs = {
  mlp_sgd: (spec) => ({ optimizer: sgd({ learningRate: spec.lr }) }),
  mlp_sgd_nesterov: (spec) => ({
    optimizer: sgd({
      learningRate: spec.lr,
      momentum: spec.momentum,
      nesterov: true,
      weightDecay: spec.weight_decay,
    }),
  }),
  mlp_adam: (spec) => ({ optimizer: adam({ learningRate: spec.lr }) }),
  mlp_adamw: (spec) => ({
    optimizer: adamw({ learningRate: spec.lr, weightDecay: spec.weight_decay }),
  }),
  mlp_adamw_cosine_clip: (spec) => ({
    optimizer: adamw({ learningRate: spec.lr, weightDecay: spec.weight_decay }),
    maxGradNorm: spec.max_grad_norm,
    lrScheduler: cosine({ warmupSteps: 10, totalSteps: 40, warmupStart: 0.1 }),
  }),
  mlp_rmsprop: (spec) => ({
    optimizer: rmsprop({ learningRate: spec.lr, alpha: spec.alpha, eps: spec.eps }),
  }),
  mlp_adagrad: (spec) => ({ optimizer: adagrad({ learningRate: spec.lr }) }),
  mlp_mse_regression: (spec) => ({ loss: 'mse', optimizer: adam({ learningRate: spec.lr }) }),
};

function makeModel({ spec, tensors }) {
  const width = tensors.get('x').shape[2];
  if (spec.loss === 'cross_entropy') return sequential(classifier(), { input: [width] });
  const hidden = tensors.get('init.0.bias').shape[0];
  const layers = [dense(hidden, { activation: 'silu', name: '0' }), dense(1, { name: '2' })];
  return sequential(layers, { input: [width] });
}

for (const [name, options] of Object.entries(runs)) {
  test(`${name} is PyTorch's run`, async (t) => {
    const run = await readRun(name);
    const model = makeModel(run);
    for (const [key, { data }] of model.parameters) data.set(run.tensors.get(`init.${key}`).data);
    const trainer = new Trainer(model, { loss: 'crossEntropy', ...options(run.spec) });
    const [x, y, losses] = ['x', 'y', 'loss'].map((key) => run.tensors.get(key));
    const steps = x.shape[0];
    const rows = (tensor, step) => {
      const size = tensor.data.length / steps;
      return tensor.data.subarray(step * size, (step + 1) * size);
    };
    for (let step = 0; step < steps; step++) {
      const { loss, learningRate } = await trainer.step({ x: rows(x, step), y: rows(y, step) });
      const expected = losses.data[step];
      t.true(Math.abs(loss - expected) <= 1e-4 * Math.max(1, expected), `step ${step}: ${loss}`);
      const rate = run.tensors.get('lr')?.data[step] ?? run.spec.lr;
      t.true(Math.abs(learningRate - rate) < 1e-8, `step ${step}: ${learningRate}`);
    }
    await trainer.close();
    for (const [key, { data }] of model.parameters) {
      const expected = run.tensors.get(`param.${key}`).data;
      const worst = data.reduce(
        (most, value, i) => Math.max(most, Math.abs(value - expected[i])),
        0,
      );
      t.true(worst < 2e-4, `${key}: ${worst}`);
    }
  });
}
