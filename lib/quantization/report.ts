// What quantization did to a model, layer by layer.
import type { Interval } from './observers.js';
import type { Observer } from './options.js';

/** One layer with weights, or an attention. */
export interface LayerReport {
  /** Its own or that of its weight. */
  name: string;
  op: string;
  /**
   * 'static': inputs and weights are bytes, by scales that calibration gave; 'dynamic': inputs by the
   * range of each row; 'weights': weights alone.
   */
  precision: 'static' | 'dynamic' | 'weights' | 'float32';
  /** Why it stays float32. */
  reason?: string;
  /** Of its output in float32 against the error of its own quantization, in decibels. */
  signalToNoise?: number;
  /** Its input: bytes stand for (byte - zero) * scale. */
  input?: { scale: number; zero: number; seen: Interval; covered: Interval; constant: boolean };
}

/** How much the quantized model differs on the validation data. */
export interface ValidationReport {
  /** Share of right classes, e to the mean cross-entropy of logits, or the root of the mean squared error. */
  metric: 'accuracy' | 'perplexity' | 'rootMeanSquaredError';
  float32: number;
  int8: number;
  /** Lost accuracy, from 0 to 1; or the growth of perplexity or error as a share of it. */
  loss: number;
  rows: number;
}

/** Of a quantized model: `predictor.quantization`. */
export interface QuantizationReport {
  precision: 'int8' | 'int8-weights';
  /** Undefined without calibration. */
  observer?: Observer;
  /** Rows that calibration has seen; 0 without. */
  calibrationRows: number;
  /** Norms whose outliers were moved into the weights behind them. */
  smoothed: number;
  /** Of the weights of layers, from 0 to 1, how many are bytes: 0 where `auto` kept all in float32. */
  quantizedShare: number;
  layers: LayerReport[];
  /** Names of quantized layers, those of most noise first. */
  worst: string[];
  validation?: ValidationReport;
}

/** The noisiest first. */
export function worstFirst(layers: readonly LayerReport[]): string[] {
  return layers
    .filter(
      ({ signalToNoise, precision }) => signalToNoise !== undefined && precision !== 'float32',
    )
    .sort((a, b) => (a.signalToNoise ?? 0) - (b.signalToNoise ?? 0))
    .map(({ name }) => name);
}

/** "dense 31.2 dB, dense_1 35.0 dB, ..." of the worst layers. */
export function showWorst(report: QuantizationReport): string {
  const noise = new Map(report.layers.map(({ name, signalToNoise }) => [name, signalToNoise]));
  const shown = report.worst.slice(0, 3).map((name) => `${name} ${noise.get(name)?.toFixed(1)} dB`);
  return shown.length > 0 ? shown.join(', ') : 'none';
}
