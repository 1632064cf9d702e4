// Keeps the native trainer busy: chunks of steps, two in flight, so that it never waits for the
// event loop and the event loop never waits for it.
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Trainer as NativeTrainer, StagedRows } from '../../bindings.js';
import * as is from '../is.js';
import type { ModelState } from '../model/state.js';
import { native } from '../native.js';
import type { Rows } from './data.js';
import type { Settings } from './options.js';
import type { Piece, StepSource } from './supply.js';

/** Rows of a chunk are copied when it is handed over, and its results when it is done. It has as many steps as fit, but one at least. */
const maxChunkBytes = 2 ** 20;
/** Copied in one turn of the event loop: so much, or so many rows, each of which is somewhere else. */
const sliceBytes = 2 ** 19;
const sliceRows = 2 ** 13;
const chunkMilliseconds = 30;
const maxChunkSteps = 1024;

export interface Step {
  /** From 0, over the life of the trainer. */
  readonly step: number;
  readonly rows: number;
  /** The step's rows, numbers of rows of `of`. */
  readonly which: Uint32Array;
  readonly of: Rows;
  readonly learningRate: number;
  /** The elements of the graph's outputs begin at `offset`; before `end` is the gradients' norm. */
  readonly values: Float64Array;
  readonly offset: number;
  readonly end: number;
}

/** How many numbers a graph's outputs have together: `fixed`, and `perRow` more for each row. */
export interface Width {
  readonly fixed: number;
  readonly perRow: number;
}

interface Flight {
  readonly promise: Promise<Float64Array>;
  readonly firstStep: number;
  readonly piece: Piece;
  readonly rates: Float64Array;
  readonly launched: number;
}

export class Engine {
  /** Steps per millisecond, as measured; unknown before the first chunk. */
  #rate = 0;
  #chunk = 1;

  constructor(
    readonly native: NativeTrainer,
    readonly model: ModelState,
    readonly settings: Settings,
    /** Numbers of a step: all of the graph's outputs; train() adds the gradients' norm. */
    readonly width: Width,
    /** Of one row, over all feeds. */
    readonly rowBytes: number,
  ) {}

  /** The learning rate of a step. Throws what the scheduler throws, and ERR_ARGUMENT. */
  learningRate(step: number): number {
    const factor: unknown = this.settings.schedule(step);
    return this.settings.optimizer.learningRate * is.number(factor, 'lrScheduler(step)', 0);
  }

