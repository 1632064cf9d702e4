// What apache-arrow reads a file through.
import type { FileHandle } from 'node:fs/promises';

/** Some parts of a good file are read twice, none more often. */
const mostReads = 8;

/**
 * The handle, whose `read` fails where it is asked for the same place again and again: of a file whose
 * messages are not what others say of them the reader goes round in circles.
 */
export function watched(handle: FileHandle): FileHandle {
  const read = handle.read.bind(handle);
  const reads = new Map<number, number>();
  return Object.assign(handle, {
    async read(buffer: Uint8Array, offset: number, length: number, position: number) {
      const before = reads.get(position) ?? 0;
      if (before === mostReads) throw new Error(`messages that lead back to byte ${position}`);
      reads.set(position, before + 1);
      return await read(buffer, offset, length, position);
    },
  });
}
