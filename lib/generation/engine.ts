// Steps of all generations of a Predictor: sequences join and leave between two steps, and what a
// step computes is what they have to compute just then, tokens of prompts and last tokens alike.
// Yu et al., "Orca: A Distributed Serving System for Transformer-Based Generative Models" (2022).
import type { Binding, Predictor as NativePredictor } from '../../bindings.js';
import { bucketRows } from '../predictor/batch.js';
import { aborted } from '../trainer/signal.js';
import type { GenerationPlan } from './graph.js';
import type { Sequence } from './sequence.js';

/** Rows of a step at most: longer prompts take several, so that others are not held up. */
const stepRows = 128;
/** Tokens that a sequence is ahead of whoever reads it at most. */
const maxAhead = 32;

/** Consecutive tokens of a sequence in one step. */
interface Piece {
  readonly sequence: Sequence;
  readonly row: number;
  readonly count: number;
}

/** Buffers of a step of so many rows. */
interface Step {
  readonly binding: Binding;
  readonly tokens: Int32Array;
  readonly slots: Int32Array;
  readonly positions: Int32Array;
  readonly logits: Float32Array;
}

export class GenerationEngine {
  readonly plan: GenerationPlan;
  readonly #predictor: NativePredictor;
  readonly #maxRows: number;
  /** By rows; all share the caches of the first. */
  readonly #steps = new Map<number, Step>();
  readonly #active = new Set<Sequence>();
  readonly #waiting = new Set<Sequence>();
  readonly #free: number[];
  #first: Binding | undefined;
  #running = false;
  #closed: unknown;

  constructor(predictor: NativePredictor, plan: GenerationPlan, maxBatch: number) {
    this.#predictor = predictor;
    this.plan = plan;
    this.#maxRows = Math.min(maxBatch, stepRows);
    this.#free = Array.from({ length: plan.sequences }, (_, i) => plan.sequences - 1 - i);
  }

  /** The tokens that follow. The sequence has its place until the iteration ends. */
  async *run(sequence: Sequence): AsyncGenerator<number, void, undefined> {
    const { signal } = sequence;
    if (signal?.aborted) throw aborted(signal);
    if (this.#closed !== undefined) throw this.#closed;
    const abort = () => {
      sequence.fail(aborted(signal as AbortSignal));
      this.#release(sequence);
    };
    signal?.addEventListener('abort', abort, { once: true });
    this.#waiting.add(sequence);
    try {
      for (;;) {
        const token = await sequence.next(() => this.#wake());
        if (token === undefined) return;
        yield token;
      }
    } finally {
      signal?.removeEventListener('abort', abort);
      sequence.leave();
      this.#release(sequence);
    }
  }

  /** Ends all generations with `error`. */
  close(error: unknown): void {
    this.#closed ??= error;
    for (const sequence of [...this.#active, ...this.#waiting]) {
      sequence.fail(error);
      this.#release(sequence);
    }
    this.#steps.clear();
  }

  #release(sequence: Sequence): void {
    this.#waiting.delete(sequence);
    if (!this.#active.delete(sequence)) return;
    this.#free.push(sequence.slot);
    this.#wake();
  }

  #wake(): void {
    if (this.#running || this.#closed !== undefined) return;
    this.#running = true;
    void this.#loop();
  }

  async #loop(): Promise<void> {
    // Those that begin in one turn begin with one step.
    await undefined;
    try {
      for (;;) {
        this.#admit();
        const pieces = this.#compose();
        if (pieces.length === 0 || this.#closed !== undefined) break;
        await this.#step(pieces);
      }
    } catch (error) {
      for (const sequence of this.#active) sequence.fail(error);
    } finally {
      this.#running = false;
    }
  }

  #admit(): void {
    for (const sequence of this.#waiting) {
      const slot = this.#free.pop();
      if (slot === undefined) return;
      this.#waiting.delete(sequence);
      sequence.slot = slot;
      this.#active.add(sequence);
    }
  }

  /** Last tokens before prompts: whoever is under way goes on. */
  #compose(): Piece[] {
    const pieces: Piece[] = [];
    let row = 0;
    for (const isNew of [false, true]) {
      for (const sequence of this.#active) {
        if (sequence.done || sequence.isNew !== isNew || sequence.ahead >= maxAhead) continue;
        const count = Math.min(sequence.pending, this.#maxRows - row);
        if (count === 0) break;
        pieces.push({ sequence, row, count });
        row += count;
      }
    }
    return pieces;
  }

  async #step(pieces: readonly Piece[]): Promise<void> {
    const rows = pieces.reduce((sum, { count }) => sum + count, 0);
    const step = this.#prepare(bucketRows(rows, this.#maxRows));
    step.tokens.fill(0, rows);
    step.slots.fill(-1, rows);
    step.positions.fill(0, rows);
    for (const { sequence, row, count } of pieces) {
      for (let i = 0; i < count; i++) {
        step.tokens[row + i] = sequence.token(sequence.cached + i);
        step.positions[row + i] = sequence.cached + i;
      }
      step.slots.fill(sequence.slot, row, row + count);
    }
    await step.binding.run();
    const { vocabulary } = this.plan;
    for (const { sequence, row, count } of pieces) {
      sequence.cached += count;
      if (sequence.pending > 0) continue;
      const last = row + count - 1;
      sequence.extend(step.logits.subarray(last * vocabulary, (last + 1) * vocabulary));
    }
  }

  #prepare(rows: number): Step {
    const known = this.#steps.get(rows);
    if (known !== undefined) return known;
    const binding = this.#predictor.bind(rows, 1, ...(this.#first ? [this.#first] : []));
    this.#first ??= binding;
    const [tokens, slots, positions] = binding.inputs as Int32Array[];
    const [logits] = binding.outputs as Float32Array[];
    const step = { binding, tokens, slots, positions, logits } as Step;
    this.#steps.set(rows, step);
    return step;
  }
}
