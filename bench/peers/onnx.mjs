// ONNX Runtime, where it has a binary for the machine, and the files it reads.
import { createRequire } from 'node:module';
import { threadCounts } from '../lib/options.mjs';
import { OnnxGraph } from './onnx-graph.mjs';

/**
 * onnxruntime-node, or undefined. Its types need those of a browser.
 * @returns {{ ort: any, version: string } | undefined}
 */
export function findOnnxRuntime() {
  try {
    const ort = createRequire(import.meta.url)('onnxruntime-node');
    return { ort, version: ort.env.versions.node };
  } catch {
    return undefined;
  }
}

/**
 * The shape of a row of a model's only input.
 * @param {import('tandem-ml').Model} model
 */
export const rowOf = ({ inputs: [x] }) => x.shape.slice(1).map(Number);

/**
 * Predictions of an ONNX file for `x` with each number of threads, by the name of the mode: "1t", "2t".
 * None without a peer.
 * @param {{ ort: any } | undefined} peer
 * @param {Uint8Array | undefined} file
 * @param {Float32Array | Int32Array} x
 * @param {readonly number[]} row the shape of a row of x
 */
export async function openSessions(peer, file, x, row) {
  /** @type {Record<string, { run(): Promise<Float32Array>, release(): Promise<void> }>} */
  const sessions = {};
  if (peer === undefined || file === undefined) return sessions;
  const rows = x.length / row.reduce((product, size) => product * size, 1);
  const feeds = { x: new peer.ort.Tensor('float32', x, [rows, ...row]) };
  for (const count of threadCounts) {
    const session = await peer.ort.InferenceSession.create(file, {
      intraOpNumThreads: count,
      interOpNumThreads: 1,
    });
    sessions[`${count}t`] = {
      run: async () => (await session.run(feeds)).y.data,
      release: () => session.release(),
    };
  }
  return sessions;
}

/** Throws when two sides do not compute the same, by Euclidean norm. */
export function assertClose(actual, expected, tolerance) {
  let [difference, norm] = [0, 0];
  expected.forEach((value, i) => {
    difference += (value - actual[i]) ** 2;
    norm += value ** 2;
  });
  const distance = Math.sqrt(difference / norm);
  if (actual.length !== expected.length || !(distance <= tolerance)) {
    throw new Error(`outputs differ by ${distance} of their norm`);
  }
}

/**
 * The bytes of an ONNX file with the layers of a perceptron: Gemm, and Relu between them.
 * @param {import('tandem-ml').Model} model dense layers with biases alone
 * @returns {Uint8Array}
 */
export function perceptronToOnnx({ parameters, inputs, outputs }) {
  const graph = new OnnxGraph({ int8: false });
  const floats = (name) => {
    const parameter = parameters.get(name);
    if (parameter === undefined) throw new Error(`the model has no ${name}`);
    return graph.floats(parameter.data, [...parameter.shape]);
  };
  const weights = [...parameters.keys()].filter((name) => name.endsWith('.weight'));
  let value = 'x';
  for (const [i, name] of weights.entries()) {
    const operands = [value, floats(name), floats(name.replace(/weight$/, 'bias'))];
    value = graph.op('Gemm', operands, { transB: 1 });
    if (i < weights.length - 1) value = graph.op('Relu', [value]);
  }
  const port = ({ shape }) => ['batch', shape.at(-1)];
  return graph.file(value, port(inputs[0]), port(outputs[0]));
}
