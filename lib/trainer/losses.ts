// Names and functions of losses and metrics -> values.
import { TandemError } from '../errors.js';
import type { NamedValue } from '../graph/describe.js';
import { inputLike } from '../graph/leaves.js';
import { definition, showShape, type Value, valuesMade } from '../graph/value.js';
import * as is from '../is.js';
import type { BuiltIn, Metric } from '../metrics/metric.js';
import type { Form } from '../model/state.js';
import { add, mul } from '../ops/elementwise.js';
import { bceWithLogits, crossEntropy, distillation, huber, l1, mse } from '../ops/losses.js';
import { type AnyFunction, callLoss, checkKeys, inside } from './callables.js';
import { validationName } from './history.js';
import { type Measured, makeMetrics } from './metrics.js';

/**
 * A loss of this library with its default options, by name. `crossEntropy` takes class numbers as
 * targets, the others float32 values of the output's shape (`distillation`: the teacher's logits).
 */
export type LossName = 'crossEntropy' | 'mse' | 'l1' | 'huber' | 'bceWithLogits' | 'distillation';
/**
 * `accuracy`: the share of targets that are met. With `topKAccuracy`, `precision`, `recall`, `f1`,
 * `rocAuc` and `confusionMatrix` of outputs with class numbers or bceWithLogits; `perplexity` and
 * `topKAccuracy` of those with class numbers only. `mae`, the mean absolute error, `rmse` and `r2` of
 * all others. `metrics` has those with options, which say more.
 */
export type MetricName =
  | 'accuracy'
  | 'mae'
  | 'rmse'
  | 'r2'
  | 'perplexity'
  | 'topKAccuracy'
  | 'precision'
  | 'recall'
  | 'f1'
  | 'rocAuc'
  | 'confusionMatrix';

/**
 * Outputs (and targets) as functions get them: one value for a model with one output, and for one
 * with several an array or a record, as they were given to the model.
 */
export type Targets = Value | readonly Value[] | Readonly<Record<string, Value>>;
/**
 * A float32 scalar from output and target. The target has the output's shape (float32), or, where
 * the function needs that, it is class numbers (int32): the output's shape without its last axis.
 */
export type LossFunction<T extends Targets = Value> = (output: T, target: T) => Value;

type One = LossName | LossFunction;
/**
 * A name or a function of output and target. For several outputs: a name for all, an array or a
 * record with a loss for each, whose sum is minimised, or one function of all.
 */
export type Loss<T extends Targets = Value> =
  | LossName
  | LossFunction<T>
  | readonly One[]
  | Readonly<Record<string, One>>;
/** A metric of one output: by name, or one of `metrics`. */
export type NamedMetric = MetricName | BuiltIn;
/**
 * Names and objects of `metrics`, which apply to all outputs whose loss they fit; or a record of them
 * under names of one's own, also of functions that give a scalar (a mean over rows) and of `Metric`
 * objects (anything else); or of arrays of names for single outputs: `{ heads: ['accuracy'] }`. With
 * several outputs a named metric reports as output and metric: `headsAccuracy`.
 */
export type Metrics<T extends Targets = Value> =
  | readonly NamedMetric[]
  | Readonly<Record<string, NamedMetric | LossFunction<T> | Metric<T> | readonly NamedMetric[]>>;

const losses = { crossEntropy, mse, l1, huber, bceWithLogits, distillation };
const lossNames = Object.keys(losses) as LossName[];

/** The scalars that a step computes, and the inputs that take the targets. */
export interface Objective {
  readonly targets: readonly NamedValue[];
  /** The loss first, and behind it those of outputs that it is the sum of: `losses` in all. */
  readonly results: readonly NamedValue[];
  readonly losses: number;
  /** Metrics that are no means over rows. */
  readonly measured: readonly Measured[];
  /** Whether more is better, of reported numbers whose metrics tell. */
  readonly directions: ReadonlyMap<string, boolean>;
}

interface Output extends NamedValue {
  readonly loss: unknown;
}

