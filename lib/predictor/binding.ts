/// <reference lib="esnext.disposable" preserve="true" />
import type { Binding, Key } from '../../bindings.js';
import type { Port } from '../model.js';
import { native } from '../native.js';
import type { NamedArrays } from './arrays.js';

/**
 * Input and output buffers in native memory with the plan that runs on them. The arrays stay valid
 * after close, also that of the predictor.
 */
export class PredictorBinding<
  I extends NamedArrays = NamedArrays,
  O extends NamedArrays = NamedArrays,
> {
  /** By name: write rows here before a run. */
  readonly inputs: I;
  /** By name: read results here after a run. */
  readonly outputs: O;
  readonly #native: Binding;
  readonly #key: Key<Binding>;

  /** @internal */
  constructor(binding: Binding, inputs: readonly Port[], outputs: readonly Port[]) {
    this.#native = binding;
    this.#key = binding.key;
    this.inputs = named(inputs, binding.inputs) as I;
    this.outputs = named(outputs, binding.outputs) as O;
  }

  /** From `inputs` to `outputs`. Throws ERR_BUSY while a run is pending, ERR_CLOSED. */
  runSync(): void {
    native.runSync(this.#key);
  }

  /** The same as predict is to predictSync; leave the arrays alone meanwhile. Rejects as runSync throws. */
  async run(): Promise<void> {
    await this.#native.run();
  }

  /** Frees the plan's memory. Calling it again does nothing more. */
  close(): void {
    this.#native.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

function named(
  ports: readonly Port[],
  arrays: readonly (Float32Array | Int32Array)[],
): NamedArrays {
  return Object.freeze(
    Object.fromEntries(
      ports.flatMap(({ name }, i) => {
        const array = arrays[i];
        return array === undefined ? [] : [[name, array]];
      }),
    ),
  );
}
