import { toCSV } from '../history/csv.js';
import { type Overfitting, type OverfittingOptions, overfitting } from '../history/overfitting.js';
import type { Matrix } from '../metrics/metric.js';
import type { Rows } from './data.js';
import { type Result, weighRows } from './divisors.js';

/**
 * Numbers for each epoch. Losses and metrics are of the whole epoch: means over its rows, of
 * crossEntropy and accuracy over the targets that count; those of validation data have `val` before
 * their name.
 */
export interface EpochNumbers {
  /** The epochs' numbers, from 0 on, over all calls of fit. */
  epochs: number[];
  loss: number[];
  /** The learning rate of each epoch's last step. */
  learningRate: number[];
  /**
   * Metrics by their names, and with validation data `valLoss` and so on (`accuracy` becomes
   * `valAccuracy`). A name that fit did not report is absent.
   */
  [name: string]: number[];
}

/** What fit returns: numbers for each epoch, and what follows from them. */
export type History = EpochNumbers & HistoryMethods;

/** What a history has beside its numbers. */
export interface HistoryMethods {
  /** Metrics that are matrices, such as `confusionMatrix` and `valConfusionMatrix`: the last epoch's. */
  readonly matrices: Record<string, Matrix>;
  /**
   * Whether the model overfits: gap, trend, when it began, a verdict in plain words. Throws
   * ERR_ARGUMENT for options that are wrong; the verdict is 'unknown' without validation data.
   */
  overfitting(options?: OverfittingOptions): Overfitting;
  /**
   * A line of names, then a line an epoch, as RFC 4180 has it; numbers in full, an empty field where
   * an epoch has none.
   */
  toCSV(): string;
}

// On the prototype, so that a history lists and compares as its numbers alone.
class Numbers {
  epochs: number[] = [];
  loss: number[] = [];
  learningRate: number[] = [];

  constructor() {
    Object.defineProperty(this, 'matrices', { value: {} });
  }

  overfitting(this: EpochNumbers, options?: OverfittingOptions): Overfitting {
    return overfitting(this.loss, this.valLoss ?? [], { epochs: this.epochs, ...options });
  }

  toCSV(this: EpochNumbers): string {
    return toCSV(this);
  }
}

/** A history without epochs. */
export function makeHistory(): History {
  const made: unknown = new Numbers();
  return made as History;
}

/** The name of a result on validation data: "loss" becomes "valLoss". */
export const validationName = (name: string): string =>
  `val${name.charAt(0).toUpperCase()}${name.slice(1)}`;

/** What means have added up. */
export interface MeansState {
  readonly rows: number;
  readonly sums: readonly number[];
  readonly totals: readonly number[];
  readonly weighed: readonly boolean[];
}

/** Means of the numbers of batches, each weighted by what its own mean divides by. */
export class Means {
  readonly #results: readonly Result[];
  /** Of the rows seen last; undefined where all weigh the same. */
  #weights: readonly (Float64Array | undefined)[] = [];
  #of: Rows | undefined;
  /** Whether rows ever had weights, by result. */
  readonly #weighed: boolean[];
  readonly #sums: Float64Array;
  readonly #totals: Float64Array;
  #rows: number;

  /** `state`: that of means over the same results, to go on from. */
  constructor(results: readonly Result[], state?: MeansState) {
    this.#results = results;
    this.#weighed = results.map((_, i) => state?.weighed[i] ?? false);
    this.#sums = Float64Array.from(results, (_, i) => state?.sums[i] ?? 0);
    this.#totals = Float64Array.from(results, (_, i) => state?.totals[i] ?? 0);
    this.#rows = state?.rows ?? 0;
  }

  get state(): MeansState {
    return {
      rows: this.#rows,
      sums: [...this.#sums],
      totals: [...this.#totals],
      weighed: [...this.#weighed],
    };
  }

  get rows(): number {
    return this.#rows;
  }

  /** Adds numbers that lie in `values` from `offset` on, of a batch of the rows `which` of `rows`. */
  add(values: Float64Array, offset: number, which: Uint32Array, rows: Rows): void {
    if (this.#of !== rows) this.#weigh(rows);
    for (let i = 0; i < this.#sums.length; i++) {
      const weights = this.#weights[i];
      let weight = which.length;
      if (weights !== undefined) {
        weight = 0;
        for (const row of which) weight += weights[row] ?? 0;
      }
      // Without a target that counts a mean is NaN.
      if (weight === 0) continue;
      this.#sums[i] = (this.#sums[i] ?? 0) + (values[offset + i] ?? Number.NaN) * weight;
      this.#totals[i] = (this.#totals[i] ?? 0) + weight;
    }
    this.#rows += which.length;
  }

  #weigh(rows: Rows): void {
    this.#of = rows;
    this.#weights = this.#results.map(({ divisor }) => weighRows(divisor, rows));
    this.#weights.forEach((weights, i) => {
      this.#weighed[i] ||= weights !== undefined;
    });
  }

  /** The means by `rename(name)`; none before the first rows. */
  logs(rename: (name: string) => string = (name) => name): Record<string, number> {
    if (this.#rows === 0) return {};
    return Object.fromEntries(
      this.#results.map(({ name }, i) => [rename(name), this.#mean(i)] as const),
    );
  }

  #mean(i: number): number {
    const divisor = this.#results[i]?.divisor;
    if (divisor?.kind === 'sum' && divisor.of.some((part) => this.#weighed[part])) {
      return divisor.of.reduce((sum, part) => sum + this.#mean(part), 0);
    }
    return (this.#sums[i] ?? Number.NaN) / (this.#totals[i] ?? Number.NaN);
  }
}

export function record(
  history: History,
  epoch: number,
  logs: Readonly<Record<string, number>>,
  matrices: Readonly<Record<string, Matrix>>,
): void {
  history.epochs.push(epoch);
  Object.assign(history.matrices, matrices);
  for (const [name, value] of Object.entries(logs)) {
    let numbers = history[name];
    if (numbers === undefined) {
      numbers = [];
      history[name] = numbers;
    }
    numbers.push(value);
  }
}
