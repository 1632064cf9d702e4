// The queue in front of the engine: concurrent calls become one run, those that wait can be aborted
// or overtaken, and no more are pending than the server allows.
import type { Predictor as NativePredictor } from '../../bindings.js';
import { offAbort, onAbort } from '../aborts.js';
import { TandemError } from '../errors.js';
import * as is from '../is.js';
import { native } from '../native.js';
import { aborted } from '../trainer/signal.js';
import type { PredictOutput } from './arrays.js';
import { type Batch, type Batcher, bucketRows } from './batch.js';
import { Deadline } from './deadline.js';
import { Entry } from './entry.js';
import { Places } from './places.js';
import { WaitingList } from './waiting.js';

type Arrays = readonly (Float32Array | Int32Array)[];

/** How concurrent calls become one run. */
export interface BatchingOptions {
  /** Rows of one run at most; `maxBatch` of the Predictor by default and at most. */
  maxBatch?: number;
  /**
   * Microseconds that a call waits for others at most; 0, the default, gathers the calls of one turn
   * of the event loop. Calls never wait once `maxBatch` rows are there.
   */
  maxDelayUs?: number;
}

/** Of a queue, checked. */
export interface QueueSettings {
  /** Rows of one run; undefined: every call is a run of its own. */
  readonly batchRows: number | undefined;
  readonly delayMs: number;
  /** Calls pending at one time, and generations under way, together. */
  readonly maxQueue: number;
}

/** A call for the queue. */
export interface QueuedCall {
  readonly rows: number;
  /** Read before `push` returns. */
  readonly arrays: Arrays;
  /** Where results go; undefined: into new arrays. */
  readonly outputs: Arrays | undefined;
  readonly signal: AbortSignal | undefined;
  readonly priority: number;
}

/** Entries that are kept for later calls. */
const maxSpare = 16384;
/** Runs in the engine at one time: one computes while the next is ready to. */
const maxRuns = 2;
/** The same where every call is a run: as many as are settled in one turn of the event loop. */
const maxSingleRuns = 32;

/** Checks `batching` and `maxQueue` of a Predictor. Throws ERR_ARGUMENT. */
export function queueSettings(
  batching: BatchingOptions | undefined,
  maxQueue: number | undefined,
  maxBatch: number,
): QueueSettings {
  const places = is.integer(maxQueue ?? Number.MAX_SAFE_INTEGER, 'maxQueue', 1);
  if (batching === undefined) return { batchRows: undefined, delayMs: 0, maxQueue: places };
  const set = is.options(batching, 'batching', ['maxBatch', 'maxDelayUs']);
  return {
    batchRows: is.integer(set.maxBatch ?? maxBatch, 'batching.maxBatch', 1, maxBatch),
    delayMs: is.number(set.maxDelayUs ?? 0, 'batching.maxDelayUs', 0, 60e6) / 1000,
    maxQueue: places,
  };
}

/** Of one Predictor, or of one length of its sequences; see the head of this file. */
export class CallQueue {
  readonly settings: QueueSettings;
  readonly places: Places;
  readonly #batcher: Batcher;
  readonly #predictor: Pick<NativePredictor, 'predict'>;
  readonly #waiting = new WaitingList<Entry>();
  readonly #spare: Entry[] = [];
  #waitingRows = 0;
  #pending = 0;
  #runs = 0;
  readonly #deadline = new Deadline(() => this.#dispatch());
  #whenIdle: (() => void) | undefined;
  #drained: Promise<void> | undefined;
  #closing = false;

  constructor(
    predictor: Pick<NativePredictor, 'predict'>,
    batcher: Batcher,
    settings: QueueSettings,
    places: Places = new Places(settings.maxQueue),
  ) {
    this.places = places;
    this.#predictor = predictor;
    this.#batcher = batcher;
    this.settings = settings;
  }

  /** Rejects with ERR_BUSY, ERR_ABORTED, and as a prediction does. */
  push(call: QueuedCall): Promise<PredictOutput> {
    if (this.places.full) return Promise.reject(this.places.refusal('predict'));
    const entry = this.#open(call.rows);
    try {
      entry.lease = call.outputs && native.lease(...call.outputs);
      this.#batcher.copy(call.arrays, entry.copies);
    } catch (error) {
      this.#batcher.release(entry.copies);
      if (entry.lease) native.endLease(entry.lease);
      this.#keep(entry);
      return Promise.reject(error);
    }
    entry.outputs = call.outputs;
    entry.priority = call.priority;
    if (call.signal) {
      const abort = () => {
        if (entry.abort === abort) this.#abort(entry);
      };
      entry.signal = call.signal;
      entry.abort = abort;
      onAbort(call.signal, abort);
    }
    return this.#enter(entry);
  }

  /** The same for rows of the only input, with nothing else to say. */
  pushRows(rows: number, x: Arrays[number]): Promise<PredictOutput> {
    if (this.places.full) return Promise.reject(this.places.refusal('predict'));
    const entry = this.#open(rows);
    try {
      this.#batcher.copyInput(0, x, entry.copies);
    } catch (error) {
      this.#keep(entry);
      return Promise.reject(error);
    }
    return this.#enter(entry);
  }

