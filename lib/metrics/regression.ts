// RMSE, R2 and perplexity: functions of means, which means of batches do not give.
import * as is from '../is.js';
import { square, sub } from '../ops/elementwise.js';
import { crossEntropy } from '../ops/losses.js';
import { mean } from '../ops/shapes.js';
import { classes, expectsNumbers, fitsNumbers } from './fits.js';
import { type BuiltIn, builtIn, type Pair } from './metric.js';
import { readLists, readSums } from './state.js';

const none = new Float64Array();

function plus(numbers: Float64Array, at: number, more: number): void {
  numbers[at] = (numbers[at] ?? 0) + more;
}

/** A sum by how much it is a sum of. */
const quotient = ([sum = Number.NaN, count = Number.NaN]: Float64Array): number => sum / count;

/** All axes but the last, whose elements are outputs of their own; all of a vector. */
function rowAxes({ output }: Pair): number[] {
  const rank = output.shape.length;
  return Array.from({ length: Math.max(1, rank - 1) }, (_, i) => i);
}

/** The square root of the mean squared error over all elements. */
export function rmse(): BuiltIn;
export function rmse(...more: unknown[]): BuiltIn {
  is.lastArgument(more, 'rmse');
  return builtIn({
    name: 'rmse',
    largerIsBetter: false,
    expects: expectsNumbers,
    fits: fitsNumbers,
    build: ({ output, target }) => ({
      values: () => [mean(square(sub(output, target)))],
      accumulate(state) {
        const sums = readSums(state, 2);
        return {
          add([[error = Number.NaN] = []], rows) {
            plus(sums, 0, error * rows);
            plus(sums, 1, rows);
          },
          result: () => Math.sqrt(quotient(sums)),
          state: () => Array.from(sums),
        };
      },
    }),
  });
}

/**
 * The coefficient of determination, 1 minus the squared errors by the squared distances of targets
 * from their mean: the mean over the elements of the last axis, as scikit-learn's r2_score. NaN for
 * fewer than two rows; 1 or 0 where targets are all the same, whether met or not.
 */
export function r2(): BuiltIn;
export function r2(...more: unknown[]): BuiltIn {
  is.lastArgument(more, 'r2');
  return builtIn({
    name: 'r2',
    largerIsBetter: true,
    expects: expectsNumbers,
    fits: fitsNumbers,
    build(pair) {
      const { output, target } = pair;
      const axes = rowAxes(pair);
      return {
        values: () => [mean(square(sub(output, target)), { axes }), target],
        accumulate: (state) => new Determination(state),
      };
    },
  });
}

/** Sums in double precision, of targets by their distance from the first so that none cancel. */
class Determination {
  #count: number;
  #errors: Float64Array;
  #first: Float64Array;
  #sums: Float64Array;
  #squares: Float64Array;

  constructor(state: unknown) {
    const read = readLists(state, ['count', 'errors', 'first', 'sums', 'squares']);
    this.#count = read.count[0] ?? 0;
    this.#errors = read.errors;
    this.#first = read.first;
    this.#sums = read.sums;
    this.#squares = read.squares;
  }

  state(): unknown {
    return {
      count: [this.#count],
      errors: Array.from(this.#errors),
      first: Array.from(this.#first),
      sums: Array.from(this.#sums),
      squares: Array.from(this.#squares),
    };
  }

  add([errors = none, targets = none]: readonly Float64Array[]): void {
    const columns = errors.length;
    const rows = targets.length / columns;
    if (this.#count === 0) {
      this.#first = targets.slice(0, columns);
      this.#errors = new Float64Array(columns);
      this.#sums = new Float64Array(columns);
      this.#squares = new Float64Array(columns);
    }
    for (let c = 0; c < columns; c++) {
      const first = this.#first[c] ?? Number.NaN;
      let sum = 0;
      let squares = 0;
      for (let i = c; i < targets.length; i += columns) {
        const distance = (targets[i] ?? Number.NaN) - first;
        sum += distance;
        squares += distance * distance;
      }
      plus(this.#errors, c, (errors[c] ?? Number.NaN) * rows);
      plus(this.#sums, c, sum);
      plus(this.#squares, c, squares);
    }
    this.#count += rows;
  }

  result(): number {
    if (this.#count < 2) return Number.NaN;
    let total = 0;
    for (const [c, error] of this.#errors.entries()) {
      const sum = this.#sums[c] ?? Number.NaN;
      const spread = (this.#squares[c] ?? Number.NaN) - (sum * sum) / this.#count;
      total += spread === 0 ? (error === 0 ? 1 : 0) : 1 - error / spread;
    }
    return total / this.#errors.length;
  }
}

/** What perplexity leaves out. */
export interface PerplexityOptions {
  /** Targets that do not count, as of crossEntropy; -100 by default. */
  ignoreIndex?: number;
}

/**
 * e to the power of the mean cross-entropy of an epoch's targets, without weights of classes or
 * smoothing: Jelinek et al., "Perplexity - a Measure of the Difficulty of Speech Recognition Tasks"
 * (1977). Of outputs with class numbers.
 */
export function perplexity(options?: PerplexityOptions): BuiltIn;
export function perplexity(options?: PerplexityOptions, ...more: unknown[]): BuiltIn {
  is.lastArgument(more, 'perplexity');
  const set = is.options(options, 'options of perplexity', ['ignoreIndex']);
  const ignored = is.integer(set.ignoreIndex ?? -100, 'ignoreIndex', -(2 ** 31), 2 ** 31 - 1);
  return builtIn({
    name: 'perplexity',
    largerIsBetter: false,
    expects: 'a metric for an output with class numbers',
    fits: (pair) => classes(pair) && pair.target.dtype === 'int32',
    build: ({ output, target, loss, lossValue }) => ({
      // Where the loss is the same it is there already.
      values: () => [
        loss === 'crossEntropy' && lossValue !== undefined && ignored === -100
          ? lossValue
          : crossEntropy(output, target, { ignoreIndex: ignored }),
        target,
      ],
      accumulate(state) {
        const sums = readSums(state, 2);
        return {
          add([[entropy = Number.NaN] = [], targets = none]) {
            let counted = 0;
            for (const item of targets) if (item !== ignored) counted++;
            // Without a target that counts the mean is NaN.
            if (counted > 0) plus(sums, 0, entropy * counted);
            plus(sums, 1, counted);
          },
          result: () => Math.exp(quotient(sums)),
          state: () => Array.from(sums),
        };
      },
    }),
  });
}
