// What a Predictor is made of: a file or a model, as it is or in 8-bit integers.
import type { PredictorDescription } from '../../bindings.js';
import { pathOf } from '../files/paths.js';
import { type GenerationEngine, openEngine } from '../generation/engine.js';
import { type GenerationPlan, generationVariants, planGeneration } from '../generation/graph.js';
import * as is from '../is.js';
import type { ModelState } from '../model/state.js';
import { Model } from '../model.js';
import { loadQuantized } from '../quantization/serve.js';
import {
  findQuantized,
  type QuantizationReport,
  QuantizedModel,
  quantizes,
} from '../quantization.js';
import { checkPrecision } from '../trainer/options.js';
import { type Bucket, lengthVariants, planLengths } from './lengths.js';
import { loadPredictor, seekDevice } from './load.js';
import type { Loaded } from './loaded.js';
import type { LoadSettings, PredictorOptions } from './options.js';
import type { QueueSettings } from './queue.js';

/** A model ready to be served, and what some have besides. */
export interface Opened {
  readonly loaded: Loaded;
  readonly engine?: GenerationEngine | undefined;
  readonly report?: QuantizationReport | undefined;
  readonly buckets?: readonly Bucket[] | undefined;
}

/** Throws ERR_ARGUMENT. */
function checkPath(source: unknown): void {
  if (typeof source === 'object' && !(source instanceof URL)) {
    throw is.invalid('a path, a file: URL, a Model or a QuantizedModel', 'source', source);
  }
  pathOf(source, 'source');
}

/** As Predictor.load rejects. */
export async function openPredictor(
  source: string | URL | Model | QuantizedModel,
  { set, plain, queue }: LoadSettings,
): Promise<Opened> {
  if (!(source instanceof Model || source instanceof QuantizedModel)) checkPath(source);
  seekDevice(plain.device);
  // Again where a file was replaced by one of the other kind between the two looks at it.
  for (;;) {
    if (!(source instanceof QuantizedModel || quantizes(set))) {
      const precision = checkPrecision(set.precision, ['float32', 'bfloat16']);
      const opened = await openPlain(source, { ...plain, precision }, queue, set);
      if (opened !== undefined) return opened;
    }
    const quantized = await findQuantized(source, set, plain.threads);
    if (quantized !== undefined) {
      return await loadQuantized(quantized, { ...queue, ...plain, precision: 'float32' }, set);
    }
  }
}

/** Undefined for a file of a quantized model. */
async function openPlain(
  source: string | URL | Model,
  options: PredictorDescription,
  queue: QueueSettings,
  { generation, lengths }: Pick<PredictorOptions, 'generation' | 'lengths'>,
): Promise<Opened | undefined> {
  let plan: GenerationPlan | undefined;
  let buckets: Bucket[] | undefined;
  const variantsOf = (state: ModelState) => {
    if (lengths !== undefined) {
      buckets = planLengths(state, lengths);
      return lengthVariants(buckets);
    }
    plan = generation && planGeneration(state, generation);
    return generationVariants(plan);
  };
  const isPlain = lengths === undefined && generation === undefined;
  const loaded = await loadPredictor(source, options, isPlain ? undefined : variantsOf);
  if (loaded === undefined) return undefined;
  const engine = plan && openEngine(loaded.predictor, plan, { ...queue, ...options });
  return { loaded, engine, buckets };
}
