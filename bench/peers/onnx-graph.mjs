// ONNX files written by hand: a graph of nodes and constants as protocol buffers. Field numbers are
// those of onnx.proto.

const types = { float32: 1, int8: 3, int64: 7 };

/** A graph under construction. Values are named by strings; input `x`, output `y`. */
export class OnnxGraph {
  #nodes = [];
  #constants = [];
  #names = 0;
  /** @type {Map<string, { data: Float32Array, shape: number[] }>} */
  #floats = new Map();
  #bytes;
  #quantized = new Map();

  /** @param {{ int8: boolean }} options whether products with constants are of bytes */
  constructor({ int8 }) {
    this.#bytes = int8;
  }

  #name() {
    return `v${++this.#names}`;
  }

  /** @param {Float32Array} data  @param {number[]} shape */
  floats(data, shape) {
    const name = this.#constant('float32', data, shape);
    this.#floats.set(name, { data, shape });
    return name;
  }

  /** @param {number[]} values */
  integers(values) {
    return this.#constant('int64', BigInt64Array.from(values, BigInt), [values.length]);
  }

  /** @param {keyof typeof types} type  @param {ArrayBufferView} data  @param {number[]} shape */
  #constant(type, data, shape) {
    const name = this.#name();
    const raw = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    const fields = [...shape.map((size) => int(1, size)), int(2, types[type])];
    this.#constants.push([name, message(5, [...fields, text(8, name), bytes(9, raw)])]);
    return name;
  }

  /**
   * One op; a number as an attribute is an integer, a list one of integers.
   * @param {string} kind  @param {string[]} inputs  @param {Record<string, number | number[]>} [attributes]
   */
  op(kind, inputs, attributes = {}) {
    return this.#op(kind, inputs, 1, attributes)[0];
  }

  #op(kind, inputs, count, attributes = {}) {
    const outputs = Array.from({ length: count }, () => this.#name());
    const parts = [...inputs.map((name) => text(1, name)), ...outputs.map((name) => text(2, name))];
    const listed = Object.entries(attributes).map(([name, value]) => attribute(name, value));
    this.#nodes.push(message(1, [...parts, text(4, kind), ...listed]));
    return outputs;
  }

  /**
   * x * w^T + b with w [out, in]; as integers by the ranges of x and of the rows of w.
   * @param {string} x  @param {Float32Array} w  @param {Float32Array} b
   */
  linear(x, w, b) {
    const [out, depth] = [b.length, w.length / b.length];
    const turned = transposed(w, out, depth);
    const bias = this.floats(b, [out]);
    if (!this.#bytes)
      return this.op('Add', [this.op('MatMul', [x, this.floats(turned, [depth, out])]), bias]);
    const scale = Float32Array.from(
      { length: out },
      (_, i) =>
        w.subarray(i * depth, (i + 1) * depth).reduce((a, v) => Math.max(a, Math.abs(v)), 0) / 127,
    );
    const integers = Int8Array.from(turned, (v, i) => Math.round(v / scale[i % out]));
    if (!this.#quantized.has(x)) this.#quantized.set(x, this.#op('DynamicQuantizeLinear', [x], 3));
    const [byte, step, zero] = this.#quantized.get(x);
    const [weight, zeros] = [
      this.#constant('int8', integers, [depth, out]),
      this.#constant('int8', new Int8Array(out), [out]),
    ];
    const sums = this.op('Cast', [this.op('MatMulInteger', [byte, weight, zero, zeros])], {
      to: 1,
    });
    const factor = this.op('Mul', [step, this.floats(scale, [out])]);
    return this.op('Add', [this.op('Mul', [sums, factor]), bias]);
  }

  /**
   * The file. Dimensions that are strings are free.
   * @param {string} output  @param {(number | string)[]} from  @param {(number | string)[]} to
   * @returns {Uint8Array}
   */
  file(output, from, to) {
    const last = message(1, [text(1, output), text(2, 'y'), text(4, 'Identity')]);
    const graph = [
      ...this.#nodes,
      last,
      text(2, 'graph'),
      ...this.#constants.map(([, constant]) => constant),
      message(11, port('x', from)),
      message(12, port('y', to)),
    ];
    const opset = [text(1, ''), int(2, 13)];
    return Buffer.concat([
      int(1, 8),
      text(2, 'tandem-ml bench'),
      message(7, graph),
      message(8, opset),
    ]);
  }
}

function transposed(w, rows, columns) {
  const out = new Float32Array(w.length);
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++) out[j * rows + i] = w[i * columns + j];
  }
  return out;
}

function attribute(name, value) {
  const [integer, integers] = [2, 7];
  const list = Array.isArray(value);
  const values = list ? value.map((item) => int(8, item)) : [int(3, value)];
  return message(5, [text(1, name), ...values, int(20, list ? integers : integer)]);
}

/** A float32 tensor. */
function port(name, shape) {
  const sizes = shape.map((size) =>
    message(1, [typeof size === 'string' ? text(2, size) : int(1, size)]),
  );
  return [text(1, name), message(2, [message(1, [int(1, 1), message(2, sizes)])])];
}

// Protocol buffers: a field is its number and wire type, then a varint or a length and bytes.
function varint(value) {
  const out = [];
  for (let rest = BigInt.asUintN(64, BigInt(value)); ; rest >>= 7n) {
    if (rest < 128n) return Buffer.from([...out, Number(rest)]);
    out.push(Number(rest & 127n) + 128);
  }
}

const int = (field, value) => Buffer.concat([varint(field * 8), varint(value)]);
const bytes = (field, value) =>
  Buffer.concat([varint(field * 8 + 2), varint(value.byteLength), value]);
const text = (field, value) => bytes(field, Buffer.from(value));
const message = (field, parts) => bytes(field, Buffer.concat(parts));
