// Metrics that are no means: their accumulators over the batches of an epoch or an evaluation.

import { TandemError } from '../errors.js';
import * as is from '../is.js';
import { isMatrix } from '../metrics/matrices.js';
import type { Accumulator, Matrix } from '../metrics/metric.js';
import type { Part as StepPart, Width } from './engine.js';

/** Where a value lies among the numbers of a step; it depends on the rows. */
export interface Part {
  readonly begin: Width;
  readonly size: Width;
}

/** A metric and the values that it is told. */
export interface Tracked {
  readonly name: string;
  /** By graph of the trainer. */
  readonly parts: (readonly Part[])[];
  readonly start: (state?: unknown) => Accumulator;
}

/** What metrics came to: numbers, and matrices, by name. */
export interface Tallied {
  readonly numbers: Record<string, number>;
  readonly matrices: Record<string, Matrix>;
}

/** States of accumulators by their metrics' names, as plain data. */
export type TallyState = Readonly<Record<string, unknown>>;

export class Tally {
  readonly #running: readonly {
    readonly tracked: Tracked;
    readonly sum: Accumulator;
    /** Whether it has missed a part of the epoch. */
    readonly partial: boolean;
  }[];

  /** `state`: that of a tally of the same metrics, to go on from. */
  constructor(tracked: readonly Tracked[], state?: TallyState) {
    this.#running = tracked.map((item) => {
      const own = state?.[item.name];
      const sum: unknown = item.start(own);
      if (!isAccumulator(sum)) {
        throw is.invalid('{ add, result }', `metrics.${item.name}.accumulate()`, sum);
      }
      return { tracked: item, sum, partial: state !== undefined && own === undefined };
    });
  }

  get state(): TallyState {
    const states = this.#running.map(({ tracked, sum, partial }) => [
      tracked.name,
      partial ? undefined : sum.state?.(),
    ]);
    return Object.fromEntries(states.filter(([, state]) => state !== undefined));
  }

  /** The numbers of a step of `rows` rows of a graph begin at `offset`. */
  add({ values, offset, rows, graph }: StepPart): void {
    for (const { tracked, sum } of this.#running) {
      const parts = (tracked.parts[graph] ?? []).map(({ begin, size }) => {
        const from = offset + begin.fixed + begin.perRow * rows;
        return values.subarray(from, from + size.fixed + size.perRow * rows);
      });
      sum.add(parts, rows);
    }
  }

  async results(rename: (name: string) => string = (name) => name): Promise<Tallied> {
    const tallied: Tallied = { numbers: {}, matrices: {} };
    for (const { tracked, sum, partial } of this.#running) {
      const value = partial ? Number.NaN : await sum.result();
      const name = rename(tracked.name);
      if (typeof value === 'number') tallied.numbers[name] = value;
      else if (isMatrix(value)) tallied.matrices[name] = value;
      else {
        const what = `expected a number or a matrix of numbers from \`metrics.${tracked.name}\``;
        throw new TandemError('ERR_ARGUMENT', `${what}, received ${is.show(value)}`);
      }
    }
    return tallied;
  }
}

const isAccumulator = (value: unknown): value is Accumulator =>
  typeof value === 'object' &&
  value !== null &&
  typeof Reflect.get(value, 'add') === 'function' &&
  typeof Reflect.get(value, 'result') === 'function';
