// The next epoch of a file is read while the steps before it, validation and callbacks still run.
import type { EpochPlan, StepSource, Supply } from './supply.js';

interface Begun {
  readonly epoch: number;
  readonly start: number;
  readonly opened: Promise<{ readonly source: StepSource; readonly version: string }>;
}

/** Opens the epochs of a supply, one at most ahead of its turn. */
export class EpochsAhead {
  #begun: Begun | undefined;
  /** Of the file of the epoch that was opened last, where its reading had begun before. */
  #read: string | undefined;

  constructor(readonly supply: Supply) {}

  /** Whether one has been begun that nobody has opened. */
  get pending(): boolean {
    return this.#begun !== undefined;
  }

  /** Begins an epoch that is likely to be opened next, where nobody notices if it is not. */
  begin(plan: EpochPlan): void {
    const { version } = this.supply;
    // What is wrong with rows is told with the number of the step, which is not known yet.
    if (version === undefined || plan.checkFrom !== undefined || this.#begun !== undefined) return;
    const open = async () => {
      const before = await version();
      const source = await this.supply.epoch(plan);
      source.begin?.();
      return { source, version: before };
    };
    const opened = open();
    // Whoever opens the epoch fails with the same.
    opened.catch(() => {});
    this.#begun = { epoch: plan.epoch, start: plan.start, opened };
  }

  async open(plan: EpochPlan): Promise<StepSource> {
    const begun = this.#begun;
    this.#read = undefined;
    if (begun?.epoch === plan.epoch && begun.start === plan.start) {
      const ready = await begun.opened.catch(() => undefined);
      // A callback may have written another file meanwhile.
      if (ready !== undefined && ready.version === (await this.#version())) {
        this.#begun = undefined;
        this.#read = ready.version;
        return ready.source;
      }
    }
    await this.close();
    return await this.supply.epoch(plan);
  }

  /** After callbacks: the source that `open` gave, or another one where they have written the file. */
  async afresh(plan: EpochPlan, source: StepSource): Promise<StepSource> {
    if (this.#read === undefined || this.#read === (await this.#version())) return source;
    await source.close?.();
    return await this.supply.epoch(plan);
  }

  /** Lets go of what has been begun. */
  async close(): Promise<void> {
    const begun = this.#begun;
    this.#begun = undefined;
    const ready = await begun?.opened.catch(() => undefined);
    await ready?.source.close?.();
  }

  /** The source as it is, which calls `last` when it has no more. */
  noticing(source: StepSource, last: () => void): StepSource {
    if (this.supply.version === undefined) return source;
    return {
      steps: source.steps,
      batchSize: source.batchSize,
      async next(steps) {
        const piece = await source.next(steps);
        if (piece === undefined) last();
        return piece;
      },
      close: async () => await source.close?.(),
    };
  }

  async #version(): Promise<string | undefined> {
    try {
      return await this.supply.version?.();
    } catch {
      return undefined;
    }
  }
}
