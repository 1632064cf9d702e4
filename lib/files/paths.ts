import { fileURLToPath } from 'node:url';
import * as is from '../is.js';

/** The path that a string or a `file:` URL names. Throws ERR_ARGUMENT. */
export function pathOf(path: unknown, name: string): string {
  if (!(path instanceof URL)) return is.string(path, name);
  if (path.protocol === 'file:') return fileURLToPath(path);
  throw is.mismatch('ERR_ARGUMENT', 'a path or a file: URL', name, path.href);
}
