// Files and models -> native predictors.
import { buildModel, type OpenFile, openFile } from '../files/load.js';
import { describe } from '../graph/describe.js';
import { copying, type ModelState, restored, stateOf } from '../model/state.js';
import { Model } from '../model.js';
import { native } from '../native.js';
import { layoutOf } from './arrays.js';
import { loadDirectly } from './direct.js';
import { type Loaded, type LoadOptions, plainKey, type Variants } from './loaded.js';

type VariantsOf = (state: ModelState) => Variants;

let isDeviceSought = false;

/** Looks for the device on another thread, while files are read on this one. */
export function seekDevice(device: string | undefined): void {
  if (isDeviceSought) return;
  isDeviceSought = true;
  // Whoever needs the device looks again and fails with the reason.
  native.findDevice(device).catch(() => {});
}

/**
 * As Predictor.load rejects. Undefined for a file of a quantized model. `variantsOf` is left out where
 * there are none.
 */
export async function loadPredictor(
  source: string | URL | Model,
  options: LoadOptions,
  variantsOf?: VariantsOf,
): Promise<Loaded | undefined> {
  if (source instanceof Model) {
    const { graph, rest, variants } = prepare(source, variantsOf);
    const state = stateOf(source);
    const all = { ...options, variants };
    await restored(state);
    const predictor = await copying(state, async () => {
      for (const trainer of state.devices) await trainer.sync();
      return await native.loadPredictor(state.native, graph, all);
    });
    return { ...rest, predictor };
  }
  const opened = await openFile(source);
  if (opened === undefined) return undefined;
  try {
    const loaded = variantsOf === undefined ? await loadDirectly(opened, options) : undefined;
    return loaded ?? (await loadByValues(opened, options, variantsOf));
  } finally {
    opened.file.close();
  }
}

async function loadByValues(
  opened: OpenFile,
  options: LoadOptions,
  variantsOf: VariantsOf | undefined,
): Promise<Loaded> {
  const { model, positions, read } = buildModel(opened, (set) => new Model(set));
  const { native: parameters } = stateOf(model);
  try {
    const { graph, rest, variants, key } = prepare(model, variantsOf);
    const all = { ...options, variants };
    if (process.platform === 'win32') {
      await read();
      return { ...rest, predictor: await native.loadPredictor(parameters, graph, all) };
    }
    const { fd } = opened.file;
    const predictor = await native.loadPredictorFile(fd, positions, key, graph, all);
    return { ...rest, predictor };
  } finally {
    // Nobody else has seen this model, and the predictor has its parameters.
    parameters.release();
  }
}

function prepare(model: Model, variantsOf: VariantsOf | undefined) {
  const state = stateOf(model);
  const { inputs, outputs, encoder } = state;
  const values = outputs.map(({ value }) => value);
  const { graph, parts } = describe(inputs, values, state.parameters);
  const { graphs, key } = variantsOf?.(state) ?? { graphs: [], key: plainKey };
  const layout = layoutOf(state, parts.results);
  return { graph, rest: { inputs, outputs, encoder, layout }, variants: graphs, key };
}
