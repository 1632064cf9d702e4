/**
 * What fit returns: numbers for each epoch. Losses and metrics are means over the epoch's rows;
 * those of validation data have `val` before their name.
 */
export interface History {
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

/** The name of a result on validation data: "loss" becomes "valLoss". */
export const validationName = (name: string): string =>
  `val${name.charAt(0).toUpperCase()}${name.slice(1)}`;

/** Means of a step's numbers, weighted by rows. */
export class Means {
  readonly #sums: number[];
  #rows = 0;

  constructor(readonly names: readonly string[]) {
    this.#sums = names.map(() => 0);
  }

  get rows(): number {
    return this.#rows;
  }

  /** Adds numbers that lie in `values` from `offset` on. */
  add(values: Float64Array, offset: number, rows: number): void {
    for (let i = 0; i < this.#sums.length; i++) {
      this.#sums[i] = (this.#sums[i] ?? 0) + (values[offset + i] ?? Number.NaN) * rows;
    }
    this.#rows += rows;
  }

  /** The means by `rename(name)`; none before the first rows. */
  logs(rename: (name: string) => string = (name) => name): Record<string, number> {
    if (this.#rows === 0) return {};
    return Object.fromEntries(
      this.names.map((name, i) => [rename(name), (this.#sums[i] ?? Number.NaN) / this.#rows]),
    );
  }
}

export function record(
  history: History,
  epoch: number,
  logs: Readonly<Record<string, number>>,
): void {
  history.epochs.push(epoch);
  for (const [name, value] of Object.entries(logs)) {
    let numbers = history[name];
    if (numbers === undefined) {
      numbers = [];
      history[name] = numbers;
    }
    numbers.push(value);
  }
}
