// Reads files in a thread of their own, so that the event loop only passes blocks on.
import { Worker } from 'node:worker_threads';
import { packageRoot } from '../../root.js';
import type { Batch } from '../batch.js';
import { type DataError, fromPlain } from '../errors.js';
import type { Message, Start } from './messages.js';

/** Blocks on their way: what bounds the memory that reading takes. */
const blocksAhead = 4;

/**
 * The blocks of a file. Rejects with what reading failed with; ending the iteration ends the thread.
 */
export async function* readInThread<B extends Batch>(
  start: Omit<Start, 'credit'>,
  onSkip: ((error: DataError) => void) | undefined,
): AsyncGenerator<B> {
  const credit = new Int32Array(new SharedArrayBuffer(4));
  credit[0] = blocksAhead;
  const thread = new Worker(new URL('dist/data/worker/reader.js', packageRoot), {
    workerData: { ...start, credit } satisfies Start,
    // Options of the main thread, such as --input-type, may not be meant for it.
    execArgv: [],
  });
  const inbox = new Inbox(thread);
  try {
    for (;;) {
      const message = await inbox.next();
      if (message.kind === 'error') throw fromPlain(message.error);
      for (const error of message.skipped) onSkip?.(fromPlain(error) as DataError);
      if (message.kind === 'end') return;
      Atomics.add(credit, 0, 1);
      Atomics.notify(credit, 0);
      yield message.block as B;
    }
  } finally {
    await thread.terminate();
  }
}

/** Messages in the order of their coming. The process lives on for one that is waited for. */
class Inbox {
  readonly #messages: (Message | Error)[] = [];
  #wake: () => void = () => {};

  constructor(readonly thread: Worker) {
    thread.unref();
    const add = (message: Message | Error) => {
      this.#messages.push(message);
      this.#wake();
    };
    thread.on('message', add);
    thread.on('error', add);
    thread.on('messageerror', add);
    thread.on('exit', (code) => add(new Error(`the reading thread ended with code ${code}`)));
  }

  async next(): Promise<Message> {
    for (;;) {
      const message = this.#messages.shift();
      if (message instanceof Error) throw message;
      if (message !== undefined) return message;
      this.thread.ref();
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.thread.unref();
    }
  }
}
