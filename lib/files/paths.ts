import { fileURLToPath } from 'node:url';
import * as is from '../is.js';

/** The path that a string or a `file:` URL names. Throws ERR_ARGUMENT. */
export function pathOf(path: unknown, name: string): string {
  const found = path instanceof URL ? pathOfUrl(path, name) : is.string(path, name);
  if (!found.includes('\0')) return found;
  throw is.invalid('a path without a NUL character', name, found);
}

/**
 * The same of a file to write: a path whose last part names a folder, be it there or not, would lose that part.
 * Throws ERR_ARGUMENT.
 */
export function filePathOf(path: unknown, name: string): string {
  const found = pathOf(path, name);
  const [last = ''] = found.split(process.platform === 'win32' ? /[\\/]/ : '/').slice(-1);
  if (!['', '.', '..'].includes(last)) return found;
  throw is.mismatch('ERR_ARGUMENT', 'the path of a file', name, `${is.show(found)}, a folder's`);
}

/** An error of the file system with its path, which those of files that are open already lack. */
export function withPath(error: unknown, path: string): unknown {
  if (!(error instanceof Error) || !('syscall' in error) || 'path' in error) return error;
  error.message += ` '${path}'`;
  return Object.assign(error, { path });
}

function pathOfUrl(path: URL, name: string): string {
  try {
    return fileURLToPath(path);
  } catch {
    // Another protocol, a host, or a path with slashes in its names.
    throw is.mismatch('ERR_ARGUMENT', 'a path or a file: URL', name, path.href);
  }
}
