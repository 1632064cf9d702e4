// ONNX Runtime, where it has a binary for the machine, and the files it reads.
import { createRequire } from 'node:module';
import { threadCounts } from '../lib/options.mjs';

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
 * Predictions of a model for `x` with each number of threads, by the name of the mode: "1t", "2t".
 * None without a peer.
 * @param {{ ort: any } | undefined} peer
 * @param {import('../lib/workloads.mjs').Workload} work
 * @param {import('tandem-ml').Model} model
 * @param {Float32Array | Int32Array} x
 */
export async function openSessions(peer, work, model, x) {
  /** @type {Record<string, { run(): Promise<Float32Array>, release(): Promise<void> }>} */
  const sessions = {};
  if (peer === undefined || work.onnx === undefined) return sessions;
  const [, ...row] = model.inputs[0].shape.map(Number);
  const rows = x.length / row.reduce((product, size) => product * size, 1);
  const feeds = { x: new peer.ort.Tensor('float32', x, [rows, ...row]) };
  for (const count of threadCounts) {
    const session = await peer.ort.InferenceSession.create(work.onnx(model), {
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

/**
 * The bytes of an ONNX file with the layers of a perceptron: Gemm, and Relu between them.
 * @param {import('tandem-ml').Model} model dense layers with biases alone
 * @returns {Uint8Array}
 */
export function perceptronToOnnx(model) {
  const parameters = [...model.parameters];
  const weights = parameters.filter(([name]) => name.endsWith('.weight'));
  const nodes = [];
  let value = 'x';
  weights.forEach(([name], i) => {
    const last = i === weights.length - 1;
    const inputs = [value, name, name.replace(/weight$/, 'bias')];
    nodes.push(
      node('Gemm', inputs, last ? 'y' : `gemm_${i}`, [text(1, 'transB'), int(3, 1), int(20, 2)]),
    );
    if (last) return;
    value = `relu_${i}`;
    nodes.push(node('Relu', [`gemm_${i}`], value));
  });
  const width = (port) => port.shape.at(-1);
  // Field numbers are those of onnx.proto. 1: float32.
  const graph = [
    ...nodes.map((bytes) => message(1, bytes)),
    text(2, 'perceptron'),
    ...parameters.map(([name, { shape, data }]) =>
      message(5, [
        ...shape.map((size) => int(1, size)),
        int(2, 1),
        text(8, name),
        bytes(9, new Uint8Array(data.buffer, data.byteOffset, data.byteLength)),
      ]),
    ),
    message(11, port('x', width(model.inputs[0]))),
    message(12, port('y', width(model.outputs[0]))),
  ];
  const opset = [text(1, ''), int(2, 17)];
  return Buffer.concat([
    int(1, 8),
    text(2, 'tandem-ml bench'),
    message(7, graph),
    message(8, opset),
  ]);
}

function node(op, inputs, output, attribute) {
  const parts = [...inputs.map((name) => text(1, name)), text(2, output), text(4, op)];
  return attribute ? [...parts, message(5, attribute)] : parts;
}

/** A float32 tensor [batch, width]. */
function port(name, width) {
  const shape = [message(1, [text(2, 'batch')]), message(1, [int(1, width)])];
  return [text(1, name), message(2, [message(1, [int(1, 1), message(2, shape)])])];
}

// Protocol buffers: a field is its number and wire type, then a varint or a length and bytes.
function varint(value) {
  const out = [];
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return Buffer.from([...out, rest]);
    out.push((rest % 128) + 128);
  }
}

const int = (field, value) => Buffer.concat([varint(field * 8), varint(value)]);
const bytes = (field, value) =>
  Buffer.concat([varint(field * 8 + 2), varint(value.byteLength), value]);
const text = (field, value) => bytes(field, Buffer.from(value));
const message = (field, parts) => bytes(field, Buffer.concat(parts));