  #open(rows: number): Entry {
    const entry = this.#spare.pop() ?? new Entry(this.#batcher.room());
    entry.rows = rows;
    entry.priority = 0;
    return entry;
  }

  /** An entry that nobody refers to any more. */
  #keep(entry: Entry): void {
    entry.clear();
    if (this.#spare.length < maxSpare) this.#spare.push(entry);
  }

  #enter(entry: Entry): Promise<PredictOutput> {
    const promise = new Promise<PredictOutput>(entry.keep);
    const { delayMs } = this.settings;
    entry.due = delayMs === 0 ? 0 : performance.now() + delayMs;
    entry.state = 'waiting';
    this.#pending++;
    this.places.take();
    this.#waitingRows += entry.rows;
    this.#waiting.push(entry);
    // Others of this turn of the event loop are still to come.
    this.#dispatch(false);
    return promise;
  }

  /** Resolves once every call is settled; waiting ones run at once from here on. */
  drain(): Promise<void> {
    this.#closing = true;
    this.#dispatch();
    if (this.idle) return Promise.resolve();
    this.#drained ??= new Promise((resolve) => {
      this.#whenIdle = resolve;
    });
    return this.#drained;
  }

  get idle(): boolean {
    return this.#pending === 0 && this.#runs === 0;
  }

  /** Starts the runs that are due: full ones, and when the `timed` ones are, too, late ones. */
  #dispatch(timed = true): void {
    const { batchRows } = this.settings;
    const most = batchRows === undefined ? maxSingleRuns : maxRuns;
    while (this.#waiting.size > 0 && this.#runs < most && this.#isDue(batchRows, timed)) {
      this.#run(this.#take(batchRows));
    }
    const { due } = this.#waiting;
    if (due === undefined || this.#runs >= most) this.#deadline.clear();
    else this.#deadline.set(due);
  }

  #isDue(batchRows: number | undefined, timed: boolean): boolean {
    if (batchRows === undefined || this.#closing || this.#waitingRows >= batchRows) return true;
    const { due } = this.#waiting;
    return timed && due !== undefined && performance.now() >= due;
  }

  /** The calls of the next run: as many as fit, in order. */
  #take(batchRows = 0): Entry[] {
    const taken: Entry[] = [];
    let rows = 0;
    for (let next = this.#waiting.first; next !== undefined; next = this.#waiting.first) {
      if (taken.length > 0 && rows + next.rows > batchRows) break;
      this.#leave(next);
      next.state = 'running';
      rows += next.rows;
      taken.push(next);
    }
    return taken;
  }

  #leave(entry: Entry): void {
    this.#waiting.remove(entry);
    this.#waitingRows -= entry.rows;
  }

  #run(calls: readonly Entry[]): void {
    this.#runs++;
    const rows = calls.reduce((sum, call) => sum + call.rows, 0);
    const { batchRows } = this.settings;
    const padded = batchRows === undefined ? rows : bucketRows(rows, batchRows);
    this.#compute(calls, padded)
      .then(
        (batch) => this.#share(calls, batch),
        (error: unknown) => {
          for (const call of calls) {
            if (this.#settles(call)) call.reject(error);
            this.#keep(call);
          }
        },
      )
      .finally(() => {
        this.#runs--;
        this.#dispatch();
        if (this.idle) this.#whenIdle?.();
      });
  }

  async #compute(calls: readonly Entry[], rows: number): Promise<Batch> {
    let arrays: Arrays;
    try {
      arrays = this.#batcher.join(calls, rows);
    } finally {
      for (const { copies } of calls) this.#batcher.release(copies);
    }
    return this.#batcher.open(await this.#predictor.predict(rows, null, ...arrays));
  }

  #share(calls: readonly Entry[], batch: Batch): void {
    let row = 0;
    for (const call of calls) {
      const start = row;
      row += call.rows;
      if (this.#settles(call)) this.#answer(call, batch, start);
      this.#keep(call);
    }
  }

  #answer(call: Entry, batch: Batch, start: number): void {
    try {
      call.resolve(this.#batcher.cut(batch, start, call));
    } catch (error) {
      call.reject(error);
    }
  }

  #abort(entry: Entry): void {
    const waits = entry.state === 'waiting';
    if (waits) {
      this.#leave(entry);
      this.#batcher.release(entry.copies);
    }
    if (this.#settles(entry)) entry.reject(aborted(entry.signal as AbortSignal));
    // That of a run is kept when the run is over.
    if (waits) this.#keep(entry);
    this.#dispatch();
    if (this.idle) this.#whenIdle?.();
  }

  /** Frees the place of a call; false when somebody has done so. */
  #settles(entry: Entry): boolean {
    if (entry.state === 'settled') return false;
    entry.state = 'settled';
    this.#pending--;
    this.places.free();
    if (entry.lease) native.endLease(entry.lease);
    if (entry.signal && entry.abort) offAbort(entry.signal, entry.abort);
    return true;
  }
}

/** Throws ERR_ARGUMENT. */
export function checkPriority(value: unknown): number {
  if (value === undefined) return 0;
  if (typeof value === 'number' && Number.isFinite(value)) return value;
  throw new TandemError(
    'ERR_ARGUMENT',
    `expected a finite number for \`priority\`, received ${is.show(value)}`,
  );
}
