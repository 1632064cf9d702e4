// Layers of convolution and pooling: parameters, models, files, and what they refuse.
import { join } from 'node:path';
import test from 'ava';
import * as tandem from 'tandem-ml';
import { evaluate } from 'tandem-ml/autodiff';
import { makeFolder } from '../helpers/folder.mjs';
import { fixed, generator, relativeError, uniform } from '../helpers/numbers.mjs';

const { conv1d, conv2d, convTranspose2d, dense, flatten, functional, input, Model } = tandem;

const shape = (message) => ({ code: 'ERR_SHAPE', message });
const argument = (message) => ({ code: 'ERR_ARGUMENT', message });

test('layers have the parameters of PyTorch', (t) => {
  const weights = (layer, size) => {
    const model = tandem.sequential([layer], { input: size, seed: 1 });
    return [...model.parameters].map(([name, { shape: dimensions }]) => [name, dimensions]);
  };
  t.deepEqual(weights(conv1d(6, { kernel: 3, groups: 2 }), [4, 9]), [
    ['conv1d.weight', [6, 2, 3]],
    ['conv1d.bias', [6]],
  ]);
  t.deepEqual(weights(conv2d(6, { kernel: [3, 5], bias: false, name: 'c' }), [4, 9, 9]), [
    ['c.weight', [6, 4, 3, 5]],
  ]);
  t.deepEqual(weights(convTranspose2d(6, { kernel: 2, stride: 2, groups: 2 }), [4, 9, 9]), [
    ['convTranspose2d.weight', [4, 3, 2, 2]],
    ['convTranspose2d.bias', [6]],
  ]);
});

test('weights start within the limits of their initializers', (t) => {
  const largest = (layer) => {
    const model = tandem.sequential([layer], { input: [4, 9, 9], seed: 1 });
    const [{ data }] = model.parameters.values();
    return Math.max(...data.map(Math.abs));
  };
  const close = (value, limit) => t.true(value <= limit && value > 0.9 * limit, `${value}`);
  close(largest(conv2d(8, { kernel: 3 })), 1 / Math.sqrt(4 * 9));
  close(largest(conv2d(8, { kernel: 3, initializer: 'heUniform' })), Math.sqrt(6 / (4 * 9)));
  close(
    largest(conv2d(8, { kernel: 3, groups: 2, initializer: 'glorotUniform' })),
    Math.sqrt(6 / (2 * 9 + 4 * 9)),
  );
  close(largest(convTranspose2d(8, { kernel: 3 })), 1 / Math.sqrt(8 * 9));
});

/** A small network with every layer of the family. */
function network() {
  const x = input([1, 13, 11], { name: 'x' });
  const planes = tandem.maxPool2d(
    conv2d(6, { kernel: 3, padding: 'same', activation: 'relu' })(x),
    { kernel: 2 },
  );
  const wide = convTranspose2d(4, { kernel: 2, stride: 2, activation: 'gelu' })(planes);
  const narrow = tandem.avgPool2d({ kernel: 3, stride: 2, padding: 1 })(wide);
  const deep = conv2d(8, { kernel: 3, groups: 4, stride: 2, activation: 'silu' })(narrow);
  const lines = conv1d(5, { kernel: 3, padding: 1 })(tandem.reshape(deep, [-1, 8, 4]));
  const mean = flatten()(tandem.globalAvgPool2d()(deep));
  const y = dense(3)(tandem.concat([flatten()(lines), mean], { axis: 1 }));
  return new Model({ inputs: [x], outputs: [y], seed: 3 });
}

test('a model of convolutions learns, and predicts alike after it was saved', async (t) => {
  const model = network();
  const random = generator(5);
  const [x, y] = [uniform(32 * 143, random), Int32Array.from({ length: 32 }, (_, i) => i % 3)];
  x.forEach((value, i) => {
    x[i] = value + (y[Math.floor(i / 143)] ?? 0);
  });
  const trainer = new tandem.Trainer(model, {
    loss: 'crossEntropy',
    optimizer: tandem.adam({ learningRate: 0.01 }),
  });
  const losses = [];
  for (let i = 0; i < 30; i++) losses.push((await trainer.step({ x, y })).loss);
  t.true(losses.at(-1) < 0.5 * losses[0], `${losses[0]} to ${losses.at(-1)}`);
  await trainer.close();

  const folder = await makeFolder(t);
  const file = join(folder, 'model.safetensors');
  await model.save(file);
  const [first, second] = [
    await tandem.Predictor.load(model),
    await tandem.Predictor.load(await Model.load(file)),
  ];
  const [expected, received] = [await first.predict(x), await second.predict(x)];
  t.deepEqual(received, expected);
  const row = await first.predict(x.slice(0, 143));
  t.true(relativeError(row, expected.slice(0, 3)) < 1e-5);
  await first.close();
  await second.close();
});

