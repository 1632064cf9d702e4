import { open, realpath, rename, stat, unlink } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import * as is from '../is.js';
import { pathOf } from './paths.js';

/**
 * Writes a file so that it appears whole or not at all: beside its place, synced, renamed, and the
 * directory synced. On failure what was there before is untouched and nothing is left behind.
 */
export async function writeAtomically(
  path: string | URL,
  chunks: readonly Uint8Array[],
): Promise<void> {
  // Not with the library, of which every thread that only reads models has a copy.
  const { randomUUID } = await import('node:crypto');
  const target = await place(path);
  const temporary = join(dirname(target), `${shortened(basename(target))}.${randomUUID()}.tmp`);
  try {
    const file = await open(temporary, 'wx');
    try {
      for (const chunk of chunks) {
        for (let done = 0; done < chunk.length; ) {
          const { bytesWritten } = await file.write(
            chunk,
            done,
            Math.min(2 ** 30, chunk.length - done),
          );
          done += bytesWritten;
        }
      }
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, target);
  } catch (error) {
    await unlink(temporary).catch(() => {});
    throw error;
  }
  await syncDirectory(dirname(target));
}

/** Leaves room behind it in a name, of which most systems take 255 bytes or characters. */
const shortened = (name: string): string => Buffer.from(name).subarray(0, 200).toString();

/**
 * Where the bytes belong: behind a link, the file it points to. Throws ERR_ARGUMENT for a device or a
 * pipe, which nobody wants to be a file from then on.
 */
async function place(path: string | URL): Promise<string> {
  const given = resolve(pathOf(path, 'path'));
  const found = await stat(given).catch(() => undefined);
  if (found !== undefined && !(found.isFile() || found.isDirectory())) {
    throw is.mismatch('ERR_ARGUMENT', 'a place for a file', 'path', `${given}, a device or a pipe`);
  }
  return await realpath(given).catch(() => given);
}

/** Makes the rename last. Windows has no such thing, and some file systems refuse it. */
async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r').catch(() => undefined);
  if (directory === undefined) return;
  try {
    await directory.sync().catch(() => {});
  } finally {
    await directory.close();
  }
}
