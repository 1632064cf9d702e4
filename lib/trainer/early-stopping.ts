import { bad } from '../files/format.js';
import * as is from '../is.js';
import type { Model } from '../model.js';
import type { Trainer } from '../trainer.js';
import { type Callback, type Logs, tookSteps } from './callbacks.js';
import { copyWeights, restoreWeights } from './weights.js';

/** When earlyStopping ends training, and what it leaves. */
export interface EarlyStoppingOptions {
  /** What should improve; 'valLoss' by default. */
  monitor?: string;
  /**
   * Epochs without improvement after which training ends; 0 by default, which is as 1. Those whose steps
   * were all left out do not count.
   */
  patience?: number;
  /** Smaller changes are no improvement; 0 by default. */
  minDelta?: number;
  /**
   * 'auto' (the default): as the metric says, if it is one of this library's or has `largerIsBetter`; otherwise
   * larger is better for names that end in accuracy, precision, recall, f1, auc, r2, or top and a number,
   * as `top3`.
   */
  mode?: 'auto' | 'min' | 'max';
  /**
   * Whether the model ends with the parameters of its best epoch, or with their averages where these are
   * validated (`ema.validate`), also when fit rejects (an abort, an error); false by default.
   */
  restoreBestWeights?: boolean;
}

/** An earlyStopping callback; it shows what it found. */
export interface EarlyStopping extends Callback {
  /** The best value and its epoch, -1 before the first. */
  readonly best: number;
  readonly bestEpoch: number;
  /** The epoch after which it ended the training, or -1. */
  readonly stoppedEpoch: number;
}

/**
 * A callback that ends training when a number stops improving: Prechelt, "Early Stopping - But
 * When?" (1998), with Keras' options. Throws ERR_ARGUMENT, before the first step of fit also for a
 * `monitor` that it will not report.
 */
export function earlyStopping(options?: EarlyStoppingOptions): EarlyStopping;
export function earlyStopping(options?: EarlyStoppingOptions, ...more: unknown[]): EarlyStopping {
  is.lastArgument(more, 'earlyStopping');
  const set = is.options(options, 'options of earlyStopping', [
    'monitor',
    'patience',
    'minDelta',
    'mode',
    'restoreBestWeights',
  ]);
  const monitor = is.string(set.monitor ?? 'valLoss', 'monitor');
  const patience = is.integer(set.patience ?? 0, 'patience', 0);
  const minDelta = is.number(set.minDelta ?? 0, 'minDelta', 0);
  const mode = is.oneOf(set.mode ?? 'auto', 'mode', ['auto', 'min', 'max']);
  const restore = is.boolean(set.restoreBestWeights ?? false, 'restoreBestWeights');
  return new Stopper(monitor, patience, minDelta, mode, restore);
}

class Stopper implements EarlyStopping {
  readonly type = 'earlyStopping';
  best = Number.NaN;
  bestEpoch = -1;
  stoppedEpoch = -1;
  #wait = 0;
  /** 1 when smaller is better, -1 when larger is. */
  #sign = 1;
  #weights: Map<string, Float32Array> | undefined;
  /** Memory for the next copy. */
  #spare: Map<string, Float32Array> | undefined;
  #model: Model | undefined;

  constructor(
    readonly monitor: string,
    readonly patience: number,
    readonly minDelta: number,
    readonly mode: 'auto' | 'min' | 'max',
    readonly restore: boolean,
  ) {}

  onTrainBegin(trainer: Trainer, reports: readonly string[]): void {
    this.#model = trainer.model;
    if (!reports.includes(this.monitor)) {
      const received = `${is.show(this.monitor)}${is.didYouMean(this.monitor, reports)}`;
      throw is.mismatch('ERR_ARGUMENT', `one of ${reports.join(', ')}`, 'monitor', received);
    }
    const upwards =
      this.mode === 'max' || (this.mode === 'auto' && trainer.largerIsBetter(this.monitor));
    this.#sign = upwards ? -1 : 1;
    this.best = Number.NaN;
    this.bestEpoch = -1;
    this.stoppedEpoch = -1;
    this.#wait = 0;
    this.#weights = undefined;
    this.#spare = undefined;
  }

  async onEpochEnd(epoch: number, logs: Logs, trainer: Trainer): Promise<boolean> {
    const value = logs[this.monitor] ?? Number.NaN;
    const gain = (this.best - value) * this.#sign;
    if (!Number.isNaN(value) && (this.bestEpoch === -1 || gain > this.minDelta)) {
      if (this.restore) {
        // Not over the last ones: a trainer that is closed meanwhile still ends with those, whole.
        const model = trainer.validatesAverages ? await trainer.averagedModel() : trainer.model;
        const copy = await copyWeights(model, this.#spare);
        [this.#weights, this.#spare] = [copy, this.#weights];
      }
      this.best = value;
      this.bestEpoch = epoch;
      this.#wait = 0;
      return true;
    }
    if (!tookSteps(logs)) return true;
    this.#wait++;
    if (this.#wait < this.patience) return true;
    this.stoppedEpoch = epoch;
    return false;
  }

  saveState(): unknown {
    const { best, bestEpoch, stoppedEpoch } = this;
    return {
      best,
      bestEpoch,
      stoppedEpoch,
      wait: this.#wait,
      weights: Object.fromEntries(this.#weights ?? []),
    };
  }

  loadState(state: unknown): boolean {
    if (!is.isRecord(state)) throw is.invalid('what saveState gave', 'state', state);
    this.best = typeof state.best === 'number' ? state.best : Number.NaN;
    this.bestEpoch = is.integer(state.bestEpoch, 'state.bestEpoch', -1);
    this.#wait = is.integer(state.wait, 'state.wait', 0);
    this.stoppedEpoch = is.integer(state.stoppedEpoch ?? -1, 'state.stoppedEpoch', -1);
    const weights = is.isRecord(state.weights) ? state.weights : {};
    this.#weights = this.restore ? this.#checked(weights) : undefined;
    // Not where it is to be more patient now.
    if (this.stoppedEpoch !== -1 && this.#wait >= this.patience) return false;
    this.stoppedEpoch = -1;
    return true;
  }

  /**
   * All of the model's, or none where no epoch was best: what does not fit would leave it half changed.
   * Throws ERR_FILE_FORMAT.
   */
  #checked(weights: Readonly<Record<string, unknown>>): Map<string, Float32Array> {
    const found = new Map<string, Float32Array>();
    if (Object.keys(weights).length === 0) return found;
    for (const [name, { data }] of this.#model?.parameters ?? []) {
      const own = weights[name];
      if (!(own instanceof Float32Array && own.length === data.length)) {
        throw bad(`${data.length} numbers for \`weights.${name}\` in the file`, is.show(own));
      }
      found.set(name, own);
    }
    return found;
  }

  async onTrainEnd(trainer: Trainer): Promise<void> {
    const weights = this.#weights;
    this.#weights = undefined;
    this.#spare = undefined;
    if (weights !== undefined) await restoreWeights(trainer.model, weights);
  }
}
