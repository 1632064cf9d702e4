// Arrays as users give them -> one for each input or output, of the type that native code reads.
import type { DType, TypedArray } from '../bindings.js';
import * as is from './is.js';
import { native } from './native.js';
import { anyArray, kindOf, nameOfClass, types } from './views.js';

/**
 * The array for each slot, with the name that errors give it: from a record of names, from an array
 * of arrays in order, or for one slot the array alone. Throws ERR_ARGUMENT.
 */
export function matchArrays<S extends { readonly name: string }>(
  given: unknown,
  slots: readonly S[],
  what: string,
): (readonly [array: unknown, name: string, slot: S])[] {
  const names = slots.map(({ name }) => name);
  if (is.isRecord(given)) {
    for (const key of Object.keys(given)) {
      if (!names.includes(key)) {
        const hint = is.didYouMean(key, names);
        throw is.mismatch('ERR_ARGUMENT', names.join(', '), what, `\`${key}\`${hint}`);
      }
    }
    return slots.map((slot) => [given[slot.name], `${what}.${slot.name}`, slot] as const);
  }
  const [only] = slots;
  const listed = Array.isArray(given) && is.isTypedArray(given[0]);
  if (slots.length === 1 && only !== undefined && !listed) return [[given, what, only]];
  if (!Array.isArray(given) || given.length !== slots.length) {
    const count = slots.length === 1 ? '1 array' : `${slots.length} arrays`;
    throw is.invalid(`${count} or a record of ${names.join(', ')}`, what, given);
  }
  return slots.map((slot, i) => [given[i] as unknown, `${what}[${i}]`, slot] as const);
}

const wantedArray = (dtype: DType): string =>
  dtype === 'float32' ? 'a Float32Array' : 'an Int32Array or another integer typed array';

/**
 * A typed array of another realm, such as that of a test runner's sandbox, as one of this realm over
 * the same memory; anything else as it is.
 */
export function ofThisRealm(array: unknown): unknown {
  if (!is.isTypedArray(array) || array instanceof anyArray) return array;
  const type = types.get(kindOf(array));
  return type ? new type(array.buffer, array.byteOffset, array.length) : array;
}

/** A new array of what another one is. */
export function emptyLike<T extends TypedArray>(array: T, length: number): T {
  const type: unknown = types.get(kindOf(array)) ?? array.constructor;
  return new (type as new (length: number) => T)(length);
}

/** A typed array that an input of this type takes. Throws ERR_DTYPE, ERR_ARGUMENT. */
export function checkInput(given: unknown, name: string, dtype: DType): TypedArray {
  const array = ofThisRealm(given);
  const wanted = wantedArray(dtype);
  if (!is.isTypedArray(array)) {
    // BigInt arrays are typed arrays of a type that nothing here takes.
    const code = ArrayBuffer.isView(array) ? 'ERR_DTYPE' : 'ERR_ARGUMENT';
    throw is.mismatch(code, wanted, name, is.show(array));
  }
  const isReal = array instanceof Float32Array || array instanceof Float64Array;
  if (dtype === 'float32' ? array instanceof Float32Array : !isReal) return array;
  const fix = `${dtype === 'float32' ? 'Float32' : 'Int32'}Array.from converts it`;
  throw is.mismatch('ERR_DTYPE', wanted, name, `${nameOfClass(array)}; ${fix}`);
}

/** The same as native code reads it. Throws ERR_ARGUMENT also for integers of 2^31 or more. */
export function toInput(array: unknown, name: string, dtype: DType): Float32Array | Int32Array {
  const typed = checkInput(array, name, dtype);
  if (typed instanceof Float32Array || typed instanceof Int32Array) return typed;
  checkSigned(typed, name);
  return new Int32Array(typed); // many times as fast as Int32Array.from
}

/** Throws ERR_ARGUMENT for integers that int32 does not hold; `from`: where in an array these begin. */
export function checkSigned(integers: TypedArray, name: string, from = 0): void {
  const at = integers instanceof Uint32Array ? native.findOutside(integers, 0, 2 ** 31, 0) : -1;
  if (at === -1) return;
  const received = `${integers[at]} at position ${from + at}`;
  throw is.mismatch('ERR_ARGUMENT', 'integers below 2^31', name, received);
}
