/**
 * Metrics as objects, where one takes options or a name of its own:
 * `metrics: { top3: metrics.topKAccuracy({ k: 3 }) }`. Those with defaults have names as well:
 * `metrics: ['accuracy', 'f1']`. All are of a whole epoch, not means of batches.
 *
 * @module
 */
export { type AverageOptions, confusionMatrix, f1, precision, recall } from './counts.js';
export { accuracy, mae } from './means.js';
export type { Accumulator, BuiltIn, Matrix, Mean, Metric, Pair, Summed } from './metric.js';
export { type RocAucOptions, rocAuc, type TopKOptions, topKAccuracy } from './ranking.js';
export { type PerplexityOptions, perplexity, r2, rmse } from './regression.js';
