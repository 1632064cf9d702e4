import { closeSync, constants, fstatSync, openSync, read } from 'node:fs';

/** What the functions of safetensors.ts read from; a FileHandle is one, too. */
export interface Readable {
  stat(): { readonly size: number } | Promise<{ readonly size: number }>;
  read(
    target: Uint8Array,
    offset: number,
    length: number,
    position: number,
  ): Promise<{ bytesRead: number }>;
}

/**
 * A file of a model. It is opened and closed where that is asked for, in some microseconds: the way to
 * another thread and back takes longer. Only reading may have to wait for a disk.
 */
export class ModelFile implements Readable {
  #fd: number;

  /** Throws an error of the file system. */
  constructor(path: string | URL) {
    // Pipes, which are no files of models, do not hold up the thread until somebody writes to them.
    this.#fd = openSync(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
  }

  /** -1 once closed. */
  get fd(): number {
    return this.#fd;
  }

  stat(): { readonly size: number } {
    return fstatSync(this.#fd);
  }

  read(target: Uint8Array, offset: number, length: number, position: number) {
    return new Promise<{ bytesRead: number }>((resolve, reject) => {
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
