// What predictions are worth beside their targets: sums over batches.
import type { TypedArray } from '../../bindings.js';
import * as is from '../is.js';

/** Of all elements so far; `sum` is NaN where a prediction is. */
export interface Total {
  sum: number;
  count: number;
}

export function squaredErrors(value: ArrayLike<number>, target: TypedArray, total: Total): void {
  for (let i = 0; i < value.length; i++) {
    total.sum += ((value[i] as number) - (target[i] as number)) ** 2;
  }
  total.count += value.length;
}

/**
 * Calls `use` for the scores of each element that has a class: those from `first` on, of `classes`
 * classes; one score is that of class 1 against 0. Elements below 0 have none. Throws ERR_ARGUMENT for
 * others.
 */
function eachClass(
  value: ArrayLike<number>,
  target: TypedArray,
  name: string,
  use: (first: number, classes: number, wanted: number) => void,
): void {
  const classes = value.length / target.length;
  const most = Math.max(classes, 2) - 1;
  for (let i = 0; i < target.length; i++) {
    const wanted = target[i] as number;
    if (wanted < 0) continue;
    if (!Number.isInteger(wanted) || wanted > most) {
      const what = `class numbers up to ${most}, or below 0 where there is no class,`;
      throw is.mismatch('ERR_ARGUMENT', what, name, String(wanted));
    }
    use(i * classes, classes, wanted);
  }
}

/** Adds what these scores are worth. Throws as eachClass. */
type Sum = (value: ArrayLike<number>, target: TypedArray, name: string, total: Total) => void;

/** Counts right classes: the highest score, or of one score whether it is above 0. */
export const rightClasses: Sum = (value, target, name, total) =>
  eachClass(value, target, name, (first, classes, wanted) => {
    let best = classes === 1 && (value[first] as number) > 0 ? 1 : 0;
    for (let c = 0; c < classes; c++) {
      const score = value[first + c] as number;
      if (Number.isNaN(score)) total.sum = Number.NaN;
      if (classes > 1 && score > (value[first + best] as number)) best = c;
    }
    if (best === wanted) total.sum++;
    total.count++;
  });

/** Sums up cross-entropies of logits. */
export const crossEntropy: Sum = (value, target, name, total) =>
  eachClass(value, target, name, (first, classes, wanted) => {
    total.count++;
    if (classes === 1) {
      const margin = (wanted === 1 ? -1 : 1) * (value[first] as number);
      total.sum += Math.max(margin, 0) + Math.log1p(Math.exp(-Math.abs(margin)));
      return;
    }
    let largest = Number.NEGATIVE_INFINITY;
    for (let c = 0; c < classes; c++) largest = Math.max(largest, value[first + c] as number);
    let sum = 0;
    for (let c = 0; c < classes; c++) sum += Math.exp((value[first + c] as number) - largest);
    total.sum += largest + Math.log(sum) - (value[first + wanted] as number);
  });