/** Throws ERR_ARGUMENT, ERR_SHAPE and ERR_DTYPE for a loss or a metric that does not fit the model. */
export function makeObjective(
  outputs: readonly NamedValue[],
  form: Form,
  options: { loss: unknown; lossWeights?: unknown; metrics?: unknown },
): Objective {
  const { loss } = options;
  const many = outputs.length > 1;
  if (typeof loss === 'function' && many) {
    if (options.lossWeights !== undefined) {
      throw is.invalid(
        'no weights beside one function of all outputs',
        'lossWeights',
        options.lossWeights,
      );
    }
    return withTargets(outputs, 'loss', (targets) => {
      const total = callLoss(loss as AnyFunction, outputs, targets, form, 'loss');
      const made = makeMetrics(options.metrics, outputs, targets, form, []);
      return {
        results: [{ name: 'loss', value: total }, ...made.results],
        losses: 1,
        measured: made.measured,
        directions: made.directions,
      };
    });
  }
  const assigned = assign(loss, outputs);
  const weights = readWeights(options.lossWeights, outputs);
  const targets: NamedValue[] = [];
  const parts: NamedValue[] = [];
  const plain: (Value | undefined)[] = [];
  assigned.forEach((output, i) => {
    const name = many ? `loss.${output.name}` : 'loss';
    if (typeof output.loss === 'function') {
      const made = withTargets([output], name, (own) => ({
        results: [
          { name, value: callLoss(output.loss as AnyFunction, [output], own, 'single', name) },
        ],
        losses: 1,
        measured: [],
        directions: new Map(),
      }));
      targets.push(...made.targets);
      parts.push(...made.results);
    } else {
      const kind = is.oneOf(output.loss, name, lossNames);
      const target = makeTarget(output, kind === 'crossEntropy');
      targets.push({ name: output.name, value: target });
      parts.push({ name, value: inside(name, () => losses[kind](output.value, target)) });
    }
    const weight = weights[i] ?? 1;
    const part = parts[i];
    plain.push(part?.value);
    if (weight !== 1 && part !== undefined) parts[i] = { name, value: mul(part.value, weight) };
  });
  const [first, ...rest] = parts;
  if (first === undefined) throw is.invalid('a loss', 'loss', loss);
  const total = rest.reduce((sum, { value }) => add(sum, value), first.value);
  const shown = parts.map(({ name, value }) => ({ name: `${name.slice(5)}Loss`, value }));
  const results = [{ name: 'loss', value: total }, ...(many ? shown : [])];
  const names = assigned.map(({ loss: of }, i) => ({
    loss: lossNames.find((name) => name === of),
    value: plain[i],
  }));
  const made = makeMetrics(options.metrics, outputs, targets, form, names);
  return distinct({
    targets,
    results: [...results, ...made.results],
    losses: results.length,
    measured: made.measured,
    directions: made.directions,
  });
}

/** One loss an output, from a name, an array or a record. */
function assign(loss: unknown, outputs: readonly NamedValue[]): Output[] {
  if (Array.isArray(loss)) {
    if (loss.length !== outputs.length) {
      throw is.invalid(`one loss for each of ${outputs.length} outputs`, 'loss', loss);
    }
    return outputs.map((output, i) => ({ ...output, loss: loss[i] as unknown }));
  }
  if (is.isRecord(loss)) {
    checkKeys(loss, outputs, 'loss');
    return outputs.map((output) => ({ ...output, loss: loss[output.name] }));
  }
  if (typeof loss !== 'function') is.oneOf(loss, 'loss', lossNames);
  return outputs.map((output) => ({ ...output, loss }));
}

function readWeights(weights: unknown, outputs: readonly NamedValue[]): number[] {
  if (weights === undefined) return [];
  if (!is.isRecord(weights)) throw is.invalid('a record of numbers', 'lossWeights', weights);
  checkKeys(weights, outputs, 'lossWeights');
  return outputs.map(({ name }) => is.number(weights[name] ?? 1, `lossWeights.${name}`));
}

