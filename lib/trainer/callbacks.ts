import type { Matrix } from '../metrics/metric.js';
import type { Trainer } from '../trainer.js';

/** Numbers of a step or an epoch by name: `loss`, `valLoss`, metrics, `learningRate`, ... */
export type Logs = Readonly<Record<string, number>>;

/** Whether an epoch took a step; where all were left out, the parameters are what they were. */
export const tookSteps = ({ skippedSteps = 0, learningRate }: Logs): boolean =>
  skippedSteps === 0 || learningRate !== 0;

/** What may come back from a callback: `false` stops the training. */
export type CallbackResult = unknown;

/**
 * Functions that fit calls and awaits. No step runs meanwhile, so that they may read, write and save
 * the model. `false` ends the training, as `trainer.stop()` does; an error makes fit reject.
 */
export interface Callback {
  /** Before any step; `reports` are the names that the logs of onEpochEnd will have. */
  onTrainBegin?(trainer: Trainer, reports: readonly string[]): CallbackResult;
  /**
   * Called however a fit ends that called onTrainBegin: with `error` when fit is about to reject with
   * it, also for an abort or a closed trainer. What it throws then is dropped.
   */
  onTrainEnd?(trainer: Trainer, error?: unknown): CallbackResult;
  /** Epochs count from 0, over all calls of fit. */
  onEpochBegin?(epoch: number, trainer: Trainer): CallbackResult;
  /** `matrices` are the metrics that are no numbers: confusion matrices by name. */
  onEpochEnd?(
    epoch: number,
    logs: Logs,
    trainer: Trainer,
    matrices: Readonly<Record<string, Matrix>>,
  ): CallbackResult;
  /** Steps count from 0, over all calls of fit and step. Makes training slower: steps run singly. */
  onBatchEnd?(step: number, logs: Logs, trainer: Trainer): CallbackResult;
  /**
   * What it needs to go on after a checkpoint, as plain data of JSON and Float32Arrays, which are
   * copied while training waits; checkpoints keep it under the callback's place in the list.
   */
  saveState?(): unknown;
  /**
   * Called after onTrainBegin with what saveState gave, when fit goes on from a checkpoint. `false`: the
   * callback had ended the training then, so that fit ends at once.
   */
  loadState?(state: unknown): CallbackResult;
  /** What it is: a state goes back only to a callback of the type that it is of. None by default. */
  readonly type?: string;
}
