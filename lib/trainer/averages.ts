// Models of averaged parameters.
import type { Value } from '../graph/value.js';
import * as is from '../is.js';
import { blank, type ModelState, stateOf } from '../model/state.js';
import { Model } from '../model.js';
import type { Engine } from './engine.js';
import { copyInTurns } from './weights.js';

/** Throws ERR_ARGUMENT for a trainer without the option `ema`. */
export function checkAverages({ settings }: Engine, name: string): void {
  if (settings.native.averageDecay > 0) return;
  throw is.mismatch('ERR_ARGUMENT', 'a Trainer with `ema`', name, 'one without it');
}

/** A model of its own, with the averages of `engine` and the statistics of `model`. */
export async function averagedModel(
  model: Model,
  state: ModelState,
  engine: Engine,
): Promise<Model> {
  const { parameters, trainable, slots } = engine.native.savedLayout;
  const saved = new Float32Array(await engine.native.saveState());
  const copy = copyOf(model, state);
  if (state.encoder !== undefined) stateOf(copy).encoder = state.encoder;
  const begin = parameters + slots * trainable;
  await copyInTurns(
    Array.from(copy.parameters.values(), ({ data }, i) => {
      const offset = (state.native.offsets[i] ?? 0) / 4;
      const from = offset < trainable ? begin + offset : offset;
      return [saved.subarray(from, from + data.length), data];
    }),
  );
  return copy;
}

/** The same graph with parameters of its own, which are yet to be filled. */
function copyOf(model: Model, state: ModelState): Model {
  const values = (named: ModelState['inputs']): Record<string, Value> =>
    Object.fromEntries(named.map(({ name, value }) => [name, value]));
  const [output] = state.outputs;
  const single = state.outputForm === 'single' && output?.name === 'y';
  const options = {
    name: model.name,
    inputs: values(state.inputs),
    outputs: single ? output.value : values(state.outputs),
    [blank]: true,
  };
  return new Model(options);
}
