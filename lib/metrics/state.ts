// What accumulators keep in checkpoints. Files are untrusted: whatever does not fit is refused.
import { bad } from '../files/format.js';
import * as is from '../is.js';

/** `length` sums: zeros, or what a state says. Throws ERR_FILE_FORMAT. */
export function readSums(state: unknown, length: number): Float64Array {
  if (state === undefined) return new Float64Array(length);
  if (state instanceof Float32Array && state.length === length) return new Float64Array(state);
  const fits = Array.isArray(state) && state.length === length;
  if (!fits || !state.every((item: unknown) => typeof item === 'number')) {
    throw bad(`${length} numbers as a state in the file`, is.show(state));
  }
  return Float64Array.from(state as number[]);
}

/** One of such lists as readLists reads, in pieces that are not copied. */
export function* readPieces(state: unknown, name: string): Generator<Float32Array | Float64Array> {
  const list: unknown = is.isRecord(state) ? state[name] : undefined;
  const inParts = Array.isArray(list) && list.every((item) => item instanceof Float32Array);
  if (inParts) yield* list;
  else yield readLists(state, [name])[name] ?? new Float64Array();
}

/** Lists of numbers by name, all empty without a state. Throws ERR_FILE_FORMAT. */
export function readLists<N extends string>(
  state: unknown,
  names: readonly N[],
): Record<N, Float64Array> {
  const of = state ?? {};
  if (!is.isRecord(of)) throw bad('lists of numbers as a state in the file', is.show(state));
  const read = (name: N): readonly [N, Float64Array] => {
    const list = of[name] ?? [];
    const numbers = Array.isArray(list) || list instanceof Float32Array;
    if (!numbers) throw bad(`numbers for \`${name}\` in the file`, is.show(list));
    // Long lists come in parts.
    const all = [...(list as Iterable<unknown>)].flatMap((item) =>
      item instanceof Float32Array ? [...item] : [item],
    );
    return [name, readSums(all, all.length)];
  };
  return Object.fromEntries(names.map(read)) as Record<N, Float64Array>;
}
