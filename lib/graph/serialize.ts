// The graph of a model as JSON for files: GraphDescription with names of layers. rebuild.ts reads it.
import type { Attributes, DType } from '../../bindings.js';
import type { Form, ModelState } from '../model/state.js';
import { describe, nodeOf, parameterOf } from './describe.js';
import type { LayerIdentity } from './value.js';

export interface GraphFile {
  name: string;
  /** How the outputs were given: losses of users get them in the same form. */
  form: Form;
  inputs: { name: string; shape: readonly number[]; dtype: DType }[];
  layers: { type: string; name: string }[];
  parameters: { suffix: string; layer: number; shape: readonly number[]; trainable: boolean }[];
  /** Numbers that JSON lacks are strings: "NaN", "Infinity", "-Infinity", "-0". */
  constants: { shape: readonly number[]; dtype: DType; data: (number | string)[] }[];
  /** `layer`: a number in `layers`, -1 for none. */
  nodes: { op: string; inputs: readonly number[]; attributes: Attributes; layer: number }[];
  outputs: { name: string; value: number }[];
}

export function serialize(name: string, state: ModelState): GraphFile {
  const { inputs, outputs, parameters, layerNames } = state;
  const { graph, parts } = describe(
    inputs,
    outputs.map(({ value }) => value),
    parameters,
  );
  const layers = new Map<LayerIdentity, number>();
  for (const layer of layerNames.keys()) layers.set(layer, layers.size);
  const layerOf = (layer: LayerIdentity | undefined) => (layer && layers.get(layer)) ?? -1;
  return {
    name,
    form: state.outputForm,
    inputs: graph.inputs.map((item) => ({ ...item })),
    layers: [...layerNames].map(([{ type }, given]) => ({ type, name: given })),
    parameters: parameters.map(({ value }) => {
      const { suffix, layer, shape, trainable } = parameterOf(value);
      return { suffix, layer: layerOf(layer), shape, trainable };
    }),
    constants: graph.constants.map(({ shape, data }) => ({
      shape,
      dtype: data instanceof Int32Array ? 'int32' : 'float32',
      data: Array.from(data, numberOf),
    })),
    nodes: graph.nodes.map((node, i) => {
      const result = parts.results[i];
      return { ...node, layer: layerOf(result && nodeOf(result).layer) };
    }),
    outputs: outputs.map((item, i) => ({ name: item.name, value: graph.outputs[i] ?? -1 })),
  };
}

function numberOf(value: number): number | string {
  if (Object.is(value, -0)) return '-0';
  return Number.isFinite(value) ? value : String(value);
}
