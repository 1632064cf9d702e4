// Convolutions of values with values; the layers are in layers/conv.ts. Layouts are PyTorch's.
import type { Attributes } from '../../bindings.js';
import { apply } from '../graph/apply.js';
import { asOptional, asValue } from '../graph/leaves.js';
import type { Value } from '../graph/value.js';
import * as is from '../is.js';
import { pad } from './indexing.js';
import { attributesOf, type Check, type Checks } from './make.js';
import { both, type Pair, pair, single } from './windows.js';

/** How the windows of conv1d move, in elements. */
export interface Conv1dOptions {
  /** From one window to the next; 1 by default. */
  stride?: number;
  /**
   * Zeros at both ends; 0 by default. 'same' keeps the length: half of `dilation * (kernel - 1)`,
   * which must be even, with a stride of 1.
   */
  padding?: number | 'same';
  /** From one element that a window reads to the next; 1 by default. */
  dilation?: number;
  /** Into how many groups the channels are cut, each convolved alone; 1 by default. */
  groups?: number;
}

/** How the windows of conv2d move, in pixels. */
export interface Conv2dOptions {
  /** From one window to the next; 1 by default. */
  stride?: Pair;
  /**
   * Zeros around the planes; 0 by default. 'same' keeps their size: half of
   * `dilation * (kernel - 1)`, which must be even, with a stride of 1.
   */
  padding?: Pair | 'same';
  /** From one pixel that a window reads to the next; 1 by default. */
  dilation?: Pair;
  /** Into how many groups the channels are cut, each convolved alone; 1 by default. */
  groups?: number;
}

/** How the windows of the convolution move that convTranspose2d is the gradient of. */
export interface ConvTranspose2dOptions {
  /** From one window to the next; 1 by default. */
  stride?: Pair;
  /** Zeros that the convolution has around its planes; 0 by default. */
  padding?: Pair;
  /**
   * Rows and columns at the end that no window reaches, fewer than the stride or the dilation; 0 by
   * default.
   */
  outputPadding?: Pair;
  /** From one pixel that a window reads to the next; 1 by default. */
  dilation?: Pair;
  /** Into how many groups the channels are cut, each convolved alone; 1 by default. */
  groups?: number;
}

const checks = (of: (min: number) => Check) => ({
  stride: of(1),
  dilation: of(1),
  groups: (value: unknown, name: string) => is.integer(value, name, 1),
});

/** What 'same' means for a kernel of this size; a line is a plane of height 1. */
function samePadding(kernel: readonly number[], stride: Pair, dilation: Pair): Pair {
  const [steps, wide] = [both(stride), both(dilation)];
  const halves = [0, 1].map((i) => {
    const reach = (wide[i] ?? 1) * ((kernel.at(i - 2) ?? 1) - 1);
    if (steps[i] !== 1 || reach % 2 !== 0) {
      const even = "a stride of 1 and an even `dilation * (kernel - 1)` with 'same'";
      const moves = steps.slice(-kernel.length).join(' x ');
      const received = `a kernel of ${kernel.join(' x ')} with a stride of ${moves}`;
      throw is.mismatch('ERR_ARGUMENT', even, 'padding', received);
    }
    return reach / 2;
  });
  return [halves[0] ?? 0, halves[1] ?? 0];
}

/** The attributes of a convolution with a kernel of this size. */
function convolved<O extends { padding?: Pair | 'same' }>(
  op: string,
  options: O | undefined,
  of: (min: number) => Check,
  kernel: readonly number[],
): Attributes {
  const { padding = 0, ...rest } = is.options<Conv2dOptions>(options, `options of ${op}`, [
    'stride',
    'padding',
    'dilation',
    'groups',
  ]);
  const attributes = attributesOf(op, rest, checks(of) as Checks<typeof rest>);
  if (padding !== 'same') return { ...attributes, padding: of(0)(padding, 'padding') };
  const { stride = 1, dilation = 1 } = rest;
  return { ...attributes, padding: samePadding(kernel, stride, dilation) };
}

/**
 * The attributes of a transposed convolution. The op takes less than a step of the stride as
 * `outputPadding`: what is more than that are whole steps, `more` of them along each axis.
 */
