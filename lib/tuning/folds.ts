// Rows into folds.
import type { TypedArray } from '../../bindings.js';
import * as is from '../is.js';
import type { Arrays, Data } from '../trainer/data.js';
import { generator, shuffled } from '../trainer/random.js';
import { elementsPerTurn, nextTurn } from '../trainer/turns.js';

/**
 * The fold of each of `count` rows: shuffled by the seed, then dealt in turn, so that sizes differ by
 * one at most. With labels the rows of each label are dealt after those of the one before, so that
 * the folds have as many of each as can be: Kohavi, "A Study of Cross-Validation and Bootstrap for
 * Accuracy Estimation and Model Selection" (1995).
 */
export async function dealFolds(
  count: number,
  folds: number,
  seed: number,
  labels: TypedArray | undefined,
): Promise<Uint32Array> {
  const order = await shuffled({ start: 0, count }, generator(seed, 0));
  const groups = new Map<number, number[]>();
  for (const [i, row] of order.entries()) {
    const label = labels?.[row] ?? 0;
    const group = groups.get(label);
    if (group === undefined) groups.set(label, [row]);
    else group.push(row);
    if ((i + 1) % elementsPerTurn === 0) await nextTurn();
  }
  const fold = new Uint32Array(count);
  let next = 0;
  for (const [, rows] of [...groups].sort(([a], [b]) => a - b)) {
    for (const row of rows) {
      fold[row] = next % folds;
      if (++next % elementsPerTurn === 0) await nextTurn();
    }
  }
  return fold;
}

type Lists = readonly (readonly [name: string, array: TypedArray])[];

/** The arrays of x or y, in whichever form they came. */
function listArrays(arrays: unknown, what: string): Lists {
  if (is.isTypedArray(arrays)) return [[what, arrays]];
  const entries = Array.isArray(arrays)
    ? arrays.map((item: unknown, i) => [`${what}[${i}]`, item] as const)
    : is.isRecord(arrays)
      ? Object.entries(arrays).map(([name, item]) => [`${what}.${name}`, item] as const)
      : [];
  if (entries.length === 0) throw is.invalid('typed arrays', what, arrays);
  return entries.map(([name, item]) => {
    if (!is.isTypedArray(item)) throw is.invalid('a typed array', name, item);
    return [name, item];
  });
}

/** How many rows `{ x, y }` has, where the first input has rows of `width` elements. */
export function countRows({ x, y }: Data, width: number): number {
  const [first, ...rest] = [...listArrays(x, 'x'), ...listArrays(y, 'y')];
  const count = (first?.[1].length ?? 0) / width;
  if (!Number.isInteger(count) || count === 0) {
    throw is.mismatch('ERR_SHAPE', `rows of ${width} elements`, 'x', is.show(first?.[1]));
  }
  for (const [name, array] of rest) {
    if (array.length % count !== 0) {
      throw is.mismatch('ERR_SHAPE', `${count} rows, as in \`x\``, name, is.show(array));
    }
  }
  return count;
}

/** Class numbers to deal by: those of the only target, one a row. */
export function labelsOf({ y }: Data, count: number, stratified: unknown): TypedArray | undefined {
  const given = stratified === undefined ? undefined : is.boolean(stratified, 'stratified');
  if (given === false) return undefined;
  const [[, only] = ['', undefined], ...others] = listArrays(y, 'y');
  const one = only !== undefined && others.length === 0 && only.length === count;
  if (given === true && !one) {
    throw is.invalid('one target with one number a row', 'stratified', stratified);
  }
  const whole = !(only instanceof Float32Array || only instanceof Float64Array);
  return one && (given === true || whole) ? only : undefined;
}

/** Copies of the rows for which `take` holds. */
export async function takeRows(
  data: Data,
  count: number,
  take: (row: number) => boolean,
): Promise<Data> {
  const rows: number[] = [];
  for (let row = 0; row < count; row++) if (take(row)) rows.push(row);
  const copy = async (array: TypedArray): Promise<TypedArray> => {
    const width = array.length / count;
    const Type = array.constructor as new (length: number) => TypedArray;
    const taken = new Type(rows.length * width);
    let done = 0;
    for (const [i, row] of rows.entries()) {
      taken.set(array.subarray(row * width, (row + 1) * width), i * width);
      done += width + 16;
      if (done < elementsPerTurn) continue;
      done = 0;
      await nextTurn();
    }
    return taken;
  };
  const inForm = async (arrays: Arrays): Promise<Arrays> => {
    if (is.isTypedArray(arrays)) return await copy(arrays);
    if (Array.isArray(arrays)) return await Promise.all(arrays.map(copy));
    const entries = Object.entries(arrays as Readonly<Record<string, TypedArray>>);
    const copied = entries.map(async ([name, array]) => [name, await copy(array)] as const);
    return Object.fromEntries(await Promise.all(copied));
  };
  return { x: await inForm(data.x), y: await inForm(data.y) };
}
