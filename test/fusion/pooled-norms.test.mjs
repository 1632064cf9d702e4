// What training makes of the maxima of normalised planes: one pass forward and one back, and
// derivatives of activations where the maxima are.
import test from 'ava';
import {
  add,
  batchNorm,
  conv2d,
  flatten,
  input,
  Model,
  maxPool2d,
  mul,
  relu,
  sgd,
  silu,
  Trainer,
} from 'tandem-ml';
import { generator, relativeError, uniform } from '../helpers/numbers.mjs';

const shape = [2, 13, 10];
const batch = 6;

/** conv -> batchNorm? -> activation -> maxima; `apart`: with something between all of them. */
function network({ norm = true, activation = (x) => x, pool = { kernel: 2 } }, apart) {
  const between = (x) => (apart ? add(x, mul(x, 0)) : x);
  const x = input(shape, { name: 'x' });
  const sums = between(conv2d(5, { kernel: 3, padding: 1, name: 'conv' })(x));
  const normal = between(norm ? batchNorm({ name: 'norm' })(sums) : sums);
  const maxima = maxPool2d(pool)(between(activation(normal)));
  const y = flatten()(conv2d(3, { kernel: 2, name: 'head' })(maxima));
  return modelOf(x, y);
}

const modelOf = (x, y) =>
  Object.assign(new Model({ inputs: [x], outputs: [y], seed: 1 }), { units: y.shape[1] });

async function train(model, options) {
  const trainer = new Trainer(model, {
    loss: 'mse',
    optimizer: sgd({ learningRate: 0.05 }),
    ...options,
  });
  const rows = uniform(batch * shape.reduce((a, b) => a * b), generator(2));
  const goal = uniform(batch * model.units, generator(3));
  for (let step = 0; step < 4; step++) await trainer.step({ x: rows, y: goal });
  const { kernels } = trainer.profile();
  await trainer.close();
  return kernels;
}

const same = (t, a, b, most) => {
  for (const [key, { data }] of a.parameters)
    t.true(relativeError(data, b.parameters.get(key).data) <= most, key);
};

for (const [name, options] of Object.entries({
  'no activation': {},
  relu: { activation: relu },
  'overlapping windows': {
    activation: relu,
    pool: { kernel: 3, stride: 2, padding: 1 },
  },
})) {
  test(`maxima of normalised planes are taken with them: ${name}`, async (t) => {
    const [one, two] = [false, true].map((apart) => network(options, apart));
    const kernels = await train(one);
    const others = await train(two);
    t.true(kernels.includes('pooledNorm'));
    t.true(kernels.includes('pooledNormGrad'));
    for (const gone of ['batchNorm', 'batchNormGrad', 'maxPool2d', 'maxPool2dGrad', 'relu'])
      t.false(kernels.includes(gone), gone);
    for (const apart of ['batchNorm', 'batchNormGrad', 'maxPool2d', 'maxPool2dGrad'])
      t.true(others.includes(apart), apart);
    same(t, one, two, 1e-5);
    t.notDeepEqual(
      one.parameters.get('norm.runningMean').data,
      new Float32Array(5),
      'running statistics move',
    );

    for (const options_ of [{ threads: 1 }, { threads: 2 }]) {
      const again = network(options, false);
      await train(again, options_);
      same(t, again, one, 0);
    }
    const checkpointed = network(options, false);
    await train(checkpointed, { gradientCheckpointing: 2 });
    same(t, checkpointed, one, 1e-6);
  });
}

test('planes that others read stay apart from their maxima', async (t) => {
  const x = input(shape, { name: 'x' });
  const planes = relu(batchNorm({ name: 'norm' })(conv2d(2, { kernel: 3, padding: 1 })(x)));
  const y = flatten()(maxPool2d({ kernel: 2 })(add(planes, x)));
  const also = flatten()(maxPool2d({ kernel: 2 })(planes));
  const model = modelOf(x, add(y, also));
  const kernels = await train(model);
  t.true(kernels.includes('batchNorm'));
  t.false(kernels.includes('pooledNorm'));
});

test('planes that no cache holds stay apart from their maxima', async (t) => {
  const x = input([1, 400, 400], { name: 'x' });
  const y = flatten()(maxPool2d({ kernel: 50 })(batchNorm()(x)));
  const trainer = new Trainer(modelOf(x, y), {
    loss: 'mse',
    optimizer: sgd({ learningRate: 0.05 }),
  });
  await trainer.step({ x: new Float32Array(160_000), y: new Float32Array(64) });
  t.true(trainer.profile().kernels.includes('maxPool2d'));
  await trainer.close();
});

test('the derivative of relu is taken of the maxima, not of what they are maxima of', async (t) => {
  const options = { norm: false, activation: relu };
  const [one, two] = [false, true].map((apart) => network(options, apart));
  const kernels = await train(one);
  await train(two);
  t.true(kernels.indexOf('reluGrad') < kernels.indexOf('maxPool2dGrad'), `${kernels}`);
  same(t, one, two, 1e-5);
});

test('derivatives of other activations stay where they are', async (t) => {
  const options = { activation: silu };
  const [one, two] = [false, true].map((apart) => network(options, apart));
  const kernels = await train(one);
  await train(two);
  t.false(kernels.includes('pooledNorm'));
  same(t, one, two, 1e-5);
});
