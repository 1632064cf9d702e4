// Keeps the native trainer busy: chunks of steps, two in flight, so that it never waits for the
// event loop and the event loop never waits for it.
import { setImmediate as nextTurn } from 'node:timers/promises';
import type {
  GraphDescription,
  IntegerRange,
  Trainer as NativeTrainer,
  StagedRows,
} from '../../bindings.js';
import * as is from '../is.js';
import type { ModelState } from '../model/state.js';
import { native } from '../native.js';
import type { Term } from './divisors.js';
import { type ChunkPlan, PartSource, StepPlanner } from './micro-batches.js';
import type { Mixer } from './mixup.js';
import type { Settings } from './options.js';
import { isAborted } from './signal.js';
import type { Piece, StepSource } from './supply.js';

/** Rows of a chunk are copied when it is handed over, and its results when it is done. It has as many steps as fit, but one at least. */
const maxChunkBytes = 2 ** 20;
/** Copied in one turn of the event loop: so much, or so many rows, each of which is somewhere else. */
const sliceBytes = 2 ** 19;
const sliceRows = 2 ** 13;
const chunkMilliseconds = 30;
const maxChunkSteps = 1024;

/** Rows of a step that went through the graph together: all of them, or a micro-batch. */
export interface Part {
  readonly rows: number;
  /** The graph's outputs begin at `offset`. */
  readonly values: Float64Array;
  readonly offset: number;
  /** Of the trainer's. */
  readonly graph: number;
}

/** How many numbers a graph's outputs have together: `fixed`, and `perRow` more for each row. */
export interface Width {
  readonly fixed: number;
  readonly perRow: number;
}

export interface Step {
  /** From 0, over the life of the trainer. */
  readonly step: number;
  /** As used: 0 where the step was skipped. */
  readonly learningRate: number;
  readonly gradNorm: number;
  readonly parts: readonly Part[];
}

/** A graph over the same parameters. */
export interface AddedGraph {
  readonly description: GraphDescription;
  readonly ranges: readonly (IntegerRange | null)[];
  readonly width: Width;
}

interface Flight {
  readonly promise: Promise<Float64Array>;
  readonly piece: Piece;
  readonly plan: ChunkPlan;
  readonly launched: number;
}

export class Engine {
  /** Steps per millisecond, as measured; unknown before the first chunk. */
  #rate = 0;
  #chunk = 1;
  /** See StepPlanner. */
  readonly #single = new Float64Array(1);

  constructor(
    readonly native: NativeTrainer,
    readonly model: ModelState,
    readonly settings: Settings,
    /** Numbers of a step, by graph: all of its outputs; train() adds the norm and the rate. */
    readonly widths: Width[],
    /** Of the loss. */
    readonly terms: readonly Term[],
    /** Whether the graph has a number for each of them: see `scaled`. */
    readonly scales: boolean,
    /** Of one row, over all feeds. */
    readonly rowBytes: number,
    readonly mixer: Mixer | undefined,
    /** Resolves when nobody looks at the parameters. */
    readonly resting: () => Promise<void>,
  ) {}

  /** In place of the trainer's schedule, while it is there: the rate itself. */
  ownSchedule: ((step: number) => number) | undefined;

  /** Makes a graph the trainer's, too: its number. */
  addGraph({ description, ranges, width }: AddedGraph): number {
    const graph = this.native.addGraph(description, ranges);
    this.widths[graph] = width;
    return graph;
  }

  /** The learning rate of a step. Throws what the scheduler throws, and ERR_ARGUMENT. */
  learningRate(step: number): number {
    if (this.ownSchedule) return this.ownSchedule(step);
    const factor: unknown = this.settings.schedule(step);
    return this.settings.optimizer.learningRate * is.number(factor, 'lrScheduler(step)', 0);
  }

