// Whether fit can go on from where a checkpoint is, and what its callbacks get back.
import * as is from '../is.js';
import type { Callback } from './callbacks.js';
import type { FitPosition, Position } from './checkpoint/contents.js';
import type { FitPlan } from './plan.js';

const noun = (type: string): string => (type === '' ? 'a callback with `loadState`' : type);

/** What tells one callback's state from another's. */
export const typeOf = ({ type }: Callback): string => type ?? '';

/** Throws ERR_ARGUMENT for other data, and within an epoch for other batches. */
export function checkData({ batch, fit }: Position, plan: FitPlan): void {
  if (fit === undefined) return;
  const refuse = (name: string, saved: unknown, own: unknown) => {
    if (saved === own) return;
    const what = `${String(saved)}, as when the checkpoint was saved,`;
    throw is.mismatch('ERR_ARGUMENT', what, name, String(own));
  };
  if (fit.rows !== undefined && plan.rows !== undefined) {
    refuse('data', `${fit.rows} rows`, `${plan.rows} rows`);
  }
  if (batch === 0) return;
  for (const name of ['batchSize', 'shuffle'] as const) refuse(name, fit[name], plan[name]);
}

/** Throws ERR_ARGUMENT where a state would go to a callback that did not keep it. */
export function checkCallbacks(
  { callbacks, types }: FitPosition,
  { callbacks: own }: FitPlan,
): void {
  for (const [i, state] of callbacks.entries()) {
    if (state === null || state === undefined) continue;
    const given = own[i];
    const type = types?.[i];
    const same = type === undefined || (given !== undefined && typeOf(given) === type);
    if (same && given?.loadState !== undefined) continue;
    const what = `${noun(type ?? '')}, as when the checkpoint was saved,`;
    const received = given === undefined ? 'none' : noun(typeOf(given));
    throw is.mismatch('ERR_ARGUMENT', what, `callbacks[${i}]`, received);
  }
}

/** Gives callbacks what they kept. Whether one of them had ended the training. */
export function restoreCallbacks(
  callbacks: readonly Callback[],
  { callbacks: states }: FitPosition,
): boolean {
  let ended = false;
  callbacks.forEach((callback, i) => {
    const state = states[i] ?? undefined;
    if (state !== undefined && callback.loadState?.(state) === false) ended = true;
  });
  return ended;
}
