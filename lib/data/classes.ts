// Classes that some rows have more often than others.
import type { TypedArray } from '../../bindings.js';
import { TandemError } from '../errors.js';
import * as is from '../is.js';
import { inPieces, nextTurn } from '../trainer/turns.js';
import type { Batch, TensorBatch } from './batch.js';
import { columnsOf } from './batch.js';
import { Dataset } from './dataset.js';
import type { Resample } from './pieces.js';

/**
 * A weight for each class so that all classes count alike: rows / (classes * rows of the class), for
 * `crossEntropy`'s `classWeights` and for `oversample`. `labels` are class numbers, or a dataset with
 * them as its only target, without what `augment` does. `count` is the number of classes, that of the largest label by default; a
 * class without rows gets 0. Rejects with ERR_ARGUMENT, ERR_SHAPE.
 */
export async function classWeights(
  labels: TypedArray | readonly number[] | Dataset<TensorBatch>,
  options?: { count?: number },
): Promise<number[]> {
  const set = is.options<{ count?: number }>(options, 'options of classWeights', ['count']);
  const counts: number[] = Array.from(
    { length: is.integer(set.count ?? 0, 'count', 0, 2 ** 24) },
    () => 0,
  );
  let rows = 0;
  const add = (column: ArrayLike<unknown>, from = 0, to = column.length) => {
    for (let i = from; i < to; i++) {
      const label = is.integer(column[i], 'labels', 0, (set.count ?? 2 ** 24) - 1);
      while (counts.length <= label) counts.push(0);
      counts[label] = (counts[label] ?? 0) + 1;
    }
    rows += to - from;
  };
  if (labels instanceof Dataset) {
    for await (const batch of labels.plain.shuffle(false).batches({ batchSize: 1024 })) {
      add(labelsOf(batch));
      await nextTurn(); // rows in memory come without one
    }
  } else {
    if (!is.isTypedArray(labels) && !Array.isArray(labels)) {
      throw is.invalid('class numbers or a dataset', 'labels', labels);
    }
    await inPieces(labels.length, (from, to) => add(labels, from, to));
  }
  if (rows === 0) throw is.mismatch('ERR_SHAPE', 'one label or more', 'labels', 'none');
  const present = counts.filter((count) => count > 0).length;
  return counts.map((count) => (count === 0 ? 0 : rows / (present * count)));
}

/** The class numbers of a batch. */
function labelsOf(batch: Batch): ArrayLike<unknown> {
  const targets = columnsOf(batch).filter(([name]) => name === 'y' || name.startsWith('y.'));
  const [first] = targets;
  if (first !== undefined && targets.length === 1 && first[1].length === batch.rows)
    return first[1];
  throw is.mismatch('ERR_ARGUMENT', 'one class number a row', 'y', 'other targets');
}

/**
 * Rows of class c `weights[c]` over the smallest weight times: whole numbers of them always, what is
 * left with that probability.
 */
export function oversampling(weights: ArrayLike<number>): Resample<TensorBatch> {
  const given: unknown = weights;
  if (!is.isTypedArray(given) && !Array.isArray(given)) {
    throw is.invalid('an array of a weight for each class', 'weights', given);
  }
  const factors = Array.from(weights, (weight, i) => is.number(weight, `weights[${i}]`, 0));
  // There may be more than a call may have arguments.
  const smaller = (a: number, b: number) => (b > 0 && b < a ? b : a);
  const least = factors.reduce(smaller, Number.POSITIVE_INFINITY);
  if (!Number.isFinite(least)) throw is.invalid('a weight above 0', 'weights', factors);
  // The small number undoes the rounding of the division.
  const repeats = factors.map((factor) => factor / least + 1e-9);
  return (block, order, random) => {
    const labels = labelsOf(block);
    const times = new Uint32Array(order.length);
    let total = 0;
    for (let i = 0; i < order.length; i++) {
      const label = Number(labels[order[i] ?? 0]);
      const wanted = repeats[label];
      if (wanted === undefined) {
        throw is.mismatch('ERR_ARGUMENT', `${repeats.length} classes`, 'y', `class ${label}`);
      }
      const whole = Math.floor(wanted);
      const more = random() / 2 ** 32 < wanted - whole - 1e-9 ? 1 : 0;
      times[i] = whole + more;
      total += whole + more;
    }
    const rows = repeated(total);
    let at = 0;
    for (let i = 0; i < order.length; i++) {
      for (let left = times[i] ?? 0; left > 0; left--) rows[at++] = order[i] ?? 0;
    }
    return rows;
  };
}

/** Room for the numbers of so many rows. Throws ERR_OUT_OF_MEMORY. */
function repeated(total: number): Uint32Array {
  try {
    return new Uint32Array(total);
  } catch (cause) {
    const received = `${total} rows; weights closer to each other repeat fewer`;
    const message = `expected memory for rows that are repeated, received ${received}`;
    throw new TandemError('ERR_OUT_OF_MEMORY', message, { cause });
  }
}
