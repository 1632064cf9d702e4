// The bytes of a pipe, whose writer may keep its reader waiting for good. A system call that waits for
// it could not be ended, nor the thread that is in it, nor the process.
import { closeSync, constants, openSync, readSync, realpathSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

/** Milliseconds between two looks at a pipe that has nothing. */
const pause = 5;

/** What is read at once, up to `most` bytes each. Undefined where the system only waits. */
export function partsOfPipe(path: string, most: number): AsyncGenerator<Buffer> | undefined {
  const { O_RDONLY, O_NONBLOCK } = constants;
  return O_NONBLOCK === undefined ? undefined : parts(path, O_RDONLY | O_NONBLOCK, most);
}

async function* parts(path: string, flags: number, most: number): AsyncGenerator<Buffer> {
  const file = openSync(path, flags);
  try {
    // A pipe without a writer is at its end; one in a folder has not begun where none has come yet.
    let begun = !isInFolder(path);
    for (;;) {
      const part = readPart(file, most);
      begun ||= part === undefined || part.length > 0;
      if (part !== undefined && part.length > 0) yield part;
      else if (begun && part !== undefined) return;
      else await sleep(pause);
    }
  } finally {
    closeSync(file);
  }
}

/** Undefined where a writer has yet to write. */
function readPart(file: number, most: number): Buffer | undefined {
  const block = Buffer.allocUnsafeSlow(most);
  try {
    return block.subarray(0, readSync(file, block, 0, most, null));
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