function transposed(options: ConvTranspose2dOptions | undefined) {
  const attributes = attributesOf<ConvTranspose2dOptions>('convTranspose2d', options, {
    ...checks(pair),
    padding: pair(0),
    outputPadding: pair(0),
  });
  const of = (name: string, otherwise: number) => both((attributes[name] ?? otherwise) as Pair);
  const [steps, wide, extra] = [of('stride', 1), of('dilation', 1), of('outputPadding', 0)];
  if (extra.some((n, i) => n >= Math.max(steps[i] ?? 1, wide[i] ?? 1))) {
    const less = 'less than the stride or the dilation';
    throw is.invalid(less, 'outputPadding', attributes.outputPadding);
  }
  const more = [Math.floor(extra[0] / steps[0]), Math.floor(extra[1] / steps[1])] as const;
  const outputPadding = [extra[0] % steps[0], extra[1] % steps[1]];
  return { attributes: { ...attributes, outputPadding }, more };
}

/** Checks of the options that a layer is made with, for a kernel of this size. All throw ERR_ARGUMENT. */
export const checkWindows = {
  conv1d: (options: Conv1dOptions, kernel: readonly number[]) =>
    convolved('conv1d', options, single, kernel),
  conv2d: (options: Conv2dOptions, kernel: readonly number[]) =>
    convolved('conv2d', options, pair, kernel),
  convTranspose2d: (options: ConvTranspose2dOptions) => transposed(options),
};

function operands(x: unknown, w: unknown, b: unknown): Value[] {
  const required = [asValue(x, 'x'), asValue(w, 'w')];
  const bias = asOptional(b, 'b');
  return bias === null ? required : [...required, bias];
}

function convolve<O extends { padding?: Pair | 'same' }>(
  op: string,
  inputs: Value[],
  options: O | undefined,
  of: (min: number) => Check,
): Value {
  const kernel = (inputs[1]?.shape ?? []).slice(2).map((size) => size ?? 1);
  return apply(op, inputs, convolved(op, options, of, kernel));
}

/**
 * Cross-correlation over lines, as torch.nn.functional.conv1d: x [n, in, l], w [out, in / groups, k],
 * b [out] or left out; the result is [n, out, l']. Throws ERR_SHAPE, ERR_DTYPE, ERR_ARGUMENT.
 */
export function conv1d(x: Value, w: Value, b?: Value | null, options?: Conv1dOptions): Value {
  return convolve('conv1d', operands(x, w, b), options, single);
}

/**
 * Cross-correlation over planes, as torch.nn.functional.conv2d: x [n, in, h, w],
 * w [out, in / groups, kh, kw], b [out] or left out; the result is [n, out, h', w']. Throws
 * ERR_SHAPE, ERR_DTYPE, ERR_ARGUMENT.
 */
export function conv2d(x: Value, w: Value, b?: Value | null, options?: Conv2dOptions): Value {
  return convolve('conv2d', operands(x, w, b), options, pair);
}

/**
 * The gradient of conv2d with respect to its input, plus a bias, as
 * torch.nn.functional.conv_transpose2d: x [n, in, h, w], w [in, out / groups, kh, kw], b [out] or
 * left out; the result is [n, out, h', w']. Throws ERR_SHAPE, ERR_DTYPE, ERR_ARGUMENT.
 */
export function convTranspose2d(
  x: Value,
  w: Value,
  b?: Value | null,
  options?: ConvTranspose2dOptions,
): Value {
  const { attributes, more } = transposed(options);
  const [plane, ...weights] = operands(x, w, b) as [Value, ...Value[]];
  const transpose = (from: Value) => apply('convTranspose2d', [from, ...weights], attributes);
  if (more.every((n) => n === 0)) return transpose(plane);
  try {
    return transpose(behind(plane, more));
  } catch (error) {
    // What does not fit, does not without those zeros either, and the error shows x as it is.
    transpose(plane);
    throw error;
  }
}

/** x with rows and columns of zeros at its end: each adds a step of the stride to what is made of it. */
function behind(x: Value, [rows, columns]: readonly [number, number]): Value {
  return pad(x, {
    pads: [
      [0, 0],
      [0, 0],
      [0, rows],
      [0, columns],
    ],
  });
}
