import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { makeFolder } from '../files/folder.js';
import { pathOf } from '../files/paths.js';
import * as is from '../is.js';
import type { Callback, Logs } from '../trainer/callbacks.js';
import { validationName } from '../trainer/history.js';
import { type Scalar, scalarRecord, startRecord, versionRecord } from './event-file.js';

/** Where event files go, and whether single steps are in them. */
export interface TensorBoardOptions {
  /** The folder to give to `tensorboard --logdir`; made where it is not there. */
  dir: string | URL;
  /**
   * Writes the numbers of every so many steps, as `step/loss` and so on in the run `steps`. None by default:
   * then steps need not run singly, which is faster.
   */
  everySteps?: number;
}

/**
 * A callback that writes TensorBoard's event files: the numbers of each epoch under their names,
 * training in the run `train` and validation data in `validation`, so that both are in one chart.
 * Files grow as training goes on; each call of fit begins new ones, which take the place of what older ones
 * of the folder have from the same epoch on: a run that goes on from a checkpoint is in a chart once. Throws
 * ERR_ARGUMENT; fit rejects with errors of the file system.
 */
export function tensorBoard(options: TensorBoardOptions): Callback;
export function tensorBoard(options: TensorBoardOptions, ...more: unknown[]): Callback {
  is.lastArgument(more, 'tensorBoard');
  const set = is.options<Partial<TensorBoardOptions>>(options, 'options of tensorBoard', [
    'dir',
    'everySteps',
  ]);
  const dir = pathOf(set.dir, 'dir');
  const { everySteps } = set;
  const runs = new Map<string, EventFile>();
  const fileOf = async (run: string, step: number) => {
    const file = runs.get(run) ?? (await EventFile.create(join(dir, run), step));
    runs.set(run, file);
    return file;
  };
  const write = async (run: string, step: number, scalars: readonly Scalar[]) => {
    if (scalars.length > 0) await (await fileOf(run, step)).write(step, scalars);
  };
  const callback: Callback = {
    async onEpochEnd(epoch, logs) {
      const { training, validation } = split(logs);
      await write('train', epoch, training);
      await write('validation', epoch, validation);
    },
    async onTrainEnd() {
      const open = [...runs.values()];
      runs.clear();
      for (const file of open) await file.close();
    },
  };
  if (everySteps === undefined) return callback;
  is.integer(everySteps, 'everySteps', 1);
  return {
    ...callback,
    async onBatchEnd(step, logs) {
      // From the first step on, whose numbers may be left out: older files may have them.
      await fileOf('steps', step);
      if (step % everySteps !== 0) return;
      const scalars = Object.entries(logs).map(([name, value]) => ({ tag: `step/${name}`, value }));
      await write('steps', step, scalars);
    },
  };
}

/** Numbers of validation data under the names of those of training. */
function split(logs: Logs) {
  const training: Scalar[] = [];
  const validation: Scalar[] = [];
  const plain = new Map(Object.keys(logs).map((name) => [validationName(name), name]));
  for (const [name, value] of Object.entries(logs)) {
    const tag = plain.get(name);
    if (tag === undefined) training.push({ tag: name, value });
    else validation.push({ tag, value });
  }
  return { training, validation };
}

/** Tells apart the files that one process begins in one second. */
let files = 0;

class EventFile {
  /** `step`: numbers of older files do not count from it on. */
  static async create(dir: string, step: number): Promise<EventFile> {
    const { hostname } = await import('node:os');
    await makeFolder(dir);
    const seconds = Date.now() / 1000;
    // TensorBoard looks for "tfevents" and reads files in the order of their names.
    const number = String(files++).padStart(6, '0');
    const name = `events.out.tfevents.${Math.floor(seconds)}.${hostname()}.${process.pid}.${number}`;
    const handle = await open(join(dir, name), 'wx');
    const file = new EventFile(handle);
    try {
      await file.#append(versionRecord(seconds));
      await file.#append(startRecord(seconds, step));
    } catch (error) {
      await file.close();
      throw error;
    }
    return file;
  }

  private constructor(readonly handle: FileHandle) {}

  async write(step: number, scalars: readonly Scalar[]): Promise<void> {
    await this.#append(scalarRecord(Date.now() / 1000, step, scalars));
  }

  async close(): Promise<void> {
    await this.handle.close();
  }

  /** One write a record, so that a reader never sees half of one for long. */
  async #append(data: Buffer): Promise<void> {
    await this.handle.appendFile(data);
  }
}
