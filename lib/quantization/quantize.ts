// From a float32 model to one of 8-bit integers: freeze, smooth, calibrate, mark, measure, compare.
import type { GraphDescription, NodeDescription, Parameters } from '../../bindings.js';
import { TandemError } from '../errors.js';
import * as is from '../is.js';
import type { Model } from '../model.js';
import { native } from '../native.js';
import { nextTurn } from '../trainer/turns.js';
import { type Calibration, calibrate } from './calibrate.js';
import { type Frozen, freeze } from './frozen.js';
import { findLayers, type QuantizableLayer } from './layers.js';
import { measureNoise, noiseRows } from './noise.js';
import type { QuantizationSettings } from './options.js';
import { type LayerReport, type QuantizationReport, showWorst, worstFirst } from './report.js';
import { firstRows, type Rows, type Run } from './run.js';
import { smooth } from './smooth.js';
import { type Validation, validate } from './validate.js';
import { weightScales, weightsPerTurn } from './weights.js';

export interface QuantizeRequest {
  readonly precision: 'int8' | 'int8-weights';
  readonly settings: QuantizationSettings;
  readonly threads: number;
  readonly signal: AbortSignal | undefined;
  /** Given the frozen copy, since its layout is what the data have to fit. */
  readonly calibration: ((frozen: Frozen) => Promise<Rows>) | undefined;
  readonly validation: ((frozen: Frozen) => Promise<Validation>) | undefined;
  readonly maxAccuracyLoss: number | undefined;
}

/** A frozen model whose description says how each node is computed. */
export interface Quantized {
  readonly frozen: Frozen;
  readonly graph: GraphDescription;
  /** Of the graph, in memory; nobody else has them. */
  readonly parameters: Parameters;
  readonly report: QuantizationReport;
}

/** Throws ERR_NUMERIC, with the report, for a model that loses more than it may. */
export async function quantize(model: Model, request: QuantizeRequest): Promise<Quantized> {
  const frozen = await freeze(model);
  try {
    // Small models without data to calibrate with give the event loop no other.
    await nextTurn();
    return await new Quantization(frozen, request).run();
  } catch (error) {
    frozen.release();
    throw error;
  }
}

class Quantization {
  readonly #frozen: Frozen;
  readonly #request: QuantizeRequest;
  readonly #layers: readonly QuantizableLayer[];
  readonly #kept: Map<string, string>;
  #calibrations = new Map<number, Calibration>();
  /** Of weights, by name. */
  readonly #scales = new Map<string, Float32Array>();
  #data: Rows | undefined;
  #noise = new Map<number, number>();
  #smoothed = 0;

  constructor(frozen: Frozen, request: QuantizeRequest) {
    this.#frozen = frozen;
    this.#request = request;
    this.#layers = findLayers(frozen);
    this.#kept = keptByOption(this.#layers, request.settings);
  }

  get #run(): Run {
    const { threads, signal } = this.#request;
    return { state: this.#frozen.state, threads, signal };
  }

