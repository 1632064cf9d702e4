// The checkpoints of one call of fit.
import * as is from '../is.js';
import { largerIsBetter } from '../metrics/direction.js';
import type { Position } from './checkpoint/contents.js';
import type { Owner } from './checkpoint/file.js';
import { CheckpointFolder, readFrom, readLatest } from './checkpoint/folder.js';
import { restoreSnapshot, takeSnapshot } from './checkpoint/snapshot.js';
import type { Engine } from './engine.js';
import type { FitPlan } from './plan.js';
import type { RunState } from './run.js';

export class Saver {
  readonly #folder: CheckpointFolder | undefined;
  /** Where the run was when it was saved last. */
  #saved: string | undefined;
  /** Of keepBest; undefined before the first epoch. */
  best: number | undefined;

  constructor(
    readonly engine: Engine,
    readonly run: RunState,
    readonly plan: FitPlan,
    readonly owner: Owner,
  ) {
    const { checkpoint } = plan;
    if (checkpoint) this.#folder = new CheckpointFolder(checkpoint.dir, checkpoint.keep, owner);
  }

  /**
   * Makes the folder and goes on from where `resumeFrom` says; the position, if there is one. `reports`
   * are the names that epochs will report.
   */
  async begin(reports: readonly string[]): Promise<Position | undefined> {
    const { resumeFrom, checkpoint } = this.plan;
    const monitor = checkpoint?.keepBest;
    if (monitor !== undefined && !reports.includes(monitor)) {
      const received = `${is.show(monitor)}${is.didYouMean(monitor, reports)}`;
      const what = `one of ${reports.join(', ')}`;
      throw is.mismatch('ERR_ARGUMENT', what, 'checkpoint.keepBest', received);
    }
    await this.#folder?.prepare();
    if (resumeFrom === undefined) return undefined;
    const snapshot =
      resumeFrom === 'latest'
        ? await readLatest(checkpoint?.dir ?? '.', this.owner)
        : await readFrom(resumeFrom, this.owner);
    if (snapshot === undefined) return undefined;
    await restoreSnapshot(snapshot, this.engine, this.run);
    this.best = snapshot.contents.position.fit?.best;
    return snapshot.contents.position;
  }

  /** Steps until the next checkpoint within an epoch. */
  get stepsLeft(): number {
    const every = this.plan.checkpoint?.everySteps;
    if (every === undefined) return Number.POSITIVE_INFINITY;
    return every - (this.engine.native.step % every);
  }

  /** A checkpoint of now, unless there is one already. It is written while training goes on. */
  async save(best = false): Promise<void> {
    if (this.#folder === undefined) return;
    const { epoch, batch } = this.run.locate?.() ?? { epoch: this.run.epoch, batch: 0 };
    const now = `${this.engine.native.step}, ${epoch}, ${batch}`;
    if (now === this.#saved && !best) return;
    await this.#folder.save(() => takeSnapshot(this.engine, this.run), best);
    this.#saved = now;
  }

  /** At an epoch's end, with its numbers. */
  async epochEnd(logs: Readonly<Record<string, number>>): Promise<void> {
    const { checkpoint } = this.plan;
    if (checkpoint === undefined) return;
    const isBest = checkpoint.keepBest !== undefined && this.#improves(checkpoint.keepBest, logs);
    if (isBest || checkpoint.everySteps === undefined) await this.save(isBest);
  }

  #improves(monitor: string, logs: Readonly<Record<string, number>>): boolean {
    const value = logs[monitor] ?? Number.NaN;
    if (Number.isNaN(value)) return false;
    const sign = largerIsBetter(monitor) ? -1 : 1;
    if (this.best !== undefined && sign * value >= sign * this.best) return false;
    this.best = value;
    return true;
  }

  /** Resolves when all is written; rejects with what writing failed with. */
  async settled(): Promise<void> {
    await this.#folder?.settled();
  }
}