test('the number of threads changes no bit', async (t) => {
  const run = async (threads) => {
    const trainer = new tandem.Trainer(network(), {
      loss: 'crossEntropy',
      optimizer: tandem.sgd({ learningRate: 0.1 }),
      threads,
    });
    const random = generator(6);
    const losses = [];
    for (let i = 0; i < 3; i++) {
      const y = Int32Array.from({ length: 20 }, (_, k) => k % 3);
      losses.push((await trainer.step({ x: uniform(20 * 143, random), y })).loss);
    }
    await trainer.close();
    return losses;
  };
  const alone = await run(1);
  for (const threads of [2, 3]) t.deepEqual(await run(threads), alone);
});

test('a transposed convolution undoes the shape of a convolution', (t) => {
  for (const [size, options] of [
    [[2, 3, 12, 9], { stride: [3, 2], padding: [1, 0], outputPadding: [2, 0] }],
    [[1, 3, 7, 7], { dilation: 2, padding: 1 }],
  ]) {
    const x = fixed(size);
    const { outputPadding, ...rest } = options;
    const y = functional.conv2d(x, fixed([4, 3, 3, 3]), undefined, rest);
    t.deepEqual(functional.convTranspose2d(y, fixed([4, 3, 3, 3]), null, options).shape, size);
  }
});

test('output padding may have whole steps of the stride', (t) => {
  // Where the dilation is wider: as torch.nn.functional.conv_transpose2d scatters it.
  const [stride, dilation, outputPadding] = [
    [1, 2],
    [3, 4],
    [2, 3],
  ];
  const [n, size, kernel] = [2, [4, 5], [3, 2]];
  const [x, w] = [uniform(n * 20, generator(1)), uniform(6, generator(2))];
  const [planes, weight] = [fixed([n, 1, ...size]), fixed([1, 1, ...kernel])];
  const options = { stride, dilation, outputPadding };
  const y = functional.convTranspose2d(planes, weight, null, options);
  const [height, width] = y.shape.slice(2);
  t.deepEqual([height, width], [3 + 6 + 1 + 2, 8 + 4 + 1 + 3]);
  const expected = new Float32Array(n * height * width);
  for (let i = 0; i < n * 20; i++) {
    const [image, row, column] = [Math.floor(i / 20), Math.floor(i / 5) % 4, i % 5];
    for (let k = 0; k < 6; k++) {
      const at = [row + 3 * Math.floor(k / 2), 2 * column + 4 * (k % 2)];
      expected[(image * height + at[0]) * width + at[1]] += x[i] * w[k];
    }
  }
  const feeds = new Map([
    [planes, x],
    [weight, w],
  ]);
  t.true(relativeError(evaluate([y], feeds)[0], expected) < 1e-6);
});

test('options that are null are left out', (t) => {
  const none = { stride: null, padding: null, dilation: null, outputPadding: null, groups: null };
  const y = functional.convTranspose2d(fixed([1, 2, 5, 4]), fixed([2, 3, 3, 3]), null, none);
  t.deepEqual(y.shape, [1, 3, 7, 6]);
  const bare = functional.convTranspose2d(fixed([1, 2, 5, 4]), fixed([2, 3, 3, 3]), null, null);
  t.deepEqual(bare.shape, y.shape);
});

