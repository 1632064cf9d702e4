// How much worse a quantized model is on validation data.
import type { GraphDescription, TypedArray } from '../../bindings.js';
import { checkInput, matchArrays, ofThisRealm } from '../arrays.js';
import { TandemError } from '../errors.js';
import type { NamedValue } from '../graph/describe.js';
import * as is from '../is.js';
import type { ModelState } from '../model/state.js';
import { native } from '../native.js';
import { plain } from '../views.js';
import type { ValidationReport } from './report.js';
import { type Rows, type Run, runRows, unitsOf } from './run.js';
import { crossEntropy, rightClasses, squaredErrors, type Total } from './scores.js';

/** What validation counts. */
export type Metric = ValidationReport['metric'];

export interface Validation {
  readonly data: Rows;
  /** One array an output. */
  readonly targets: readonly TypedArray[];
  readonly metric: Metric;
  /** What is known of the float32 model, and does not change. */
  float32?: number;
}

/**
 * The targets `y` of these rows, and what to count: by default the share of right classes where some
 * are integers, else errors of numbers. Throws ERR_ARGUMENT, ERR_DTYPE, ERR_SHAPE, and ERR_NUMERIC for
 * numbers that are not finite.
 */
export function readTargets(
  y: unknown,
  state: ModelState,
  data: Rows,
  metric: Metric | undefined,
): Pick<Validation, 'targets' | 'metric'> {
  const targets = matchArrays(y, state.outputs, 'validation.y').map(([given, name]) => {
    const array = ofThisRealm(given);
    const dtype = array instanceof Float32Array ? 'float32' : 'int32';
    const target = plain(checkInput(array, name, dtype));
    const units = unitsOf(data);
    if (target.length === 0 || target.length % units !== 0) {
      throw is.mismatch('ERR_SHAPE', `a multiple of ${units} elements`, name, is.show(array));
    }
    const at = target instanceof Float32Array ? native.findNonFinite(target) : -1;
    if (at !== -1) {
      const what = `${target[at]} at position ${at}`;
      throw is.mismatch('ERR_NUMERIC', 'finite numbers', name, what);
    }
    return target;
  });
  const classes = !targets.every((target) => target instanceof Float32Array);
  return { targets, metric: metric ?? (classes ? 'accuracy' : 'rootMeanSquaredError') };
}

/** Runs the data through both graphs, the float32 one once. As readTargets throws. */
export async function validate(
  run: Run,
  plain: GraphDescription,
  quantized: GraphDescription,
  validation: Validation,
): Promise<ValidationReport> {
  validation.float32 ??= await score(run, plain, validation);
  const { float32, data, metric } = validation;
  if (!Number.isFinite(float32)) {
    const what = 'data of which the float32 model predicts finite numbers';
    throw is.mismatch('ERR_NUMERIC', what, 'validation', `a ${metric} of ${float32}`);
  }
  const int8 = await score(run, quantized, validation);
  const growth = float32 > 0 ? int8 / float32 - 1 : int8 > 0 ? Number.POSITIVE_INFINITY : 0;
  const loss = metric === 'accuracy' ? float32 - int8 : growth;
  return {
    metric,
    float32,
    int8,
    loss: Number.isNaN(loss) ? Number.POSITIVE_INFINITY : loss,
    rows: data.rows,
  };
}

/** NaN where some prediction is. */
async function score(
  run: Run,
  graph: GraphDescription,
  { data, targets, metric }: Validation,
): Promise<number> {
  const { state } = run;
  const mixed = metric !== 'rootMeanSquaredError' && targets.some(isInteger);
  const total: Total = { sum: 0, count: 0 };
  await runRows(run, graph, graph.outputs, data, (values, first, count) => {
    values.forEach((value, i) => {
      const target = targets[i];
      // Of several outputs those with classes decide.
      if (target === undefined || (mixed && !isInteger(target))) return;
      const each = target.length / unitsOf(data);
      const here = target.subarray(first * each, (first + count) * each);
      const name = checkWidth(value, here, metric, state.outputs[i]);
      if (metric === 'accuracy') rightClasses(value, here, name, total);
      else if (metric === 'perplexity') crossEntropy(value, here, name, total);
      else squaredErrors(value, here, total);
    });
  });
  if (total.count === 0) {
    const what = 'a class of 0 or more for one element or more';
    throw new TandemError('ERR_ARGUMENT', `expected ${what} of \`validation.y\`, received none`);
  }
  const mean = total.sum / total.count;
  if (metric === 'perplexity') return Math.exp(mean);
  return metric === 'accuracy' ? mean : Math.sqrt(mean);
}

const isInteger = (target: TypedArray): boolean => !(target instanceof Float32Array);

/** The name of the targets of an output. Throws ERR_SHAPE. */
function checkWidth(
  value: ArrayLike<number>,
  target: TypedArray,
  metric: Metric,
  output: NamedValue | undefined,
): string {
  const name = `validation.y of ${output?.name}`;
  const exact = metric === 'rootMeanSquaredError';
  if (exact ? value.length === target.length : value.length % target.length === 0) return name;
  const what = exact ? `${value.length} numbers` : `a part of ${value.length} class numbers`;
  throw is.mismatch('ERR_SHAPE', what, name, `${target.length} for as many rows`);
}
