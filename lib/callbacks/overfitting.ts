import { lowest, type Overfitting, overfitting } from '../history/overfitting.js';
import * as is from '../is.js';
import { readLists } from '../metrics/state.js';
import type { Callback, Logs } from '../trainer/callbacks.js';
import type { Trainer } from '../trainer.js';

/** How sure detectOverfitting has to be, and what it does then. */
export interface DetectOverfittingOptions {
  /** The chance of a false alarm in a whole fit that is accepted; 0.05 by default. */
  significance?: number;
  /** Whether it ends the training; false by default. */
  stop?: boolean;
  /** Called once, with what was found; awaited. */
  onDetected?: (found: Overfitting) => unknown;
}

/** A detectOverfitting callback; it shows what it found. */
export interface OverfittingDetector extends Callback {
  /** What the curves show so far; undefined before the first epoch. */
  readonly found: Overfitting | undefined;
  /** The epoch after which overfitting was detected, or -1. */
  readonly detectedEpoch: number;
}

/**
 * A callback that looks for overfitting after each epoch, as `history.overfitting()` does at the end.
 * As it looks many times, each look gets a part of the accepted chance of a false alarm: the k-th
 * after a best epoch 6 / (pi k)^2 of it, which add up to the whole (Lan and DeMets, "Discrete
 * Sequential Boundaries for Clinical Trials", 1983). Throws ERR_ARGUMENT, before the first step of fit
 * also where there is no validation data.
 */
export function detectOverfitting(options?: DetectOverfittingOptions): OverfittingDetector;
export function detectOverfitting(
  options?: DetectOverfittingOptions,
  ...more: unknown[]
): OverfittingDetector {
  is.lastArgument(more, 'detectOverfitting');
  const set = is.options(options, 'options of detectOverfitting', [
    'significance',
    'stop',
    'onDetected',
  ]);
  const significance = is.number(set.significance ?? 0.05, 'significance', 0, 1);
  const stop = is.boolean(set.stop ?? false, 'stop');
  const { onDetected } = set;
  if (onDetected !== undefined && typeof onDetected !== 'function') {
    throw is.invalid('a function', 'onDetected', onDetected);
  }
  return new Detector(significance, stop, onDetected);
}

class Detector implements OverfittingDetector {
  readonly type = 'detectOverfitting';
  found: Overfitting | undefined;
  detectedEpoch = -1;
  #epochs: number[] = [];
  #loss: number[] = [];
  #valLoss: number[] = [];

  constructor(
    readonly significance: number,
    readonly stop: boolean,
    readonly onDetected: ((found: Overfitting) => unknown) | undefined,
  ) {}

  onTrainBegin(_trainer: Trainer, reports: readonly string[]): void {
    if (!reports.includes('valLoss')) {
      const received = 'a fit without it, which reports no `valLoss`';
      throw is.mismatch('ERR_ARGUMENT', 'validation data', 'detectOverfitting', received);
    }
    this.found = undefined;
    this.detectedEpoch = -1;
    [this.#epochs, this.#loss, this.#valLoss] = [[], [], []];
  }

  saveState(): unknown {
    const { detectedEpoch } = this;
    return {
      detectedEpoch,
      epochs: this.#epochs,
      loss: this.#loss,
      valLoss: this.#valLoss,
    };
  }

  loadState(state: unknown): boolean {
    const read = readLists(state, ['epochs', 'loss', 'valLoss']);
    this.#epochs = [...read.epochs];
    this.#loss = [...read.loss];
    this.#valLoss = [...read.valLoss];
    this.detectedEpoch = is.integer(Reflect.get(Object(state), 'detectedEpoch'), 'state', -1);
    if (this.#epochs.length === 0) return true;
    this.found = this.#look();
    return !(this.stop && this.detectedEpoch !== -1);
  }

  async onEpochEnd(epoch: number, logs: Logs): Promise<boolean> {
    this.#epochs.push(epoch);
    this.#loss.push(logs.loss ?? Number.NaN);
    this.#valLoss.push(logs.valLoss ?? Number.NaN);
    this.found = this.#look();
    if (this.found.verdict !== 'overfitting') return true;
    if (this.detectedEpoch === -1) {
      this.detectedEpoch = epoch;
      await this.onDetected?.(this.found);
    }
    return !this.stop;
  }

  /** At the curves so far: the same for a fit that went on from a checkpoint. */
  #look(): Overfitting {
    const epochs = this.#epochs;
    const epoch = epochs.at(-1) ?? 0;
    const bestBefore = epochs[lowest(this.#valLoss.slice(0, -1))] ?? -1;
    // Three epochs after the best show nothing; looks count from the fourth.
    const look = epochs.length === 1 ? 1 : Math.max(1, epoch - bestBefore - 3);
    const significance = (this.significance * 6) / (Math.PI * look) ** 2;
    return overfitting(this.#loss, this.#valLoss, { epochs, significance });
  }
}
