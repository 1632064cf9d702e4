// What loading gives a Predictor.
import type {
  GraphDescription,
  Predictor as NativePredictor,
  PredictorDescription,
} from '../../bindings.js';
import type { EncoderState } from '../data/encoders/state.js';
import type { NamedValue } from '../graph/describe.js';
import type { Layout } from './arrays.js';

/** A model ready to be served. */
export interface Loaded {
  readonly inputs: readonly NamedValue[];
  readonly outputs: readonly NamedValue[];
  /** What makes inputs of raw rows. */
  readonly encoder: EncoderState | undefined;
  readonly predictor: NativePredictor;
  readonly layout: Layout;
}

export type LoadOptions = Omit<PredictorDescription, 'variants'>;

/** Further graphs of a model, and what tells them from others of the same file. */
export interface Variants {
  readonly graphs: readonly GraphDescription[];
  readonly key: string;
}

/** Of none. */
export const plainKey = 'plain';
