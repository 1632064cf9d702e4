import type { Attributes, DType, InitializerDescription } from '../../bindings.js';

/**
 * Shapes of graphs with a free batch are inferred at these two batch sizes: a dimension that differs
 * between them depends on the batch. Both have many divisors, so that reshapes divide.
 */
export const sampleBatches = [720720, 1081080] as const;

/** A dimension; null where it depends on the number of rows. */
export type Dimension = number | null;

/** What gives names to parameters and rows to summaries. */
export interface LayerIdentity {
  readonly type: string;
  /** Undefined: named by its type when a model is built. */
  readonly name: string | undefined;
}

/** A parameter that a layer owns, shared by all models that use the layer. */
export interface ParameterSource {
  readonly layer: LayerIdentity;
  /** The name within the layer, such as "weight". */
  readonly suffix: string;
  readonly shape: readonly number[];
  readonly initializer: InitializerDescription;
  readonly trainable: boolean;
  /** The values in the model that was built last; undefined before the first. */
  data: Float32Array | undefined;
}

/** An op applied to values. */
export interface Node {
  readonly op: string;
  /** Null where an optional input is left out. */
  readonly inputs: readonly (Value | null)[];
  readonly attributes: Attributes;
  readonly layer: LayerIdentity | undefined;
}

export type Source =
  | { readonly kind: 'input' }
  | { readonly kind: 'parameter'; readonly parameter: ParameterSource }
  | { readonly kind: 'constant'; readonly data: Float32Array | Int32Array }
  | { readonly kind: 'output'; readonly node: Node; readonly index: number };

/** What the library knows of a value beyond what users see. */
export interface Definition {
  /** Counts values as they are made, so that it orders every graph topologically. */
  readonly serial: number;
  /** Concrete shapes at `sampleBatches`; one and the same array when no dimension is free. */
  readonly samples: readonly [readonly number[], readonly number[]];
  readonly source: Source;
}

let construct: (dtype: DType, name: string | undefined, definition: Definition) => Value;
let read: (value: Value) => Definition;

/**
 * A value of a graph: an input, a parameter, a constant or the result of an op. It holds no numbers;
 * a Trainer, a Predictor or `evaluate` of `tandem-ml/autodiff` computes them. Immutable.
 */
export class Value {
  /** Null where a dimension depends on the batch: `[null, 10]` is one row of 10 for each sample. */
  readonly shape: readonly Dimension[];
  readonly dtype: DType;
  /** The name given to an input. */
  readonly name: string | undefined;
  readonly #definition: Definition;

  private constructor(dtype: DType, name: string | undefined, definition: Definition) {
    const [first, second] = definition.samples;
    this.shape = Object.freeze(first.map((length, i) => (length === second[i] ? length : null)));
    this.dtype = dtype;
    this.name = name;
    this.#definition = definition;
    Object.freeze(this);
  }

  toString(): string {
    return `Value(${this.dtype} ${showShape(this)})`;
  }

  static {
    construct = (dtype, name, definition) => new Value(dtype, name, definition);
    read = (value) => value.#definition;
  }
}

let serials = 0;

export function makeValue(
  dtype: DType,
  samples: readonly [readonly number[], readonly number[]],
  source: Source,
  name?: string,
): Value {
  return construct(dtype, name, { serial: serials++, samples, source });
}

/** How many values there have been so far, of all graphs. */
export const valuesMade = (): number => serials;

export const definition = (value: Value): Definition => read(value);

export const isFree = (value: Value): boolean => value.shape.includes(null);

/** "[batch, 10]"; dimensions that depend on the batch otherwise are shown as "2·batch" and so on. */
export function showShape(value: Value): string {
  const [first] = definition(value).samples;
  return `[${first.map((length, i) => (value.shape[i] === null ? showSize(length, sampleBatches[0]) : length)).join(', ')}]`;
}

/** A size as a multiple or a part of the batch, which is `batch` just now, and a few more or less. */
export function showSize(size: number, batch: number): string {
  const times = Math.max(1, Math.round(size / batch));
  const parts = size >= batch ? 1 : Math.max(1, Math.round(batch / size));
  const more = size - (batch * times) / parts;
  // Further off it is chance.
  if (!Number.isInteger(more) || Math.abs(more) > batch / 100) return String(size);
  const whole = times > 1 ? `${times}·batch` : 'batch';
  const base = parts > 1 ? `${whole}/${parts}` : whole;
  return more === 0 ? base : `${base}${more > 0 ? '+' : '-'}${Math.abs(more)}`;
}

/** The concrete shape at `batch` rows: dimensions are linear in the batch. */
export function shapeAt(value: Value, batch: number): number[] {
  const [first, second] = definition(value).samples;
  const [low, high] = sampleBatches;
  return first.map((length, i) => {
    const slope = ((second[i] ?? length) - length) / (high - low);
    return Math.round(length + slope * (batch - low));
  });
}

/** Elements of a row when the batch is axis 0 and nothing else depends on it; null otherwise. */
export function rowElements(value: Value): number | null {
  const { samples } = definition(value);
  const [first, ...rest] = value.shape;
  if (first !== null || samples[0][0] !== sampleBatches[0]) return null;
  let count = 1;
  for (const length of rest) {
    if (length === null) return null;
    count *= length;
  }
  return count;
}

export const elements = (shape: readonly number[]): number =>
  shape.reduce((product, length) => product * length, 1);

/** The rows of every batch, when all of these values have that many. */
export function fixedBatch(values: readonly Value[]): number | undefined {
  const [batch] = values[0]?.shape ?? [];
  if (typeof batch !== 'number') return undefined;
  return values.every((value) => !isFree(value) && value.shape[0] === batch) ? batch : undefined;
}
