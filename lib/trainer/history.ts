import { toCSV } from '../history/csv.js';
import { type Overfitting, type OverfittingOptions, overfitting } from '../history/overfitting.js';
import type { Matrix } from '../metrics/metric.js';
import type { Result, Term } from './divisors.js';

/**
 * Numbers for each epoch. Losses and metrics are of the whole epoch: means over its rows, of losses
 * with weights by these, and of crossEntropy and accuracy over the targets that count; those of
 * validation data have `val` before their name. Steps that were left out count where their loss is finite,
 * and an epoch has NaN where none was.
 */
export interface EpochNumbers {
  /** The epochs' numbers, from 0 on, over all calls of fit. */
  epochs: number[];
  loss: number[];
  /** The learning rate of each epoch's last step that was not left out; 0 where all were. */
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
   * an epoch has none (NaN).
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

/** What means have added up, of each term of each result. */
export interface MeansState {
  readonly rows: number;
  readonly sums: readonly number[];
  readonly totals: readonly number[];
}

/** Means of the numbers of batches, each term weighted by what its own mean divides by. */
export class Means {
  readonly #results: readonly Result[];
  readonly #terms: readonly Term[];
  readonly #sums: Float64Array;
  readonly #totals: Float64Array;
  #rows: number;

  /** `state`: that of means over the same results, to go on from. */
  constructor(results: readonly Result[], state?: MeansState) {
    this.#results = results;
    this.#terms = results.flatMap(({ terms }) => terms);
    this.#sums = Float64Array.from(this.#terms, (_, i) => state?.sums[i] ?? 0);
    this.#totals = Float64Array.from(this.#terms, (_, i) => state?.totals[i] ?? 0);
    this.#rows = state?.rows ?? 0;
  }

  get state(): MeansState {
    return { rows: this.#rows, sums: [...this.#sums], totals: [...this.#totals] };
  }

  get rows(): number {
    return this.#rows;
  }

  /**
   * Adds numbers that lie in `values` from `offset` on, of a batch of so many rows. Whether the first
   * result, the loss, is finite, or nothing counts in it.
   */
  add(values: Float64Array, offset: number, rows: number): boolean {
    const numberAt = (i: number) => values[offset + i] ?? Number.NaN;
    const ofLoss = this.#results[0]?.terms.length ?? 0;
    let finite = true;
    for (const [i, { value, divisor, by, counts }] of this.#terms.entries()) {
      const weight = divisor === undefined ? rows : numberAt(divisor);
      const factor = by === undefined ? weight : numberAt(by);
      // Where nothing counts a mean may be NaN.
      if (factor === 0) continue;
      const sum = numberAt(value) * factor;
      if (i < ofLoss && !Number.isFinite(sum)) finite = false;
      this.#sums[i] = (this.#sums[i] ?? 0) + (counts ? Math.round(sum) : sum);
      this.#totals[i] = (this.#totals[i] ?? 0) + weight;
    }
    this.#rows += rows;
    return finite;
  }

  /** The means by `rename(name)`; NaN before the first rows. */
  logs(rename: (name: string) => string = (name) => name): Record<string, number> {
    let next = 0;
    const entries = this.#results.map(({ name, terms }) => {
      const mean = terms.reduce((sum) => sum + this.#mean(next++), 0);
      return [rename(name), this.#rows === 0 ? Number.NaN : mean] as const;
    });
    return Object.fromEntries(entries);
  }

  #mean(term: number): number {
    const [sum, total] = [this.#sums[term] ?? Number.NaN, this.#totals[term] ?? 0];
    const { least = 0, nothing = Number.NaN } = this.#terms[term] ?? {};
    // A loss with weights, whose mean is 0 where nothing counts, is 0 whatever there was to divide.
    const isNothing = total === 0 && (sum === 0 || (nothing === 0 && least === 0));
    return isNothing ? nothing : sum / Math.max(total, least);
  }
}

/** Adds an epoch: every list has a number for each epoch then, NaN where there was none. */
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
    fill(numbers, history.epochs.length - 1);
    numbers.push(value);
  }
  for (const numbers of Object.values(history)) fill(numbers, history.epochs.length);
}

function fill(numbers: number[], length: number): void {
  while (numbers.length < length) numbers.push(Number.NaN);
}
