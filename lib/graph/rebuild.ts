// JSON of a graph, not trusted -> values, by applying its ops again.
import type { Attributes, AttributeValue, ConstantDescription, DType } from '../../bindings.js';
import { bad, count, flag, integer, integers, list, record, text } from '../files/format.js';
import * as is from '../is.js';
import type { Form } from '../model/state.js';
import type { ModelOptions } from '../model.js';
import { native } from '../native.js';
import { apply } from './apply.js';
import { constant, fixedInput, freeInput, parameterValue } from './leaves.js';
import { within } from './scope.js';
import type { LayerIdentity, Value } from './value.js';

/** Options of the model, and its parameters' shapes by name. */
export type Rebuilt = ModelOptions & { parameters: ReadonlyMap<string, readonly number[]> };

export function rebuild(json: unknown): Rebuilt {
  const graph = record(json, 'graph');
  const each = <T>(key: string, make: (item: Record<string, unknown>, at: string) => T): T[] =>
    list(graph[key], key).map((item, i) => make(record(item, `${key}[${i}]`), `${key}[${i}]`));

  const values: Value[] = [];
  const inputs = new Map<string, Value>();
  each('inputs', (item, at) => {
    const name = text(item.name, `${at}.name`);
    const value = readInput(item, name, at);
    if (inputs.has(name)) throw bad('different names of inputs', `${is.show(name)} twice`);
    inputs.set(name, value);
    values.push(value);
  });
  const layers = each('layers', (item, at): LayerIdentity => {
    return { type: text(item.type, `${at}.type`), name: text(item.name, `${at}.name`) };
  });
  const layerOf = (item: Record<string, unknown>, at: string) =>
    layers[integer(item.layer, `${at}.layer`, -1, layers.length - 1)];

  const parameters = new Map<string, readonly number[]>();
  each('parameters', (item, at) => {
    const layer = layerOf(item, at);
    if (layer === undefined) throw bad(`a layer for \`${at}\` in the file`, 'none');
    const suffix = text(item.suffix, `${at}.suffix`);
    const shape = readShape(item.shape, `${at}.shape`, 0);
    const trainable = flag(item.trainable, `${at}.trainable`);
    const name = `${layer.name}.${suffix}`;
    if (parameters.has(name)) throw bad('different names of parameters', `${is.show(name)} twice`);
    parameters.set(name, shape);
    const initializer = { kind: 'constant', a: 0, b: 0 } as const;
    values.push(parameterValue({ layer, suffix, shape, initializer, trainable, data: undefined }));
  });
  each('constants', (item, at) => {
    const { shape, data } = readConstant(item, at);
    values.push(constant(data, shape));
  });

  each('nodes', (item, at) => {
    const op = text(item.op, `${at}.op`);
    if (!native.hasOp(op)) throw bad(`a known op for \`${at}\` in the file`, is.show(op));
    // A node reads values before its own: what is not there yet would be a cycle.
    const operands = integers(item.inputs, `${at}.inputs`, -1).map((number): Value | null => {
      const value = values[number];
      if (number === -1) return null;
      if (value !== undefined) return value;
      throw bad(`values before ${values.length} for \`${at}.inputs\` in the file`, String(number));
    });
    const attributes = readAttributes(item.attributes, `${at}.attributes`);
    const layer = layerOf(item, at);
    const make = () => apply(op, operands, attributes);
    values.push(layer === undefined ? make() : within(layer, [], make));
  });

  const outputs = new Map<string, Value>();
  each('outputs', (item, at) => {
    const name = text(item.name, `${at}.name`);
    const value = values[integer(item.value, `${at}.value`, 0)];
    if (value === undefined) throw bad(`a value of the graph for \`${at}\``, String(item.value));
    if (outputs.has(name)) throw bad('different names of outputs', `${is.show(name)} twice`);
    outputs.set(name, value);
  });
  if (inputs.size === 0 || outputs.size === 0) {
    throw bad('an input and an output of the graph', 'none');
  }
  const form = readForm(graph.form, outputs.size);
  const listed = [...outputs.values()];
  const [first] = listed;
  return {
    name: text(graph.name, 'name'),
    inputs,
    // Names in other forms are those that a model gives by itself.
    outputs: form === 'record' || first === undefined ? outputs : form === 'array' ? listed : first,
    parameters,
  };
}

/** The form that outputs are returned in. Throws ERR_FILE_FORMAT. */
export function readForm(value: unknown, outputs: number): Form {
  const form = text(value, 'form');
  const known = form === 'array' || form === 'record' || (form === 'single' && outputs === 1);
  if (!known) throw bad('the form of the outputs for `form` in the file', is.show(form));
  return form;
}

/** A shape of dimensions of `min` or more. Throws ERR_FILE_FORMAT. */
export function readShape(value: unknown, name: string, min: number): number[] {
  const shape = integers(value, name, min);
  if (shape.length > 8) throw bad(`at most 8 dimensions for \`${name}\``, `${shape.length}`);
  count(shape, name);
  return shape;
}

function readDType(value: unknown, name: string): DType {
  const dtype = text(value, name);
  if (dtype === 'float32' || dtype === 'int32') return dtype;
  throw bad(`float32 or int32 for \`${name}\` in the file`, is.show(dtype));
}

/** An input of this name. Throws ERR_FILE_FORMAT. */
export function readInput(item: Record<string, unknown>, name: string, at: string): Value {
  const dtype = readDType(item.dtype, `${at}.dtype`);
  const [batch = -1, ...row] = readShape(item.shape, `${at}.shape`, -1);
  if (row.includes(-1)) throw bad(`only axis 0 free for \`${at}\``, is.show(item.shape));
  return batch === -1 ? freeInput(row, dtype, name) : fixedInput([batch, ...row], dtype, name);
}

/** A constant's numbers. Throws ERR_FILE_FORMAT. */
export function readConstant(item: Record<string, unknown>, at: string): ConstantDescription {
  const dtype = readDType(item.dtype, `${at}.dtype`);
  const shape = readShape(item.shape, `${at}.shape`, 0);
  const data = list(item.data, `${at}.data`).map((value) => {
    const number = typeof value === 'string' ? Number(value) : value;
    const fits = dtype === 'float32' ? typeof number === 'number' : Number.isInteger(number);
    if (fits) return Number(number);
    throw bad(`numbers for \`${at}.data\` in the file`, is.show(value));
  });
  if (data.length !== count(shape, at)) {
    throw bad(`${count(shape, at)} numbers for \`${at}\``, String(data.length));
  }
  return { shape, data: dtype === 'int32' ? Int32Array.from(data) : Float32Array.from(data) };
}

function readAttributes(value: unknown, at: string): Attributes {
  const attributes: Record<string, AttributeValue> = {};
  for (const [key, item] of Object.entries(record(value, at))) {
    if (typeof item === 'number' || typeof item === 'boolean') attributes[key] = item;
    else attributes[key] = integers(item, `${at}.${key}`, Number.MIN_SAFE_INTEGER);
  }
  return attributes;
}
