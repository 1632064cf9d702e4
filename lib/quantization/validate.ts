// How much worse a quantized model is on validation data.
import type { GraphDescription, TypedArray } from '../../bindings.js';
import { checkInput, matchArrays } from '../arrays.js';
import type { NamedValue } from '../graph/describe.js';
import * as is from '../is.js';
import type { ModelState } from '../model/state.js';
import type { ValidationReport } from './report.js';
import { type Rows, runRows } from './run.js';

export interface Validation {
  readonly data: Rows;
  /** One array an output. */
  readonly targets: readonly TypedArray[];
  /** What is known of the float32 model, and does not change. */
  float32?: number;
}

/** The targets `y` of so many rows. Throws ERR_ARGUMENT, ERR_DTYPE, ERR_SHAPE. */
export function readTargets(y: unknown, state: ModelState, rows: number): TypedArray[] {
  return matchArrays(y, state.outputs, 'validation.y').map(([array, name]) => {
    const target = checkInput(array, name, array instanceof Float32Array ? 'float32' : 'int32');
    if (target.length === 0 || target.length % rows !== 0) {
      throw is.mismatch('ERR_SHAPE', `a multiple of ${rows} elements`, name, is.show(array));
    }
    return target;
  });
}

/**
 * Runs the data through both graphs, the float32 one once. Integer targets are class numbers: the
 * share of right classes counts; others are numbers: the root of the mean squared error does.
 */
export async function validate(
  state: ModelState,
  plain: GraphDescription,
  quantized: GraphDescription,
  validation: Validation,
  threads: number,
): Promise<ValidationReport> {
  validation.float32 ??= await score(state, plain, validation, threads);
  const { float32, data } = validation;
  const int8 = await score(state, quantized, validation, threads);
  const classes = !validation.targets.every((target) => target instanceof Float32Array);
  const growth = float32 > 0 ? int8 / float32 - 1 : int8 > 0 ? Number.POSITIVE_INFINITY : 0;
  return {
    metric: classes ? 'accuracy' : 'rootMeanSquaredError',
    float32,
    int8,
    loss: classes ? float32 - int8 : Number.isNaN(growth) ? Number.POSITIVE_INFINITY : growth,
    rows: data.rows,
  };
}

async function score(
  state: ModelState,
  graph: GraphDescription,
  { data, targets }: Validation,
  threads: number,
): Promise<number> {
  const classes = !targets.every((target) => target instanceof Float32Array);
  let [sum, count] = [0, 0];
  await runRows({ state, threads }, graph, graph.outputs, data, (values, first) => {
    values.forEach((value, i) => {
      const target = targets[i];
      if (target === undefined) return;
      const exact = target instanceof Float32Array;
      if (exact && classes) return; // of several outputs those with classes decide
      const each = target.length / data.rows;
      const rows = Math.min(32, data.rows - first);
      const here = target.subarray(first * each, (first + rows) * each);
      checkWidth(value, here, exact, state.outputs[i]);
      sum += exact ? squaredErrors(value, here) : rightClasses(value, here);
      count += here.length;
    });
  });
  return classes ? sum / count : Math.sqrt(sum / count);
}

function checkWidth(
  value: ArrayLike<number>,
  target: TypedArray,
  exact: boolean,
  output: NamedValue | undefined,
): void {
  if (exact ? value.length === target.length : value.length % target.length === 0) return;
  const what = exact ? `${value.length} numbers` : `a part of ${value.length} class numbers`;
  const name = `validation.y of ${output?.name}`;
  throw is.mismatch('ERR_SHAPE', what, name, `${target.length} for as many rows`);
}

function squaredErrors(value: ArrayLike<number>, target: TypedArray): number {
  let sum = 0;
  for (let i = 0; i < value.length; i++) sum += ((value[i] as number) - (target[i] as number)) ** 2;
  return sum;
}

/** Of scores of each class, or of one score, which is above 0 for class 1. */
function rightClasses(value: ArrayLike<number>, target: TypedArray): number {
  const classes = value.length / target.length;
  let right = 0;
  for (let row = 0; row < target.length; row++) {
    let best = classes === 1 && (value[row] as number) > 0 ? 1 : 0;
    for (let c = 1; c < classes; c++) {
      if ((value[row * classes + c] as number) > (value[row * classes + best] as number)) best = c;
    }
    if (best === target[row]) right++;
  }
  return right;
}