/** The input for an output's target: class numbers, or values of the output's shape. */
function makeTarget({ name, value }: NamedValue, classes: boolean): Value {
  const { samples } = definition(value);
  if (classes && value.shape.length < 2) {
    throw new TandemError(
      'ERR_SHAPE',
      `expected logits [batch, ..., classes] for \`crossEntropy\`, received ${showShape(value)}`,
    );
  }
  return classes
    ? inputLike(samples, 1, 'int32', `${name}.target`)
    : inputLike(samples, 0, 'float32', `${name}.target`);
}

/** Of up to so many outputs all mixtures of targets are tried. */
const mostMixed = 6;

/**
 * What a function of a user wants as targets is found by trying: values of the outputs' shapes, else
 * class numbers, else a mixture. Of many outputs that is found target by target: class numbers go where
 * they let the function get furthest.
 */
function withTargets(
  outputs: readonly NamedValue[],
  name: string,
  build: (targets: readonly NamedValue[]) => Omit<Objective, 'targets'>,
): Objective {
  let first: TandemError | undefined;
  const attempt = (classes: readonly boolean[]): Objective | { readonly made: number } => {
    const targets = outputs.map((output, i) => ({
      name: output.name,
      value: makeTarget(output, classes[i] === true),
    }));
    const before = valuesMade();
    try {
      return distinct({ targets, ...inside(name, () => build(targets)) });
    } catch (error) {
      const code = error instanceof TandemError ? error.code : undefined;
      const isUnfit = code === 'ERR_SHAPE' || code === 'ERR_DTYPE';
      // Options may be for the axes of other targets, such as those of `pad`.
      if (!isUnfit && code !== 'ERR_ARGUMENT') throw error;
      // What is wrong with all targets says more than that some do not fit.
      if (first === undefined || (!isUnfit && first.code !== code)) first = error as TandemError;
      return { made: valuesMade() - before };
    }
  };
  const able = outputs.map(({ value }) => value.shape.length > 1);
  let furthest = -1;
  for (const classes of mixtures(able)) {
    const found = attempt(classes);
    if (!('made' in found)) return found;
    if (furthest === -1) furthest = found.made;
  }
  const chosen = outputs.map(() => false);
  for (let left = outputs.length > mostMixed ? outputs.length : 0; left > 0; left--) {
    let next = -1;
    for (const [i, may] of able.entries()) {
      if (!may || chosen[i]) continue;
      const found = attempt(chosen.with(i, true));
      if (!('made' in found)) return found;
      if (found.made > furthest) [furthest, next] = [found.made, i];
    }
    if (next === -1) break;
    chosen[next] = true;
  }
  throw first ?? is.invalid('a loss', name, undefined);
}

/** Which targets are class numbers: none, all that may be, and of few outputs all mixtures. */
function* mixtures(able: readonly boolean[]): Generator<readonly boolean[]> {
  yield able.map(() => false);
  yield able;
  if (able.length > mostMixed) return;
  for (let bits = 1; bits < 2 ** able.length - 1; bits++) {
    const mixed = able.map((_, i) => ((bits >> i) & 1) === 1);
    if (mixed.every((wanted, i) => able[i] || !wanted)) yield mixed;
  }
}

/** Names of other numbers, and what a history has beside numbers. */
const reserved = [
  ...['learningRate', 'gradNorm', 'epochs', 'steps', 'skippedSteps'],
  ...['matrices', 'overfitting', 'toCSV'],
];

/** No two names may be one in the history, nor one of them what validation makes of another. */
function distinct(objective: Objective): Objective {
  const { results, losses: own, measured } = objective;
  const seen = new Set<string>(reserved);
  for (const { name } of [...results, ...measured]) seen.add(validationName(name));
  const valid = new Set<string>();
  for (const [i, { name }] of [...results, ...measured].entries()) {
    const validated = validationName(name);
    // What every object has by its prototype would be there before the first epoch.
    if (seen.has(name) || valid.has(validated) || name in Object.prototype) {
      const whose = i < own ? 'outputs' : 'metrics';
      throw is.mismatch('ERR_ARGUMENT', 'other names', whose, `\`${name}\``);
    }
    seen.add(name);
    valid.add(validated);
  }
  return objective;
}
