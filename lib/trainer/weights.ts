// Copies of parameters and other large arrays, taken on the event loop in pieces.
import type { Trainer, TrainerProgress } from '../../bindings.js';
import { TandemError } from '../errors.js';
import { stateOf } from '../model/state.js';
import type { Model } from '../model.js';
import { nextTurn } from './turns.js';

/** Floats that are copied in well under a millisecond. */
const floatsPerTurn = 2 ** 17;

type Numbers = Float32Array | Int32Array | Int8Array;

/** Copies each array over another of its length, with turns of the event loop between pieces. */
export async function copyInTurns(
  pairs: Iterable<readonly [from: Numbers, to: Numbers]>,
): Promise<void> {
  let done = 0;
  for (const [from, to] of pairs) {
    for (let begin = 0; begin < from.length; ) {
      const piece = from.subarray(begin, begin + floatsPerTurn - done);
      to.set(piece, begin);
      begin += piece.length;
      done += piece.length;
      if (done < floatsPerTurn) continue;
      done = 0;
      await nextTurn();
    }
  }
}

/** Goes on from what saveState() of a trainer gave. Nothing may train or load meanwhile. */
export async function loadState(
  trainer: Trainer,
  state: Float32Array,
  progress: TrainerProgress,
): Promise<void> {
  for (let begin = 0; begin < state.length; begin += floatsPerTurn) {
    trainer.stageState(state.subarray(begin, begin + floatsPerTurn), begin);
    await nextTurn();
  }
  await trainer.loadState(progress);
}

function roomFor<T extends Float32Array | Int8Array>(array: T): T {
  try {
    return new (array.constructor as new (length: number) => T)(array.length);
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    const message = `expected ${array.byteLength} bytes of memory for a copy, the system has none left`;
    throw new TandemError('ERR_OUT_OF_MEMORY', message, { cause });
  }
}

/** Copies of arrays. Nothing may write to those meanwhile. */
export async function copyArrays<T extends Float32Array | Int8Array>(
  arrays: readonly T[],
): Promise<T[]> {
  const copies = arrays.map(roomFor);
  await copyInTurns(arrays.map((array, i) => [array, copies[i] ?? array]));
  return copies;
}

/**
 * A copy of a model's parameters, in the memory of `into` where that is one of the same model. Nothing
 * may train meanwhile.
 */
export async function copyWeights(
  { parameters }: Model,
  into: ReadonlyMap<string, Float32Array> = new Map(),
): Promise<Map<string, Float32Array>> {
  const copies = new Map<string, Float32Array>();
  for (const [name, { data }] of parameters) {
    copies.set(name, into.get(name) ?? new Float32Array(data.length));
  }
  await copyInTurns(Array.from(parameters, ([name, { data }]) => [data, copies.get(name) ?? data]));
  return copies;
}

/** Puts what copyWeights gave back; nobody reads the parameters meanwhile, and nothing may train. */
export function restoreWeights(
  model: Model,
  weights: ReadonlyMap<string, Float32Array>,
): Promise<void> {
  const { parameters } = model;
  const state = stateOf(model);
  const copy = () =>
    copyInTurns(
      Array.from(weights, ([name, values]) => [values, parameters.get(name)?.data ?? values]),
    );
  const restoring = state.taken ? state.taken.changing(copy) : copy();
  const done = () => {
    state.restoring = undefined;
  };
  state.restoring = restoring.then(done, done);
  return restoring;
}
