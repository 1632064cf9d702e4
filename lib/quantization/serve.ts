// Quantized models -> native predictors.
import type { Predictor as NativePredictor, PredictorDescription } from '../../bindings.js';
import { openEngine } from '../generation/engine.js';
import { generationVariants, planGeneration } from '../generation/graph.js';
import { native } from '../native.js';
import { layoutOf } from '../predictor/arrays.js';
import { lengthVariants, planLengths } from '../predictor/lengths.js';
import type { Variants } from '../predictor/loaded.js';
import type { Opened } from '../predictor/open.js';
import type { PredictorOptions } from '../predictor/options.js';
import type { OpenQuantized } from './file.js';
import type { Quantized } from './quantize.js';

/** A quantized model that a Predictor is to serve. */
export interface Served extends Omit<Quantized, 'parameters'> {
  load(variants: Variants, options: PredictorDescription): Promise<NativePredictor>;
  /** Gives back what load() no longer needs. */
  release(): Promise<void>;
}

/** Of a model in memory, which is given back afterwards when nobody else has it. */
export function fromMemory(quantized: Quantized, temporary: boolean): Served {
  const { parameters, graph } = quantized;
  return {
    ...quantized,
    load: ({ graphs }, options) =>
      native.loadPredictor(parameters, graph, { ...options, variants: graphs }),
    release() {
      if (temporary) parameters.release();
      return Promise.resolve();
    },
  };
}

/** Of an open file, which is mapped where the system can do that. */
export function fromFile(opened: OpenQuantized): Served {
  const { graph, file, positions } = opened;
  return {
    ...opened,
    load: async ({ graphs, key }, options) => {
      const all = { ...options, variants: graphs };
      if (process.platform !== 'win32')
        return await native.loadPredictorFile(file.fd, positions, key, graph, all);
      const { parameters } = await opened.read();
      try {
        return await native.loadPredictor(parameters, graph, all);
      } finally {
        parameters.release();
      }
    },
    release: () => file.close(),
  };
}

/** Loads a model and gives back what it no longer needs. As Predictor.load rejects. */
export async function loadQuantized(
  quantized: Served,
  { maxQueue, ...options }: PredictorDescription & { maxQueue: number },
  { generation, lengths }: PredictorOptions,
): Promise<Opened> {
  const { frozen, report } = quantized;
  try {
    const buckets = lengths && planLengths(frozen.state, lengths, quantized);
    const plan = generation && planGeneration(frozen.state, generation, quantized);
    const variants = buckets ? lengthVariants(buckets) : generationVariants(plan);
    const predictor = await quantized.load(variants, options);
    const engine = plan && openEngine(predictor, plan, { maxQueue, maxBatch: options.maxBatch });
    const { inputs, outputs, encoder } = frozen.state;
    const layout = layoutOf(frozen.state, frozen.results);
    const loaded = { inputs, outputs, encoder, predictor, layout };
    return { loaded, engine, report, buckets };
  } finally {
    await quantized.release();
  }
}
