// Convolutions of values with values; the layers are in layers/conv.ts. Layouts are PyTorch's.
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

/** What 'same' means for a kernel of this size. */
function samePadding(kernel: readonly number[], stride: Pair, dilation: Pair): Pair {
  const [steps, wide] = [both(stride), both(dilation)];
  const halves = [0, 1].map((i) => {
    const reach = (wide[i] ?? 1) * ((kernel.at(i - 2) ?? 1) - 1);
    if (steps[i] !== 1 || reach % 2 !== 0) {
      const even = "a stride of 1 and an even `dilation * (kernel - 1)` with 'same'";
      throw is.mismatch('ERR_ARGUMENT', even, 'padding', `a kernel of ${kernel.join(' x ')}`);
    }
    return reach / 2;
  });
  return [halves[0] ?? 0, halves[1] ?? 0];
}

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
  const { padding = 0, ...rest } = is.options<Conv2dOptions>(options, `options of ${op}`, [
    'stride',
    'padding',
    'dilation',
    'groups',
  ]);
  const attributes = attributesOf(op, rest, checks(of) as Checks<typeof rest>);
  if (padding !== 'same') {
    return apply(op, inputs, { ...attributes, padding: of(0)(padding, 'padding') });
  }
  const kernel = (inputs[1]?.shape ?? []).slice(2).map((size) => size ?? 1);
  // A line is a plane of height 1.
  const plane = kernel.length === 1 ? [1, ...kernel] : kernel;
  const { stride = 1, dilation = 1 } = rest;
  const same = samePadding(plane, stride, dilation);
  return apply(op, inputs, { ...attributes, padding: same });
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
  const attributes = attributesOf<ConvTranspose2dOptions>('convTranspose2d', options, {
    ...checks(pair),
    padding: pair(0),
    outputPadding: pair(0),
  });
  const [plane, ...weights] = operands(x, w, b);
  const [padded, outputPadding] = wholeSteps(plane as Value, options);
  // Channels that do not match shall be told of x as it is.
  const fits = x.shape[1] === w.shape[0];
  const whole = [fits ? padded : x, ...weights];
  return apply('convTranspose2d', whole, {
    ...attributes,
    outputPadding: fits ? outputPadding : 0,
  });
}

/**
 * The op takes less than a step of the stride as `outputPadding`. What is more than that are whole
 * steps, and a step is what a row of zeros at the end of x adds.
 */
function wholeSteps(x: Value, options: ConvTranspose2dOptions | null | undefined): [Value, Pair] {
  const outputPadding = options?.outputPadding ?? 0;
  const [steps, wide] = [both(options?.stride ?? 1), both(options?.dilation ?? 1)];
  const extra = both(outputPadding);
  const whole = extra.map((n, i) => Math.floor(n / (steps[i] ?? 1)));
  if (extra.some((n, i) => n >= Math.max(steps[i] ?? 1, wide[i] ?? 1))) {
    const less = 'less than the stride or the dilation';
    throw is.invalid(less, 'outputPadding', outputPadding);
  }
  if (x.shape.length !== 4 || whole.every((n) => n === 0)) return [x, outputPadding];
  const [rows = 0, columns = 0] = whole;
  const rest = [extra[0] - rows * steps[0], extra[1] - columns * steps[1]] as const;
  return [
    pad(x, {
      pads: [
        [0, 0],
        [0, 0],
        [0, rows],
        [0, columns],
      ],
    }),
    rest,
  ];
}
