// Every op against PyTorch: outputs and gradients of the golden files.
import test from 'ava';
import * as tandem from 'tandem-ml';
import { evaluate, vjp } from 'tandem-ml/autodiff';
import { fixed, relativeError } from '../helpers/numbers.mjs';
import { goldenNames, readGolden } from '../helpers/safetensors.mjs';

/** Of outputs and gradients, by norm. */
const tolerance = 1e-5;

const unary = (op) => (value) => op(value.x);
const binary = (op) => (value) => op(value.a, value.b);
const reduced = ({ axes, keepdim }) => ({ axes, keepDims: keepdim });
const reduction = (op) => (value, attributes) => op(value.x, reduced(attributes));
const alongAxis = (op) => (value, attributes) => op(value.x, { axis: attributes.axis });

/**
 * The graph for spec.op: from the inputs by PyTorch's names (values, and their arrays) and the
 * attributes, which are PyTorch's, too.
 */
const builders = {
  linear: ({ x, w, b }) => tandem.functional.linear(x, w, b),
  matmul: binary(tandem.matmul),

  conv1d: ({ x, w, b }, attributes) => tandem.functional.conv1d(x, w, b, attributes),
  conv2d: ({ x, w, b }, attributes) => tandem.functional.conv2d(x, w, b, attributes),
  conv_transpose2d: ({ x, w, b }, attributes) =>
    tandem.functional.convTranspose2d(x, w, b, attributes),
  max_pool2d: ({ x }, attributes) => tandem.maxPool2d(x, attributes),
  avg_pool2d: ({ x }, { kernel, stride, padding }) =>
    tandem.avgPool2d(x, { kernel, stride, padding }),
  global_avg_pool2d: unary(tandem.globalAvgPool2d),

  relu: unary(tandem.relu),
  gelu: unary(tandem.gelu),
  gelu_tanh: ({ x }) => tandem.gelu(x, { approximate: 'tanh' }),
  silu: unary(tandem.silu),
  sigmoid: unary(tandem.sigmoid),
  tanh: unary(tandem.tanh),
  leaky_relu: ({ x }, { alpha }) => tandem.leakyRelu(x, { alpha }),
  elu: unary(tandem.elu),
  softplus: unary(tandem.softplus),
  hardswish: unary(tandem.hardSwish),
  hardsigmoid: unary(tandem.hardSigmoid),
  mish: unary(tandem.mish),
  exp: unary(tandem.exp),
  log: unary(tandem.log),
  sqrt: unary(tandem.sqrt),
  rsqrt: unary(tandem.rsqrt),
  abs: unary(tandem.abs),
  neg: unary(tandem.neg),
  square: unary(tandem.square),
  reciprocal: unary(tandem.reciprocal),
  sin: unary(tandem.sin),
  cos: unary(tandem.cos),
  erf: unary(tandem.erf),
  clamp: ({ x }, { min, max }) => tandem.clamp(x, { min, max }),

  add: binary(tandem.add),
  sub: binary(tandem.sub),
  mul: binary(tandem.mul),
  div: binary(tandem.div),
  pow: binary(tandem.pow),
  maximum: binary(tandem.maximum),
  minimum: binary(tandem.minimum),

  sum: reduction(tandem.sum),
  mean: reduction(tandem.mean),
  amax: reduction(tandem.max),
  amin: reduction(tandem.min),
  var: reduction(tandem.variance),
  softmax: alongAxis(tandem.softmax),
  log_softmax: alongAxis(tandem.logSoftmax),

  scaled_dot_product_attention: ({ q, k, v, mask }, { causal }) =>
    tandem.attention(q, k, v, { causal, mask }),

  transpose: ({ x }, { perm }) => tandem.transpose(x, { perm }),
  reshape: ({ x }, { shape }) => tandem.reshape(x, shape),
  concat: ({ a, b }, { axis }) => tandem.concat([a, b], { axis }),
  slice: ({ x }, options) => tandem.slice(x, options),

  embedding: ({ i, w }) => tandem.functional.embedding(i, w),
  gather: ({ x, i }, { axis }) => tandem.gather(x, i, { axis }),
  pad: ({ x }, { pads, value }) => tandem.pad(x, { pads, value }),
  cumsum: alongAxis(tandem.cumsum),
  where: ({ c, a, b }) => tandem.where(c, a, b),
  lstm: (v) => tandem.functional.lstm(v.x, v.w_ih, v.w_hh, v.b_ih, v.b_hh),
  gru: (v) => tandem.functional.gru(v.x, v.w_ih, v.w_hh, v.b_ih, v.b_hh),
  batch_norm: ({ x, w, b, mean, var: variance }, { eps }) =>
    tandem.functional.batchNorm(x, w, b, { eps, mean, variance }),
  layer_norm: ({ x, w, b }, { eps }) => tandem.functional.layerNorm(x, w, b, { eps }),
  rms_norm: ({ x, w }, { eps }) => tandem.functional.rmsNorm(x, w, { eps }),
  group_norm: ({ x, w, b }, { groups, eps }) =>
    tandem.functional.groupNorm(x, w, b, { groups, eps }),

  cross_entropy: ({ x, t }, attributes, arrays) =>
    tandem.crossEntropy(x, t, {
      labelSmoothing: attributes.label_smoothing,
      ignoreIndex: attributes.ignore_index,
      classWeights: arrays.w,
    }),
  distillation: ({ x, teacher }, { temperature }) =>
    tandem.distillation(x, teacher, { temperature }),
  mse: ({ x, t }) => tandem.mse(x, t),
  l1: ({ x, t }) => tandem.l1(x, t),
  huber: ({ x, t }, { delta }) => tandem.huber(x, t, { delta }),
  bce_with_logits: ({ x, t }, attributes) =>
    tandem.bceWithLogits(x, t, { posWeight: attributes.pos_weight }),
};

