// Sequences of any length by buckets: each bucket is the model at one length, with plans of its own,
// and a call runs in the least one that holds it. Weights are there once.
import type { GraphDescription, Predictor as NativePredictor } from '../../bindings.js';
import { emptyLike, matchArrays } from '../arrays.js';
import { describe } from '../graph/describe.js';
import { atLength, lengthOf, type Relengthened } from '../graph/relength.js';
import { elements, rowElements, shapeAt } from '../graph/value.js';
import * as is from '../is.js';
import type { ModelState } from '../model/state.js';
import { native } from '../native.js';
import type { Quantized } from '../quantization/quantize.js';
import { quantizeVariant } from '../quantization/variant.js';
import {
  checkOutput,
  gone,
  type Layout,
  layoutIn,
  layoutOf,
  type NamedArrays,
  outputShapes,
  type PredictOutput,
  prepare,
  prepareInputs,
  result,
} from './arrays.js';
import { Batcher } from './batch.js';
import type { Variants } from './loaded.js';
import type { Places } from './places.js';
import { CallQueue, type QueueSettings } from './queue.js';

type Floats = Float32Array | Int32Array;

/** The model at one length. */
export interface Bucket extends Relengthened {
  readonly length: number;
  readonly layout: Layout;
  readonly graph: GraphDescription;
}

/** What a call of predict has beside its arrays. */
export interface LengthCall {
  readonly length: number;
  readonly out: PredictOutput | undefined;
  readonly signal: AbortSignal | undefined;
  readonly priority: number;
}

type Bytes = Pick<Quantized, 'frozen' | 'graph'>;

/**
 * Buckets from the shortest to that of the model itself. Of a quantized model, nodes are computed as
 * its are. Throws ERR_ARGUMENT.
 */
export function planLengths(
  state: ModelState,
  lengths: readonly number[],
  quantized?: Bytes,
): Bucket[] {
  const most = lengthOf(state);
  const wanted = is.integers(lengths, 'lengths', 1).filter((length) => length !== most);
  const over = wanted.find((length) => length > most);
  if (over !== undefined) {
    throw is.mismatch('ERR_ARGUMENT', `lengths up to the model's ${most}`, 'lengths', String(over));
  }
  if (wanted.length > 64) {
    throw is.mismatch('ERR_ARGUMENT', 'at most 64 lengths', 'lengths', String(wanted.length));
  }
  const sorted = [...new Set(wanted)].sort((a, b) => a - b);
  const buckets = sorted.map((length) => makeBucket(state, length, quantized));
  const { inputAxes, outputAxes } = buckets[0] ?? atAnother(state, most);
  return [...buckets, { ...makeBucket(state, most, quantized), inputAxes, outputAxes }];
}

/** Only another length than its own shows which axes of a model have it. Throws ERR_ARGUMENT where there is none. */
function atAnother(state: ModelState, most: number): Relengthened {
  if (most === 1) return atLength(state, 1); // no call is shorter
  try {
    return atLength(state, most - 1);
  } catch (error) {
    if (most % 2 !== 0) throw error;
    return atLength(state, most / 2);
  }
}

function makeBucket(state: ModelState, length: number, quantized: Bytes | undefined): Bucket {
  const made = atLength(state, length);
  const { inputs, outputs, of } = made;
  const values = outputs.map(({ value }) => value);
  const described = describe(inputs, values, state.parameters);
  const graph = quantized ? quantizeVariant(quantized, described, of) : described.graph;
  return { ...made, length, graph, layout: layoutOf(made, described.parts.results) };
}

/** A bucket and what serves it. */
interface Served extends Bucket {
  readonly predictor: NativePredictor;
  readonly queue: CallQueue;
}

/** Of one Predictor; the last of `buckets` is the graph itself, the others are its variants. */
export class Lengths {
  readonly #full: Bucket;
  readonly #predictor: NativePredictor;
  readonly #buckets: readonly Bucket[];
  readonly #served = new Map<number, Served>();
  readonly #settings: QueueSettings;
  readonly #places: Places;

  constructor(
    predictor: NativePredictor,
    buckets: readonly Bucket[],
    settings: QueueSettings,
    places: Places,
  ) {
    this.#predictor = predictor;
    this.#buckets = buckets;
    const full = buckets.at(-1) as Bucket;
    this.#full = { ...full, layout: layoutIn(predictor, full.layout) };
    this.#settings = settings;
    this.#places = places;
  }

  /** Rejects as predict does. */
  async predict(x: unknown, call: LengthCall): Promise<PredictOutput> {
    const bucket = this.#serve(call.length);
    const { rows, arrays } = this.#pad(bucket, x, call.length);
    const targets = this.#targets(call.out, rows, call.length);
    const lease = targets && native.lease(...targets);
    try {
      const { signal, priority } = call;
      const inputs = prepareInputs(bucket.layout, arrays);
      const made = await bucket.queue.push({ ...inputs, outputs: undefined, signal, priority });
      return this.#cut(bucket, made, rows, call.length, targets);
    } finally {
      if (lease) native.endLease(lease);
    }
  }

