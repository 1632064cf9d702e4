// Bytes of a file -> typed arrays that models take.
import type { TypedArray } from '../../../bindings.js';
import { TandemError } from '../../errors.js';
import { badData, type Place } from '../errors.js';
import { type Header, type Kind, sizes } from './header.js';

/** What is made of the numbers of a file. */
export type Format = Pick<Header, 'kind' | 'littleEndian'> & {
  /** Multiplies them, which makes float32 of all. */
  readonly factor: number | undefined;
};

/** Where numbers are. */
export type FilePlace = Place & { readonly file: string };

const types = {
  ...{ float16: Float32Array, bfloat16: Float32Array },
  ...{ float32: Float32Array, float64: Float32Array },
  ...{ int8: Int8Array, uint8: Uint8Array, int16: Int16Array, uint16: Uint16Array },
  ...{ int32: Int32Array, uint32: Uint32Array, int64: Int32Array, uint64: Int32Array },
};

/** An array for `count` numbers of a file, or of its tensor `column`. Throws ERR_OUT_OF_MEMORY. */
export function makeArray(
  { kind, factor }: Format,
  count: number,
  { file, column }: FilePlace,
): TypedArray {
  const Type = factor === undefined ? types[kind] : Float32Array;
  try {
    return new Type(count);
  } catch (cause) {
    // Files of one array alone can be read as they are used.
    const more =
      column === undefined ? '; with `stream` they stay in the file' : ` of tensor \`${column}\``;
    const message = `expected memory for \`${file}\`, received too little for ${count} numbers${more}`;
    throw new TandemError('ERR_OUT_OF_MEMORY', message, { cause });
  }
}

const littleEndianHere = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;

/**
 * Writes the numbers in `bytes` to `target` from `offset` on. `place` says where number `i` of them is.
 * Throws DataError for an integer that int32 does not hold.
 */
export function decode(
  bytes: Uint8Array,
  { kind, littleEndian, factor }: Format,
  target: TypedArray,
  offset: number,
  place: (i: number) => Place,
): void {
  const size = sizes[kind];
  const count = bytes.length / size;
  const plain = factor === undefined && target.BYTES_PER_ELEMENT === size;
  if (plain && (size === 1 || littleEndian === littleEndianHere)) {
    // The same bits; float32 among them, whatever NaN it is.
    new Uint8Array(target.buffer, target.byteOffset + offset * size, bytes.length).set(bytes);
    return;
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const get = getter(view, kind, littleEndian);
  if (factor !== undefined) {
    for (let i = 0; i < count; i++) target[offset + i] = get(i) * factor;
    return;
  }
  const whole = kind === 'int64' || kind === 'uint64';
  for (let i = 0; i < count; i++) {
    const value = get(i);
    target[offset + i] = value;
    if (whole && target[offset + i] !== value) {
      throw badData('integers that int32 holds', `${value}`, place(i));
    }
  }
}

function getter(view: DataView, kind: Kind, little: boolean): (i: number) => number {
  switch (kind) {
    case 'float16':
      return (i) => fromHalf(view.getUint16(2 * i, little));
    case 'bfloat16':
      return (i) => fromUpperHalf(view.getUint16(2 * i, little));
    case 'float32':
      return (i) => view.getFloat32(4 * i, little);
    case 'float64':
      return (i) => view.getFloat64(8 * i, little);
    case 'int8':
      return (i) => view.getInt8(i);
    case 'uint8':
      return (i) => view.getUint8(i);
    case 'int16':
      return (i) => view.getInt16(2 * i, little);
    case 'uint16':
      return (i) => view.getUint16(2 * i, little);
    case 'int32':
      return (i) => view.getInt32(4 * i, little);
    case 'uint32':
      return (i) => view.getUint32(4 * i, little);
    case 'int64':
      return (i) => Number(view.getBigInt64(8 * i, little));
    default:
      return (i) => Number(view.getBigUint64(8 * i, little));
  }
}

const word = new DataView(new ArrayBuffer(4));

/** bfloat16: the upper half of a float32. */
function fromUpperHalf(bits: number): number {
  word.setUint32(0, bits * 0x10000);
  return word.getFloat32(0);
}

/** IEEE 754 binary16. */
function fromHalf(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1024 + fraction) * 2 ** (exponent - 25));
}
