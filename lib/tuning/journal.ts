// Results that outlive the process: a file of JSON lines, written anew as a whole for each result, so
// that it is never half a file.
import { readFile } from 'node:fs/promises';
import { TandemError } from '../errors.js';
import { writeAtomically } from '../files/atomic.js';
import { readFlags } from '../files/model-file.js';
import { filePathOf } from '../files/paths.js';
import * as is from '../is.js';

const version = 1;

/** Results under keys of theirs. `R` is JSON, but that numbers may be NaN or infinite. */
export class Journal<R extends object> {
  readonly #results = new Map<string, R>();

  /**
   * Reads what is there. Rejects with ERR_ARGUMENT for a file of something else than `about` says,
   * ERR_FILE_FORMAT with the line for one that is broken.
   */
  static async open<R extends object>(
    path: string | URL | undefined,
    about: unknown,
  ): Promise<Journal<R>> {
    if (path !== undefined) filePathOf(path, 'file');
    const journal = new Journal<R>(path, `${encode({ tandem: version, about })}\n`);
    if (path !== undefined) await journal.#read(path);
    return journal;
  }

  private constructor(
    readonly path: string | URL | undefined,
    readonly head: string,
  ) {}

  get(key: string): R | undefined {
    return this.#results.get(key);
  }

  /** Adds a result; it is in the file when the promise resolves. */
  async add(key: string, result: R): Promise<void> {
    this.#results.set(key, result);
    if (this.path === undefined) return;
    const lines = [...this.#results].map(
      ([of, value]) => `${encode({ key: of, result: value })}\n`,
    );
    await writeAtomically(this.path, [Buffer.from(this.head + lines.join(''))]);
  }

  async #read(path: string | URL): Promise<void> {
    let text: string;
    try {
      text = await readFile(path, { encoding: 'utf8', flag: readFlags });
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return;
      throw error;
    }
    const [head = '', ...lines] = text.split('\n');
    const found = parse(head, path, 1);
    if (!('tandem' in found)) throw broken(path, 1, 'no head of a file of results');
    if (`${head}\n` !== this.head) {
      throw is.mismatch(
        'ERR_ARGUMENT',
        'a file of the same search, space and options',
        'file',
        `${String(path)} of another one; choose another file or remove it`,
      );
    }
    for (const [i, line] of lines.entries()) {
      if (line === '') continue;
      const { key, result } = parse(line, path, i + 2);
      if (typeof key !== 'string' || typeof result !== 'object' || result === null) {
        throw broken(path, i + 2, 'no result');
      }
      this.#results.set(key, result as R);
    }
  }
}

function parse(line: string, path: string | URL, number: number): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(line, (_, item: unknown) => {
      const special = is.isRecord(item) ? item.number : undefined;
      return typeof special === 'string' ? Number(special) : item;
    });
    if (is.isRecord(value)) return value;
  } catch {
    // Told below, with the line.
  }
  throw broken(path, number, 'no JSON of an object');
}

/** JSON has no NaN and no infinity. */
const encode = (value: unknown): string =>
  JSON.stringify(value, (_, item: unknown) =>
    typeof item === 'number' && !Number.isFinite(item) ? { number: String(item) } : item,
  );

const broken = (path: string | URL, line: number, received: string): TandemError =>
  new TandemError(
    'ERR_FILE_FORMAT',
    `expected results of a search in \`${String(path)}\`, received ${received} in line ${line}`,
  );
