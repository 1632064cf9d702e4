// The epoch that is under way: what its steps add up to.
import type { Matrix } from '../metrics/metric.js';
import type { Logs } from './callbacks.js';
import type { Position } from './checkpoint/contents.js';
import type { Step } from './engine.js';
import type { TrainingGraph } from './graph.js';
import { Means } from './history.js';
import { badLoss, hasLoss, isSkipped } from './numerics.js';
import { type Tallied, Tally } from './tally.js';

type Place = Omit<Position, 'fit'>;

/** Between two epochs, or before the first step of one. */
export const placeBefore = (epoch: number): Place => ({
  epoch,
  batch: 0,
  means: undefined,
  tally: undefined,
  learningRate: Number.NaN,
  skippedSteps: 0,
});

export class OpenEpoch {
  readonly epoch: number;
  readonly #means: Means;
  readonly #tally: Tally;
  #batch: number;
  #learningRate: number;
  #skippedSteps: number;

  constructor(
    graph: TrainingGraph,
    /** Where it begins, or goes on. */
    place: Place,
    /** Whether steps may be left out, and whether for their losses, too. */
    readonly skips: boolean,
    readonly checksLosses: boolean,
  ) {
    this.epoch = place.epoch;
    this.#means = new Means(graph.results, place.means);
    this.#tally = new Tally(graph.tracked, place.tally);
    this.#batch = place.batch;
    // A number also where every step is left out: the rate of those is 0.
    this.#learningRate = place.learningRate || 0;
    this.#skippedSteps = place.skippedSteps;
  }

  /** Batches that are done. */
  get batch(): number {
    return this.#batch;
  }

  get place(): Place {
    return {
      epoch: this.epoch,
      batch: this.#batch,
      means: this.#means.state,
      tally: this.#tally.state,
      learningRate: this.#learningRate,
      skippedSteps: this.#skippedSteps,
    };
  }

  /**
   * Throws ERR_NUMERIC for a loss that is not finite where steps are not left out. What rows of those that
   * are came to counts where it is finite: an epoch is of all its rows.
   */
  add(steps: readonly Step[]): void {
    for (const step of steps) {
      this.#batch += step.parts.length;
      if (this.skips && isSkipped(step, this.checksLosses)) {
        this.#skippedSteps++;
        if (!hasLoss(step)) continue;
      } else this.#learningRate = step.learningRate;
      for (const part of step.parts) {
        const { values, offset, rows } = part;
        const finite = this.#means.add(values, offset, rows);
        if (!finite) throw badLoss(step.step, values[offset] ?? Number.NaN);
        this.#tally.add(part);
      }
    }
  }

  /** What it reports, with the numbers of validation. */
  async results(
    validated: Tallied,
  ): Promise<{ logs: Logs; matrices: Readonly<Record<string, Matrix>> }> {
    const { numbers, matrices } = await this.#tally.results();
    const logs: Logs = {
      ...this.#means.logs(),
      ...numbers,
      ...validated.numbers,
      learningRate: this.#learningRate,
      ...(this.skips && { skippedSteps: this.#skippedSteps }),
    };
    return { logs, matrices: { ...matrices, ...validated.matrices } };
  }
}
