// Whether files are still what they were.
import { stat } from 'node:fs/promises';

/**
 * Another text after each change of one of the files. Rejects with the file system's error, and for what
 * can be read but once, such as a pipe.
 */
export async function versionOf(paths: readonly string[]): Promise<string> {
  const all = await Promise.all(paths.map((path) => stat(path, { bigint: true })));
  if (!all.every((file) => file.isFile()))
    throw new Error('expected files, received something else');
  return all
    .map(({ dev, ino, size, mtimeNs, ctimeNs }) => [dev, ino, size, mtimeNs, ctimeNs].join(':'))
    .join();
}