  async run(): Promise<Quantized> {
    await checkWeights(this.#frozen);
    const { precision, settings, calibration } = this.#request;
    const frozen = this.#frozen;
    if (calibration !== undefined && precision === 'int8') {
      this.#data = await calibration(frozen);
      if (settings.smoothing !== undefined) {
        const { smoothing } = settings;
        this.#smoothed = await smooth(frozen, this.#layers, this.#data, smoothing, this.#run);
      }
      const known = await calibrate(frozen, this.#layers, this.#data, settings, this.#run);
      this.#calibrations = known;
    }
    await this.#findScales();
    const validation = await this.#request.validation?.(frozen);
    const { maxAccuracyLoss } = this.#request;
    if (validation?.metric === 'accuracy') is.number(maxAccuracyLoss ?? 0, 'maxAccuracyLoss', 0, 1);
    const measured = this.#data ?? validation?.data;
    if (measured !== undefined) {
      const some = firstRows(measured, frozen.state, noiseRows);
      this.#noise = await measureNoise(frozen, this.#mark().nodes, some, this.#run);
    }
    return await this.#accept(validation);
  }

  /** Compares with float32 until the loss is small enough. */
  async #accept(validation: Validation | undefined): Promise<Quantized> {
    const { maxAccuracyLoss, settings } = this.#request;
    for (;;) {
      const graph = this.#mark();
      const report = this.#report(graph.nodes);
      const parameters = this.#frozen.state.native;
      const made = { frozen: this.#frozen, graph, parameters, report };
      if (validation === undefined) return made;
      report.validation = await validate(this.#run, this.#frozen.graph, graph, validation);
      if (maxAccuracyLoss === undefined || report.validation.loss <= maxAccuracyLoss) {
        return made;
      }
      const [worst] = report.worst;
      if (!settings.auto || worst === undefined) throw refusal(report, maxAccuracyLoss);
      // A sixteenth of the layers at a time: each attempt runs all of the validation data.
      const count = Math.ceil(this.#layers.length / 16);
      for (const name of report.worst.slice(0, count)) {
        this.#kept.set(name, 'it is one of those of most noise, and the model lost too much');
      }
    }
  }

  /** Why a layer stays float32, or how it becomes bytes. */
  #precision(layer: QuantizableLayer): LayerReport['precision'] | { reason: string } {
    const { precision } = this.#request;
    const reason = layer.reason ?? this.#kept.get(layer.name);
    if (reason !== undefined) return { reason };
    if (layer.op === 'embedding') return 'weights';
    if (precision === 'int8-weights') {
      return layer.op === 'attention' ? { reason: 'attention has no weights' } : 'weights';
    }
    if (layer.op === 'attention' || layer.op === 'lstm' || layer.op === 'gru') return 'dynamic';
    if (layer.input !== undefined && this.#calibrations.has(layer.input)) return 'static';
    // The range of a convolution's input would have to be known before its first pixel.
    return layer.op === 'linear' ? 'dynamic' : 'weights';
  }

  /** The description with what each layer is to be computed with. */
  #mark(): GraphDescription {
    const { graph } = this.#frozen;
    const nodes: NodeDescription[] = [...graph.nodes];
    for (const layer of this.#layers) {
      const mode = this.#precision(layer);
      const node = nodes[layer.index];
      if (typeof mode !== 'string' || mode === 'float32' || node === undefined) continue;
      const { scale, zero } = this.#calibrations.get(layer.input ?? -1) ?? { scale: 1, zero: 0 };
      nodes[layer.index] = {
        ...node,
        quantization: {
          mode,
          scale,
          zero,
          weightScales: this.#scales.get(layer.weight ?? '') ?? new Float32Array(0),
          index: layer.index,
        },
      };
    }
    return { ...graph, nodes };
  }

  /** Of the weights that become bytes. */
  async #findScales(): Promise<void> {
    const { perChannel } = this.#request.settings;
    for (const layer of this.#layers) {
      const { weight = '' } = layer;
      const parameter = this.#frozen.model.parameters.get(weight);
      if (parameter === undefined || typeof this.#precision(layer) !== 'string') continue;
      const { data, shape } = parameter;
      this.#scales.set(weight, await weightScales(data, shape[0] ?? 1, perChannel));
    }
  }

  /** Of weights, how many are bytes. */
  #share(nodes: readonly NodeDescription[]): number {
    let [bytes, all] = [0, 0];
    for (const { index, weight } of this.#layers) {
      const { length } = this.#frozen.data(weight ?? '');
      all += length;
      if (nodes[index]?.quantization !== undefined) bytes += length;
    }
    return all === 0 ? 0 : bytes / all;
  }

  #report(nodes: readonly NodeDescription[]): QuantizationReport {
    const { precision, settings } = this.#request;
    const layers = this.#layers.map((layer): LayerReport => {
      const mode = this.#precision(layer);
      const { name, op } = layer;
      const noise = this.#noise.get(layer.index);
      const measured = noise === undefined ? {} : { signalToNoise: noise };
      if (typeof mode !== 'string') {
        return { name, op, precision: 'float32', reason: mode.reason, ...measured };
      }
      const found = this.#calibrations.get(layer.input ?? -1);
      if (mode !== 'static' || found === undefined)
        return { name, op, precision: mode, ...measured };
      const { scale, zero, seen, covered } = found;
      const constant = seen.low === seen.high;
      return {
        name,
        op,
        precision: mode,
        ...measured,
        input: { scale, zero, seen, covered, constant },
      };
    });
    const quantized = nodes.some(({ quantization }) => quantization?.mode === 'static');
    return {
      precision,
      ...(quantized && { observer: settings.observer }),
      calibrationRows: this.#data?.rows ?? 0,
      quantizedShare: this.#share(nodes),
      smoothed: this.#smoothed,
      layers,
      worst: worstFirst(layers),
    };
  }
}

/** A byte has no NaN: a model with one would predict plausible numbers. Rejects with ERR_NUMERIC. */
async function checkWeights({ model }: Frozen): Promise<void> {
  for (const [name, { data }] of model.parameters) {
    for (let begin = 0; begin < data.length; begin += weightsPerTurn) {
      if (begin > 0) await nextTurn();
      const found = native.findNonFinite(data.subarray(begin, begin + weightsPerTurn));
      if (found === -1) continue;
      const at = begin + found;
      throw is.mismatch('ERR_NUMERIC', 'finite numbers', name, `${data[at]} at position ${at}`);
    }
  }
}

/** Names of layers that options keep in float32, and which option that is. Throws ERR_ARGUMENT. */
function keptByOption(
  layers: readonly QuantizableLayer[],
  { keepFirst, keepLast, keep }: QuantizationSettings,
): Map<string, string> {
  const kept = new Map<string, string>();
  const products = layers.filter(({ op, weight }) => op !== 'embedding' && weight !== undefined);
  const [first, last] = [products[0], products.at(-1)];
  if (keepFirst && first) kept.set(first.name, 'keepFirst');
  if (keepLast && last) kept.set(last.name, 'keepLast');
  for (const name of keep) {
    if (!layers.some((layer) => layer.name === name)) {
      const names = layers.map((layer) => layer.name).join(', ') || 'none';
      throw new TandemError(
        'ERR_ARGUMENT',
        `expected names of layers (${names}) for \`quantization.keep\`, received ${JSON.stringify(name)}`,
      );
    }
    kept.set(name, 'keep');
  }
  return kept;
}

function refusal(report: QuantizationReport, most: number): TandemError {
  const { metric, float32, int8, loss } = report.validation ?? {};
  return new TandemError(
    'ERR_NUMERIC',
    `expected a loss of at most ${most} of ${metric} for \`maxAccuracyLoss\`, received ${loss} (${float32} in float32, ${int8} in int8); layers of most noise: ${showWorst(report)}`,
    { report },
  );
}
