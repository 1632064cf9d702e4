// Models that are served in float32, bfloat16 and in 8-bit integers, with their ONNX files.
import {
  add,
  conv2d,
  dense,
  input,
  layerNorm,
  Model,
  maxPool2d,
  multiHeadAttention,
  sequential,
} from 'tandem-ml';
import { OnnxGraph } from '../peers/onnx-graph.mjs';
import { imageClassifier } from './workloads.mjs';

/**
 * @typedef {object} Served
 * @property {string} name
 * @property {() => import('tandem-ml').Model} model
 * @property {(model: import('tandem-ml').Model, int8: boolean) => Uint8Array} onnx products with
 *   weights as integers where ONNX Runtime quantizes as it runs: not convolutions
 * @property {{ rows: number, precision: 'float32' | 'bfloat16' | 'int8' }[]} cases
 */

const all = (rows) => [
  { rows, precision: /** @type {const} */ ('float32') },
  { rows, precision: /** @type {const} */ ('bfloat16') },
  { rows, precision: /** @type {const} */ ('int8') },
];

/** @type {Served[]} */
export const served = [
  perceptron([784, 512, 256, 10], [...all(1), ...all(256)]),
  convolutional([...all(1), ...all(64)]),
  encoder({ layers: 6, width: 384, heads: 12, time: 128 }, all(1)),
];

const dataOf = (model, name) => model.parameters.get(name)?.data ?? new Float32Array(0);

function perceptron(sizes, cases) {
  const last = sizes.length - 2;
  return {
    name: `MLP ${sizes.join('-')}`,
    model: () =>
      sequential(
        sizes.slice(1).map((units, i) => dense(units, i < last ? { activation: 'relu' } : {})),
        { input: [sizes[0]], seed: 1 },
      ),
    onnx: (model, int8) => {
      const graph = new OnnxGraph({ int8 });
      let x = 'x';
      for (let i = 0; i <= last; i++) {
        const name = i === 0 ? 'dense' : `dense_${i}`;
        x = graph.linear(x, dataOf(model, `${name}.weight`), dataOf(model, `${name}.bias`));
        if (i < last) x = graph.op('Relu', [x]);
      }
      return graph.file(x, ['batch', sizes[0]], ['batch', sizes.at(-1)]);
    },
    cases,
  };
}

function convolutional(cases) {
  const block = (filters) => [
    conv2d(filters, { kernel: 3, padding: 1, activation: 'relu' }),
    maxPool2d({ kernel: 2 }),
  ];
  return {
    name: 'CNN 28x28',
    model: () => imageClassifier(block),
    onnx: (model, int8) => {
      const graph = new OnnxGraph({ int8 });
      let x = 'x';
      for (const name of ['conv2d', 'conv2d_1']) {
        const { shape, data } = model.parameters.get(`${name}.weight`);
        const weight = graph.floats(data, [...shape]);
        const bias = graph.floats(dataOf(model, `${name}.bias`), [shape[0]]);
        x = graph.op('Relu', [graph.op('Conv', [x, weight, bias], { pads: [1, 1, 1, 1] })]);
        x = graph.op('MaxPool', [x], { kernel_shape: [2, 2], strides: [2, 2] });
      }
      x = graph.op('Flatten', [x]);
      x = graph.linear(x, dataOf(model, 'dense.weight'), dataOf(model, 'dense.bias'));
      x = graph.op('Relu', [x]);
      x = graph.linear(x, dataOf(model, 'dense_1.weight'), dataOf(model, 'dense_1.bias'));
      return graph.file(x, ['batch', 1, 28, 28], ['batch', 10]);
    },
    cases,
  };
}

/** A transformer's encoder with norms behind the sums, as in BERT. */
function encoder({ layers, width, heads, time }, cases) {
  const model = () => {
    const x = input([time, width]);
    let y = x;
    for (let i = 0; i < layers; i++) {
      y = layerNorm()(add(y, multiHeadAttention({ heads })(y)));
      y = layerNorm()(add(y, dense(width)(dense(4 * width, { activation: 'gelu' })(y))));
    }
    return new Model({ inputs: x, outputs: y, seed: 1 });
  };
  return {
    name: `encoder ${layers}x${width}, ${time} tokens`,
    model,
    onnx: (built, int8) => {
      const graph = new OnnxGraph({ int8 });
      let x = 'x';
      for (let i = 0; i < layers; i++) x = encoderLayer(graph, built, x, i, { width, heads });
      return graph.file(x, ['batch', time, width], ['batch', time, width]);
    },
    cases,
  };
}

const scalar = (graph, value) => graph.floats(Float32Array.of(value), []);

function encoderLayer(graph, model, x, i, { width, heads }) {
  const part = (name, number) => (number === 0 ? name : `${name}_${number}`);
  const attention = part('multiHeadAttention', i);
  const [weight, bias] = ['weight', 'bias'].map((end) =>
    dataOf(model, `${attention}.inProj.${end}`),
  );
  const size = width * width;
  const project = (k, perm) => {
    const y = graph.linear(
      x,
      weight.subarray(k * size, (k + 1) * size),
      bias.subarray(k * width, (k + 1) * width),
    );
    const apart = graph.op('Reshape', [y, graph.integers([0, 0, heads, width / heads])]);
    return graph.op('Transpose', [apart], { perm });
  };
  const [q, k, v] = [project(0, [0, 2, 1, 3]), project(1, [0, 2, 3, 1]), project(2, [0, 2, 1, 3])];
  const scores = graph.op('Mul', [
    graph.op('MatMul', [q, k]),
    scalar(graph, Math.sqrt(heads / width)),
  ]);
  const y = graph.op('MatMul', [graph.op('Softmax', [scores], { axis: -1 }), v]);
  const joined = graph.op('Reshape', [
    graph.op('Transpose', [y], { perm: [0, 2, 1, 3] }),
    graph.integers([0, 0, width]),
  ]);
  const linear = (from, name) =>
    graph.linear(from, dataOf(model, `${name}.weight`), dataOf(model, `${name}.bias`));
  const norm = (from, number) => normalized(graph, model, from, part('layerNorm', number));
  const middle = norm(graph.op('Add', [x, linear(joined, `${attention}.outProj`)]), 2 * i);
  // Layers are named in the order in which they are first called.
  const [up, down] = [part('dense', 2 * i), part('dense', 2 * i + 1)];
  const wide = gelu(graph, linear(middle, up));
  return norm(graph.op('Add', [middle, linear(wide, down)]), 2 * i + 1);
}

function gelu(graph, x) {
  const bent = graph.op('Erf', [graph.op('Div', [x, scalar(graph, Math.SQRT2)])]);
  const half = graph.op('Mul', [x, scalar(graph, 0.5)]);
  return graph.op('Mul', [half, graph.op('Add', [bent, scalar(graph, 1)])]);
}

function normalized(graph, model, x, name) {
  const [weight, bias] = [dataOf(model, `${name}.weight`), dataOf(model, `${name}.bias`)];
  const centred = graph.op('Sub', [x, graph.op('ReduceMean', [x], { axes: [-1] })]);
  const variance = graph.op('ReduceMean', [graph.op('Mul', [centred, centred])], { axes: [-1] });
  const deviation = graph.op('Sqrt', [graph.op('Add', [variance, scalar(graph, 1e-5)])]);
  const scaled = graph.op('Mul', [
    graph.op('Div', [centred, deviation]),
    graph.floats(weight, [weight.length]),
  ]);
  return graph.op('Add', [scaled, graph.floats(bias, [bias.length])]);
}
