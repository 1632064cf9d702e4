// Which batches make up a step when gradients are accumulated, and what each weighs in its mean.
import type { Rows } from './data.js';
import { type Divisor, weighRows } from './divisors.js';
import type { Piece, StepSource } from './supply.js';

/** What native code is told of the batches of a chunk, one number each. */
export interface ChunkPlan {
  /** The number of the first step that ends in the chunk. */
  readonly firstStep: number;
  readonly rates: Float64Array;
  /** Share of the batch in the mean of its step's batches so far; undefined where each is a step. */
  readonly weights: Float64Array | undefined;
  /** 1 for the first batch of a step, 2 for the last, 3 for both, 0 for others. */
  readonly marks: Uint32Array | undefined;
  isLast(batch: number): boolean;
}

/** Plans the chunks of a run one after the other. */
export class StepPlanner {
  readonly #weigher: RowWeigher;
  #step: number;
  /** Batches of the step that has begun, and what their loss divides by. */
  #count = 0;
  #total = 0;

  constructor(
    /** Batches of a step; the last one of a run may have fewer. */
    readonly most: number,
    divisor: Divisor,
    firstStep: number,
  ) {
    this.#weigher = new RowWeigher(divisor);
    this.#step = firstStep;
  }

  plan({ rows, order, sizes, final }: Piece, rateOf: (step: number) => number): ChunkPlan {
    const firstStep = this.#step;
    const rates = new Float64Array(sizes.length);
    if (this.most === 1) {
      for (let i = 0; i < rates.length; i++) rates[i] = rateOf(this.#step++);
      return { firstStep, rates, weights: undefined, marks: undefined, isLast: () => true };
    }
    const weights = new Float64Array(sizes.length);
    const marks = new Uint32Array(sizes.length);
    let begin = 0;
    for (const [i, size] of sizes.entries()) {
      const weight = this.#weigher.weigh(rows, order.subarray(begin, begin + size));
      begin += size;
      const first = this.#count === 0;
      this.#total = first ? weight : this.#total + weight;
      weights[i] = this.#total === 0 ? 0 : weight / this.#total;
      rates[i] = rateOf(this.#step);
      this.#count++;
      const last = this.#count === this.most || (final === true && i === sizes.length - 1);
      marks[i] = (first ? 1 : 0) + (last ? 2 : 0);
      if (!last) continue;
      this.#count = 0;
      this.#step++;
    }
    return { firstStep, rates, weights, marks, isLast: (i) => ((marks[i] ?? 0) & 2) !== 0 };
  }
}

/** What the mean of the loss over some rows divides by: rows, or targets that count. */
class RowWeigher {
  #of: Rows | undefined;
  #weights: Float64Array | undefined;

  constructor(readonly divisor: Divisor) {}

  weigh(rows: Rows, which: Uint32Array): number {
    if (this.#of !== rows) {
      this.#of = rows;
      this.#weights = weighRows(this.divisor, rows);
    }
    const weights = this.#weights;
    if (weights === undefined) return which.length;
    let sum = 0;
    for (const row of which) sum += weights[row] ?? 0;
    return sum;
  }
}

/** The same batches, the last piece of which is `final`. */
export function lookingAhead(source: StepSource): StepSource {
  let held: Piece | undefined;
  let begun = false;
  return {
    ...source,
    steps: source.steps,
    batchSize: source.batchSize,
    async next(steps) {
      const piece = begun ? held : await source.next(steps);
      begun = true;
      if (piece === undefined) return undefined;
      held = await source.next(steps);
      return { ...piece, final: held === undefined };
    },
  };
}

/** At most `batches` more of a source; `ended` tells whether the source itself has no more. */
export function limited(source: StepSource, batches: number): StepSource & { ended: boolean } {
  let left = batches;
  return {
    steps: undefined,
    batchSize: source.batchSize,
    ended: false,
    async next(steps) {
      if (left === 0) return undefined;
      const piece = await source.next(Math.min(steps, left));
      if (piece === undefined) this.ended = true;
      else left -= piece.sizes.length;
      return piece;
    },
  };
}
