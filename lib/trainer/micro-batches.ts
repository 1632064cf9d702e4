// Which batches make up a step when gradients are accumulated, and what each weighs in its mean.
import type { Term } from './divisors.js';
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
  /** For each batch one number a term of the loss, if the graph has such: see `scaled`. */
  readonly scales: Float64Array | undefined;
  isLast(batch: number): boolean;
}

/** Batches of steps that have several of them. */
export interface Parts extends Piece {
  /** What the terms of the loss divide by, batch after batch. */
  readonly divisors: Float64Array;
  /** The same of the batches behind these that belong to their last step, if that matters. */
  readonly following: Float64Array;
}

/** Plans the chunks of a run one after the other. */
export class StepPlanner {
  #step: number;
  /** Batches of the step that has begun. */
  #count = 0;
  /** What the terms of its loss divide by: in the end with `scales`, otherwise so far. */
  #totals: Float64Array;
  /** With `scales`: all of its batches. */
  #batches = 0;

  constructor(
    /** Batches of a step; the last one of a run may have fewer. */
    readonly most: number,
    /** Of the loss. */
    readonly terms: readonly Term[],
    readonly scales: boolean,
    firstStep: number,
    /** For the rate of a chunk of one batch, which native code copies before the next is planned. */
    readonly single: Float64Array,
  ) {
    this.#totals = new Float64Array(terms.length);
    this.#step = firstStep;
  }

  /** `piece` is from PartSource where steps have several batches. */
  plan(piece: Piece | Parts, rateOf: (step: number) => number): ChunkPlan {
    const firstStep = this.#step;
    const { length } = piece.sizes;
    const rates = length === 1 ? this.single : new Float64Array(length);
    if (!('divisors' in piece)) {
      for (let i = 0; i < length; i++) rates[i] = rateOf(this.#step++);
      const none = { weights: undefined, marks: undefined, scales: undefined };
      return { firstStep, rates, ...none, isLast: () => true };
    }
    const weights = new Float64Array(length);
    const marks = new Uint32Array(length);
    const scales = this.scales ? new Float64Array(length * this.terms.length) : undefined;
    for (let i = 0; i < length; i++) {
      const first = this.#count === 0;
      weights[i] = scales ? this.#scale(piece, i, scales) : this.#weigh(piece.divisors[i] ?? 0);
      rates[i] = rateOf(this.#step);
      this.#count++;
      const last = this.#count === this.most || (piece.final === true && i === length - 1);
      marks[i] = (first ? 1 : 0) + (last ? 2 : 0);
      if (!last) continue;
      this.#count = 0;
      this.#step++;
    }
    return { firstStep, rates, weights, marks, scales, isLast: (i) => ((marks[i] ?? 0) & 2) !== 0 };
  }

  #weigh(divisor: number): number {
    const total = (this.#count === 0 ? 0 : (this.#totals[0] ?? 0)) + divisor;
    this.#totals[0] = total;
    return total === 0 ? 0 : divisor / total;
  }

  /** So that the mean of the step's batches has each term divided by its sum over the step. */
  #scale({ divisors, following }: Parts, batch: number, scales: Float64Array): number {
    const { length } = this.terms;
    const from = batch * length;
    if (this.#count === 0) {
      const left = divisors.length + following.length - from;
      const end = from + Math.min(left, this.most * length);
      this.#batches = (end - from) / length;
      this.#totals = new Float64Array(length);
      for (let i = from; i < end; i++) {
        const divisor = divisors[i] ?? following[i - divisors.length] ?? 0;
        this.#totals[i % length] = (this.#totals[i % length] ?? 0) + divisor;
      }
    }
    for (const [i, { by, least }] of this.terms.entries()) {
      const perBatch = Math.max(this.#totals[i] ?? 0, least) / this.#batches;
      const share = perBatch === 0 ? 0 : (divisors[from + i] ?? 0) / perBatch;
      scales[from + i] = by === undefined ? share : perBatch;
    }
    return 1 / (this.#count + 1);
  }
}

/**
 * The batches of a source with what they divide by, the last piece of which is `final`. What
 * follows a piece is read before the piece is handed out: one more, so that its divisors are
 * computed before the steps of the piece are, and with `ahead` the rest of the piece's last step.
 */
export class PartSource {
  readonly #queue: { readonly piece: Piece; readonly divisors: Promise<Float64Array> }[] = [];
  #ended = false;
  /** Batches, before those of the queue, of the step that they go on with. */
  #open = 0;

  constructor(
    readonly source: StepSource,
    readonly most: number,
    /** Of the loss. */
    readonly terms: number,
    readonly ahead: boolean,
    /** What the terms divide by in each batch. */
    readonly divide: (piece: Piece) => Promise<Float64Array>,
  ) {}

  async next(steps: number): Promise<Parts | undefined> {
    if (this.#queue.length === 0) await this.#read(steps);
    const [head] = this.#queue;
    if (head === undefined) return undefined;
    const open = (this.#open + head.piece.sizes.length) % this.most;
    const missing = this.ahead && open > 0 ? this.most - open : 0;
    while (!this.#ended && (this.#queue.length < 2 || this.#behind() < missing)) {
      await this.#read(steps);
    }
    this.#queue.shift();
    this.#open = open;
    const following: number[] = [];
    for (const { divisors } of this.#queue) {
      if (following.length >= missing * this.terms) break;
      following.push(...(await divisors));
    }
    return {
      ...head.piece,
      divisors: await head.divisors,
      following: Float64Array.from(following.slice(0, missing * this.terms)),
      final: this.#queue.length === 0,
    };
  }

  /** Resolves when nothing is computed any more for batches that nobody will take. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#queue.map(({ divisors }) => divisors));
  }

  /** Batches behind the first piece of the queue. */
  #behind(): number {
    return this.#queue.slice(1).reduce((sum, { piece }) => sum + piece.sizes.length, 0);
  }

  async #read(steps: number): Promise<void> {
    const piece = await this.source.next(steps);
    if (piece === undefined) {
      this.#ended = true;
      return;
    }
    // Native code takes two calls at a time.
    await this.#queue.at(-2)?.divisors;
    const divisors = this.divide(piece);
    // Whoever awaits it sees the error.
    divisors.catch(() => {});
    this.#queue.push({ piece, divisors });
  }
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
