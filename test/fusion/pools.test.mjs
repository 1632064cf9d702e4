// What predictions make of a convolution and the maxima of windows of 2 x 2 behind it.
import test from 'ava';
import { conv2d, flatten, input, Model, maxPool2d, Predictor, sequential } from 'tandem-ml';
import { generator, relativeError, uniform } from '../helpers/numbers.mjs';

const random = generator(1);

async function predict(t, model, rows, options) {
  const predictor = await Predictor.load(model, { device: 'cpu', ...options });
  t.teardown(() => predictor.close());
  const results = predictor.predictSync(rows);
  return { results, kernels: predictor.profile().kernels };
}

/** The pooled values alone, and those with the values before them, which nothing can be part of. */
function models(shape, { filters, ...options }, pool) {
  const x = input(shape, { name: 'x' });
  const sums = conv2d(filters, { kernel: 3, padding: 1, ...options })(x);
  const y = maxPool2d(pool)(sums);
  return [y, { y, sums }].map((outputs) => new Model({ inputs: x, outputs, seed: 1 }));
}

for (const [name, { shape, options, rows }] of Object.entries({
  'one channel': { shape: [1, 28, 28], options: { filters: 32, activation: 'relu' }, rows: 1 },
  'few tiles': { shape: [32, 14, 14], options: { filters: 64, activation: 'relu' }, rows: 1 },
  'many tiles': { shape: [32, 14, 14], options: { filters: 64, activation: 'relu' }, rows: 9 },
  'without activation': { shape: [16, 9, 13], options: { filters: 32 }, rows: 2 },
  'without bias': {
    shape: [3, 8, 32],
    options: { filters: 5, bias: false, activation: 'relu' },
    rows: 3,
  },
  depthwise: {
    shape: [6, 10, 12],
    options: { filters: 6, groups: 6, activation: 'relu' },
    rows: 3,
  },
  'depthwise, two filters a channel': {
    shape: [20, 9, 9],
    options: { filters: 40, groups: 20, activation: 'relu' },
    rows: 2,
  },
  groups: { shape: [4, 10, 10], options: { filters: 6, groups: 2, activation: 'relu' }, rows: 2 },
})) {
  test(`the maxima are part of the convolution: ${name}`, async (t) => {
    const [one, apart] = models(shape, options, { kernel: 2 });
    const x = uniform(rows * shape.reduce((a, b) => a * b), random);
    const fused = await predict(t, one, x);
    t.deepEqual(fused.kernels, ['pooledConv']);
    const { results, kernels } = await predict(t, apart, x);
    t.true(kernels.includes('maxPool2d'));
    t.true(relativeError(fused.results, results.y) < 1e-6);
    for (const threads of [1, 2, 3]) {
      t.deepEqual((await predict(t, one, x, { threads })).results, fused.results);
    }
  });
}

test('maxima of other windows, and of other activations, stay apart', async (t) => {
  const relu = { filters: 4, activation: 'relu' };
  const x = uniform(2 * 64, random);
  for (const [options, pool] of [
    [relu, { kernel: 3 }],
    [relu, { kernel: 2, stride: 1 }],
    [relu, { kernel: 2, padding: 1 }],
    [{ filters: 4, activation: 'gelu' }, { kernel: 2 }],
  ]) {
    const [one] = models([1, 8, 8], options, pool);
    const { kernels } = await predict(t, one, x);
    t.true(kernels.includes('maxPool2d'), JSON.stringify(pool));
    t.false(kernels.includes('pooledConv'));
  }
});

test('one Predictor serves few tiles and many with the same results', async (t) => {
  const block = (filters) => [
    conv2d(filters, { kernel: 3, padding: 1, activation: 'relu' }),
    maxPool2d({ kernel: 2 }),
  ];
  const model = sequential([...block(16), ...block(32), flatten()], {
    input: [1, 20, 20],
    seed: 1,
  });
  const x = uniform(16 * 400, random);
  for (const precision of /** @type {const} */ (['float32', 'bfloat16'])) {
    const predictor = await Predictor.load(model, { precision, device: 'cpu' });
    t.teardown(() => predictor.close());
    const all = predictor.predictSync(x);
    const size = all.length / 16;
    for (let row = 0; row < 16; row++) {
      const alone = predictor.predictSync(x.slice(row * 400, (row + 1) * 400));
      const error = relativeError(alone, all.subarray(row * size, (row + 1) * size));
      t.true(error < (precision === 'float32' ? 1e-6 : 1e-2), `${precision} ${error}`);
    }
  }
});
