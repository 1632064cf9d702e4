// What tests look into besides the package's own exports. No path of the package leads here: it is built
// in one piece with the rest, so that what a test gets is the very code that users run.
import * as attention from './ops/attention.js';
import * as conv from './ops/conv.js';
import * as elementwise from './ops/elementwise.js';
import * as embedding from './ops/embedding.js';
import * as functional from './ops/functional.js';
import * as indexing from './ops/indexing.js';
import * as linear from './ops/linear.js';
import * as losses from './ops/losses.js';
import * as make from './ops/make.js';
import * as multiHeadAttention from './ops/multi-head-attention.js';
import * as norms from './ops/norms.js';
import * as pooling from './ops/pooling.js';
import * as products from './ops/products.js';
import * as recurrent from './ops/recurrent.js';
import * as rotary from './ops/rotary.js';
import * as shapes from './ops/shapes.js';
import * as transformerBlock from './ops/transformer-block.js';
import * as weights from './ops/weights.js';
import * as windows from './ops/windows.js';

export { offAbort, onAbort } from './aborts.js';
export { decodeHadoopLz4 } from './data/codecs/lz4.js';
export { checkState } from './data/encoders/state.js';
export { fromPlain, toPlain } from './data/errors.js';
export { findPages, readPart, rowsOfPart } from './data/parquet/pages.js';
export { makeArray } from './data/tensors/decode.js';
export { guarded } from './files/load.js';
export { GenerationEngine } from './generation/engine.js';
export { Sequence } from './generation/sequence.js';
export { constant } from './graph/leaves.js';
export { definition } from './graph/value.js';
export { toCSV } from './history/csv.js';
export { overfitting } from './history/overfitting.js';
export { trendOf } from './history/trend.js';
export { largerIsBetter } from './metrics/direction.js';
export { packMatrix, unpackMatrix } from './metrics/matrices.js';
export { stateOf } from './model/state.js';
export { layoutIn, layoutOf, outputShapes } from './predictor/arrays.js';
export { readLoadOptions } from './predictor/options.js';
export { beta, mixtureOf } from './trainer/mixup.js';
export { generator } from './trainer/random.js';
export { Tally } from './trainer/tally.js';
export { copyArrays, copyWeights, restoreWeights } from './trainer/weights.js';
export { dealFolds } from './tuning/folds.js';
export { halvingRungs } from './tuning/rungs.js';
export { sample } from './tuning/space.js';

/** The modules of `lib/ops`, by their names. */
export const ops: Readonly<Record<string, object>> = {
  attention,
  conv,
  elementwise,
  embedding,
  functional,
  indexing,
  linear,
  losses,
  make,
  'multi-head-attention': multiHeadAttention,
  norms,
  pooling,
  products,
  recurrent,
  rotary,
  shapes,
  'transformer-block': transformerBlock,
  weights,
  windows,
};
