// The parameters of a quantized model in memory: weights as signed bytes, everything else as floats.
import type { GraphDescription, Parameters } from '../../bindings.js';
import { elements } from '../graph/value.js';
import { native } from '../native.js';
import { copyInTurns } from '../trainer/weights.js';
import type { Frozen } from './frozen.js';
import { findLayers } from './layers.js';
import type { Quantized } from './quantize.js';
import { toBytes } from './weights.js';

/** The scales of each weight that every reader takes as bytes. */
export function byteWeights(frozen: Frozen, graph: GraphDescription): Map<string, Float32Array> {
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
  for (const number of graph.outputs) found.delete(frozen.parameterName(number) ?? '');
  return found;
}

/** The description of a graph some of whose parameters are bytes in memory. */
export function withBytes(
  graph: GraphDescription,
  isByte: (name: string) => boolean,
): GraphDescription {
  const initializer = { kind: 'constant', a: 0, b: 0 } as const;
  const parameters = graph.parameters.map((parameter) =>
    isByte(parameter.name)
      ? { ...parameter, initializer, dtype: 'int8' as const, trainable: false }
      : { ...parameter, initializer },
  );
  return { ...graph, parameters };
}

/** Zeros for the parameters of a graph. */
export const makeArena = (graph: GraphDescription): Parameters =>
  new native.Parameters(graph.parameters, 0);

/** Views of parameters by name, in the order of the graph. Throws ERR_CLOSED once they are released. */
export function viewsOf(
  graph: GraphDescription,
  { buffer, offsets }: Parameters,
): Map<string, Float32Array | Int8Array> {
  return new Map(
    graph.parameters.map(({ name, shape, dtype }, i) => {
      const type = dtype === 'int8' ? Int8Array : Float32Array;
      return [name, new type(buffer, offsets[i], elements(shape))] as const;
    }),
  );
}

/** The same model with a byte in place of each float that is one; the floats are given back. */
export async function compact({
  frozen,
  graph,
  parameters,
  report,
}: Quantized): Promise<Quantized> {
  const scales = byteWeights(frozen, graph);
  const small = withBytes(graph, (name) => scales.has(name));
  const arena = makeArena(small);
  for (const [name, view] of viewsOf(small, arena)) {
    const own = scales.get(name);
    if (view instanceof Float32Array) await copyInTurns([[frozen.data(name), view]]);
    else if (own !== undefined) await toBytes(frozen.data(name), own, view);
  }
  parameters.release();
  return { frozen, graph: small, parameters: arena, report };
}
