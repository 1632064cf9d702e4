import { closeSync, constants, fstatSync, openSync, read, readSync } from 'node:fs';

/** For files in any order: to open a pipe does not wait for somebody who writes to it. */
export const readFlags = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0);

/** What the functions of safetensors.ts read from; a FileHandle is one, too. */
export interface Readable {
  stat(): { readonly size: number } | Promise<{ readonly size: number }>;
  read(target: Uint8Array, offset: number, length: number, position: number): Read | Promise<Read>;
}

interface Read {
  readonly bytesRead: number;
}

/** Bytes that one access to a disk brings. */
const brief = 65536;

/**
 * A file of a model. It is opened and closed, and a few bytes of it are read, where that is asked for:
 * that takes some microseconds, and the way to another thread and back a good part of what loading a
 * small model takes.
 */
export class ModelFile implements Readable {
  #fd: number;

  /** Throws an error of the file system. */
  constructor(path: string | URL) {
    this.#fd = openSync(path, readFlags);
  }

  /** -1 once closed. */
  get fd(): number {
    return this.#fd;
  }

  stat(): { readonly size: number } {
    return fstatSync(this.#fd);
  }

  read(target: Uint8Array, offset: number, length: number, position: number): Read | Promise<Read> {
    if (length <= brief) return { bytesRead: readSync(this.#fd, target, offset, length, position) };
    return new Promise((resolve, reject) => {
      read(this.#fd, target, offset, length, position, (error, bytesRead) => {
        if (error) reject(error);
        else resolve({ bytesRead });
      });
    });
  }

  /** Nothing may be reading. Calling it again does nothing more. */
  close(): void {
    const fd = this.#fd;
    this.#fd = -1;
    if (fd !== -1) closeSync(fd);
  }
}