test('shapes that do not fit are named', (t) => {
  const x = fixed([2, 4, 6, 6]);
  const conv = (w, options, b) => () => functional.conv2d(x, fixed(w), b, options);
  t.throws(conv([5, 3, 3, 3]), shape(/x \[n, in, h, w\].*`conv2d`, received x \[2, 4, 6, 6\]/));
  t.throws(conv([5, 4, 3]), shape(/`conv2d`/));
  t.throws(conv([5, 4, 7, 3]), shape(/the kernel fits in/));
  t.throws(conv([5, 4, 3, 3], { dilation: 3 }), shape(/the kernel fits in/));
  t.throws(conv([5, 2, 3, 3], { groups: 2 }), shape(/`conv2d`/));
  t.throws(conv([6, 2, 3, 3], { groups: 3 }), shape(/`conv2d`/));
  t.throws(conv([5, 4, 3, 3], {}, fixed([4])), shape(/b \[5\]/));
  t.throws(() => functional.conv1d(x, fixed([5, 4, 3])), shape(/`conv1d`/));
  t.throws(
    () => functional.convTranspose2d(x, fixed([3, 5, 3, 3])),
    shape(/w \[in, out \/ groups, kh, kw\]/),
  );
  t.throws(
    () =>
      functional.convTranspose2d(fixed([1, 4, 1, 1]), fixed([4, 5, 3, 3]), null, { padding: 2 }),
    shape(/padding leaves something/),
  );
  t.throws(() => tandem.maxPool2d(x, { kernel: 7 }), shape(/the kernel fits in/));
  t.throws(() => tandem.avgPool2d(fixed([4, 6, 6]), { kernel: 2 }), shape(/x \[n, c, h, w\]/));
  t.throws(() => tandem.globalAvgPool2d(fixed([4, 6])), shape(/x \[n, c, h, w\]/));
  t.throws(() => conv2d(3, { kernel: 3 })(fixed([4, 6, 6])), shape(/`conv2d`, received/));
});

test('planes and lines of nothing are refused, whatever is padded', (t) => {
  const empty = (size) => tandem.slice(fixed(size), { axis: -1, end: 0 });
  t.throws(
    () => functional.conv2d(empty([2, 4, 6, 6]), fixed([5, 4, 3, 3]), null, { padding: 2 }),
    shape(/one pixel a plane of x for `conv2d`, received x \[2, 4, 6, 0\], w \[5, 4, 3, 3\]/),
  );
  t.throws(
    () => conv1d(5, { kernel: 3, padding: 2, name: 'lines' })(empty([2, 4, 6])),
    shape(/layer `lines`: .*one element a line of x for `conv1d`, received x \[2, 4, 0\]/),
  );
});

