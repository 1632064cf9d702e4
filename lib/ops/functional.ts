// The forms of layers whose weights are values. A layer makes its parameters and calls these.
export { conv1d, conv2d, convTranspose2d } from './conv.js';
export { type EmbeddingOptions, embedding } from './embedding.js';
export { linear } from './linear.js';
export {
  type MultiHeadAttentionOptions,
  type MultiHeadAttentionWeights,
  multiHeadAttention,
} from './multi-head-attention.js';
export {
  type BatchNormOptions,
  batchNorm,
  type GroupNormOptions,
  groupNorm,
  type LayerNormOptions,
  layerNorm,
  type RmsNormOptions,
  rmsNorm,
} from './norms.js';
export { gru, lstm } from './recurrent.js';
export {
  type TransformerBlockOptions,
  type TransformerBlockWeights,
  transformerBlock,
} from './transformer-block.js';
export type { Weights } from './weights.js';
