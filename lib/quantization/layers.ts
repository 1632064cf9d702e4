// Which nodes of a graph can be computed with bytes, and which cannot and why.
import type { NodeDescription } from '../../bindings.js';
import { nodeOf } from '../graph/describe.js';
import { elements } from '../graph/value.js';
import type { Frozen } from './frozen.js';

/** One node with weights, or an attention. */
export interface QuantizableLayer {
  /** Of the node. */
  readonly index: number;
  readonly name: string;
  readonly op: string;
  /** The number of the value whose range is to be known; undefined where ranges do not matter. */
  readonly input: number | undefined;
  /** The parameter that becomes bytes. */
  readonly weight: string | undefined;
  /** Why it has to stay float32. */
  readonly reason: string | undefined;
}

const productOps = new Set(['linear', 'conv1d', 'conv2d']);
/** Ops with products that there is no kernel of bytes for. */
const floatOps = new Set(['matmul', 'convTranspose2d']);
/** Ops with a product of weights and states, whose range no calibration sees. */
const recurrentOps = new Set(['lstm', 'gru']);

/** Every node that quantization is about, in the order of the graph. */
export function findLayers(frozen: Frozen): QuantizableLayer[] {
  const names = new Map<string, number>();
  return frozen.graph.nodes.flatMap((node, index) => {
    const { op, inputs } = node;
    const known =
      productOps.has(op) ||
      floatOps.has(op) ||
      recurrentOps.has(op) ||
      op === 'embedding' ||
      op === 'attention';
    if (!known) return [];
    const weight = frozen.parameterName(inputs[1]);
    const reason = whyFloat(frozen, node, weight);
    const base = nameOf(frozen, index, op, weight);
    const times = names.get(base) ?? 0;
    names.set(base, times + 1);
    return [
      {
        index,
        name: times === 0 ? base : `${base}#${times + 1}`,
        op,
        input: productOps.has(op) ? inputs[0] : undefined,
        weight: op === 'attention' ? undefined : weight,
        reason,
      },
    ];
  });
}

/** Products of two bytes that a sum of 32 bits is sure to hold. */
const mostTerms = Math.floor(2 ** 31 / (255 * 128));

function whyFloat(
  frozen: Frozen,
  { op }: NodeDescription,
  weight: string | undefined,
): string | undefined {
  if (floatOps.has(op)) return `${op} has no 8-bit form`;
  if (op === 'attention') return undefined;
  if (weight === undefined) return 'its weight is no parameter';
  const [rows = 1, ...rest] = frozen.model.parameters.get(weight)?.shape ?? [];
  if (rows < 1 || (op !== 'embedding' && elements(rest) > mostTerms)) {
    return 'its sums are longer than 32 bits are sure to hold';
  }
  return undefined;
}

/** The layer's name, with that of its weight where it is not the only one. */
function nameOf(frozen: Frozen, index: number, op: string, weight: string | undefined): string {
  if (weight !== undefined && op !== 'attention') return weight.replace(/\.weight$/, '');
  const result = frozen.results[index];
  const layer = result && nodeOf(result).layer;
  const name = layer && frozen.state.layerNames.get(layer);
  return name === undefined ? `${op} ${index}` : `${name}.${op}`;
}
