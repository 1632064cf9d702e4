// The graph that a Trainer runs: the model's, its targets as inputs, the loss and the metrics.
import type { GraphDescription } from '../../bindings.js';
import { TandemError } from '../errors.js';
import { describe, type NamedValue } from '../graph/describe.js';
import { fixedInput } from '../graph/leaves.js';
import { findRanges } from '../graph/ranges.js';
import {
  elements,
  fixedBatch,
  rowElements,
  shapeAt,
  showShape,
  type Value,
} from '../graph/value.js';
import type { ModelState } from '../model/state.js';
import type { Feed, Feeds } from './data.js';
import { partsOf, type Result, scaled, undivided } from './divisors.js';
import type { Width } from './engine.js';
import { makeObjective } from './losses.js';
import type { Measured } from './metrics.js';
import { type MixedLosses, mixLosses } from './mixup.js';
import type { Part, Tracked } from './tally.js';

export interface TrainingGraph {
  readonly description: GraphDescription;
  readonly feeds: Feeds;
  /** What is reported, "loss" first, from outputs that are numbers. */
  readonly results: readonly Result[];
  /** Terms of the loss, where the last input has a number for each: see `makeNumbers`. */
  readonly scales: number;
  /** The outputs after the numbers, by the metrics that they are for. */
  readonly tracked: readonly Tracked[];
  /** Elements of all outputs. */
  readonly width: Width;
  /** With mixup: inputs that follow those of `feeds`, and the places among targets of class numbers. */
  readonly mixed: { readonly feeds: readonly Feed[]; readonly classes: readonly number[] };
}

export function makeTrainingGraph(
  state: ModelState,
  options: {
    loss: unknown;
    lossWeights?: unknown;
    metrics?: unknown;
    mixes: boolean;
    accumulates: boolean;
  },
): TrainingGraph {
  const objective = makeObjective(state.outputs, state.outputForm, options);
  const { targets, results, measured } = objective;
  const mixed = options.mixes ? mixLosses(objective) : unmixed;
  const mixtures = results.map(({ name, value }) => ({ name, value: mixed.of(value) }));
  const { numbers, reported, scales } = makeNumbers(mixtures, options.accumulates);
  const inputs = [
    ...state.inputs,
    ...targets.map(({ name, value }) => ({ name: `${name}.target`, value })),
    ...mixed.inputs,
  ];
  const values = inputs.map(({ value }) => value);
  // Metrics may share values.
  const extra = [...new Set(measured.flatMap((metric) => metric.values))];
  if (scales !== undefined) inputs.push({ name: 'scales', value: scales });
  const { graph, parts } = describe(inputs, [...numbers, ...extra], state.parameters);
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
  const { tracked, width } = track(measured, extra, numbers.length);
  return {
    description: graph,
    feeds: { x: state.inputs.map(feed), y: targets.map(feed), batch },
    results: reported,
    scales: scales === undefined ? 0 : (reported[0]?.terms.length ?? 0),
    tracked,
    width,
    mixed: { feeds: mixed.inputs.map(feed), classes: mixed.classes },
  };
}

const unmixed: MixedLosses = { of: (value) => value, inputs: [], classes: [] };

/**
 * The numbers of a step: of each result its value, its terms where it has several, and what they
 * divide by. The first is minimised. Where steps have several micro-batches, and the divisors of the
 * loss's terms do not make their means up, that is their sum by the input `scales`, so that each
 * divides by what it divides by in the whole step.
 */
function makeNumbers(results: readonly NamedValue[], accumulates: boolean) {
  const numbers = results.map(({ value }) => value);
  const numberOf = (value: Value): number => {
    const at = numbers.indexOf(value);
    return at === -1 ? numbers.push(value) - 1 : at;
  };
  const split = results.map(({ name, value }) => ({ name, parts: partsOf(value) }));
  const loss = split[0]?.parts ?? [];
  const scaling = accumulates && (loss.length > 1 || loss.some(({ partial }) => partial));
  const scales = scaling ? fixedInput([loss.length], 'float32', 'scales') : undefined;
  const whole = scales && scaled(loss, scales);
  if (whole) numbers[0] = whole.sum;
  const reported = split.map(({ name, parts }, i): Result => {
    const terms = whole && i === 0 ? whole.terms : parts.map(undivided);
    return {
      name,
      terms: terms.map(({ value, divisor, by, nothing, counts = false }) => ({
        value: numberOf(value),
        divisor: divisor && numberOf(divisor),
        by: by && numberOf(by),
        nothing,
        counts,
      })),
    };
  });
  return { numbers, reported, scales };
}

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
