/**
 * Trains and serves neural networks in Node.js: a native engine behind typed functions.
 *
 * @module
 */
import { native } from './native.js';

export type { Attributes, DType, ProfileDescription as Profile, TypedArray } from '../bindings.js';
export {
  type DetectOverfittingOptions,
  detectOverfitting,
  type OverfittingDetector,
} from './callbacks/overfitting.js';
export { type TensorBoardOptions, tensorBoard } from './callbacks/tensorboard.js';
export { type DeviceInfo, devices } from './devices.js';
export { type ErrorCode, TandemError } from './errors.js';
export type { GenerationOptions } from './generation/graph.js';
export type { SamplingOptions } from './generation/sampling.js';
export type { GenerateOptions } from './generation/sequence.js';
export type { StopOptions } from './generation/stop.js';
export { type InputOptions, input } from './graph/leaves.js';
export { type Dimension, Value } from './graph/value.js';
export type {
  Overfitting,
  OverfittingOptions,
  OverfittingVerdict,
} from './history/overfitting.js';
export type { Activation } from './layers/activations.js';
export {
  type AttentionCallOptions,
  type AttentionLayer,
  type MultiHeadAttentionOptions,
  multiHeadAttention,
} from './layers/attention.js';
export {
  type Conv1dLayerOptions,
  type Conv2dLayerOptions,
  type ConvTranspose2dLayerOptions,
  conv1d,
  conv2d,
  convTranspose2d,
} from './layers/conv.js';
export { type DenseOptions, dense } from './layers/dense.js';
export { type DropoutOptions, dropout } from './layers/dropout.js';
export { type EmbeddingOptions, embedding } from './layers/embedding.js';
export type { Initializer } from './layers/initializers.js';
export type { Layer } from './layers/layer.js';
export {
  type BatchNormLayerOptions,
  batchNorm,
  type GroupNormLayerOptions,
  groupNorm,
  type LayerNormLayerOptions,
  layerNorm,
  type RmsNormLayerOptions,
  rmsNorm,
} from './layers/norms.js';
export { type ParameterOptions, parameter } from './layers/parameter.js';
export { gru, lstm, type RecurrentOptions } from './layers/recurrent.js';
export {
  type TransformerBlockLayer,
  type TransformerBlockOptions,
  transformerBlock,
} from './layers/transformer.js';
export * as metrics from './metrics/index.js';
export type { Accumulator, Matrix, Metric } from './metrics/metric.js';
export {
  Model,
  type ModelOptions,
  type Parameter,
  type Port,
  type SequentialOptions,
  sequential,
  type Values,
} from './model.js';
export { type AttentionOptions, attention } from './ops/attention.js';
export type { Conv1dOptions, Conv2dOptions, ConvTranspose2dOptions } from './ops/conv.js';
export * from './ops/elementwise.js';
export * as functional from './ops/functional.js';
export * from './ops/indexing.js';
export * from './ops/losses.js';
export type { Operand, Unary, UnaryWith } from './ops/make.js';
export * from './ops/pooling.js';
export * from './ops/products.js';
export { type RotaryOptions, rotary } from './ops/rotary.js';
export * from './ops/shapes.js';
export type { Pair } from './ops/windows.js';
export {
  type AdagradOptions,
  type AdamOptions,
  adagrad,
  adam,
  adamw,
  type LambOptions,
  type LionOptions,
  lamb,
  lion,
  type Optimizer,
  type RmspropOptions,
  rmsprop,
  type SgdOptions,
  sgd,
} from './optimizers.js';
export type { NamedArrays, PredictInput, PredictOutput } from './predictor/arrays.js';
export type { PredictorBinding } from './predictor/binding.js';
export type { BatchingOptions } from './predictor/queue.js';
export type { RawRow, RowOptions, RowPrediction, RowProbabilities } from './predictor/rows.js';
export type { StreamOptions, StreamSource } from './predictor/stream.js';
export { type PredictOptions, Predictor, type PredictorOptions } from './predictor.js';
export {
  type CalibrationBatch,
  type LayerReport,
  type Observer,
  type QuantizationOptions,
  type QuantizationReport,
  QuantizedModel,
  type QuantizedOptions,
  quantize,
  type ValidationReport,
} from './quantization.js';
export {
  type HtmlReportOptions,
  htmlReport,
  type ReportOptions,
  writeReport,
} from './report/report.js';
export {
  type ConstantOptions,
  type CosineOptions,
  constant,
  cosine,
  type ExponentialOptions,
  exponential,
  type LearningRateScheduler,
  type LinearDecayOptions,
  linearDecay,
  type OneCycleOptions,
  oneCycle,
  type ReduceOnPlateauOptions,
  reduceOnPlateau,
  type StepDecayOptions,
  stepDecay,
} from './schedulers.js';
export type { Callback, CallbackResult, Logs } from './trainer/callbacks.js';
export type { Arrays, Data } from './trainer/data.js';
export {
  type EarlyStopping,
  type EarlyStoppingOptions,
  earlyStopping,
} from './trainer/early-stopping.js';
export type { EvaluateOptions, Evaluation, Scores } from './trainer/evaluation.js';
export { noDecay, type ParameterFilter, type ParameterGroup } from './trainer/groups.js';
export type { EpochNumbers, History, HistoryMethods } from './trainer/history.js';
export type {
  Loss,
  LossFunction,
  LossName,
  MetricName,
  Metrics,
  NamedMetric,
  Targets,
} from './trainer/losses.js';
export type { MixupOptions } from './trainer/mixup.js';
export type { Device, EmaOptions, SkipOptions, TrainerOptions } from './trainer/options.js';
export type { CheckpointOptions, FitOptions, RetryOptions } from './trainer/plan.js';
export type { RateFinderOptions, RateFinderResult } from './trainer/rate-finder.js';
export { type StepResult, Trainer } from './trainer.js';
export {
  type CrossValidateOptions,
  type CrossValidation,
  crossValidate,
  type FoldResult,
  type InnerFitOptions,
} from './tuning/cross-validate.js';
export {
  type SearchOptions,
  type SearchResult,
  search,
  type TrialResult,
} from './tuning/search.js';
export * as space from './tuning/space.js';

/** The version of the native engine. */
export const version: string = native.version;