  /**
   * One optimizer step for each batch of `source`, or for as many of its batches as steps have
   * micro-batches. `onChunk` gets the steps that a chunk finished; with `singly` it is awaited
   * before the next step begins, and returns whether to go on.
   */
  async train(
    source: StepSource,
    singly: boolean,
    halted: () => boolean,
    onChunk: (steps: readonly Step[]) => Promise<boolean> | boolean,
  ): Promise<void> {
    await this.#take();
    const most = singly ? 1 : this.#mostSteps(source.batchSize);
    const depth = singly ? 1 : 2;
    const flights: Flight[] = [];
    const { microBatches } = this.settings;
    const { terms, scales } = this;
    const divide = (piece: Piece) => this.#divisors(piece, halted);
    const mixed = this.mixer?.mixed(source, this.native.step * microBatches) ?? source;
    const parts =
      microBatches > 1
        ? new PartSource(mixed, microBatches, terms.length, scales, divide)
        : undefined;
    const pieces = parts ?? mixed;
    const planner = new StepPlanner(microBatches, terms, scales, this.native.step, this.#single);
    const open: Part[] = [];
    let exhausted = false;
    let failure: { readonly error: unknown } | undefined;
    let landed = performance.now();
    try {
      for (;;) {
        while (flights.length < depth && !exhausted && !halted()) {
          let flight: Flight | undefined;
          try {
            const next = pieces.next(Math.min(most, this.#chunk));
            const piece = next instanceof Promise ? await next : next;
            exhausted = piece === undefined;
            if (piece === undefined || halted()) break;
            const plan = planner.plan(piece, (step) => this.learningRate(step));
            flight = await this.#launch(piece, plan, halted);
          } catch (error) {
            // Steps that are under way are taken, and counted, before this ends the run.
            failure = { error };
            exhausted = true;
          }
          if (flight === undefined) break;
          flights.push(flight);
        }
        const flight = flights.shift();
        if (flight === undefined) break;
        const values = await flight.promise;
        const { steps, done } = this.#steps(flight, values, open);
        const now = performance.now();
        this.#pace(done, now - Math.max(landed, flight.launched));
        landed = now;
        if (singly) this.model.training = false;
        const goOn = await onChunk(steps);
        if (singly) await this.#take();
        if (!goOn) break;
        // Stopped, but the next chunk may have finished a step that this one began.
        if (done < flight.piece.sizes.length) exhausted = true;
      }
      // Of a source that was told to end.
      if (failure && !(halted() && isAborted(failure.error))) throw failure.error;
    } finally {
      if (flights.length > 0) this.native.stop();
      await Promise.allSettled(flights.map(({ promise }) => promise));
      await parts?.settled();
      this.model.training = false;
    }
  }

  /** Lets `body` write to the parameters. */
  async changing(body: () => Promise<void>): Promise<void> {
    await this.#take();
    try {
      await body();
    } finally {
      this.model.training = false;
    }
  }

  /** Has nobody begin to look at the parameters, and waits for those who do. */
  async #take(): Promise<void> {
    this.model.training = true;
    await this.resting();
  }

  /**
   * The graph's outputs over batches in inference mode, chunk by chunk; with `averages` those of the
   * averages as they are now, which takes a copy of them.
   */
  async evaluate(
    source: StepSource,
    averages: boolean,
    halted: () => boolean,
    onBatch: (part: Part) => void,
  ): Promise<void> {
    const steps = this.#mostSteps(source.batchSize);
    let running: { values: Promise<Float64Array>; piece: Piece } | undefined;
    const land = async () => {
      if (running === undefined) return;
      const { sizes, rows } = running.piece;
      const { graph = 0 } = rows;
      const values = await running.values;
      running = undefined;
      let offset = 0;
      for (const size of sizes) {
        if (offset >= values.length) break;
        onBatch({ values, offset, rows: size, graph });
        offset += this.#numbers(size, graph);
      }
    };
    try {
      if (averages) await this.native.copyAverages();
      while (!halted()) {
        const next = await source.next(steps);
        const piece = next && this.mixer ? await this.mixer.plain(next) : next;
        if (piece === undefined || halted()) break;
        // A large chunk is copied while the one before is computed.
        const staged = await this.#stage(piece, halted);
        if (staged === undefined) break;
        try {
          await land();
          if (halted()) break;
          const { rows, order, sizes } = piece;
          const values = staged
            ? staged.evaluate(averages)
            : this.native.evaluate(rows.arrays, order, sizes, averages, rows.graph);
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
    const rowBytes = this.rowBytes + 8 * (this.widths[0]?.perRow ?? 0);
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
    const staged = new native.StagedRows(this.native, order, sizes, rows.graph);
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

  /** What the terms of the loss divide by in each batch; fewer numbers when halted. */
  async #divisors(piece: Piece, halted: () => boolean): Promise<Float64Array> {
    const { terms } = this;
    const named = terms.filter(({ divisor }) => divisor !== undefined).length;
    if (named === 0) return Float64Array.from(piece.sizes);
    const staged = await this.#stage(piece, halted);
    if (staged === undefined) return new Float64Array();
    const { rows, order, sizes } = piece;
    const values = await (staged
      ? staged.divisors()
      : this.native.divisors(rows.arrays, order, sizes, rows.graph));
    if (named === terms.length) return values;
    let next = 0;
    const all = [...sizes].flatMap((size) =>
      terms.map(({ divisor }) => (divisor === undefined ? size : (values[next++] ?? 0))),
    );
    return Float64Array.from(all);
  }

  /** Undefined when halted before the first step. */
  async #launch(piece: Piece, plan: ChunkPlan, halted: () => boolean): Promise<Flight | undefined> {
    const { rows, order, sizes } = piece;
    const { rates, weights, marks, scales } = plan;
    const staged = await this.#stage(piece, halted);
    if (staged === undefined) return undefined;
    const promise = staged
      ? staged.train(rates, weights, marks, scales)
      : this.native.train(rows.arrays, order, sizes, rates, weights, marks, scales, rows.graph);
    // Whoever awaits it sees the error; until then nobody may be there yet.
    promise.catch(() => {});
    return { promise, piece, plan, launched: performance.now() };
  }

  /**
   * The steps that a flight finished, and how many of its batches ran before a stop; `open` has the
   * parts of a step that it has only begun.
   */
  #steps({ piece, plan }: Flight, values: Float64Array, open: Part[]) {
    const steps: Step[] = [];
    const { graph = 0 } = piece.rows;
    let done = 0;
    let offset = 0;
    for (const size of piece.sizes) {
      if (offset >= values.length) break;
      open.push({ rows: size, values, offset, graph });
      const end = offset + this.#numbers(size, graph);
      offset = end + 2;
      if (!plan.isLast(done++)) continue;
      steps.push({
        step: plan.firstStep + steps.length,
        gradNorm: values[end] ?? Number.NaN,
        learningRate: values[end + 1] ?? Number.NaN,
        parts: open.splice(0),
      });
    }
    return { steps, done };
  }

  #numbers(rows: number, graph: number): number {
    const { fixed, perRow } = this.widths[graph] ?? { fixed: 0, perRow: 0 };
    return fixed + perRow * rows;
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
