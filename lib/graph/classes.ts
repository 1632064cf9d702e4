// Which arrays hold class numbers, and whether they are in range: a kernel reads a row's entry by them.
import type { TypedArray } from '../../bindings.js';
import * as is from '../is.js';
import { native } from '../native.js';
import { nodeOf } from './describe.js';
import { definition, type Value } from './value.js';

/** Class numbers are in [0, count) or `ignored`. */
export interface Classes {
  readonly count: number;
  readonly ignored: number;
}

/** The inputs that a crossEntropy reads class numbers from, maybe under another shape. */
export function findClasses(results: readonly Value[]): Map<Value, Classes> {
  const found = new Map<Value, Classes>();
  for (const result of results) {
    const { op, inputs, attributes } = nodeOf(result);
    const count = inputs[0]?.shape.at(-1);
    if (op !== 'crossEntropy' || typeof count !== 'number') continue;
    let target = inputs[1];
    while (target) {
      const { source } = definition(target);
      if (source.kind === 'input') {
        const { ignoreIndex } = attributes;
        const ignored = typeof ignoreIndex === 'number' ? ignoreIndex : -100;
        found.set(target, { count, ignored });
      }
      const moves =
        source.kind === 'output' && /^(reshape|flatten|transpose)$/.test(source.node.op);
      target = moves ? source.node.inputs[0] : undefined;
    }
  }
  return found;
}

/** Throws ERR_ARGUMENT for the first entry that is no class number. */
export function checkClasses(array: TypedArray, name: string, { count, ignored }: Classes): void {
  const at = native.findOutside(array, 0, count, ignored);
  if (at === -1) return;
  const wanted = `class numbers from 0 to ${count - 1}`;
  throw is.mismatch('ERR_ARGUMENT', wanted, name, `${array[at]} at position ${at}`);
}
