// What the library knows of a model beyond its public face.
import type { Parameters } from '../../bindings.js';
import type { EncoderState } from '../data/encoders/state.js';
import { TandemError } from '../errors.js';
import type { NamedValue } from '../graph/describe.js';
import type { LayerIdentity } from '../graph/value.js';
import type { Model } from '../model.js';

/** How inputs or outputs were given, so that functions of a user get them in the same form. */
export type Form = 'single' | 'array' | 'record';

export interface ModelState {
  readonly inputs: readonly NamedValue[];
  readonly outputs: readonly NamedValue[];
  readonly outputForm: Form;
  readonly parameters: readonly NamedValue[];
  readonly layerNames: ReadonlyMap<LayerIdentity, string>;
  readonly native: Parameters;
  /** The Trainers that keep the parameters on a GPU, whose copies are ahead of the host's. */
  readonly devices: Set<{ sync(): Promise<void> }>;
  /** What makes its inputs of raw rows, and raw values of its outputs. */
  encoder: EncoderState | undefined;
  /** Whether native code may be writing to the parameters just now. */
  training: boolean;
  /** Of the Trainer that is in fit or step, also while it waits for a callback. */
  taken: { changing(body: () => Promise<void>): Promise<void> } | undefined;
  /** What Trainers have under way that reads the parameters, such as evaluations; none of it rejects. */
  readonly looks: Set<Promise<unknown>>;
  /** The same of saving, serving and quantizing, which wait for nobody's data. */
  readonly copies: Set<Promise<unknown>>;
  /** While best weights are copied over the parameters; it does not reject. */
  restoring: Promise<void> | undefined;
}

// No WeakMap: V8's collector of young objects takes its keys for alive, so that a short-lived model
// would stay, with its whole graph, until the next full collection.
const key = Symbol('state');

export const states = {
  set(model: Model, state: ModelState): void {
    Object.defineProperty(model, key, { value: state });
  },
  get(model: Model & { readonly [key]?: ModelState }): ModelState | undefined {
    return Object.hasOwn(model, key) ? model[key] : undefined;
  },
};

/** In the options of a model: it has no memory, as its parameters are elsewhere. */
export const bare = Symbol('bare');

/** In the options of a model: parameters of its own, all 0, whatever its layers start from. */
export const blank = Symbol('blank');

export function stateOf(model: Model): ModelState {
  const state = states.get(model);
  if (state === undefined) {
    throw new TandemError('ERR_ARGUMENT', 'expected a Model for `model`, received something else');
  }
  return state;
}

/** Copies parameters, or reads them, over turns of the event loop, in which no step of training begins. */
export async function copying<T>(state: ModelState, read: () => Promise<T>): Promise<T> {
  const reading = read();
  const done = () => {
    state.copies.delete(copy);
  };
  const copy: Promise<void> = reading.then(done, done);
  state.copies.add(copy);
  return await reading;
}

/** Resolves when no best weights are being copied over the parameters. */
export async function restored(state: ModelState): Promise<void> {
  while (state.restoring !== undefined) await state.restoring;
}

/** Throws ERR_BUSY while a training step may be writing to the parameters. */
export function assertIdle(state: ModelState, what: string): void {
  if (!state.training) return;
  throw new TandemError(
    'ERR_BUSY',
    `expected a model at rest for \`${what}\`, received one that is training; await fit or step, or do it in a callback`,
  );
}
