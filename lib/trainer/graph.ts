// The graph that a Trainer runs: the model's, its targets as inputs, the loss and the metrics.
import type { GraphDescription } from '../../bindings.js';
import { TandemError } from '../errors.js';
import { describe, type NamedValue } from '../graph/describe.js';
import { fixedInput } from '../graph/leaves.js';
import { findRanges } from '../graph/ranges.js';
import { trainingAtLength } from '../graph/relength.js';
import {
  definition,
  elements,
  fixedBatch,
  rowElements,
  sampleBatches,
  shapeAt,
  showShape,
  type Value,
} from '../graph/value.js';
import * as is from '../is.js';
import type { ModelState } from '../model/state.js';
import type { Feed, Feeds } from './data.js';
import { partsOf, type Result, scaled, undivided } from './divisors.js';
import type { Width } from './engine.js';
import { Lengths } from './lengths.js';
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
  /** Whether more is better, of reported numbers whose metrics tell. */
  readonly directions: ReadonlyMap<string, boolean>;
  /** Elements of all outputs. */
  readonly width: Width;
  /** With mixup: inputs that follow those of `feeds`, and the places among targets of class numbers. */
  readonly mixed: { readonly feeds: readonly Feed[]; readonly classes: readonly number[] };
}

/** The same at another length of the sequences. */
export interface GraphAtLength {
  readonly description: GraphDescription;
  readonly feeds: Feeds;
  /** Of the values of each metric. */
  readonly places: readonly (readonly Part[])[];
  readonly width: Width;
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
  /** Makes a graph the trainer's, too: the number that it has there. */
  add: (graph: GraphAtLength) => number,
): TrainingGraph {
  const objective = makeObjective(state.outputs, state.outputForm, options);
  const { targets, results, measured } = objective;
  const mixed = options.mixes ? mixLosses(objective) : unmixed;
  const mixtures = results.map(({ name, value }) => ({ name, value: mixed.of(value) }));
  const { numbers, reported, scales } = makeNumbers(mixtures, options.accumulates);
  // Metrics may share values.
  const extra = [...new Set(measured.flatMap((metric) => metric.values))];
  const values = [...numbers, ...extra];
  const scaling = scales === undefined ? [] : [{ name: 'scales', value: scales }];
  const own = assemble(state, state.inputs, targets, mixed.inputs, scaling, values);
  const { places, width } = locate(measured, extra, extra, numbers.length);
  const lengths = new Lengths(positionsOf(state), (length) => {
    if (options.mixes) {
      const what = 'a Trainer without `mixup` for sequences of several lengths';
      throw is.mismatch('ERR_ARGUMENT', what, 'mixup', 'one with it');
    }
    const made = trainingAtLength(state, { targets, others: scaling, values }, length);
    const { description, feeds } = assemble(
      state,
      made.inputs,
      made.targets,
      [],
      scaling,
      made.values,
    );
    const there = made.values.slice(numbers.length);
    const all = { ...feeds, lengths };
    const located = locate(measured, extra, there, numbers.length);
    return { graph: add({ description, feeds: all, ...located }), feeds: all };
  });
  return {
    description: own.description,
    feeds: { ...own.feeds, lengths },
    results: reported,
    scales: scales === undefined ? 0 : (reported[0]?.terms.length ?? 0),
    tracked: measured.map(({ name, start }, i) => ({ name, start, parts: [places[i] ?? []] })),
    directions: objective.directions,
    width,
    mixed: { feeds: mixed.inputs.map(own.feed), classes: mixed.classes },
  };
}

/** Positions in a row of the first input, where it has some. */
function positionsOf({ inputs }: ModelState): number | undefined {
  return inputs[0]?.value.shape[1] ?? undefined;
}

/** The graph of these values, and what it takes. */
function assemble(
  state: ModelState,
  x: readonly NamedValue[],
  y: readonly NamedValue[],
  mixed: readonly NamedValue[],
  scaling: readonly NamedValue[],
  values: readonly Value[],
) {
  const targets = y.map(({ name, value }) => ({ name: `${name}.target`, value }));
  const rows = [...x, ...targets, ...mixed];
  const { graph, parts } = describe([...rows, ...scaling], values, state.parameters);
  const ranges = findRanges(parts.results);
  const batch = fixedBatch(rows.map(({ value }) => value));
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
  return { description: graph, feed, feeds: { x: x.map(feed), y: y.map(feed), batch } };
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
      terms: terms.map(({ value, divisor, by, least = 0, nothing, counts = false }) => ({
        value: numberOf(value),
        divisor: divisor && numberOf(divisor),
        by: by && numberOf(by),
        least,
        nothing,
        counts,
      })),
    };
  });
  return { numbers, reported, scales };
}

/**
 * Where the values of metrics lie among the numbers of a step, after `scalars` others. `values` are all
 * of them, in this graph those of `there`.
 */
function locate(
  measured: readonly Measured[],
  values: readonly Value[],
  there: readonly Value[],
  scalars: number,
) {
  let width: Width = { fixed: scalars, perRow: 0 };
  const found = new Map<Value, Part>();
  for (const [i, value] of there.entries()) {
    const size = sizeOf(value);
    found.set(values[i] ?? value, { begin: width, size });
    width = { fixed: width.fixed + size.fixed, perRow: width.perRow + size.perRow };
  }
  const places = measured.map((metric) => metric.values.flatMap((value) => found.get(value) ?? []));
  return { places, width };
}

/** Native code refuses what is no fixed number of elements and so many a row. */
function sizeOf(value: Value): Width {
  const [few = 0, many = 0] = definition(value).samples.map(elements);
  const [low, high] = sampleBatches;
  const perRow = (many - few) / (high - low);
  return { fixed: few - perRow * low, perRow };
}
