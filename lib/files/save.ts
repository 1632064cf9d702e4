import { serialize } from '../graph/serialize.js';
import { elements } from '../graph/value.js';
import * as is from '../is.js';
import { assertIdle, type ModelState, stateOf } from '../model/state.js';
import type { Model } from '../model.js';
import { pathOf } from './paths.js';
import { tensorOf, writeTensors } from './safetensors.js';

/** Counts changes of the graph's JSON that older readers would misread. */
export const formatVersion = 1;

export async function writeModel(model: Model, path: string | URL): Promise<void> {
  const target = pathOf(path, 'path');
  const state = stateOf(model);
  assertIdle(state, 'save');
  for (const trainer of state.devices) await trainer.sync();
  const tensors = [...model.parameters].map(([name, { shape, data }]) => {
    const count = elements(shape);
    if (data.length !== count) {
      const what = `${count} elements`;
      throw is.mismatch('ERR_ARGUMENT', what, name, 'memory that has been transferred elsewhere');
    }
    // A copy: training may go on while the file is being written.
    return tensorOf(name, 'F32', shape, data.slice());
  });
  await writeTensors(target, metadataOf(model.name, state), tensors);
}

/** What the file of a model says beside its tensors. */
export const metadataOf = (name: string, state: ModelState): Record<string, string> => ({
  format: 'tandem-ml',
  version: String(formatVersion),
  graph: JSON.stringify(serialize(name, state)),
  ...(state.encoder && { encoder: JSON.stringify(state.encoder) }),
});
