// Steps of all generations of a Predictor: sequences join and leave between two steps, and what a
// step computes is what they have to compute just then, tokens of prompts and last tokens alike.
// Yu et al., "Orca: A Distributed Serving System for Transformer-Based Generative Models" (2022).
import type { Binding, Predictor as NativePredictor, ProfileDescription } from '../../bindings.js';
import { offAbort, onAbort } from '../aborts.js';
import { TandemError } from '../errors.js';
import * as is from '../is.js';
import { bucketRows } from '../predictor/batch.js';
import { endable } from '../predictor/endable.js';
import { Places } from '../predictor/places.js';
import { aborted } from '../trainer/signal.js';
import type { GenerationPlan } from './graph.js';
import type { Sequence } from './sequence.js';

/** Rows of a step at most: longer prompts take several, so that others are not held up. */
const stepRows = 128;
/** Tokens that a sequence is ahead of whoever reads it at most. */
const maxAhead = 32;

/** So few are left of a sequence without a place when it asks for one again. */
const fewAhead = maxAhead / 2;

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
  /** Of `maxQueue`; those that are under way have one each. */
  readonly places: Places;
  readonly #predictor: NativePredictor;
  readonly #maxRows: number;
  /** By rows; all share the caches of the first. */
  readonly #steps = new Map<number, Step>();
  /** Those with a place in the cache; none of them is done. */
  readonly #active = new Set<Sequence>();
  readonly #waiting = new Set<Sequence>();
  /** Those that have begun and are not done, with a place in the cache or without. */
  readonly #open = new Set<Sequence>();
  readonly #free: number[];
  #first: Binding | undefined;
  #running = false;
  #closed: unknown;

  /** Takes the memory of the caches. Throws ERR_OUT_OF_MEMORY. */
  constructor(
    predictor: NativePredictor,
    plan: GenerationPlan,
    { maxBatch, maxQueue }: { maxBatch: number; maxQueue: number },
  ) {
    this.#predictor = predictor;
    this.plan = plan;
    this.#maxRows = Math.min(maxBatch, stepRows);
    this.places = new Places(maxQueue);
    this.#free = Array.from({ length: plan.sequences }, (_, i) => plan.sequences - 1 - i);
    try {
      this.#prepare(1);
    } catch (error) {
      if (!(error instanceof TandemError && error.code === 'ERR_OUT_OF_MEMORY')) throw error;
      throw new TandemError(
        'ERR_OUT_OF_MEMORY',
        `expected memory for \`generation\`, received none for a cache of ${plan.cacheBytes} bytes`,
        { cause: error },
      );
    }
  }

  /** With the memory of the caches. */
  profile(profile: ProfileDescription): ProfileDescription {
    const { memory } = profile;
    const cache = this.plan.cacheBytes;
    return { ...profile, memory: { ...memory, cache, total: memory.total + cache } };
  }

  /** Runs a step of so many rows of no sequence, whose plan and weights are then in memory. */
  async warm(rows: number): Promise<void> {
    const step = this.#prepare(bucketRows(Math.min(rows, this.#maxRows), this.#maxRows));
    step.slots.fill(-1);
    await step.binding.run();
  }

  /** The tokens that follow. The sequence may have a place until the iteration ends. */
  run(sequence: Sequence): AsyncGenerator<number, void, undefined> {
    return endable(this.#tokens(sequence), () => {
      sequence.leave();
      this.#end(sequence);
    });
  }

  async *#tokens(sequence: Sequence): AsyncGenerator<number, void, undefined> {
    const { signal } = sequence;
    if (signal?.aborted) throw aborted(signal);
    if (this.#closed !== undefined) throw this.#closed;
    if (this.places.full) throw this.places.refusal('generate');
    const abort = () => {
      sequence.fail(aborted(signal as AbortSignal));
      this.#end(sequence);
    };
    if (signal) onAbort(signal, abort);
    this.places.take();
    this.#open.add(sequence);
    this.#waiting.add(sequence);
    try {
      for (;;) {
        const token = await sequence.next(() => this.#feed(sequence));
        if (token === undefined) return;
        yield token;
      }
    } finally {
      if (signal) offAbort(signal, abort);
      sequence.leave();
      this.#end(sequence);
    }
  }

  /** Ends all generations with `error`. */
  close(error: unknown): void {
    this.#closed ??= error;
    for (const sequence of [...this.#open]) {
      sequence.fail(error);
      this.#end(sequence);
    }
    this.#steps.clear();
  }

  /** It is under way no more, whether or not its reader ever notices. */
  #end(sequence: Sequence): void {
    if (this.#open.delete(sequence)) this.places.free();
    this.#waiting.delete(sequence);
    if (!this.#active.delete(sequence)) return;
    this.#free.push(sequence.slot);
    this.#wake();
  }

  /** Its reader has taken a token, or waits for one. */
  #feed(sequence: Sequence): void {
    const placeless = !(sequence.done || this.#active.has(sequence));
    if (placeless && sequence.ahead < fewAhead) this.#waiting.add(sequence);
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
        await this.#step(pieces).catch((error: unknown) => this.#fail(pieces, error));
      }
    } finally {
      this.#running = false;
    }
  }

  /** Of a step that failed. Its places are free at once: a reader may take its time to notice. */
  #fail(pieces: readonly Piece[], error: unknown): void {
    for (const { sequence } of pieces) {
      sequence.fail(error);
      this.#end(sequence);
    }
  }

  #admit(): void {
    for (const sequence of this.#waiting) {
      const slot = this.#free.pop() ?? this.#evict();
      if (slot === undefined) return;
      this.#waiting.delete(sequence);
      sequence.slot = slot;
      this.#active.add(sequence);
    }
  }

  /**
   * The place of a sequence whose reader takes no tokens: it gets another when that goes on, and what
   * the cache had of it is computed anew. Nobody holds a place by doing nothing.
   */
  #evict(): number | undefined {
    for (const sequence of this.#active) {
      if (sequence.ahead < maxAhead) continue;
      this.#active.delete(sequence);
      sequence.cached = 0;
      return sequence.slot;
    }
    return undefined;
  }

  /**
   * The rows of the next step: last tokens before prompts, so that whoever is under way goes on, but a
   * quarter of the rows is for prompts. Who got rows goes to the end of the line, so that all get some
   * where there are more sequences than rows.
   */
  #compose(): Piece[] {
    const pieces: Piece[] = [];
    const line = [...this.#active].filter(({ ahead }) => ahead < maxAhead);
    const kept = Math.min(Math.max(1, this.#maxRows >> 2), this.#maxRows - 1);
    const share = line.some(({ isNew }) => isNew) ? this.#maxRows - kept : this.#maxRows;
    let row = 0;
    for (const isNew of [false, true]) {
      const end = isNew ? this.#maxRows : share;
      for (const sequence of line) {
        if (sequence.isNew !== isNew) continue;
        const count = Math.min(sequence.pending, end - row);
        if (count <= 0) break;
        pieces.push({ sequence, row, count });
        row += count;
      }
    }
    for (const { sequence } of pieces) {
      this.#active.delete(sequence);
      this.#active.add(sequence);
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
      // One that left or lost its place meanwhile has no use for it.
      if (!this.#active.has(sequence)) continue;
      sequence.extend(step.logits.subarray(last * vocabulary, (last + 1) * vocabulary));
      if (sequence.done) this.#end(sequence);
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

/** Closes the predictor where there is no room for the caches. Throws ERR_OUT_OF_MEMORY. */
export function openEngine(
  predictor: NativePredictor,
  plan: GenerationPlan,
  sizes: { maxBatch: number; maxQueue: number },
): GenerationEngine {
  try {
    checkApart(predictor);
    return new GenerationEngine(predictor, plan, sizes);
  } catch (error) {
    predictor.close();
    throw error;
  }
}

/** Sequences of one step are its rows, and each is to go on as if it were alone. */
function checkApart({ relatesRows }: NativePredictor): void {
  if (relatesRows === null) return;
  const what = 'a model of sequences that do not depend on each other';
  throw is.mismatch('ERR_ARGUMENT', what, 'generation', `one that relates them by ${relatesRows}`);
}
