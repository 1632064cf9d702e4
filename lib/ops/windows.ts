// Options of windows that slide over planes: convolution and pooling.
import { misshapen } from '../graph/operands.js';
import type { Value } from '../graph/value.js';
import * as is from '../is.js';
import type { Check } from './make.js';

/** One number for both dimensions of a plane, or `[height, width]`. */
export type Pair = number | readonly [height: number, width: number];

/** A check of a Pair of integers of `min` or more. */
export const pair =
  (min: number): Check =>
  (value, name) => {
    if (typeof value === 'number') return is.integer(value, name, min);
    if (!Array.isArray(value) || value.length !== 2) {
      throw is.invalid('an integer or [height, width]', name, value);
    }
    return is.integers(value, name, min);
  };

/** A check of an integer of `min` or more. */
export const single =
  (min: number): Check =>
  (value, name) =>
    is.integer(value, name, min);

export const both = (value: number | readonly number[]): readonly [number, number] =>
  typeof value === 'number' ? [value, value] : [value[0] ?? 0, value[1] ?? 0];

/** The number of channels of x, a layer's input with `rank` dimensions. */
export function channelsOf(x: Value, rank: 3 | 4, layer: string): number {
  const channels = x.shape[1];
  if (x.shape.length === rank && typeof channels === 'number' && channels > 0) return channels;
  const shape = rank === 3 ? '[n, channels, l]' : '[n, channels, h, w]';
  throw misshapen(layer, `x ${shape}`, { x });
}
