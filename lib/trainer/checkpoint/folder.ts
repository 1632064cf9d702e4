// The checkpoints of a folder: one file a step that was asked for, and the best one.
import { readdir, stat, unlink } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { TandemError } from '../../errors.js';
import { makeFolder } from '../../files/folder.js';
import {
  type Owner,
  type Restored,
  readCheckpoint,
  readGeneration,
  readLosses,
  type Snapshot,
  writeCheckpoint,
} from './file.js';

const pattern = /^step-(\d+)\.safetensors$/;
/** What a process that was killed leaves of a file that it was writing. */
const unfinished = /^(step-\d+|best)\.safetensors\.[0-9a-f-]+\.tmp$/;

const nameOf = (step: number): string => `step-${String(step).padStart(9, '0')}.safetensors`;
/** The name of the one that keepBest keeps. */
export const bestName = 'best.safetensors';

/** Another process that saves to the folder may have removed what was there a moment ago. */
const isMissing = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && error.code === 'ENOENT';

/** As the promise settles, or with undefined where its file is not there any more. */
const ifThere = <T>(promise: Promise<T>): Promise<T | undefined> =>
  promise.catch((error: unknown) => {
    if (!isMissing(error)) throw error;
    return undefined;
  });

/** The steps that have a checkpoint in a folder, in order; none for a folder that is not there. */
async function stepsIn(folder: string): Promise<{ name: string; step: number }[]> {
  let names: string[];
  try {
    names = await readdir(folder);
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
  return names
    .flatMap((name) => {
      const [, digits] = pattern.exec(name) ?? [];
      return digits === undefined ? [] : [{ name, step: Number(digits) }];
    })
    .sort((a, b) => a.step - b.step);
}

/**
 * The checkpoints in a folder with the generations of runs that they are of, in order: of the newest run
 * the one of most steps last. After it those whose generation cannot be read.
 */
async function agesIn(folder: string) {
  const found: { name: string; step: number; generation: number | undefined }[] = [];
  for (const entry of await stepsIn(folder)) {
    const read = await ifThere(readGeneration(join(folder, entry.name)));
    if (read !== undefined) found.push({ ...entry, ...read });
  }
  const age = ({ generation }: { generation: number | undefined }) =>
    generation ?? Number.MAX_SAFE_INTEGER;
  return found.sort((a, b) => age(a) - age(b) || a.step - b.step);
}

/**
 * The newest checkpoint of a folder, undefined where there is none. A file that is damaged is passed
 * over with a warning of the process, so that what is older serves; ERR_FILE_FORMAT when all are.
 */
export async function readLatest(folder: string, owner: Owner): Promise<Restored | undefined> {
  const found = await agesIn(folder);
  let first: unknown;
  for (const { name } of found.reverse()) {
    const path = join(folder, name);
    try {
      const restored = await ifThere(readCheckpoint(path, owner));
      if (restored !== undefined) return restored;
    } catch (error) {
      if (!(error instanceof TandemError) || error.code !== 'ERR_FILE_FORMAT') throw error;
      first ??= error;
      process.emitWarning(`${path} is passed over: ${error.message}`, 'TandemWarning');
    }
  }
  if (first !== undefined) throw first;
  return undefined;
}

/** A checkpoint file, or the newest one of a folder. */
export async function readFrom(path: string, owner: Owner): Promise<Restored | undefined> {
  const isFolder = (await stat(path)).isDirectory();
  return isFolder ? await readLatest(path, owner) : await readCheckpoint(path, owner);
}

/** To write a file that other runs remove. */
const mostAttempts = 5;

/** Writes checkpoints one at a time while training goes on, and removes those that are too many. */
export class CheckpointFolder {
  readonly #folder: string;
  #writing: Promise<void> = Promise.resolve();

  constructor(
    dir: string,
    readonly keep: number,
    readonly owner: Owner,
  ) {
    this.#folder = resolve(dir);
  }

  /** Makes the folder, and clears what is unfinished in it. */
  async prepare(): Promise<void> {
    await makeFolder(this.#folder);
    for (const name of await readdir(this.#folder)) {
      if (unfinished.test(name)) await unlink(join(this.#folder, name)).catch(() => {});
    }
  }

  /** The generation of a run that goes on from `from`, which is of this folder, or else begins anew. */
  async generation(from: number | undefined): Promise<number> {
    if (from !== undefined) return from;
    const known = (await agesIn(this.#folder)).flatMap(({ generation }) => generation ?? []);
    return Math.max(-1, ...known) + 1;
  }

  /** Whether the best one is of a run whose first epochs, or all, had these losses. */
  async hasBestOf(losses: readonly number[]): Promise<boolean> {
    const best = await ifThere(readLosses(join(this.#folder, bestName)));
    return best?.every((loss, i) => Object.is(loss, losses[i])) ?? false;
  }

  /** Whether that is the folder. */
  is(path: string): boolean {
    return resolve(path) === this.#folder;
  }

  /**
   * Begins to write, once what was begun before is written; rejects with what that failed with, or
   * with what `take` does.
   */
  async save(take: () => Promise<Snapshot>, best: boolean): Promise<void> {
    await this.settled();
    const snapshot = await take();
    const { step } = snapshot;
    this.#begin(async () => {
      // First: a run that goes on from the other one takes it for written.
      if (best) await this.#write(bestName, snapshot);
      await this.#write(nameOf(step), snapshot);
      await this.#prune(step);
    });
  }

  async #write(name: string, snapshot: Snapshot): Promise<void> {
    for (let attempts = 1; ; attempts++) {
      try {
        await writeCheckpoint(join(this.#folder, name), this.owner, snapshot);
        return;
      } catch (error) {
        // A run that began meanwhile took the file for one of a process that was killed.
        if (!isMissing(error) || attempts === mostAttempts) throw error;
      }
    }
  }

  #begin(write: () => Promise<void>): void {
    this.#writing = write();
    // Whoever awaits settled() sees the error.
    this.#writing.catch(() => {});
  }

  /** Resolves when nothing is being written; rejects once with what writing failed with. */
  async settled(): Promise<void> {
    try {
      await this.#writing;
    } finally {
      this.#writing = Promise.resolve();
    }
  }

  /** Later ones are of a run that this one does not go on from. */
  async #prune(newest: number): Promise<void> {
    const found = (await stepsIn(this.#folder)).filter(({ step }) => step <= newest);
    for (const { name } of found.slice(0, Math.max(0, found.length - this.keep))) {
      await ifThere(unlink(join(this.#folder, name)));
    }
  }
}
