// Files and models -> native predictors.
import type {
  GraphDescription,
  Predictor as NativePredictor,
  PredictorDescription,
} from '../../bindings.js';
import { openModel } from '../files/load.js';
import { describe } from '../graph/describe.js';
import { type ModelState, stateOf } from '../model/state.js';
import { Model } from '../model.js';
import { native } from '../native.js';
import { type Layout, layoutOf } from './arrays.js';

/** A model ready to be served. */
export interface Loaded {
  readonly model: Model;
  readonly predictor: NativePredictor;
  readonly layout: Layout;
}

/** Further graphs of a model, and what tells them from others of the same file. */
export interface Variants {
  readonly graphs: readonly GraphDescription[];
  readonly key: string;
}

type VariantsOf = (state: ModelState) => Variants;

/** As Predictor.load rejects. Undefined for a file of a quantized model. */
export async function loadPredictor(
  source: string | URL | Model,
  options: PredictorDescription,
  variantsOf: VariantsOf,
): Promise<Loaded | undefined> {
  if (source instanceof Model) {
    const { graph, layout, variants } = prepare(source, variantsOf);
    const state = stateOf(source);
    for (const trainer of state.devices) await trainer.sync();
    const all = { ...options, variants: variants.graphs };
    const predictor = await native.loadPredictor(state.native, graph, all);
    return { model: source, predictor, layout };
  }
  const opened = await openModel(source, (set) => new Model(set));
  if (opened === undefined) return undefined;
  const { model, file, positions, read } = opened;
  try {
    const { graph, layout, variants } = prepare(model, variantsOf);
    const all = { ...options, variants: variants.graphs };
    if (process.platform === 'win32') {
      await read();
      const predictor = await native.loadPredictor(stateOf(model).native, graph, all);
      return { model, predictor, layout };
    }
    // It has a descriptor of its own as soon as it is called.
    const loading = native.loadPredictorFile(file.fd, positions, variants.key, graph, all);
    file.close();
    return { model, predictor: await loading, layout };
  } finally {
    // Nobody else has seen this model, and the predictor has its parameters.
    stateOf(model).native.release();
    file.close();
  }
}

function prepare(model: Model, variantsOf: VariantsOf) {
  const state = stateOf(model);
  const outputs = state.outputs.map(({ value }) => value);
  const { graph, parts } = describe(state.inputs, outputs, state.parameters);
  return { graph, layout: layoutOf(state, parts.results), variants: variantsOf(state) };
}
