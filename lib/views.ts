// What views of memory are, whatever class or prototype they were given.
import type { TypedArray } from '../bindings.js';

/** The class of all typed arrays of this realm. */
export const anyArray = Object.getPrototypeOf(Float32Array) as new () => TypedArray;

const nameOf = Object.getOwnPropertyDescriptor(anyArray.prototype, Symbol.toStringTag)?.get;

/** Undefined for what is no typed array: a DataView, a Proxy of one, an object that inherits from one. */
export const nameOfArray = (value: unknown): string | undefined =>
  nameOf?.call(value) as string | undefined;

/** What a typed array is, whatever class made of it: a Buffer is a Uint8Array. */
export const kindOf = (array: TypedArray): string => nameOfArray(array) ?? '';

export type Viewing = new (buffer: ArrayBufferLike, at: number, length: number) => TypedArray;
const kinds: readonly Viewing[] = [
  ...[Float32Array, Float64Array, Int8Array, Uint8Array, Uint8ClampedArray],
  ...[Int16Array, Uint16Array, Int32Array, Uint32Array],
];
/** The classes of typed arrays that inputs may be, by their names. */
export const types: ReadonlyMap<string | undefined, Viewing> = new Map(
  kinds.map((type) => [type.name, type]),
);

type Other = new (buffer: ArrayBuffer) => ArrayBufferView;
const others = new Map<string | undefined, Other>([
  [BigInt64Array.name, BigInt64Array],
  [BigUint64Array.name, BigUint64Array],
  [undefined, DataView],
]);
// Newer versions of Node have one.
const { Float16Array: halves } = globalThis as { Float16Array?: Other };
if (halves !== undefined) others.set(halves.name, halves);

/**
 * Whether a view has the properties of what it is: a prototype that was put in the place of its own
 * answers with nothing, with an error, or for elements of another type.
 */
export function isItself(view: ArrayBufferView): boolean {
  const name = nameOfArray(view);
  const type = types.get(name) ?? others.get(name);
  if (type !== undefined && view instanceof type) return true;
  const isOfThisRealm = view instanceof anyArray || view instanceof DataView;
  return !isOfThisRealm && typeof view.byteLength === 'number';
}

/** A typed array of a type that inputs may be, of this realm or another one. */
export const isTypedArray = (value: unknown): value is TypedArray =>
  types.has(nameOfArray(value)) && isItself(value as TypedArray);

/** An array of this type itself, whose elements can be read, and not what inherits from one or is a Proxy of one. */
export const isOf = <T extends TypedArray>(
  value: unknown,
  type: new (length: number) => T,
): value is T => value instanceof type && nameOfArray(value) === type.name;

export const isFloat32Array = (value: unknown): value is Float32Array => isOf(value, Float32Array);

/**
 * The same elements as an array of this realm's own class: classes of users may have constructors that
 * `subarray` and `slice` do not know how to call.
 */
export function plain<T extends TypedArray>(array: T): T {
  const type = types.get(kindOf(array));
  if (type === undefined || Object.getPrototypeOf(array) === type.prototype) return array;
  return new type(array.buffer, array.byteOffset, array.length) as T;
}

/** The class that made it, by which its user knows it, where it still says so. */
export function nameOfClass(view: ArrayBufferView): string {
  const { constructor: made } = view as { constructor?: unknown };
  return typeof made === 'function' ? String(made.name) : (nameOfArray(view) ?? 'DataView');
}

/** How an error shows a view. */
export function showView(view: ArrayBufferView): string {
  if (!isItself(view))
    return `a ${nameOfArray(view) ?? 'DataView'} with the prototype of another class`;
  const length = 'length' in view ? (view as TypedArray).length : view.byteLength;
  return `${nameOfClass(view)} of length ${length}`;
}
