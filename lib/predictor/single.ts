import type { Binding, Key, Predictor } from '../../bindings.js';

/** Buffers of a predictor for one row of its only input and one of its only output. */
export interface SingleRow {
  /** Keeps alive what `key` stands for. */
  readonly binding: Binding;
  readonly key: Key<Binding>;
  readonly x: Float32Array;
  readonly y: Float32Array;
}

/** Needs one input and one output, float32 both. Throws ERR_CLOSED, ERR_OUT_OF_MEMORY. */
export function bindSingle(predictor: Pick<Predictor, 'bind'>): SingleRow {
  const binding = predictor.bind(1);
  const [x, y] = [binding.inputs[0] as Float32Array, binding.outputs[0] as Float32Array];
  return { binding, key: binding.key, x, y };
}
