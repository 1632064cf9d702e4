// The graph that a Trainer runs: the model's, its targets as inputs, the loss and the metrics.
import type { GraphDescription } from '../../bindings.js';
import { TandemError } from '../errors.js';
import { describe, type NamedValue } from '../graph/describe.js';
import { findRanges } from '../graph/ranges.js';
import { elements, isFree, rowElements, shapeAt, showShape, type Value } from '../graph/value.js';
import type { ModelState } from '../model/state.js';
import type { Feed, Feeds } from './data.js';
import { divisorOf, type Result } from './divisors.js';
import { makeObjective } from './losses.js';

export interface TrainingGraph {
  readonly description: GraphDescription;
  readonly feeds: Feeds;
  /** The outputs, "loss" first. */
  readonly results: readonly Result[];
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
  const values = inputs.map(({ value }) => value);
  const outputs = results.map(({ value }) => value);
  const { graph, parts } = describe(inputs, outputs, state.parameters);
  const ranges = findRanges(parts.results);
  const batch = fixedBatch(values);
  const feed = ({ name, value }: NamedValue): Feed => {
    const count =
      batch === undefined ? rowElements(value) : elements(shapeAt(value, batch)) / batch;
    if (count === null) {
      throw new TandemError(
        'ERR_SHAPE',
        `expected inputs and outputs [batch, ...] for \`Trainer\`, received ${showShape(value)} for \`${name}\``,
      );
    }
    return { name, dtype: value.dtype, elements: count, range: ranges.get(value) };
  };
  return {
    description: graph,
    feeds: { x: state.inputs.map(feed), y: targets.map(feed), batch },
    results: results.map(({ name, value, sum }) => ({
      name,
      divisor: sum ? { kind: 'sum', of: sum } : divisorOf(value, values),
    })),
  };
}

/** The rows of every batch, when all inputs of the graph have that many. */
function fixedBatch(values: readonly Value[]): number | undefined {
  const [batch] = values[0]?.shape ?? [];
  if (typeof batch !== 'number') return undefined;
  return values.every((value) => !isFree(value) && value.shape[0] === batch) ? batch : undefined;
}
