// Further graphs of a quantized model, such as that of a step of generation.
import type { GraphDescription, NodeDescription } from '../../bindings.js';
import type { Description } from '../graph/describe.js';
import type { Value } from '../graph/value.js';
import type { Quantized } from './quantize.js';

/**
 * `variant` with its nodes computed as those of the quantized model are whose values they give. `of`:
 * what a value of the model has become in the variant.
 */
export function quantizeVariant(
  { frozen, graph }: Pick<Quantized, 'frozen' | 'graph'>,
  variant: Description,
  of: (value: Value) => Value,
): GraphDescription {
  const { inputs, parameters, constants } = variant.graph;
  const first = inputs.length + parameters.length + constants.length;
  const nodes: NodeDescription[] = [...variant.graph.nodes];
  graph.nodes.forEach(({ op, quantization }, i) => {
    const value = frozen.results[i];
    const index = value === undefined ? -1 : (variant.numbers.get(of(value)) ?? -1) - first;
    const node = nodes[index];
    if (quantization !== undefined && node?.op === op) nodes[index] = { ...node, quantization };
  });
  return { ...variant.graph, nodes, parameters: graph.parameters };
}
