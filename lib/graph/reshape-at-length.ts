// The shape that a reshape gives where its input has become shorter.
import { elements } from './value.js';

/** The sizes before and after, and what is known of those after it. */
export interface Reshaped {
  readonly from: readonly number[];
  readonly to: readonly number[];
  /** What `from` has become. */
  readonly now: readonly number[];
  readonly time: number;
  readonly length: number;
  /** The rows that these sizes are of. */
  readonly batch: number;
}

/**
 * What `to` becomes; undefined where that depends on what the reshape is for. Both shapes are cut into
 * the shortest runs of axes that hold the same elements: an axis that stays alone has its new size, axes
 * that become one have the product of theirs, and of one axis that becomes several it is the one of the
 * length.
 */
export function reshapeAt(reshaped: Reshaped): number[] | undefined {
  const { from, to, now } = reshaped;
  if (from.some((size, i) => size === 1 && now[i] !== 1)) return undefined;
  const made = [...to];
  for (const { ins, outs } of runs(from, to)) {
    if (ins.every((i) => from[i] === now[i])) continue;
    const count = elements(ins.map((i) => now[i] ?? 0));
    const [only, ...others] = outs;
    const at =
      others.length === 0 ? only : ins.length === 1 ? timeOf(reshaped, outs, count) : undefined;
    if (at === undefined) return undefined;
    made[at] = (count * (to[at] ?? 0)) / elements(outs.map((j) => to[j] ?? 0));
    if (!Number.isInteger(made[at])) return undefined;
  }
  return made;
}

/** Which of the axes that one axis of now `count` elements becomes has the length. */
function timeOf(
  { to, time, length, batch }: Reshaped,
  outs: readonly number[],
  count: number,
): number | undefined {
  const before = elements(outs.map((j) => to[j] ?? 0));
  const [at, another] = outs.filter((j) => to[j] === time);
  if (at !== undefined) {
    return another === undefined && before * length === count * time ? at : undefined;
  }
  // Beside the batch there is but one that it can be.
  const rest = outs.filter((j) => to[j] !== batch);
  return outs.length === 2 && rest.length === 1 ? rest[0] : undefined;
}

/** Axes of two shapes of as many elements, those of size 1 left out. */
function runs(from: readonly number[], to: readonly number[]) {
  const wide = (shape: readonly number[]) => [...shape.keys()].filter((i) => shape[i] !== 1);
  const [left, right] = [wide(from), wide(to)];
  const found: { ins: number[]; outs: number[] }[] = [];
  while (left.length > 0 && right.length > 0) {
    const run: { ins: number[]; outs: number[] } = { ins: [], outs: [] };
    let [a, b] = [1, 1];
    do {
      const [axes, shape, taken] = a <= b ? [left, from, run.ins] : [right, to, run.outs];
      const axis = axes.shift();
      if (axis === undefined) break;
      taken.push(axis);
      if (a <= b) a *= shape[axis] ?? 0;
      else b *= shape[axis] ?? 0;
    } while (a !== b);
    found.push(run);
  }
  return found;
}