test('options are checked', (t) => {
  const x = fixed([2, 4, 6, 6]);
  const conv = (options) => () => functional.conv2d(x, fixed([4, 4, 3, 3]), null, options);
  t.throws(conv({ stride: 0 }), argument(/1 or more for `stride`/));
  t.throws(conv({ stride: [1, 2, 3] }), argument(/\[height, width\] for `stride`/));
  t.throws(conv({ padding: -1 }), argument(/0 or more for `padding/));
  t.throws(conv({ padding: 'valid' }), argument(/`padding`/));
  t.throws(conv({ dilation: 1.5 }), argument(/`dilation`/));
  t.throws(conv({ groups: 0 }), argument(/`groups`/));
  t.throws(conv({ stride: 2 ** 40 }), argument(/16777216 for `stride`/));
  t.throws(conv({ padding: 2 ** 40 }), argument(/16777216 for `padding`/));
  t.throws(conv({ padding: 'same', stride: 2 }), argument(/stride of 1/));
  t.throws(conv({ step: 2 }), argument(/`step`/));
  t.throws(
    () => functional.conv2d(x, fixed([4, 4, 2, 2]), null, { padding: 'same' }),
    argument(/even `dilation \* \(kernel - 1\)`/),
  );
  t.throws(
    () => functional.convTranspose2d(x, fixed([4, 4, 3, 3]), null, { outputPadding: 1 }),
    argument(/less than the stride or the dilation for `outputPadding`/),
  );
  t.throws(() => functional.conv2d(x, 3), argument(/a Value for `w`/));
  t.throws(() => conv2d(0, { kernel: 3 }), argument(/`filters`/));
  t.throws(() => conv2d(3), argument(/`kernel`/));
  t.throws(() => conv1d(3, { kernel: [3, 3] }), argument(/`kernel`/));
  t.throws(() => conv2d(3, { kernel: 0 }), argument(/`kernel`/));
  t.throws(() => conv2d(3, { kernel: 3, groups: 3 })(x), argument(/`groups`, received 3/));
  t.throws(() => conv2d(3, { kernel: 3, kernels: 3 }), argument(/`kernels`.*did you mean/));
  const line = () =>
    functional.conv1d(fixed([1, 4, 6]), fixed([4, 4, 3]), null, { padding: 'same', stride: 2 });
  t.throws(line, argument(/for `padding`, received a kernel of 3 with a stride of 2$/));
  t.throws(() => tandem.maxPool2d({ stride: 2 }), argument(/`kernel`/));
  t.throws(() => tandem.maxPool2d(x, { kernel: 2, padding: 2 }), argument(/half of the kernel/));
  t.throws(() => tandem.avgPool2d(x, { kernel: 2, stride: 0 }), argument(/`stride`/));
});

test('a layer checks its options when it is made', (t) => {
  const makers = { conv1d, conv2d, convTranspose2d };
  for (const [name, make] of Object.entries(makers)) {
    const made = (options) => () => make(4, { kernel: 3, ...options });
    t.notThrows(made({ stride: 2, padding: 1, dilation: 3, groups: 2 }), name);
    t.throws(made({ stride: 0 }), argument(/^expected an integer .*1 or more for `stride`/), name);
    t.throws(made({ stride: 1.5 }), argument(/`stride`, received 1.5/), name);
    t.throws(made({ padding: -1 }), argument(/0 or more for `padding`/), name);
    t.throws(made({ padding: 'valid' }), argument(/`padding`, received "valid"/), name);
    t.throws(made({ dilation: 0 }), argument(/1 or more for `dilation`/), name);
    t.throws(made({ groups: 0 }), argument(/1 or more for `groups`/), name);
  }
  for (const make of [conv1d, conv2d]) {
    const made = (options) => () => make(4, { kernel: 3, padding: 'same', ...options });
    t.notThrows(made({ dilation: 3 }));
    t.throws(made({ stride: 2 }), argument(/a stride of 1 .* for `padding`/));
    t.throws(made({ kernel: 2 }), argument(/even `dilation \* \(kernel - 1\)`/));
  }
  const transposed = (options) => () => convTranspose2d(4, { kernel: 3, ...options });
  t.notThrows(transposed({ dilation: 3, outputPadding: 2 }));
  t.throws(
    transposed({ stride: [2, 3], outputPadding: 2 }),
    argument(/less than the stride or the dilation for `outputPadding`, received 2/),
  );
});

test('errors of a transposed convolution with output padding show x as it is', (t) => {
  const refuse = (x, w, b, options) => () =>
    functional.convTranspose2d(x, w, b, { dilation: 3, outputPadding: 2, ...options });
  const x = fixed([1, 2, 4, 4]);
  const w = fixed([2, 3, 1, 1]);
  t.deepEqual(refuse(x, w)().shape, [1, 3, 6, 6]);
  t.throws(refuse(x, w, fixed([4])), shape(/b \[3\].*received x \[1, 2, 4, 4\]/));
  t.throws(refuse(x, fixed([2, 3, 1])), shape(/`convTranspose2d`, received x \[1, 2, 4, 4\]/));
  t.throws(refuse(x, fixed([3, 3, 1, 1])), shape(/`convTranspose2d`, received x \[1, 2, 4, 4\]/));
  t.throws(refuse(fixed([2, 4, 4]), w), shape(/`convTranspose2d`, received x \[2, 4, 4\]/));
  t.throws(refuse(x, w, null, { padding: 5 }), shape(/leaves .*received x \[1, 2, 4, 4\]/));
  t.throws(refuse(fixed([1, 2, 4, 4], 'int32'), w), {
    code: 'ERR_DTYPE',
    message: /`x` of `convTranspose2d`, received int32 \[1, 2, 4, 4\]/,
  });
});

test('a padding as long as a plane, and windows far apart', (t) => {
  const x = fixed([1, 1, 2, 2]);
  const w = fixed([1, 1, 1, 1]);
  const y = functional.conv2d(x, w, null, { padding: 1000, stride: 1000 });
  t.deepEqual(y.shape, [1, 1, 3, 3]);
  const feeds = new Map([
    [x, Float32Array.of(1, 2, 3, 4)],
    [w, Float32Array.of(2)],
  ]);
  t.deepEqual([...evaluate(y, feeds)[0]], [0, 0, 0, 0, 2, 0, 0, 0, 0]);
});
