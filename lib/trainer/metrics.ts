// Names, functions and objects of metrics -> the values that a step computes for them.
import type { NamedValue } from '../graph/describe.js';
import { Value } from '../graph/value.js';
import * as is from '../is.js';
import { fitsNumbers } from '../metrics/fits.js';
import * as all from '../metrics/index.js';
import {
  type Accumulator,
  type BuiltIn,
  isBuiltIn,
  type Metric,
  type Pair,
} from '../metrics/metric.js';
import type { Form } from '../model/state.js';
import { type AnyFunction, callLoss, checkKeys, inForm, inside } from './callables.js';
import { validationName } from './history.js';
import type { LossName, MetricName } from './losses.js';

/** A metric that is no mean over rows: values of any shape, and what adds them up. */
export interface Measured {
  readonly name: string;
  readonly values: readonly Value[];
  readonly start: (state?: unknown) => Accumulator;
}

interface Made {
  readonly results: NamedValue[];
  readonly measured: Measured[];
  readonly directions: Map<string, boolean>;
}

const makers: Readonly<Record<MetricName, () => BuiltIn>> = {
  accuracy: all.accuracy,
  mae: all.mae,
  rmse: all.rmse,
  r2: all.r2,
  perplexity: all.perplexity,
  topKAccuracy: all.topKAccuracy,
  precision: all.precision,
  recall: all.recall,
  f1: all.f1,
  rocAuc: all.rocAuc,
  confusionMatrix: all.confusionMatrix,
};
const metricNames = Object.keys(makers) as MetricName[];

/**
 * `losses` has the name of each output's loss, if it has one, and its value; it is empty where one function
 * takes all outputs. Throws ERR_ARGUMENT, ERR_SHAPE, ERR_DTYPE.
 */
export function makeMetrics(
  given: unknown,
  outputs: readonly NamedValue[],
  targets: readonly NamedValue[],
  form: Form,
  losses: readonly { readonly loss: LossName | undefined; readonly value: Value | undefined }[],
): Made {
  const made: Made = { results: [], measured: [], directions: new Map() };
  if (given === undefined) return made;
  const pairs = outputs.map((output, i): NamedPair => {
    const { loss, value: lossValue } = losses[i] ?? { loss: undefined, value: undefined };
    const target = targets[i]?.value ?? output.value;
    return { name: output.name, output: output.value, target, loss, lossValue };
  });
  const several = pairs.length > 1;
  if (Array.isArray(given)) {
    for (const item of given as unknown[]) {
      const metric = readNamed(item, 'metrics');
      addNamed(made, metric, metric.name, pairs, several);
    }
    return made;
  }
  if (!is.isRecord(given)) throw is.invalid('an array of names or a record', 'metrics', given);
  for (const [name, item] of Object.entries(given)) {
    const where = `metrics.${name}`;
    if (typeof item === 'function') {
      const call = () => callLoss(item as AnyFunction, outputs, targets, form, where);
      made.results.push({ name, value: inside(where, call) });
    } else if (Array.isArray(item)) {
      checkKeys({ [name]: item }, outputs, 'metrics');
      const own = pairs.filter((pair) => pair.name === name);
      for (const entry of item as unknown[]) {
        const metric = readNamed(entry, where);
        addNamed(made, metric, metric.name, own, several);
      }
    } else if (isCustom(item)) {
      made.measured.push(custom(item, name, inForm(outputs, form), inForm(targets, form)));
      setDirection(made, name, readDirection(item, name));
    } else {
      addNamed(made, readNamed(item, where), name, pairs, several);
    }
  }
  return made;
}

/** For what it is in training, and with validation data. */
function setDirection({ directions }: Made, name: string, larger: boolean | undefined): void {
  if (larger === undefined) return;
  directions.set(name, larger);
  directions.set(validationName(name), larger);
}

function readDirection({ largerIsBetter }: Metric, name: string): boolean | undefined {
  if (largerIsBetter === undefined) return undefined;
  return is.boolean(largerIsBetter, `metrics.${name}.largerIsBetter`);
}

interface NamedPair extends Pair {
  readonly name: string;
}

function readNamed(item: unknown, name: string): BuiltIn {
  return isBuiltIn(item) ? item : makers[is.oneOf(item, name, metricNames)]();
}

const isCustom = (item: unknown): item is Metric =>
  is.isRecord(item) && typeof item.values === 'function' && typeof item.accumulate === 'function';

type Outputs = Parameters<Metric['values']>[0];

function custom(metric: Metric, name: string, outputs: unknown, targets: unknown): Measured {
  const where = `metrics.${name}`;
  const values: unknown = inside(where, () =>
    metric.values(outputs as Outputs, targets as Outputs),
  );
  if (!Array.isArray(values) || values.length === 0 || !values.every((v) => v instanceof Value)) {
    throw is.invalid('one Value or more in an array', `${where}.values()`, values);
  }
  return { name, values, start: (state) => metric.accumulate(state) };
}

/** A metric of the outputs whose loss it fits. Throws ERR_ARGUMENT when there are none. */
function addNamed(
  made: Made,
  metric: BuiltIn,
  name: string,
  pairs: readonly NamedPair[],
  prefixed: boolean,
): void {
  const sure = pairs.filter((pair) => metric.fits(pair) === true);
  // Nobody knows what a function with a float32 target measures.
  const chosen =
    metric.fits === fitsNumbers || sure.length === 0
      ? pairs.filter((pair) => metric.fits(pair) !== false)
      : sure;
  if (chosen.length === 0) {
    throw is.mismatch('ERR_ARGUMENT', metric.expects, 'metrics', is.show(metric.name));
  }
  for (const pair of chosen) {
    const capital = name.charAt(0).toUpperCase() + name.slice(1);
    const full = prefixed ? `${pair.name}${capital}` : name;
    setDirection(made, full, metric.largerIsBetter);
    inside(`metrics.${name}`, () => {
      if ('mean' in metric) {
        made.results.push({ name: full, value: metric.mean(pair) });
        return;
      }
      const { values, accumulate } = metric.build(pair);
      made.measured.push({
        name: full,
        values: values(pair.output, pair.target),
        start: accumulate,
      });
    });
  }
}