  /**
   * One optimizer step for each batch of `source`. `onChunk` gets what each chunk did; with `singly`
   * it is awaited before the next step begins, and returns whether to go on.
   */
  async train(
    source: StepSource,
    singly: boolean,
    halted: () => boolean,
    onChunk: (steps: readonly Step[]) => Promise<boolean> | boolean,
  ): Promise<void> {
    const most = singly ? 1 : this.#mostSteps(source.batchSize);
    const depth = singly ? 1 : 2;
    const flights: Flight[] = [];
    let exhausted = false;
    let nextStep = this.native.step;
    let landed = performance.now();
    try {
      for (;;) {
        while (flights.length < depth && !exhausted && !halted()) {
          const next = source.next(Math.min(most, this.#chunk));
          const piece = next instanceof Promise ? await next : next;
          exhausted = piece === undefined;
          if (piece === undefined || halted()) break;
          const flight = await this.#launch(piece, nextStep, halted);
          if (flight === undefined) break;
          flights.push(flight);
          nextStep += piece.sizes.length;
        }
        const flight = flights.shift();
        if (flight === undefined) break;
        const values = await flight.promise;
        const steps = this.#steps(flight, values);
        const now = performance.now();
        this.#pace(steps.length, now - Math.max(landed, flight.launched));
        landed = now;
        if (singly) this.model.training = false;
        const goOn = await onChunk(steps);
        if (!goOn || steps.length < flight.piece.sizes.length) break;
      }
    } finally {
      if (flights.length > 0) this.native.stop();
      await Promise.allSettled(flights.map(({ promise }) => promise));
      this.model.training = false;
    }
  }

  /** Means over batches in inference mode, chunk by chunk. */
  async evaluate(
    source: StepSource,
    halted: () => boolean,
    onBatch: (values: Float64Array, offset: number, which: Uint32Array, of: Rows) => void,
  ): Promise<void> {
    const steps = this.#mostSteps(source.batchSize);
    let running: { values: Promise<Float64Array>; piece: Piece } | undefined;
    const land = async () => {
      if (running === undefined) return;
      const { rows, order, sizes } = running.piece;
      const values = await running.values;
      running = undefined;
      let offset = 0;
      let begin = 0;
      for (const size of sizes) {
        if (offset >= values.length) break;
        onBatch(values, offset, order.subarray(begin, begin + size), rows);
        offset += this.#numbers(size);
        begin += size;
      }
    };
    try {
      while (!halted()) {
        const piece = await source.next(steps);
        if (piece === undefined || halted()) break;
        // A large chunk is copied while the one before is computed.
        const staged = await this.#stage(piece, halted);
        if (staged === undefined) break;
        try {
          await land();
          if (halted()) break;
          const { rows, order, sizes } = piece;
          const values = staged
            ? staged.evaluate()
            : this.native.evaluate(rows.arrays, order, sizes);
          // Whoever awaits it sees the error.
          values.catch(() => {});
          running = { values, piece };
        } finally {
          staged?.close();
        }
      }
      await land();
    } finally {
      await Promise.allSettled([running?.values]);
    }
  }

  #mostSteps(batchSize: number): number {
    const rowBytes = this.rowBytes + 8 * this.width.perRow;
    const steps = Math.floor(maxChunkBytes / (rowBytes * batchSize));
    return Math.max(1, Math.min(maxChunkSteps, steps));
  }

  /**
   * The rows of a large chunk, copied over several turns of the event loop; null for a small one,
   * which train() and evaluate() copy at once, and undefined when halted meanwhile.
   */
  async #stage(
    { rows, order, sizes }: Piece,
    halted: () => boolean,
  ): Promise<StagedRows | null | undefined> {
    const slice = Math.min(sliceBytes, sliceRows * this.rowBytes);
    if (order.length * this.rowBytes <= slice) return null;
    const staged = new native.StagedRows(this.native, order, sizes);
    try {
      while (!staged.copy(rows.arrays, slice)) {
        await nextTurn();
        if (halted()) {
          staged.close();
          return undefined;
        }
      }
    } catch (error) {
      staged.close();
      throw error;
    }
    return staged;
  }

  /** Undefined when halted before the first step. */
  async #launch(
    piece: Piece,
    firstStep: number,
    halted: () => boolean,
  ): Promise<Flight | undefined> {
    const { rows, order, sizes } = piece;
    const rates = new Float64Array(sizes.length);
    for (let i = 0; i < rates.length; i++) rates[i] = this.learningRate(firstStep + i);
    const staged = await this.#stage(piece, halted);
    if (staged === undefined) return undefined;
    this.model.training = true;
    const promise = staged
      ? staged.train(rates)
      : this.native.train(rows.arrays, order, sizes, rates);
    // Whoever awaits it sees the error; until then nobody may be there yet.
    promise.catch(() => {});
    return { promise, firstStep, piece, rates, launched: performance.now() };
  }

  /** Those that ran before a stop. */
  #steps({ firstStep, piece, rates }: Flight, values: Float64Array): Step[] {
    const { order, sizes } = piece;
    const steps: Step[] = [];
    let offset = 0;
    let begin = 0;
    for (const [i, rows] of sizes.entries()) {
      if (offset >= values.length) break;
      const end = offset + this.#numbers(rows) + 1;
      const learningRate = rates[i] ?? Number.NaN;
      const which = order.subarray(begin, begin + rows);
      steps.push({
        step: firstStep + i,
        rows,
        which,
        of: piece.rows,
        learningRate,
        values,
        offset,
        end,
      });
      offset = end;
      begin += rows;
    }
    return steps;
  }

  #numbers(rows: number): number {
    return this.width.fixed + this.width.perRow * rows;
  }

  /** Aims at chunks of `chunkMilliseconds`, growing at most fourfold at a time. */
  #pace(steps: number, milliseconds: number): void {
    if (steps === 0) return;
    const rate = steps / Math.max(milliseconds, 0.01);
    this.#rate = this.#rate === 0 ? rate : 0.7 * this.#rate + 0.3 * rate;
    const aim = Math.floor(this.#rate * chunkMilliseconds);
    this.#chunk = Math.max(1, Math.min(aim, this.#chunk * 4, maxChunkSteps));
  }
}
