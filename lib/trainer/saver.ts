// The checkpoints of one call of fit.
import * as is from '../is.js';
import type { Trainer } from '../trainer.js';
import type { Logs } from './callbacks.js';
import type { Position } from './checkpoint/contents.js';
import type { Owner, Restored } from './checkpoint/file.js';
import { CheckpointFolder, readFrom, readLatest } from './checkpoint/folder.js';
import { restoreSnapshot, takeRestored, takeSnapshot } from './checkpoint/snapshot.js';
import type { Engine } from './engine.js';
import type { FitPlan } from './plan.js';
import type { RunState } from './run.js';

export class Saver {
  readonly #folder: CheckpointFolder | undefined;
  /** Where the run was when it was saved last. */
  #saved: string | undefined;
  /** Of keepBest; undefined before the first epoch. */
  best: number | undefined;
  /** The name of that number: that of keepBest, or else of the run that this one goes on from. */
  monitor: string | undefined;
  /** What was there before the checkpoint, until the run has begun. */
  #before: Restored | undefined;
  /** Of this run among those of the folder. */
  generation = 0;

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
   * are the names that epochs will report; `check` throws for a position that this call cannot go on
   * from, before anything changes. `mayRefuse`: whether something may still keep the run from beginning.
   */
  async begin(
    reports: readonly string[],
    check: (position: Position) => void,
    mayRefuse: boolean,
  ): Promise<Position | undefined> {
    const { resumeFrom, checkpoint } = this.plan;
    const monitor = checkpoint?.keepBest;
    this.monitor = monitor;
    if (monitor !== undefined && !reports.includes(monitor)) {
      const received = `${is.show(monitor)}${is.didYouMean(monitor, reports)}`;
      const what = `one of ${reports.join(', ')}`;
      throw is.mismatch('ERR_ARGUMENT', what, 'checkpoint.keepBest', received);
    }
    await this.#folder?.prepare();
    const found = resumeFrom === undefined ? undefined : await this.#read(resumeFrom);
    const position = found?.contents.position;
    if (position) check(position);
    const newest = resumeFrom === 'latest' || this.#folder?.is(resumeFrom ?? '') === true;
    const before = newest && position ? (position.fit?.generation ?? 0) : undefined;
    this.generation = (await this.#folder?.generation(before)) ?? 0;
    if (found === undefined) return undefined;
    if (mayRefuse) this.#before = await takeRestored(this.engine, this.run);
    await restoreSnapshot(found, this.engine, this.run);
    const { best, monitor: saved = monitor } = position?.fit ?? {};
    if (monitor === undefined || saved === monitor) this.best = best;
    this.monitor = monitor ?? saved;
    return position;
  }

  /**
   * What is best begins anew where the folder has that of another run, such as of epochs after the checkpoint
   * that this one goes on from, and where it was not judged by this number: with that checkpoint, if it is of
   * an epoch's end. The numbers of what it was before are not its own.
   */
  async claimBest(trainer: Trainer): Promise<void> {
    const { keepBest } = this.plan.checkpoint ?? {};
    const { batch, fit } = this.run.locate?.() ?? {};
    if (keepBest === undefined || fit === undefined) return;
    const { history } = fit;
    if (this.best !== undefined && (await this.#folder?.hasBestOf(history.loss))) return;
    this.best = undefined;
    const value = batch === 0 ? history[keepBest]?.at(-1) : undefined;
    if (this.#improves(value, trainer.largerIsBetter(keepBest))) await this.save(true);
  }

  /** Nothing can refuse the checkpoint any more. */
  begun(): void {
    this.#before = undefined;
  }

  /** After an error: puts back what was there before the checkpoint if the run has not begun. */
  async undo(): Promise<void> {
    if (this.#before === undefined) return;
    await restoreSnapshot(this.#before, this.engine, this.run);
    this.#before = undefined;
  }

  #read(resumeFrom: string): Promise<Restored | undefined> {
    return resumeFrom === 'latest'
      ? readLatest(this.plan.checkpoint?.dir ?? '.', this.owner)
      : readFrom(resumeFrom, this.owner);
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
  async epochEnd(logs: Logs, trainer: Trainer): Promise<void> {
    const { checkpoint } = this.plan;
    if (checkpoint === undefined) return;
    const { keepBest } = checkpoint;
    const isBest =
      keepBest !== undefined && this.#improves(logs[keepBest], trainer.largerIsBetter(keepBest));
    if (isBest || checkpoint.everySteps === undefined) await this.save(isBest);
  }

  #improves(value: number | undefined, larger: boolean): boolean {
    if (value === undefined || Number.isNaN(value)) return false;
    const sign = larger ? -1 : 1;
    if (this.best !== undefined && sign * value >= sign * this.best) return false;
    this.best = value;
    return true;
  }

  /** Resolves when all is written; rejects with what writing failed with. */
  async settled(): Promise<void> {
    await this.#folder?.settled();
  }
}
