import { serialize } from '../graph/serialize.js';
import { elements } from '../graph/value.js';
import * as is from '../is.js';
import { assertIdle, stateOf } from '../model/state.js';
import type { Model } from '../model.js';
import { writeAtomically } from './atomic.js';
import { pathOf } from './paths.js';
import { encodeHeader } from './safetensors.js';

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
    return {
      name,
      dtype: 'F32',
      shape,
      bytes: count * 4,
      data: new Uint8Array(data.slice().buffer),
    };
  });
  const metadata = {
    format: 'tandem-ml',
    version: String(formatVersion),
    graph: JSON.stringify(serialize(model.name, state)),
    ...(state.encoder && { encoder: JSON.stringify(state.encoder) }),
  };
  await writeAtomically(target, [
    encodeHeader(metadata, tensors),
    ...tensors.map(({ data }) => data),
  ]);
}
