// Quantized models in safetensors files: weights as I8 with their scales beside them, and in the
// metadata how each node is computed and what calibration found.
import { type FileHandle, open } from 'node:fs/promises';
import type { NodeDescription, QuantizationDescription } from '../../bindings.js';
import { writeAtomically } from '../files/atomic.js';
import { bad, integer, list, parseJson, record, text } from '../files/format.js';
import { guarded, readDescription, readEncoder } from '../files/load.js';
import { encodeHeader, type Header, readFully, readHeader } from '../files/safetensors.js';
import { formatVersion } from '../files/save.js';
import { serialize } from '../graph/serialize.js';
import * as is from '../is.js';
import { Model } from '../model.js';
import { Frozen } from './frozen.js';
import { findLayers, type QuantizableLayer } from './layers.js';
import type { Quantized } from './quantize.js';
import type { QuantizationReport } from './report.js';
import { fromBytes, toBytes } from './weights.js';

const scaleName = (weight: string): string => `${weight}.scale`;

/** The scales of each weight that every reader takes as bytes. */
function byteWeights({ frozen, graph }: Quantized): Map<string, Float32Array> {
  const found = new Map<string, Float32Array>();
  for (const { index, weight } of findLayers(frozen)) {
    const scales = graph.nodes[index]?.quantization?.weightScales;
    if (weight !== undefined && scales !== undefined) found.set(weight, scales);
  }
  graph.nodes.forEach(({ inputs, quantization }) => {
    inputs.forEach((number, i) => {
      const name = frozen.parameterName(number);
      if (name !== undefined && (quantization === undefined || i !== 1)) found.delete(name);
    });
  });
  return found;
}

export async function writeQuantized(quantized: Quantized, path: string | URL): Promise<void> {
  if (!(path instanceof URL)) is.string(path, 'path');
  const { frozen, graph, report } = quantized;
  const bytes = byteWeights(quantized);
  const tensors = [...frozen.model.parameters].flatMap(([name, { shape, data }]) => {
    const scales = bytes.get(name);
    if (scales === undefined) return [tensor(name, 'F32', shape, data.slice())];
    return [
      tensor(name, 'I8', shape, toBytes(data, scales)),
      tensor(scaleName(name), 'F32', [scales.length], scales),
    ];
  });
  const nodes = graph.nodes.flatMap(({ quantization }, index) => {
    if (quantization === undefined) return [];
    const { mode, scale, zero, weightScales } = quantization;
    const weight = frozen.parameterName(graph.nodes[index]?.inputs[1]);
    // Where a weight stays float32 for another reader its scales have no tensor.
    const apart = weight !== undefined && bytes.has(weight) ? {} : { scales: [...weightScales] };
    return [{ index, mode, scale, zero, ...apart }];
  });
  const metadata = {
    format: 'tandem-ml',
    version: String(formatVersion),
    graph: JSON.stringify(serialize(frozen.model.name, frozen.state)),
    quantization: JSON.stringify({ nodes, report }),
    ...(frozen.state.encoder && { encoder: JSON.stringify(frozen.state.encoder) }),
  };
  await writeAtomically(path, [
    encodeHeader(metadata, tensors),
    ...tensors.map(({ data }) => data),
  ]);
}

function tensor(name: string, dtype: string, shape: readonly number[], values: ArrayBufferView) {
  const data = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  return { name, dtype, shape, bytes: values.byteLength, data };
}

/** Undefined where the file holds a model in float32. Rejects with ERR_FILE_FORMAT. */
export async function readQuantized(path: string | URL): Promise<Quantized | undefined> {
  const file = await open(path, 'r');
  try {
    const header = await readHeader(file);
    const json = header.metadata.get('quantization');
    if (json === undefined) return undefined;
    const { parameters, ...options } = readDescription(header);
    const quantization = record(parseJson(json, 'the quantization'), 'quantization');
    checkTensors(header, parameters);
    const encoder = readEncoder(header);
    const frozen = guarded(() => new Frozen(new Model(options)));
    frozen.state.encoder = encoder;
    try {
      const scales = await readTensors(file, header, frozen);
      const nodes = readNodes(quantization, frozen, scales);
      const report = readReport(quantization.report);
      return { frozen, graph: { ...frozen.graph, nodes }, report };
    } catch (error) {
      frozen.release();
      throw error;
    }
  } finally {
    await file.close();
  }
}

/** Every parameter as F32 or as I8 with scales, and nothing else. */
function checkTensors(header: Header, parameters: ReadonlyMap<string, readonly number[]>): void {
  const expected = new Set<string>();
  const check = (name: string, dtypes: readonly string[], shape: readonly number[]) => {
    const found = header.tensors.get(name);
    expected.add(name);
    if (found && dtypes.includes(found.dtype) && found.shape.join() === shape.join()) return found;
    const received = found ? `${found.dtype} [${found.shape.join(', ')}]` : 'none';
    throw bad(`${dtypes.join(' or ')} [${shape.join(', ')}] for tensor \`${name}\``, received);
  };
  for (const [name, shape] of parameters) {
    const { dtype } = check(name, ['F32', 'I8'], shape);
    if (dtype === 'I8') check(scaleName(name), ['F32'], shape.slice(0, 1));
  }
  for (const name of header.tensors.keys()) {
    if (!expected.has(name)) throw bad('only tensors of the graph', `\`${name}\` too`);
  }
}

