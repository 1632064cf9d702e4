/// <reference lib="esnext.disposable" preserve="true" />
import type { Binding, Key, Predictor } from '../../bindings.js';
import * as is from '../is.js';
import { native } from '../native.js';
import { checkArrays, checkFixed, type Layout, type NamedArrays, withoutRoom } from './arrays.js';

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
  constructor(binding: Binding, { inputs, outputs }: Layout) {
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

/** Buffers for `batch` rows. Throws ERR_ARGUMENT, ERR_SHAPE, ERR_CLOSED, ERR_OUT_OF_MEMORY. */
export function bindRows<I extends NamedArrays, O extends NamedArrays>(
  predictor: Pick<Predictor, 'bind'>,
  layout: Layout,
  batch: number,
): PredictorBinding<I, O> {
  is.integer(batch, 'batch', 1, 2 ** 31 - 1);
  checkFixed(layout, batch);
  checkArrays(layout, batch);
  try {
    return new PredictorBinding<I, O>(predictor.bind(batch), layout);
  } catch (error) {
    throw withoutRoom(error, 'batch', `${batch} rows`);
  }
}

function named(
  ports: readonly { readonly name: string }[],
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
