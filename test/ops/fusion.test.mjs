// Ops that the engine computes together give what they give one at a time: products with the
// activation after them or its derivative, and losses with their gradients.
import test from 'ava';
import * as tandem from 'tandem-ml';
import { evaluate, vjp } from 'tandem-ml/autodiff';
import { fixed, generator, relativeError, uniform } from '../helpers/numbers.mjs';

const { dense, functional, input, matmul, Model, sgd, Trainer } = tandem;

/** By norm: sums in another order may differ in the last bits. */
const tolerance = 1e-6;

const close = (t, actual, expected, what) => {
  const error = relativeError(actual, expected);
  t.true(error <= tolerance, `${what}: relative error ${error}`);
};

const activations = {
  relu: tandem.relu,
  gelu: tandem.gelu,
  'gelu, tanh': (x) => tandem.gelu(x, { approximate: 'tanh' }),
  silu: tandem.silu,
  sigmoid: tandem.sigmoid,
  tanh: tandem.tanh,
  leakyRelu: (x) => tandem.leakyRelu(x, { alpha: 0.3 }),
  elu: (x) => tandem.elu(x, { alpha: 0.7 }),
  softplus: tandem.softplus,
  hardSwish: tandem.hardSwish,
  hardSigmoid: tandem.hardSigmoid,
  mish: tandem.mish,
  exp: tandem.exp,
  abs: tandem.abs,
  neg: tandem.neg,
  square: tandem.square,
  sin: tandem.sin,
  cos: tandem.cos,
  erf: tandem.erf,
  clamp: (x) => tandem.clamp(x, { min: -0.5, max: 0.75 }),
};

const products = {
  linear: { second: [7, 19], of: functional.linear, shapes: [[33, 67], [19, 67], [19]] },
  'linear on one row': {
    second: [7, 19],
    of: functional.linear,
    shapes: [
      [1, 67],
      [19, 67],
    ],
  },
  'linear on sequences': {
    second: [7, 3],
    of: functional.linear,
    shapes: [[3, 5, 9], [3, 9], [3]],
  },
  matmul: {
    second: [35, 19],
    of: matmul,
    shapes: [
      [33, 67],
      [67, 19],
    ],
  },
  'batched matmul': {
    second: [7, 17],
    of: matmul,
    shapes: [
      [3, 5, 9],
      [3, 9, 17],
    ],
  },
};

for (const [name, { second, of, shapes }] of Object.entries(products)) {
  test(`${name} with every activation`, (t) => {
    const random = generator(1);
    const operands = shapes.map((shape) => fixed(shape));
    const arrays = operands.map(({ shape }) => {
      const size = shape.reduce((product, length) => product * length, 1);
      return uniform(size, random);
    });
    const feeds = new Map(operands.map((operand, i) => [operand, arrays[i]]));
    const w = fixed(second);
    const weight = uniform(second[0] * second[1], random);
    const z = of(...operands);
    const [product] = evaluate(z, feeds);

    for (const [label, activation] of Object.entries(activations)) {
      // One at a time: each step in a graph of its own.
      const from = fixed(z.shape);
      const [hidden] = evaluate(activation(from), new Map([[from, product]]));
      const middle = fixed(z.shape);
      const head = functional.linear(middle, w);
      const headFeeds = new Map([
        [middle, hidden],
        [w, weight],
      ]);
      const [result] = evaluate(head, headFeeds);
      const cotangent = uniform(result.length, generator(2));
      const [dHidden, dWeight] = vjp(head, headFeeds, cotangent).gradients;
      const [dProduct] = vjp(activation(from), new Map([[from, product]]), dHidden).gradients;
      const dOperands = vjp(z, feeds, dProduct).gradients;

      const y = functional.linear(activation(z), w);
      const all = new Map([...feeds, [w, weight]]);
      const together = vjp(y, all, cotangent);
      close(t, evaluate(y, all)[0], result, `${label}, evaluate`);
      close(t, together.outputs[0], result, `${label}, output`);
      [...dOperands, dWeight].forEach((expected, i) => {
        close(t, together.gradients[i], expected, `${label}, gradient ${i}`);
      });

      // The product is read by others, too.
      const [first, before] = evaluate([activation(z), z], feeds);
      close(t, first, hidden, `${label}, beside the product`);
      close(t, before, product, `${label}, the product`);
      const twice = vjp([activation(z), z], feeds, [dHidden, dProduct]);
      const [slope] = vjp(activation(from), new Map([[from, product]]), dHidden).gradients;
      const both = vjp(
        z,
        feeds,
        slope.map((g, i) => g + dProduct[i]),
      ).gradients;
      both.forEach((expected, i) => {
        close(t, twice.gradients[i], expected, `${label}, gradient ${i} through both`);
      });
    }
  });
}

