// The graph that a Trainer runs: the model's, its targets as inputs, the loss and the metrics.
import type { GraphDescription } from '../../bindings.js';
import { TandemError } from '../errors.js';
import { describe, type NamedValue, nodeOf } from '../graph/describe.js';
import { definition, rowElements, showShape, type Value } from '../graph/value.js';
import type { ModelState } from '../model/state.js';
import type { Feed, Feeds } from './data.js';
import { makeObjective } from './losses.js';

export interface TrainingGraph {
  readonly description: GraphDescription;
  readonly feeds: Feeds;
  /** Names of the outputs, "loss" first. */
  readonly results: readonly string[];
}

export function makeTrainingGraph(
  state: ModelState,
  options: { loss: unknown; lossWeights?: unknown; metrics?: unknown },
): TrainingGraph {
  const { targets, results } = makeObjective(state.outputs, state.outputForm, options);
  const inputs = [
    ...state.inputs,
    ...targets.map(({ name, value }) => ({ name: `${name}.target`, value })),
  ];
  const outputs = results.map(({ value }) => value);
  const { graph, parts } = describe(inputs, outputs, state.parameters);
  const classes = findClasses(parts.results);
  const feed = ({ name, value }: NamedValue): Feed => {
    const elements = rowElements(value);
    if (elements === null) {
      throw new TandemError(
        'ERR_SHAPE',
        `expected inputs and outputs [batch, ...] for \`Trainer\`, received ${showShape(value)} for \`${name}\``,
      );
    }
    return { name, dtype: value.dtype, elements, classes: classes.get(value) };
  };
  return {
    description: graph,
    feeds: { x: state.inputs.map(feed), y: targets.map(feed) },
    results: results.map(({ name }) => name),
  };
}

/** The inputs that a crossEntropy reads class numbers from, maybe under another shape. */
function findClasses(results: readonly Value[]): Map<Value, { count: number; ignored: number }> {
  const found = new Map<Value, { count: number; ignored: number }>();
  for (const result of results) {
    const { op, inputs, attributes } = nodeOf(result);
    const count = inputs[0]?.shape.at(-1);
    if (op !== 'crossEntropy' || typeof count !== 'number') continue;
    let target = inputs[1];
    while (target) {
      const { source } = definition(target);
      if (source.kind === 'input') {
        const { ignoreIndex } = attributes;
        const ignored = typeof ignoreIndex === 'number' ? ignoreIndex : -100;
        found.set(target, { count, ignored });
      }
      const moves =
        source.kind === 'output' && /^(reshape|flatten|transpose)$/.test(source.node.op);
      target = moves ? source.node.inputs[0] : undefined;
    }
  }
  return found;
}
