// The bytes of a pipe, whose writer may keep its reader waiting for good. A system call that waits for
// it could not be ended, nor the thread that is in it, nor the process.
import { closeSync, constants, openSync, readSync, realpathSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { nextTurn } from '../../trainer/turns.js';

/** Most milliseconds between two looks at a pipe that has nothing. */
const longestPause = 5;

/** What a pipe holds on most systems. */
const partBytes = 2 ** 16;

/** What is read at once. Undefined where the system only waits. */
export function partsOfPipe(path: string): AsyncGenerator<Buffer> | undefined {
  const { O_RDONLY, O_NONBLOCK } = constants;
  return O_NONBLOCK === undefined ? undefined : parts(path, O_RDONLY | O_NONBLOCK);
}

async function* parts(path: string, flags: number): AsyncGenerator<Buffer> {
  const file = openSync(path, flags);
  try {
    // A pipe without a writer is at its end; one in a folder has not begun where none has come yet.
    let begun = !isInFolder(path);
    let block = Buffer.allocUnsafeSlow(partBytes);
    for (let pause = 0; ; ) {
      const count = read(file, block);
      begun ||= count !== 0;
      if (count === 0 && begun) return;
      if (count !== undefined && count > 0) {
        yield block.subarray(0, count);
        block = Buffer.allocUnsafeSlow(partBytes);
        pause = 0;
      } else {
        // A writer at work fills a pipe in far less than a millisecond.
        await (pause === 0 ? nextTurn() : sleep(pause));
        pause = Math.min(pause + 1, longestPause);
      }
    }
  } finally {
    closeSync(file);
  }
}

/** How many bytes; undefined where a writer has yet to write. */
function read(file: number, block: Buffer): number | undefined {
  try {
    return readSync(file, block, 0, block.length, null);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EAGAIN') return undefined;
    throw error;
  }
}

/** Rather than one of a process's own, such as that of its input. */
function isInFolder(path: string): boolean {
  try {
    realpathSync.native(path);
    return true;
  } catch {
    return false;
  }
}
