// Values -> the plain data that native code and files take.
import type { GraphDescription, NodeDescription } from '../../bindings.js';
import { TandemError } from '../errors.js';
import {
  type Dimension,
  definition,
  type LayerIdentity,
  type Node,
  type ParameterSource,
  showShape,
  type Value,
} from './value.js';

/** What a graph consists of, each list in the order in which it was made. */
export interface Parts {
  readonly parameters: readonly Value[];
  readonly constants: readonly Value[];
  /** One value a node: those that outputs depend on. */
  readonly results: readonly Value[];
}

export interface Description {
  readonly graph: GraphDescription;
  readonly parts: Parts;
  /** The number of each value in `graph`. */
  readonly numbers: ReadonlyMap<Value, number>;
}

export interface NamedValue {
  readonly name: string;
  readonly value: Value;
}

/**
 * Everything between `inputs` and `outputs`. Throws ERR_ARGUMENT for an input that is not listed;
 * `name` is what the list is called.
 */
export function collect(inputs: Iterable<Value>, outputs: Iterable<Value>, name = 'inputs'): Parts {
  const leaves = new Set(inputs);
  const seen = new Set<Value>(leaves);
  const found: Value[] = [];
  const open = [...outputs];
  for (let value = open.pop(); value !== undefined; value = open.pop()) {
    if (seen.has(value)) continue;
    seen.add(value);
    found.push(value);
    const { source } = definition(value);
    if (source.kind === 'input') {
      const which = value.name === undefined ? showShape(value) : `\`${value.name}\``;
      throw new TandemError(
        'ERR_ARGUMENT',
        `expected every input that outputs depend on in \`${name}\`, received outputs that depend on input ${which} too`,
      );
    }
    if (source.kind === 'output') {
      for (const input of source.node.inputs) if (input !== null) open.push(input);
    }
  }
  found.sort((a, b) => definition(a).serial - definition(b).serial);
  const of = (kind: string) => found.filter((value) => definition(value).source.kind === kind);
  return { parameters: of('parameter'), constants: of('constant'), results: of('output') };
}

export function nodeOf(value: Value): Node {
  const { source } = definition(value);
  if (source.kind !== 'output') throw new TypeError('a value that no op made');
  return source.node;
}

export function parameterOf(value: Value): ParameterSource {
  const { source } = definition(value);
  if (source.kind !== 'parameter') throw new TypeError('a value that is no parameter');
  return source.parameter;
}

/** The whole shape of an input for native code: -1 for the free batch. */
const inputShape = (shape: readonly Dimension[]): number[] => shape.map((length) => length ?? -1);

/**
 * Numbers the values of a graph as bindings.d.ts says. `parameters` are those of the model, all of
 * them in its order, whether this graph reads them or not.
 */
export function describe(
  inputs: readonly NamedValue[],
  outputs: readonly Value[],
  parameters: readonly NamedValue[],
): Description {
  const parts = collect(
    inputs.map(({ value }) => value),
    outputs,
  );
  const known = new Set(parameters.map(({ value }) => value));
  if (parts.parameters.some((value) => !known.has(value))) {
    throw new TandemError(
      'ERR_ARGUMENT',
      'expected a loss and metrics without parameters of their own, received one that calls a layer that the model lacks',
    );
  }
  const numbers = new Map<Value, number>();
  for (const { value } of [...inputs, ...parameters]) numbers.set(value, numbers.size);
  for (const value of [...parts.constants, ...parts.results]) numbers.set(value, numbers.size);
  const numberOf = (value: Value | null): number =>
    value === null ? -1 : (numbers.get(value) ?? -1);

  let dropouts = 0;
  const nodes = parts.results.map((value): NodeDescription => {
    const { op, inputs: operands, attributes } = nodeOf(value);
    // Masks differ between the dropouts of a graph, and are the same in every run.
    const seeded = op === 'dropout' ? { seed: dropouts++, ...attributes } : attributes;
    return { op, inputs: operands.map(numberOf), attributes: seeded };
  });
  const graph: GraphDescription = {
    inputs: inputs.map(({ name, value }) => ({
      name,
      shape: inputShape(value.shape),
      dtype: value.dtype,
    })),
    parameters: parameters.map(({ name, value }) => {
      const { shape, trainable, initializer } = parameterOf(value);
      return { name, shape, dtype: value.dtype, trainable, initializer };
    }),
    constants: parts.constants.map((value) => {
      const { samples, source } = definition(value);
      if (source.kind !== 'constant') throw new TypeError('a value that is no constant');
      return { shape: samples[0], data: source.data };
    }),
    nodes,
    outputs: outputs.map(numberOf),
  };
  return { graph, parts, numbers };
}

/** Names layers in the order of the graph: their own name, or their type with a number. */
export function nameLayers(layers: Iterable<LayerIdentity>): Map<LayerIdentity, string> {
  const distinct = [...new Set(layers)];
  const taken = new Set<string>();
  for (const { name } of distinct) {
    if (name === undefined) continue;
    if (taken.has(name)) {
      throw new TandemError(
        'ERR_ARGUMENT',
        `expected a different \`name\` for each layer, received two layers called \`${name}\`; to share weights, call one layer twice`,
      );
    }
    taken.add(name);
  }
  const names = new Map<LayerIdentity, string>();
  const counts = new Map<string, number>();
  for (const layer of distinct) {
    let name = layer.name;
    while (name === undefined) {
      const count = counts.get(layer.type) ?? 0;
      counts.set(layer.type, count + 1);
      const next = count === 0 ? layer.type : `${layer.type}_${count}`;
      if (!taken.has(next)) name = next;
    }
    taken.add(name);
    names.set(layer, name);
  }
  return names;
}
