// Taking and putting back all that a Trainer changes.
import * as is from '../../is.js';
import type { Engine } from '../engine.js';
import { placeBefore } from '../epoch.js';
import type { RunState } from '../run.js';
import { copyArrays, loadState } from '../weights.js';
import { decode, encode, type Setup } from './contents.js';
import type { Restored, Snapshot } from './file.js';

/**
 * Of a trainer between two steps, and nothing may train until it resolves; the event loop has its turns
 * meanwhile.
 */
export function takeSnapshot(engine: Engine, run: RunState): Promise<Snapshot> {
  return run.alone(() => snapshotOf(engine, run));
}

/** The same in the form that it is put back in. */
export async function takeRestored(engine: Engine, run: RunState): Promise<Restored> {
  const { json, arrays, state } = await takeSnapshot(engine, run);
  return { contents: decode(JSON.parse(json), arrays), state };
}

async function snapshotOf(engine: Engine, run: RunState): Promise<Snapshot> {
  const { native, settings } = engine;
  const position = run.locate?.() ?? run.resume ?? { ...placeBefore(run.epoch), fit: undefined };
  const scheduler: unknown = settings.schedule.saveState?.();
  const { progress } = native;
  // What callbacks keep, such as the best weights, may be as large as the model.
  const kept: Float32Array[] = [];
  const json = encode({ setup: setupOf(engine), progress, position, scheduler }, kept);
  const arrays = await copyArrays(kept);
  const state = new Float32Array(await native.saveState());
  return { step: progress.step, json, arrays, state };
}

/** Throws ERR_ARGUMENT, the trainer unchanged, when its options would not go on with the same bits. */
export async function restoreSnapshot(
  { contents, state }: Restored,
  engine: Engine,
  run: RunState,
): Promise<void> {
  const { native, settings } = engine;
  checkSetup(contents.setup, setupOf(engine));
  if (contents.scheduler !== undefined) settings.schedule.loadState?.(contents.scheduler);
  await engine.changing(() => loadState(native, state, contents.progress));
  run.epoch = contents.position.epoch;
  run.resume = contents.position;
}

function setupOf({ native, settings }: Engine): Setup {
  const { slots, averages } = native.savedLayout;
  return {
    optimizer: settings.optimizer.op,
    slots,
    averages,
    seed: settings.native.seed,
    microBatches: settings.microBatches,
    mixup: settings.mixup ?? 0,
    loss: settings.loss,
    precision: settings.native.precision,
  };
}

function checkSetup(saved: Setup, own: Setup): void {
  const names = {
    optimizer: 'optimizer',
    slots: 'optimizer (numbers that it keeps of each parameter)',
    averages: 'ema',
    seed: 'seed',
    microBatches: 'gradientAccumulationSteps',
    mixup: 'mixup.alpha',
    loss: 'loss',
    precision: 'precision',
  };
  for (const key of Object.keys(names) as (keyof Setup)[]) {
    if (saved[key] === own[key] || saved[key] === undefined) continue;
    const expected = `${is.show(saved[key])}, as when the checkpoint was saved,`;
    throw is.mismatch('ERR_ARGUMENT', expected, names[key], is.show(own[key]));
  }
}
