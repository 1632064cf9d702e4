import type { Model } from '../model.js';
import { nextTurn } from './turns.js';

/** Floats that are copied in well under a millisecond. */
const floatsPerTurn = 2 ** 18;

/**
 * A copy of a model's parameters, taken in pieces with turns of the event loop between them, in the
 * memory of `into` where that is one of the same model. Nothing may train meanwhile.
 */
export async function copyWeights(
  { parameters }: Model,
  into: ReadonlyMap<string, Float32Array> = new Map(),
): Promise<Map<string, Float32Array>> {
  const copies = new Map<string, Float32Array>();
  let done = 0;
  for (const [name, { data }] of parameters) {
    const copy = into.get(name) ?? new Float32Array(data.length);
    copies.set(name, copy);
    for (let begin = 0; begin < data.length; ) {
      const piece = data.subarray(begin, begin + floatsPerTurn - done);
      copy.set(piece, begin);
      begin += piece.length;
      done += piece.length;
      if (done < floatsPerTurn) continue;
      done = 0;
      await nextTurn();
    }
  }
  return copies;
}
