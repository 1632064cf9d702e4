// The graph that a Trainer runs: the model's, its targets as inputs, the loss and the metrics.
import type { GraphDescription } from '../../bindings.js';
import { TandemError } from '../errors.js';
import { describe, type NamedValue } from '../graph/describe.js';
import { findRanges } from '../graph/ranges.js';
import { elements, isFree, rowElements, shapeAt, showShape, type Value } from '../graph/value.js';
import type { ModelState } from '../model/state.js';
import type { Feed, Feeds } from './data.js';
import { divisorOf, type Result } from './divisors.js';
import type { Width } from './engine.js';
import { makeObjective } from './losses.js';
import type { Measured } from './metrics.js';
import { type MixedLosses, mixLosses } from './mixup.js';
import type { Part, Tracked } from './tally.js';

export interface TrainingGraph {
  readonly description: GraphDescription;
  readonly feeds: Feeds;
  /** The outputs that are numbers, "loss" first. */
  readonly results: readonly Result[];
  /** The outputs after them, by the metrics that they are for. */
  readonly tracked: readonly Tracked[];
  /** Elements of all outputs. */
  readonly width: Width;
  /** With mixup: inputs that follow those of `feeds`, and the places among targets of class numbers. */
  readonly mixed: { readonly feeds: readonly Feed[]; readonly classes: readonly number[] };
}

export function makeTrainingGraph(
  state: ModelState,
  options: { loss: unknown; lossWeights?: unknown; metrics?: unknown; mixes?: boolean },
): TrainingGraph {
  const objective = makeObjective(state.outputs, state.outputForm, options);
  const { targets, results, measured } = objective;
  const mixed = options.mixes ? mixLosses(objective) : unmixed;
  const inputs = [
    ...state.inputs,
    ...targets.map(({ name, value }) => ({ name: `${name}.target`, value })),
    ...mixed.inputs,
  ];
  const values = inputs.map(({ value }) => value);
  // Metrics may share values.
  const extra = [...new Set(measured.flatMap((metric) => metric.values))];
  const outputs = [...results.map(({ value }) => mixed.of(value)), ...extra];
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
  const { tracked, width } = track(measured, extra, results.length);
  return {
    description: graph,
    feeds: { x: state.inputs.map(feed), y: targets.map(feed), batch },
    results: results.map(({ name, value, sum }) => ({
      name,
      divisor: sum ? { kind: 'sum', of: sum } : divisorOf(value, values),
    })),
    tracked,
    width,
    mixed: { feeds: mixed.inputs.map(feed), classes: mixed.classes },
  };
}

const unmixed: MixedLosses = { of: (value) => value, inputs: [], classes: [] };

/** Where the values of metrics lie among the numbers of a step, after `scalars` others. */
function track(measured: readonly Measured[], values: readonly Value[], scalars: number) {
  let width: Width = { fixed: scalars, perRow: 0 };
  const places = new Map<Value, Part>();
  for (const value of values) {
    const count = (batch: number) => elements(shapeAt(value, batch));
    // Native code refuses what is no fixed number of elements or so many a row.
    const perRow = count(2) - count(1);
    const size = { fixed: count(1) - perRow, perRow };
    places.set(value, { begin: width, size });
    width = { fixed: width.fixed + size.fixed, perRow: width.perRow + size.perRow };
  }
  const tracked = measured.map((metric): Tracked => {
    const parts = metric.values.flatMap((value) => places.get(value) ?? []);
    return { name: metric.name, parts, start: metric.start };
  });
  return { tracked, width };
}

/** The rows of every batch, when all inputs of the graph have that many. */
function fixedBatch(values: readonly Value[]): number | undefined {
  const [batch] = values[0]?.shape ?? [];
  if (typeof batch !== 'number') return undefined;
  return values.every((value) => !isFree(value) && value.shape[0] === batch) ? batch : undefined;
}
