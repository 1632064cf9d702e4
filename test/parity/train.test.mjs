// Whole training runs against the same runs by PyTorch: losses, learning rates, parameters.
import test from 'ava';
import { adagrad, adam, adamw, cosine, dense, rmsprop, sequential, sgd, Trainer } from 'tandem-ml';
import { relativeError } from '../helpers/numbers.mjs';
import { goldenNames, readGolden } from '../helpers/safetensors.mjs';

/**
 * Of each loss, relative. The adaptive optimizers divide by the root of a mean of squares, which
 * enlarges the last bits of small gradients.
 */
const lossTolerance = { plain: 1e-5, adaptive: 1e-4 };
/** Of each parameter after the last step, by norm. */
const parameterTolerance = 1e-4;

const classifier = ({ hidden }) => [
  dense(hidden[0], { activation: 'relu', name: '0' }),
  dense(hidden[1], { activation: 'tanh', name: '2' }),
  dense(hidden[2], { name: '4' }),
];

const regression = ({ hidden }) => [
  dense(hidden[0], { activation: 'silu', name: '0' }),
  dense(hidden[1], { name: '2' }),
];

const plain = (options) => ({ options, layers: classifier, tolerance: lossTolerance.plain });
const adaptive = (options) => ({ options, layers: classifier, tolerance: lossTolerance.adaptive });

/** Options of the trainer from the file's spec. */
const runs = {
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
};

/** Runs of models whose layers the package does not have yet. */
const unsupported = ['cnn_adam', 'gpt_adamw'];

test('every run is either compared or listed as not supported', (t) => {
  t.deepEqual(goldenNames('train'), [...Object.keys(runs), ...unsupported].sort());
});

for (const [name, { options, layers, tolerance }] of Object.entries(runs)) {
  test(`${name} is PyTorch's run`, async (t) => {
    const { spec, tensors } = readGolden(`train/${name}`);
    const [x, y, losses, rates] = ['x', 'y', 'loss', 'lr'].map((key) => tensors.get(key));
    const hidden = [...tensors].flatMap(([key, { shape }]) =>
      /^init\..*bias$/.test(key) ? shape : [],
    );
    const model = sequential(layers({ hidden }), { input: x.shape.slice(2) });
    for (const [key, { shape, data }] of model.parameters) {
      t.deepEqual(shape, tensors.get(`init.${key}`).shape, key);
      data.set(tensors.get(`init.${key}`).data);
    }
    t.is(model.parameters.size, 2 * hidden.length);

    const trainer = new Trainer(model, { loss: 'crossEntropy', ...options(spec) });
    t.teardown(() => trainer.close());
    const { steps } = spec;
    t.is(steps, 40);
    const batch = ({ data }, step) => {
      const size = data.length / steps;
      return data.subarray(step * size, (step + 1) * size);
    };
    for (let step = 0; step < steps; step++) {
      const { loss, learningRate } = await trainer.step({ x: batch(x, step), y: batch(y, step) });
      const error = Math.abs(loss - losses.data[step]) / losses.data[step];
      t.true(error <= tolerance, `step ${step}: loss ${loss}, relative error ${error}`);
      const rate = rates.data[step];
      // The file's rates are float32.
      t.true(Math.abs(learningRate - rate) <= 1e-7 * rate + 1e-12, `step ${step}: ${learningRate}`);
    }
    await trainer.close();
    for (const [key, { data }] of model.parameters) {
      const error = relativeError(data, tensors.get(`param.${key}`).data);
      t.true(error <= parameterTolerance, `${key}: relative error ${error}`);
    }
  });
}
