// Quantized models from safetensors files, which save.ts writes.
import { type FileHandle, open } from 'node:fs/promises';
import type { NodeDescription, QuantizationDescription } from '../../bindings.js';
import { bad, integer, list, parseJson, record, text } from '../files/format.js';
import { guarded, readDescription, readEncoder } from '../files/load.js';
import { readFlags } from '../files/model-file.js';
import { pathOf, withPath } from '../files/paths.js';
import { type Header, readFully, readHeader } from '../files/safetensors.js';
import * as is from '../is.js';
import { bare } from '../model/state.js';
import { Model } from '../model.js';
import { byteWeights, makeArena, viewsOf, withBytes } from './bytes.js';
import { Frozen } from './frozen.js';
import { findLayers, type QuantizableLayer } from './layers.js';
import type { Quantized } from './quantize.js';
import type { QuantizationReport } from './report.js';
import { scaleName } from './save.js';

/** A quantized model whose parameters are still in its file. */
export interface OpenQuantized extends Omit<Quantized, 'parameters'> {
  /** To be closed by whoever opened it. */
  readonly file: { readonly fd: number; close(): Promise<void> };
  /** Of each parameter in the file. */
  readonly positions: readonly number[];
  /** The same with its parameters in memory. */
  read(): Promise<Quantized>;
}

/** Undefined where the file holds a model in float32. Rejects with ERR_FILE_FORMAT. */
export async function openQuantized(path: string | URL): Promise<OpenQuantized | undefined> {
  const place = pathOf(path, 'path');
  const file = await open(place, readFlags);
  let opened: OpenQuantized | undefined;
  try {
    const header = await readHeader(file);
    const json = header.metadata.get('quantization');
    if (json !== undefined) opened = await describeFile(file, header, json);
    return opened;
  } catch (error) {
    throw withPath(error, place);
  } finally {
    if (opened === undefined) await file.close();
  }
}

async function describeFile(
  file: FileHandle,
  header: Header,
  json: string,
): Promise<OpenQuantized> {
  const { parameters, ...options } = readDescription(header);
  const quantization = record(parseJson(json, 'the quantization'), 'quantization');
  checkTensors(header, parameters);
  const encoder = readEncoder(header);
  // Only the graph is wanted: the parameters are those of the file.
  const graphAlone = { ...options, [bare]: true };
  const frozen = guarded(() => new Frozen(new Model(graphAlone)));
  frozen.state.encoder = encoder;
  const scales = await readScales(file, header, parameters);
  const nodes = readNodes(quantization, frozen, scales);
  const graph = withBytes({ ...frozen.graph, nodes }, (name) => scales.has(name));
  const positions = graph.parameters.map(({ name }) => header.tensors.get(name)?.start ?? 0);
  const report = readReport(quantization.report);
  const read = () => readParameters(file, { frozen, graph, report }, positions);
  return { frozen, graph, report, file, positions, read };
}

/** The same with its parameters in memory. */
export async function readQuantized(path: string | URL): Promise<Quantized | undefined> {
  const opened = await openQuantized(path);
  if (opened === undefined) return undefined;
  try {
    return await opened.read();
  } finally {
    await opened.file.close();
  }
}

async function readParameters(
  file: FileHandle,
  described: Omit<Quantized, 'parameters'>,
  positions: readonly number[],
): Promise<Quantized> {
  const { graph } = described;
  const parameters = makeArena(graph);
  try {
    let i = 0;
    for (const { buffer, byteOffset, byteLength } of viewsOf(graph, parameters).values()) {
      await readFully(file, new Uint8Array(buffer, byteOffset, byteLength), positions[i++] ?? 0);
    }
    return { ...described, parameters };
  } catch (error) {
    parameters.release();
    throw error;
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

/** The scales of the weights that are bytes, by name. */
async function readScales(
  file: FileHandle,
  header: Header,
  parameters: ReadonlyMap<string, readonly number[]>,
): Promise<Map<string, Float32Array>> {
  const places = [...parameters.keys()].flatMap((name) => {
    const place = header.tensors.get(scaleName(name));
    return header.tensors.get(name)?.dtype === 'I8' && place ? [{ name, ...place }] : [];
  });
  const all = new Map<string, Float32Array>();
  for (const group of groups(places)) {
    const first = group[0]?.start ?? 0;
    const memory = new Uint8Array(endOf(group) - first);
    await readFully(file, memory, first);
    for (const { name, start, bytes } of group) {
      const scales = new Float32Array(memory.buffer.slice(start - first, start - first + bytes));
      if (!scales.every(isScale)) throw bad(`scales above 0 for tensor \`${name}\``, 'others');
      all.set(name, scales);
    }
  }
  return all;
}

interface Place {
  readonly start: number;
  readonly bytes: number;
}

const endOf = (group: readonly Place[]): number => {
  const last = group.at(-1);
  return last === undefined ? 0 : last.start + last.bytes;
};

/** Places that are close to each other, to be read at once: a read is a way to another thread and back. */
function groups<T extends Place>(places: readonly T[]): T[][] {
  const close = 65536;
  const made: T[][] = [];
  for (const place of [...places].sort((a, b) => a.start - b.start)) {
    const last = made.at(-1);
    if (last !== undefined && place.start - endOf(last) <= close) last.push(place);
    else made.push([place]);
  }
  return made;
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
  const bytes = byteWeights(frozen, { ...frozen.graph, nodes });
  for (const name of scales.keys()) {
    if (!bytes.has(name)) throw bad(`quantized nodes for the I8 tensor \`${name}\``, 'others');
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
  { index, op, weight }: QuantizableLayer,
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
  const ofWeight = scales.get(weight ?? '');
  if (ofWeight !== undefined) return { mode, scale, zero, weightScales: ofWeight, index };
  const weightScales = Float32Array.from(list(entry.scales, `${at}.scales`), Number);
  if (weightScales.length !== rows || !weightScales.every(isScale)) {
    throw bad(`${rows} numbers above 0 for \`${at}.scales\``, is.show(entry.scales));
  }
  return { mode, scale, zero, weightScales, index };
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