  /** Throws as predictSync does. */
  predictSync(x: unknown, out: PredictOutput | undefined, length: number): PredictOutput {
    const bucket = this.#serve(length);
    const { rows, arrays } = this.#pad(bucket, x, length);
    const targets = this.#targets(out, rows, length);
    const call = prepare(bucket.layout, arrays, undefined);
    native.predictSync(bucket.predictor.key, rows, ...call.arrays, ...call.outputs);
    return this.#cut(bucket, result(bucket.layout, call.outputs), rows, length, targets);
  }

  /** Resolves once no call is pending. */
  async close(): Promise<void> {
    const all = [...this.#served.values()];
    await Promise.all(all.map(({ queue }) => (queue.idle ? undefined : queue.drain())));
    for (const { predictor } of all) predictor.close();
    this.#served.clear();
  }

  /** The least bucket that holds the length. */
  #serve(length: number): Served {
    is.integer(length, 'length', 1, this.#full.length);
    const at = this.#buckets.findIndex((bucket) => bucket.length >= length);
    const bucket = this.#buckets[at] as Bucket;
    const known = this.#served.get(bucket.length);
    if (known !== undefined) return known;
    const which = at === this.#buckets.length - 1 ? 0 : at + 1;
    const predictor = this.#predictor.variant(which);
    const layout = layoutIn(predictor, bucket.layout);
    const batcher = new Batcher(layout);
    const { batchRows } = this.#settings;
    const joins = batchRows !== undefined && batcher.joins;
    const settings = { ...this.#settings, batchRows: joins ? batchRows : undefined };
    const queue = new CallQueue(predictor, batcher, settings, this.#places);
    const served = { ...bucket, layout, predictor, queue };
    this.#served.set(bucket.length, served);
    return served;
  }

  /** Each input at the bucket's length, zeros behind its own. */
  #pad(bucket: Bucket, x: unknown, length: number) {
    let rows: number | undefined;
    const arrays = matchArrays(x, this.#full.layout.inputs, 'x').map(([array, name, slot], i) => {
      const axis = this.#full.inputAxes[i];
      const row = rowElements(slot.value) ?? 1;
      const size = axis === undefined ? row : (row / this.#full.length) * length;
      const given = is.isTypedArray(array) ? array.length : Number.NaN;
      const count = given / size;
      if (!Number.isInteger(count) || count === 0 || (rows !== undefined && count !== rows)) {
        const what =
          rows === undefined
            ? `a multiple of ${size} elements, one row or more of ${length},`
            : `${rows * size} elements, ${rows} rows of ${length},`;
        throw is.mismatch('ERR_SHAPE', what, name, is.show(array));
      }
      rows = count;
      if (axis === undefined || length === bucket.length) return array;
      const shape = shapeAt(slot.value, count);
      return resized(array as Floats, shape, axis, length, bucket.length);
    });
    return { rows: rows ?? 1, arrays };
  }

  /** The checked arrays of `out`. */
  #targets(out: PredictOutput | undefined, rows: number, length: number): Floats[] | undefined {
    if (out === undefined) return undefined;
    const shapes = outputShapes(this.#full.layout, rows);
    return matchArrays(out, this.#full.layout.outputs, 'out').map(([array, name, slot], i) => {
      const whole = elements(shapes[i] ?? []);
      const cut = this.#full.outputAxes[i] !== undefined;
      const size = cut ? (whole / this.#full.length) * length : whole;
      return checkOutput(array, name, slot.dtype, size);
    });
  }

  /** The outputs at the call's own length, in the caller's arrays where there are some. */
  #cut(
    bucket: Bucket,
    made: PredictOutput,
    rows: number,
    length: number,
    targets: Floats[] | undefined,
  ): PredictOutput {
    const shapes = outputShapes(bucket.layout, rows);
    const parts = bucket.layout.outputs.map(({ name }, i) => {
      const array = ArrayBuffer.isView(made) ? made : ((made as NamedArrays)[name] as Floats);
      const axis = this.#full.outputAxes[i];
      const cut =
        axis === undefined || length === bucket.length
          ? array
          : resized(array, shapes[i] ?? [], axis, bucket.length, length);
      const target = targets?.[i];
      if (target === undefined) return cut;
      if (target.length !== cut.length) throw gone(name, target);
      target.set(cut);
      return target;
    });
    return result(bucket.layout, parts);
  }
}

/** An array of `shape`, whose `axis` is `from` long, with `to` in its place: cut, or zeros behind. */
function resized<T extends Floats>(
  array: T,
  shape: readonly number[],
  axis: number,
  from: number,
  to: number,
): T {
  const before = elements(shape.slice(0, axis));
  const behind = elements(shape.slice(axis + 1));
  const made = emptyLike(array, before * to * behind);
  const kept = Math.min(from, to) * behind;
  for (let i = 0; i < before; i++) {
    made.set(array.subarray(i * from * behind, i * from * behind + kept), i * to * behind);
  }
  return made;
}

/** The graphs behind that of the model, for loading; `key` tells them from others. */
export function lengthVariants(buckets: readonly Bucket[]): Variants {
  const shorter = buckets.slice(0, -1);
  return {
    graphs: shorter.map(({ graph }) => graph),
    key: `lengths ${shorter.map(({ length }) => length).join()}`,
  };
}
