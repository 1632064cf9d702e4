// The layer whose ops are being applied, so that nodes know it. Layers are called synchronously.
import { TandemError } from '../errors.js';
import { definition, type LayerIdentity, type Value } from './value.js';

let current: LayerIdentity | undefined;

export const currentLayer = (): LayerIdentity | undefined => current;

/** Runs `body` as part of a layer: of the outermost one, when layers are made of layers. */
export function within<T>(layer: LayerIdentity, inputs: readonly Value[], body: () => T): T {
  const outer = current;
  current ??= layer;
  try {
    return body();
  } catch (error) {
    if (!(error instanceof TandemError) || outer !== undefined) throw error;
    const name = layer.name ?? likelyName(layer, inputs);
    throw new TandemError(error.code, `in layer \`${name}\`: ${error.message}`, { cause: error });
  } finally {
    current = outer;
  }
}

/** The name that the layer will get in a model that continues this graph. */
function likelyName(layer: LayerIdentity, inputs: readonly Value[]): string {
  const layers = new Set<LayerIdentity>();
  const nodes = new Set<unknown>();
  const open = [...inputs];
  for (let value = open.pop(); value !== undefined; value = open.pop()) {
    const { source } = definition(value);
    if (source.kind !== 'output' || nodes.has(source.node)) continue;
    nodes.add(source.node);
    if (source.node.layer !== undefined) layers.add(source.node.layer);
    for (const input of source.node.inputs) if (input !== null) open.push(input);
  }
  layers.delete(layer);
  const before = [...layers].filter(({ type, name }) => type === layer.type && name === undefined);
  return before.length === 0 ? layer.type : `${layer.type}_${before.length}`;
}