/** Fills the parameters; the scales of those that are bytes, by name. */
async function readTensors(
  file: FileHandle,
  header: Header,
  frozen: Frozen,
): Promise<Map<string, Float32Array>> {
  const all = new Map<string, Float32Array>();
  for (const [name, { data }] of frozen.model.parameters) {
    const entry = header.tensors.get(name);
    if (entry?.dtype !== 'I8') {
      await readFully(
        file,
        new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
        entry?.start ?? 0,
      );
      continue;
    }
    const bytes = new Int8Array(data.length);
    await readFully(file, new Uint8Array(bytes.buffer), entry.start);
    const place = header.tensors.get(scaleName(name));
    const scales = new Float32Array((place?.bytes ?? 0) / 4);
    await readFully(file, new Uint8Array(scales.buffer), place?.start ?? 0);
    if (!scales.every(isScale)) throw bad(`scales above 0 for tensor \`${name}\``, 'others');
    fromBytes(bytes, scales, data);
    all.set(name, scales);
  }
  return all;
}

const isScale = (scale: number): boolean => scale > 0 && Number.isFinite(scale);

function readNodes(
  quantization: Record<string, unknown>,
  frozen: Frozen,
  scales: ReadonlyMap<string, Float32Array>,
): NodeDescription[] {
  const layers = new Map(findLayers(frozen).map((layer) => [layer.index, layer]));
  const nodes: NodeDescription[] = [...frozen.graph.nodes];
  list(quantization.nodes, 'nodes').forEach((item, i) => {
    const at = `nodes[${i}]`;
    const entry = record(item, at);
    const index = integer(entry.index, `${at}.index`, 0, nodes.length - 1);
    const layer = layers.get(index);
    const node = nodes[index];
    if (node === undefined || layer === undefined || layer.reason !== undefined) {
      throw bad(`a node that can be quantized for \`${at}\``, is.show(entry.index));
    }
    nodes[index] = { ...node, quantization: readMark(entry, at, layer, frozen, scales) };
  });
  for (const name of scales.keys()) {
    const read = nodes.some(
      (node) => node.quantization && frozen.parameterName(node.inputs[1]) === name,
    );
    if (!read) throw bad(`a quantized node for the I8 tensor \`${name}\``, 'none');
  }
  return nodes;
}

const modes: Readonly<Record<string, readonly QuantizationDescription['mode'][]>> = {
  linear: ['static', 'dynamic', 'weights'],
  conv1d: ['static', 'weights'],
  conv2d: ['static', 'weights'],
  lstm: ['dynamic', 'weights'],
  gru: ['dynamic', 'weights'],
  embedding: ['weights'],
  attention: ['dynamic'],
};

function readMark(
  entry: Record<string, unknown>,
  at: string,
  { op, weight }: QuantizableLayer,
  frozen: Frozen,
  scales: ReadonlyMap<string, Float32Array>,
): QuantizationDescription {
  const given = text(entry.mode, `${at}.mode`);
  const mode = modes[op]?.find((one) => one === given);
  if (mode === undefined) throw bad(`a mode of ${op} for \`${at}.mode\``, is.show(given));
  const { scale } = entry;
  if (typeof scale !== 'number' || !isScale(Math.fround(scale))) {
    throw bad(`a number above 0 for \`${at}.scale\``, is.show(scale));
  }
  const zero = integer(entry.zero, `${at}.zero`, 0, 255);
  const rows = weight === undefined ? 0 : (frozen.model.parameters.get(weight)?.shape[0] ?? 0);
  const weightScales =
    scales.get(weight ?? '') ??
    Float32Array.from(list(entry.scales, `${at}.scales`), (item) => Number(item));
  if (weightScales.length !== rows || !weightScales.every(isScale)) {
    throw bad(`${rows} numbers above 0 for \`${at}.scales\``, is.show(entry.scales));
  }
  return { mode, scale, zero, weightScales };
}

/** What is shown to users; nothing is computed from it. */
function readReport(value: unknown): QuantizationReport {
  const report = record(value, 'report');
  const precision = text(report.precision, 'report.precision');
  if (precision !== 'int8' && precision !== 'int8-weights') {
    throw bad('"int8" or "int8-weights" for `report.precision`', is.show(precision));
  }
  integer(report.calibrationRows, 'report.calibrationRows', 0);
  integer(report.smoothed, 'report.smoothed', 0);
  list(report.layers, 'report.layers').forEach((item, i) => {
    const layer = record(item, `report.layers[${i}]`);
    for (const key of ['name', 'op', 'precision']) text(layer[key], `report.layers[${i}].${key}`);
  });
  for (const name of list(report.worst, 'report.worst')) text(name, 'report.worst');
  return report as unknown as QuantizationReport;
}
