import type { Stats } from 'node:fs';
import { type FileHandle, open, readlink, realpath, rename, stat, unlink } from 'node:fs/promises';
import { basename, dirname, isAbsolute, join, resolve, sep } from 'node:path';
import * as is from '../is.js';
import { filePathOf } from './paths.js';

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
  const { target, replaced } = await place(path);
  const temporary = join(dirname(target), `${shortened(basename(target))}.${randomUUID()}.tmp`);
  try {
    const file = await open(temporary, 'wx', replaced && 0o600);
    try {
      if (replaced !== undefined) await admit(file, replaced);
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
 * Lets those who may read and write the file that is replaced do so with the one in its place. Where the system
 * refuses, as it refuses to give files to other users, fewer may, not more.
 */
async function admit(file: FileHandle, { uid, gid, mode }: Stats): Promise<void> {
  const own = await file.stat();
  const succeeds = (change: Promise<void>) =>
    change.then(
      () => true,
      () => false,
    );
  const sameGroup = own.gid === gid || (await succeeds(file.chown(-1, gid)));
  // Another group is as anyone else to the file that was there.
  await succeeds(file.chmod(sameGroup ? mode & 0o777 : (mode & 0o707) | ((mode & 0o007) << 3)));
  // Last: only owners may do what comes before.
  if (own.uid !== uid) await succeeds(file.chown(uid, -1));
}

/**
 * Where the bytes belong: behind a link, the file it points to, be it there or not. `replaced`: the file that is
 * there. Throws ERR_ARGUMENT for a device or a pipe, which nobody wants to be a file from then on.
 */
async function place(path: string | URL): Promise<{ target: string; replaced: Stats | undefined }> {
  const target = await behindLinks(resolve(filePathOf(path, 'path')));
  const found = await stat(target).catch(() => undefined);
  if (found !== undefined && !(found.isFile() || found.isDirectory())) {
    const what = `${target}, a device or a pipe`;
    throw is.mismatch('ERR_ARGUMENT', 'a place for a file', 'path', what);
  }
  return { target, replaced: found?.isFile() ? found : undefined };
}

/** Rejects with ELOOP for links that lead to each other, and with ENOENT for one into a folder that is not there. */
async function behindLinks(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error) || error.code === 'ELOOP') throw error;
    const link = await readlink(path).catch(() => undefined);
    if (link === undefined) return path;
    // The system takes `..` from where a link has led to; resolve() would take it from the link.
    const next = isAbsolute(link) ? link : `${dirname(path)}${sep}${link}`;
    return await behindLinks(join(await realpath(dirname(next)), basename(next)));
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
