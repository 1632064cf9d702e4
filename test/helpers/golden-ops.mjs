// The files of test/golden/ops as graphs of ours.
import * as tandem from 'tandem-ml';
import { fixed } from './numbers.mjs';
import { readGolden } from './safetensors.mjs';

const unary = (op) => (value) => op(value.x);
const binary = (op) => (value) => op(value.a, value.b);
const reduced = ({ axes, keepdim }) => ({ axes, keepDims: keepdim });
const reduction = (op) => (value, attributes) => op(value.x, reduced(attributes));
const alongAxis = (op) => (value, attributes) => op(value.x, { axis: attributes.axis });

/**
 * The graph for spec.op: from the inputs by PyTorch's names (values, and their arrays) and the
 * attributes, which are PyTorch's, too.
 */
export const builders = {
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

/** Tensors by what follows `prefix` in their names. */
const withPrefix = (tensors, prefix) =>
  [...tensors].flatMap(([name, tensor]) =>
    name.startsWith(prefix) ? [{ name: name.slice(prefix.length), ...tensor }] : [],
  );

/**
 * A file as a graph of `output` with the arrays to feed, what PyTorch made of them as `expected`, and the
 * `gradients` it found for the `cotangent`, each with the value that it is of.
 */
export function openOp(name) {
  const { spec, tensors } = readGolden(`ops/${name}`);
  const inputs = withPrefix(tensors, 'in.');
  const values = Object.fromEntries(
    inputs.map((tensor) => {
      const dtype = tensor.data instanceof Int32Array ? 'int32' : 'float32';
      return [tensor.name, fixed(tensor.shape, dtype, tensor.name)];
    }),
  );
  const arrays = Object.fromEntries(inputs.map((tensor) => [tensor.name, tensor.data]));
  return {
    spec,
    output: builders[spec.op](values, spec.attrs, arrays),
    feeds: new Map(inputs.map((tensor) => [values[tensor.name], tensor.data])),
    expected: withPrefix(tensors, 'out.'),
    gradients: withPrefix(tensors, 'grad.').map((tensor) => ({
      ...tensor,
      value: values[tensor.name],
    })),
    cotangent: tensors.get('dout.0').data,
  };
}
