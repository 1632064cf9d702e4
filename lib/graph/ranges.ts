// Which arrays hold class numbers or indices, and whether they are in range: kernels read entries by
// them.
import type { TypedArray } from '../../bindings.js';
import * as is from '../is.js';
import { native } from '../native.js';
import { nodeOf } from './describe.js';
import { definition, type Node, type Value } from './value.js';

/** Integers in [0, count) or `ignored`. */
export interface Range {
  readonly what: 'class numbers' | 'indices';
  readonly count: number;
  readonly ignored: number;
}

/** The operand of an op that holds numbers of entries of another operand, and their range. */
function rangeOf({ op, inputs, attributes }: Node): readonly [Value, Range] | undefined {
  const [first, second] = inputs;
  if (!first || !second) return undefined;
  const limit = (numbers: Value, count: unknown, what: Range['what'], ignored = 0) =>
    typeof count === 'number' && count > 0
      ? ([numbers, { what, count, ignored }] as const)
      : undefined;
  switch (op) {
    case 'crossEntropy': {
      const { ignoreIndex } = attributes;
      const ignored = typeof ignoreIndex === 'number' ? ignoreIndex : -100;
      return limit(second, first.shape.at(-1), 'class numbers', ignored);
    }
    case 'embedding':
      return limit(first, second.shape[0], 'indices');
    case 'gather':
      return limit(second, first.shape.at(Number(attributes.axis ?? 0)), 'indices');
    default:
      return undefined;
  }
}

/** What both allow. */
function meet(a: Range | undefined, b: Range): Range {
  if (a === undefined) return b;
  const count = Math.min(a.count, b.count);
  // Within [0, count), 0 is no exception.
  return { what: b.what, count, ignored: a.ignored === b.ignored ? a.ignored : 0 };
}

/** The operands whose numbers are all among those of the value, in whatever order and beside others. */
function keptBy(value: Value): readonly (Value | null)[] {
  const { source } = definition(value);
  if (source.kind !== 'output') return [];
  const { op, inputs } = source.node;
  if (op === 'concat') return inputs;
  return /^(reshape|flatten|transpose|flip|pad)$/.test(op) ? inputs.slice(0, 1) : [];
}

/** The inputs that some op reads entries by, maybe under another shape, in another order or joined. */
export function findRanges(results: readonly Value[]): Map<Value, Range> {
  const found = new Map<Value, Range>();
  for (const result of results) {
    const [numbers, range] = rangeOf(nodeOf(result)) ?? [];
    if (!numbers || !range) continue;
    const seen = new Set([numbers]);
    for (const value of seen) {
      if (definition(value).source.kind === 'input')
        found.set(value, meet(found.get(value), range));
      for (const part of keptBy(value)) if (part) seen.add(part);
    }
  }
  return found;
}

/** Throws ERR_ARGUMENT for the first entry that is out of range; `from`: where in an array it begins. */
export function checkRange(
  array: TypedArray,
  name: string,
  range: Range | undefined,
  from = 0,
): void {
  if (range === undefined) return;
  const { what, count, ignored } = range;
  const at = native.findOutside(array, 0, count, ignored);
  if (at === -1) return;
  const wanted = `${what} from 0 to ${count - 1}`;
  throw is.mismatch('ERR_ARGUMENT', wanted, name, `${array[at]} at position ${from + at}`);
}
