// NaN and infinities: in data before they are used, and in what steps report.
import { TandemError } from '../errors.js';
import { findBadRows, type Rows } from './data.js';
import type { Engine, Step } from './engine.js';
import type { FitPlan } from './plan.js';
import { badRow, smallest } from './reports.js';
import type { StepSource } from './supply.js';

/** Throws ERR_NUMERIC for a NaN or an infinity; `step` is the one that would meet it. */
export async function refuseBadRows(rows: Rows, step?: number): Promise<void> {
  const bad = await findBadRows(rows);
  const first = smallest(bad.keys());
  if (first !== undefined) throw badRow(bad, first, '', step);
}

/**
 * With checkNumerics: the first step that would meet a NaN in arrays, before any step runs. `open` gives
 * the epoch that comes first.
 */
export async function checkArrays(
  { arrays, batchSize }: FitPlan,
  { native, settings }: Engine,
  open: () => Promise<StepSource>,
): Promise<void> {
  const { training, validation } = arrays;
  const bad = training ? await findBadRows(training.rows) : new Map<number, string>();
  if (bad.size > 0) {
    const source = await open();
    const order = (await source.next(source.steps ?? 0))?.order ?? new Uint32Array();
    const position = order.findIndex((row) => bad.has(row));
    if (position !== -1) {
      const step = native.step + Math.floor(position / (batchSize * settings.microBatches));
      throw badRow(bad, order[position] ?? 0, '', step);
    }
  }
  if (validation === undefined) return;
  const apart = validation.rows !== training?.rows;
  const held = apart ? await findBadRows(validation.rows) : bad;
  const { start, count } = validation.which;
  const row = smallest(held.keys(), start, start + count);
  if (row !== undefined) throw badRow(held, row, apart ? 'validationData: ' : 'validationSplit: ');
}

/**
 * Where steps may be left out: whether this one was. Losses are looked at with checkNumerics alone, and
 * those of micro-batches without a target that counts not even then: a step that is left out says so by
 * a rate of 0.
 */
export const isSkipped = (step: Step, checksLosses: boolean): boolean =>
  !Number.isFinite(step.gradNorm) || (checksLosses && step.learningRate === 0 && !hasLoss(step));

/** Whether the loss of all its rows is finite: its gradients may be too large all the same. */
export const hasLoss = ({ parts }: Step): boolean =>
  parts.every(({ values, offset }) => Number.isFinite(values[offset]));

/** For a loss that is not finite where nothing else was asked for. */
export function badLoss(step: number, loss: number): TandemError {
  const how = '`checkNumerics: true` names the op where it comes from, `{ skip: true }` goes on';
  const message = `expected a finite loss, received ${loss} at step ${step}; ${how}`;
  return new TandemError('ERR_NUMERIC', message, { step });
}
