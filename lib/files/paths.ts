import { fileURLToPath } from 'node:url';
import * as is from '../is.js';

/** The path that a string or a `file:` URL names. Throws ERR_ARGUMENT. */
export function pathOf(path: unknown, name: string): string {
  if (!(path instanceof URL)) return is.string(path, name);
  try {
    return fileURLToPath(path);
  } catch {
    // Another protocol, a host, or a path with slashes in its names.
    throw is.mismatch('ERR_ARGUMENT', 'a path or a file: URL', name, path.href);
  }
}