const files = goldenNames('ops');

/** Tensors by what follows `prefix` in their names. */
const withPrefix = (tensors, prefix) =>
  [...tensors].flatMap(([name, tensor]) =>
    name.startsWith(prefix) ? [{ name: name.slice(prefix.length), ...tensor }] : [],
  );

test('every file has a builder', (t) => {
  for (const name of files) {
    const { op } = readGolden(`ops/${name}`).spec;
    t.true(op in builders, `${name} (${op})`);
  }
});

for (const name of files) {
  test(name, (t) => {
    const { spec, tensors } = readGolden(`ops/${name}`);
    const inputs = withPrefix(tensors, 'in.');
    const expected = withPrefix(tensors, 'out.');
    const values = Object.fromEntries(
      inputs.map((tensor) => {
        const dtype = tensor.data instanceof Int32Array ? 'int32' : 'float32';
        return [tensor.name, fixed(tensor.shape, dtype, tensor.name)];
      }),
    );
    const arrays = Object.fromEntries(inputs.map((tensor) => [tensor.name, tensor.data]));
    const output = builders[spec.op](values, spec.attrs, arrays);
    const [{ shape, data }] = expected;
    t.is(expected.length, 1);
    // A scalar is stored as [1].
    t.deepEqual(output.shape.length === 0 ? [1] : output.shape, shape);

    const feeds = new Map(inputs.map((tensor) => [values[tensor.name], tensor.data]));
    const gradients = withPrefix(tensors, 'grad.');
    const cotangent = tensors.get('dout.0').data;
    const result = vjp(output, feeds, cotangent, {
      wrt: gradients.map((tensor) => values[tensor.name]),
    });
    const close = (actual, wanted, what) => {
      const error = relativeError(actual, wanted);
      t.true(error <= tolerance, `${what}: relative error ${error}`);
    };
    close(result.outputs[0], data, 'output of vjp');
    close(evaluate(output, feeds)[0], data, 'output of evaluate');
    t.true(gradients.length > 0);
    gradients.forEach((tensor, i) => {
      close(result.gradients[i], tensor.data, `gradient of ${tensor.name}`);
    });
  });
}
