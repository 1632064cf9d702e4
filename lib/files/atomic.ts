import {
  type FileHandle,
  lstat,
  open,
  readlink,
  realpath,
  rename,
  stat,
  unlink,
} from 'node:fs/promises';
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
  const { target, mode } = await place(path);
  const temporary = join(dirname(target), `${shortened(basename(target))}.${randomUUID()}.tmp`);
  try {
    const file = await open(temporary, 'wx', mode);
    try {
      // What umask took away; a file system that refuses it lets fewer read than before, not more.
      if (mode !== undefined) await file.chmod(mode).catch(() => {});
      for (const chunk of chunks) await writeFully(file, chunk);
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

async function writeFully(file: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const length = Math.min(2 ** 30, bytes.length - done);
    const { bytesWritten } = await file.write(bytes, done, length);
    done += bytesWritten;
  }
}

/**
 * Where the bytes belong: behind a link, the file it points to, be it there or not. `mode`: who may read and
 * write the file that is there, and so the one in its place. Throws ERR_ARGUMENT for a device or a pipe, which
 * nobody wants to be a file from then on.
 */
async function place(path: string | URL): Promise<{ target: string; mode: number | undefined }> {
  const target = await behindLinks(resolve(pathOf(path, 'path')));
  const found = await stat(target).catch(() => undefined);
  if (found !== undefined && !(found.isFile() || found.isDirectory())) {
    const what = `${target}, a device or a pipe`;
    throw is.mismatch('ERR_ARGUMENT', 'a place for a file', 'path', what);
  }
  return { target, mode: found?.isFile() ? found.mode & 0o777 : undefined };
}

/** Rejects with ELOOP for links that lead to each other. */
async function behindLinks(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error) || error.code === 'ELOOP') throw error;
    const found = await lstat(path).catch(() => undefined);
    if (!found?.isSymbolicLink()) return path;
    return await behindLinks(resolve(dirname(path), await readlink(path)));
  }
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
