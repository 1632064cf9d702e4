/**
 * Graphs by hand: values and gradients of any part of a graph for arrays of one's own. Synchronous,
 * on the calling thread: for tests, experiments and small functions.
 *
 * @module
 */
import type { TypedArray } from '../bindings.js';
import { prepareCall } from './autodiff/prepare.js';
import type { Value } from './graph/value.js';
import * as is from './is.js';
import { native } from './native.js';
import { checkDevice, checkThreads, type Device } from './trainer/options.js';

/**
 * Arrays for inputs, or for any other values, which then count as inputs. Float32Array for float32,
 * Int32Array or another integer typed array for int32. The number of rows of values with a free
 * batch follows from the lengths, which have to agree.
 */
export type GraphFeeds = ReadonlyMap<Value, TypedArray>;

/** Where and how a graph is computed. */
export interface AutodiffOptions {
  /** 'auto' by default. */
  device?: Device;
  /** Whether dropout drops and normalisations take the statistics of the batch; false by default. */
  training?: boolean;
  /** Of dropout's masks, an integer of 0 or more; 0 by default. */
  seed?: number;
  /** Threads to compute with; as many as there are processors by default. Results are the same. */
  threads?: number;
}

/** The options of evaluate, and what to differentiate by. */
export interface VjpOptions extends AutodiffOptions {
  /** The values to differentiate by; by default those of float32 in `feeds`, in its order. */
  wrt?: readonly Value[];
}

const known = ['device', 'training', 'seed', 'threads'] as const;

function readOptions(set: AutodiffOptions) {
  return {
    device: checkDevice(set.device),
    training: is.boolean(set.training ?? false, 'training'),
    seed: is.integer(set.seed ?? 0, 'seed', 0),
    threads: checkThreads(set.threads),
  };
}

/**
 * Computes values of a graph: one array for each of `outputs`, in order. Parameters that are not fed
 * have the values that they have in the model built last with them. Throws ERR_ARGUMENT, ERR_SHAPE,
 * ERR_DTYPE, ERR_DEVICE, ERR_OUT_OF_MEMORY.
 */
export function evaluate(
  outputs: Value | readonly Value[],
  feeds: GraphFeeds,
  options?: AutodiffOptions,
): (Float32Array | Int32Array)[] {
  const set = readOptions(is.options(options, 'options of evaluate', known));
  const { graph, batch, arrays } = prepareCall(outputs, feeds, []);
  return native.evaluate(graph, batch, arrays, set);
}

/**
 * Outputs, and for each of `wrt` the sum of cotangents times derivatives of the outputs: the
 * vector-Jacobian product, by reverse mode. `cotangents` has an array of the output's size for each
 * output, or null for none; for one output it may be the array alone. Throws as evaluate.
 */
export function vjp(
  outputs: Value | readonly Value[],
  feeds: GraphFeeds,
  cotangents: Float32Array | readonly (Float32Array | null)[],
  options?: VjpOptions,
): { outputs: (Float32Array | Int32Array)[]; gradients: Float32Array[] } {
  const { wrt, ...rest } = is.options(options, 'options of vjp', [...known, 'wrt']);
  const set = readOptions(rest);
  const call = prepareCall(outputs, feeds, wrt);
  const list = checkCotangents(cotangents, call.graph.outputs.length);
  return native.vjp(call.graph, call.batch, call.arrays, list, call.wrt, set);
}

function checkCotangents(
  given: Float32Array | readonly (Float32Array | null)[],
  count: number,
): (Float32Array | null)[] {
  const listed: unknown = is.isFloat32Array(given) ? [given] : given;
  if (!Array.isArray(listed) || listed.length !== count) {
    throw is.invalid(`an array for each of ${count} outputs`, 'cotangents', given);
  }
  return listed.map((item: unknown, i) => {
    const name = `cotangents[${i}]`;
    if (item === null) return item;
    if (!is.isFloat32Array(item)) {
      const code = ArrayBuffer.isView(item) ? 'ERR_DTYPE' : 'ERR_ARGUMENT';
      throw is.mismatch(code, 'a Float32Array or null', name, is.show(item));
    }
    return item; // native code knows the output's size
  });
}
