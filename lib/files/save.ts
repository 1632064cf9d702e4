import { serialize } from '../graph/serialize.js';
import { elements } from '../graph/value.js';
import * as is from '../is.js';
import { assertIdle, copying, type ModelState, stateOf } from '../model/state.js';
import type { Model } from '../model.js';
import { copyArrays } from '../trainer/weights.js';
import { filePathOf } from './paths.js';
import { tensorOf, writeTensors } from './safetensors.js';

/** Counts changes of the graph's JSON that older readers would misread. */
export const formatVersion = 1;

export async function writeModel(model: Model, path: string | URL): Promise<void> {
  const target = filePathOf(path, 'path');
  const state = stateOf(model);
  assertIdle(state, 'save');
  const metadata = metadataOf(model.name, state);
  // A copy: training may go on while the file is being written.
  const copies = await copying(state, async () => {
    for (const trainer of state.devices) await trainer.sync();
    const copied = await copyArrays(valuesOf(model));
    // The event loop had its turns.
    valuesOf(model);
    return copied;
  });
  const tensors = [...model.parameters].map(([name, { shape }], i) =>
    tensorOf(name, 'F32', shape, copies[i] ?? new Float32Array()),
  );
  await writeTensors(target, metadata, tensors);
}

/** Throws ERR_ARGUMENT where they are no longer there. */
function valuesOf(model: Model): Float32Array[] {
  return [...model.parameters].map(([name, { shape, data }]) => {
    const count = elements(shape);
    if (data.length === count) return data;
    const what = `${count} elements`;
    throw is.mismatch('ERR_ARGUMENT', what, name, 'memory that has been transferred elsewhere');
  });
}

/** What the file of a model says beside its tensors. */
export const metadataOf = (name: string, state: ModelState): Record<string, string> => ({
  format: 'tandem-ml',
  version: String(formatVersion),
  graph: JSON.stringify(serialize(name, state)),
  ...(state.encoder && { encoder: JSON.stringify(state.encoder) }),
});