const labels = Int32Array.from({ length: 33 }, (_, i) => (3 * i + 1) % 7);
const masked = labels.map((label, i) => (i % 4 === 1 ? -100 : label));
const classWeights = Float32Array.of(0.5, 1, 2, 0.1, 3, 1.5, 0.7);
const numbers = uniform(33 * 7, generator(3));
const shares = uniform(33 * 7, generator(4), 0, 1);

/** Loss and targets. */
const losses = {
  crossEntropy: [tandem.crossEntropy, labels],
  'crossEntropy, ignored targets': [tandem.crossEntropy, masked],
  'crossEntropy, smoothed': [
    (x, target) => tandem.crossEntropy(x, target, { labelSmoothing: 0.1 }),
    labels,
  ],
  'crossEntropy, weighted': [
    (x, target) => tandem.crossEntropy(x, target, { classWeights }),
    labels,
  ],
  'crossEntropy, all options': [
    (x, target) => tandem.crossEntropy(x, target, { labelSmoothing: 0.2, classWeights }),
    masked,
  ],
  'crossEntropy twice': [
    (x, target) =>
      tandem.add(
        tandem.crossEntropy(x, target),
        tandem.crossEntropy(x, target, { labelSmoothing: 0.3 }),
      ),
    labels,
  ],
  'crossEntropy, half of it': [
    (x, target) => tandem.mul(tandem.crossEntropy(x, target), 0.5),
    labels,
  ],
  mse: [tandem.mse, numbers],
  l1: [tandem.l1, numbers],
  huber: [(x, target) => tandem.huber(x, target, { delta: 0.4 }), numbers],
  bceWithLogits: [(x, target) => tandem.bceWithLogits(x, target, { posWeight: 2.5 }), shares],
};

for (const [name, [loss, target]] of Object.entries(losses)) {
  test(`a training step with ${name} follows the gradient`, async (t) => {
    const x = input([13]);
    const layers = [dense(19, { activation: 'gelu' }), dense(7)];
    const y = layers.reduce((value, layer) => layer(value), x);
    const model = new Model({ inputs: x, outputs: y, seed: 1 });
    const data = uniform(33 * 13, generator(5));
    const parameters = [...model.parameters.values()];
    const before = parameters.map((parameter) => parameter.data.slice());

    // The same network with its parameters as inputs, and a cotangent that is an input as well.
    const [w1, b1, w2, b2] = parameters.map(({ shape }) => fixed(shape));
    const targets = fixed(
      target === labels || target === masked ? [33] : [33, 7],
      target instanceof Int32Array ? 'int32' : 'float32',
    );
    const rows = fixed([33, 13]);
    const output = functional.linear(tandem.gelu(functional.linear(rows, w1, b1)), w2, b2);
    const feeds = new Map([
      [rows, data],
      [targets, target],
      ...[w1, b1, w2, b2].map((value, i) => [value, before[i]]),
    ]);
    const scalar = loss(output, targets);
    const wrt = [w1, b1, w2, b2];
    const expected = vjp(scalar, feeds, Float32Array.of(1), { wrt });

    // A large step, so that the difference of parameters keeps the gradient's bits.
    const learningRate = 1024;
    const trainer = new Trainer(model, { loss, optimizer: sgd({ learningRate }) });
    t.teardown(() => trainer.close());
    const step = await trainer.step({ x: data, y: target });
    close(t, [step.loss], expected.outputs[0], 'loss');
    const squares = expected.gradients.flatMap((gradient) => [...gradient].map((g) => g * g));
    const norm = Math.sqrt(squares.reduce((total, square) => total + square, 0));
    close(t, [step.gradNorm], [norm], 'gradNorm');
    parameters.forEach(({ data: after }, i) => {
      const gradient = after.map((value, k) => (before[i][k] - value) / learningRate);
      close(t, gradient, expected.gradients[i], `gradient ${i}`);
    });
  });
}
