// Overfitting from the two loss curves of a fit. docs/training.md explains the rule.
import * as is from '../is.js';
import { trendOf } from './trend.js';

/** How sure the verdict has to be. */
export interface OverfittingOptions {
  /** The chance of a false alarm that is accepted, between 0 and 1; 0.05 by default. */
  significance?: number;
}

/**
 * What the curves show. 'overfitting': the validation loss has been rising since its best epoch, the
 * training loss has not. 'widening': the gap grows, the validation loss gets no worse. 'diverging':
 * both rise, or one is not finite. 'improving': the validation loss still falls. 'converged': it does
 * neither. 'unknown': too few epochs, or no validation data.
 */
export type OverfittingVerdict =
  | 'overfitting'
  | 'widening'
  | 'diverging'
  | 'improving'
  | 'converged'
  | 'unknown';

/** Losses are those of epochs; numbers of epochs are those of the history. */
export interface Overfitting {
  readonly verdict: OverfittingVerdict;
  /** The verdict in plain words. */
  readonly message: string;
  /** Validation loss minus training loss in the last epoch; NaN without. */
  readonly gap: number;
  /** How the gap changes an epoch (Sen's slope), since `startEpoch`, or else in the second half. */
  readonly gapTrend: number;
  /** The epoch of the lowest validation loss, -1 without. */
  readonly bestEpoch: number;
  /** When overfitting began: the best epoch, after which the validation loss rose; -1 without it. */
  readonly startEpoch: number;
  /** How much the last validation loss is above the best, as a share of the best. */
  readonly excess: number;
  /** The chance that a validation loss without a trend rises as much after its best epoch. */
  readonly pValue: number;
}

/** Fewer points cannot show a trend: of 3 the clearest comes about by chance in one of 6 orders. */
const fewest = 4;

/**
 * The verdict on two curves. The validation loss is tested for a rising trend after its lowest point
 * (which is left out, being chosen as the lowest) by Mann and Kendall's test, which assumes nothing
 * of the noise but that it has no memory; so there is no threshold of how large a gap may be.
 */
export function overfitting(
  loss: readonly number[],
  valLoss: readonly number[],
  options: OverfittingOptions & { epochs?: readonly number[] } = {},
): Overfitting {
  const set = is.options(options, 'options of overfitting', ['significance', 'epochs']);
  const level = is.number(set.significance ?? 0.05, 'significance', 0, 1);
  const n = Math.min(loss.length, valLoss.length);
  const epochOf = (i: number) => set.epochs?.[i] ?? i;
  const training = loss.slice(0, n);
  const validation = valLoss.slice(0, n);
  const best = lowest(validation);
  const last = validation.at(-1) ?? Number.NaN;
  const lowestLoss = validation[best] ?? Number.NaN;
  const found = {
    gap: last - (training.at(-1) ?? Number.NaN),
    gapTrend: 0,
    bestEpoch: best < 0 ? -1 : epochOf(best),
    startEpoch: -1,
    excess: (last - lowestLoss) / Math.abs(lowestLoss),
    pValue: 1,
  };
  if (n > 0 && !(Number.isFinite(last) && Number.isFinite(training.at(-1)))) {
    return say('diverging', `the loss is no longer finite in epoch ${epochOf(n - 1) + 1}`, found);
  }
  const gaps = validation.map((value, i) => value - (training[i] ?? Number.NaN));
  const half = Math.floor(n / 2);
  const usable = [...training, ...validation].every(Number.isFinite);
  if (n - half < fewest || !usable) {
    const why =
      valLoss.length === 0
        ? 'there is no validation loss to compare with'
        : usable
          ? `${n} epochs are too few to tell a trend from noise`
          : 'some losses are not finite';
    return say('unknown', why, found);
  }
  const since = validation.slice(best + 1);
  const after = trendOf(since);
  if (since.length >= fewest && after.rising < level) {
    const learning = trendOf(training.slice(best + 1));
    const measured = {
      ...found,
      gapTrend: trendOf(gaps.slice(best + 1)).slope,
      pValue: after.rising,
    };
    const rise = `the validation loss has been rising since epoch ${epochOf(best) + 1}, by ${percent(found.excess)}`;
    if (learning.rising < level) {
      return say(
        'diverging',
        `${rise}, and the training loss with it: the learning rate may be too high`,
        measured,
      );
    }
    return say(
      'overfitting',
      `${rise}, while the training loss has not: the model learns its training data by heart. Stop at that epoch (earlyStopping with restoreBestWeights), or use more data, dropout, weight decay or a smaller model`,
      { ...measured, startEpoch: epochOf(best) },
    );
  }
  const recent = trendOf(validation.slice(half));
  const gap = trendOf(gaps.slice(half));
  const measured = {
    ...found,
    gapTrend: gap.slope,
    pValue: since.length >= fewest ? after.rising : 1,
  };
  if (recent.falling < level) {
    return say('improving', 'the validation loss is still falling: more epochs may help', measured);
  }
  if (gap.rising < level) {
    return say(
      'widening',
      `the gap between validation and training loss grows, to ${show(found.gap)}, but the validation loss gets no worse: more epochs will not help`,
      measured,
    );
  }
  return say('converged', 'the validation loss neither falls nor rises any more', measured);
}

const say = (
  verdict: OverfittingVerdict,
  message: string,
  found: Omit<Overfitting, 'verdict' | 'message'>,
): Overfitting => ({ verdict, message: `${verdict}: ${message}`, ...found });

/** The first of the lowest numbers, -1 where none is a number. */
export function lowest(numbers: readonly number[]): number {
  let best = -1;
  for (const [i, value] of numbers.entries()) {
    if (Number.isFinite(value) && (best < 0 || value < (numbers[best] ?? 0))) best = i;
  }
  return best;
}

const show = (value: number): string => String(Number(value.toPrecision(3)));
const percent = (share: number): string => `${show(100 * share)} %`;
