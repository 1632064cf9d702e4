import { misshapen } from '../graph/operands.js';
import * as is from '../is.js';
import { linear } from '../ops/linear.js';
import { type Activation, toActivation } from './activations.js';
import {
  biasInitializer,
  checkInitializer,
  type Initializer,
  weightInitializer,
} from './initializers.js';
import { type Layer, makeLayer } from './layer.js';

/** Options of dense. */
export interface DenseOptions {
  /** Applied to the result. None by default. */
  activation?: Activation;
  /** Whether a bias is added. True by default. */
  bias?: boolean;
  /** Begins the names of its parameters; `dense`, `dense_1`, ... by default. */
  name?: string;
  /** How the weight starts; 'pytorch' by default. */
  initializer?: Initializer;
}

/**
 * A fully connected layer: `activation(x * weight^T + bias)` over the last axis, from `[..., in]` to
 * `[..., units]`. Parameters: `weight` [units, in] and `bias` [units], as in torch.nn.Linear. Throws
 * ERR_ARGUMENT; when called, ERR_SHAPE and ERR_DTYPE.
 */
export function dense(units: number, options?: DenseOptions): Layer;
export function dense(units: number, options?: DenseOptions, ...more: unknown[]): Layer {
  is.lastArgument(more, 'dense');
  is.integer(units, 'units', 1);
  const set = is.options(options, 'options of dense', [
    'activation',
    'bias',
    'name',
    'initializer',
  ]);
  const bias = set.bias === undefined || is.boolean(set.bias, 'bias');
  const activation = toActivation(set.activation);
  const initializer = checkInitializer(set.initializer);
  return makeLayer('dense', set.name, (own, x) => {
    const count = x.shape.at(-1);
    if (count === undefined || count === null) {
      throw misshapen('dense', 'x [..., in] whose last dimension is known', { x });
    }
    const weight = own.parameter(
      'weight',
      [units, count],
      weightInitializer(initializer, count, units),
    );
    const y = bias
      ? linear(x, weight, own.parameter('bias', [units], biasInitializer(initializer, count)))
      : linear(x, weight);
    return activation === undefined ? y : activation(y);
  });
}
