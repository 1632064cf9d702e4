// Threads that read, one file after another: starting one takes some tens of milliseconds, and its
// JavaScript is slow at first.
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { packageRoot } from '../../root.js';
import type { EncoderState } from '../encoders/state.js';
import type { Message, Reading, Start } from './messages.js';

/** Blocks on their way: what bounds the memory that reading takes. */
const blocksAhead = 4;

/** Threads that wait for work: to train and to validate in turns. */
const mostResting = 2;
/** How long they do. What they cost is little beside a pause of that length. */
const restMilliseconds = 10_000;
/** For the first that a reading says, which a file without a reader on its other end may never have. */
const openMilliseconds = 1000;

/** Those that wait, the last one first to go on. */
const resting: ReadingThread[] = [];

/** A thread that reads. The process lives on for one that is waited for, and for no other. */
export class ReadingThread {
  readonly #worker: Worker;
  #messages: (Message | Error)[] = [];
  #wake: () => void = () => {};
  /** Resolves when a reading has said something: its file is open, or cannot be. */
  #heard: Promise<void> = Promise.resolve();
  #hear: () => void = () => {};
  #credit = new Int32Array(new SharedArrayBuffer(4));
  /** The last one that was sent. */
  #encoder: EncoderState | undefined;
  #timer: NodeJS.Timeout | undefined;

  private constructor() {
    this.#worker = new Worker(new URL('dist/data/worker/reader.js', packageRoot), {
      // Options of the main thread, such as --input-type, may not be meant for it.
      execArgv: [],
    });
    this.#worker.unref();
    const add = (message: Message | Error) => {
      this.#messages.push(message);
      this.#hear();
      this.#wake();
      if (message instanceof Error) this.#leave();
    };
    this.#worker.on('message', add);
    this.#worker.on('error', add);
    this.#worker.on('messageerror', add);
    this.#worker.on('exit', (code) => add(new Error(`the reading thread ended with code ${code}`)));
  }

  /** One that rests, or a new one. */
  static take(): ReadingThread {
    const thread = resting.pop();
    if (thread === undefined) return new ReadingThread();
    clearTimeout(thread.#timer);
    return thread;
  }

  /** Starts reading. */
  begin(reading: Reading): void {
    const { encoder } = reading;
    // Of its own, so that nothing of the reading before counts.
    this.#credit = new Int32Array(new SharedArrayBuffer(4));
    this.#credit[0] = blocksAhead;
    const same = encoder !== undefined && encoder === this.#encoder;
    this.#encoder = encoder ?? this.#encoder;
    const start: Start = { ...reading, encoder: same ? 'same' : encoder, credit: this.#credit };
    this.#heard = new Promise((resolve) => {
      this.#hear = resolve;
    });
    this.#worker.postMessage(start);
  }

  /** Lets it send one more block. */
  grant(): void {
    Atomics.add(this.#credit, 0, 1);
    Atomics.notify(this.#credit, 0);
  }

  /** What it sends next, in order. Rejects where the thread has ended. */
  async next(): Promise<Message> {
    for (;;) {
      const message = this.#messages.shift();
      if (message instanceof Error) throw message;
      if (message !== undefined) return message;
      this.#worker.ref();
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.#worker.unref();
    }
  }

  /** After the last message of a reading: stays a while for another one. */
  rest(): void {
    if (resting.length >= mostResting || this.#messages.length > 0) {
      void this.end();
      return;
    }
    resting.push(this);
    this.#timer = setTimeout(() => void this.end(), restMilliseconds).unref();
  }

  async end(): Promise<void> {
    this.#leave();
    // Node leaves a file open that is being opened when its thread is terminated.
    await Promise.race([this.#heard, sleep(openMilliseconds, undefined, { ref: false })]);
    await this.#worker.terminate();
  }

  /** From those that wait. */
  #leave(): void {
    clearTimeout(this.#timer);
    const place = resting.indexOf(this);
    if (place !== -1) resting.splice(place, 1);
  }
}
