// Reads files in threads of their own, so that the event loop only passes blocks on.
import { TandemError } from '../../errors.js';
import type { Batch } from '../batch.js';
import { type DataError, fromPlain } from '../errors.js';
import type { Reading } from './messages.js';
import { ReadingThread } from './thread.js';

/**
 * The blocks of a file. Rejects with what reading failed with, ERR_OUT_OF_MEMORY among it. A thread that
 * has read to the end stays a while for the next reading; ending the iteration before that ends the
 * thread.
 */
export async function* readInThread<B extends Batch>(
  reading: Reading,
  onSkip: ((error: DataError) => void) | undefined,
): AsyncGenerator<B> {
  const thread = ReadingThread.take();
  let whole = false;
  try {
    thread.begin(reading);
    for (;;) {
      const message = await thread.next().catch((cause: unknown) => {
        throw ended(cause, reading.job.path);
      });
      if (message.kind === 'error') throw fromPlain(message.error);
      whole = message.kind === 'end';
      for (const error of message.skipped) onSkip?.(fromPlain(error) as DataError);
      if (message.kind === 'end') return;
      thread.grant();
      yield message.block as B;
    }
  } finally {
    if (whole) thread.rest();
    else await thread.end();
  }
}

/** What became of a thread that can say no more, with the file that it read. */
function ended(cause: unknown, file: string): Error {
  const { message, code } = cause as Error & { readonly code?: string };
  if (code === 'ERR_WORKER_OUT_OF_MEMORY') {
    const what = `expected memory to read \`${file}\`, received less than it takes`;
    return new TandemError('ERR_OUT_OF_MEMORY', what, { cause });
  }
  return new Error(`${file}: ${message}`, { cause });
}
