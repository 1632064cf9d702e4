import { type FileHandle, open } from 'node:fs/promises';
import { readFlags } from '../../files/model-file.js';
import { withPath } from '../../files/paths.js';

/** Opens a file for as long as `read` takes. */
export async function opened<T>(
  path: string,
  read: (handle: FileHandle) => Promise<T>,
): Promise<T> {
  const handle = await open(path, readFlags);
  try {
    return await read(handle);
  } catch (error) {
    throw withPath(error, path);
  } finally {
    await handle.close();
  }
}
