// How parameters start.
import type { InitializerDescription } from '../../bindings.js';
import * as is from '../is.js';

/**
 * - `pytorch` (the default of every layer): torch.nn.Linear's, uniform within +-1/sqrt(fanIn) for
 *   weights and biases; that is kaiming_uniform_ with a = sqrt(5).
 * - `heUniform`, `heNormal`: He et al., "Delving Deep into Rectifiers" (2015).
 * - `glorotUniform`, `glorotNormal`: Glorot and Bengio, "Understanding the difficulty of training
 *   deep feedforward neural networks" (2010).
 * - `lecunUniform`, `lecunNormal`: LeCun et al., "Efficient BackProp" (1998).
 * - `zeros`, `ones`.
 *
 * Limits and deviations are Keras': a normal one is cut at two deviations and widened so that what
 * is left has the deviation of the paper. Biases start at 0, except with `pytorch`.
 */
export type Initializer =
  | 'pytorch'
  | 'heUniform'
  | 'heNormal'
  | 'glorotUniform'
  | 'glorotNormal'
  | 'lecunUniform'
  | 'lecunNormal'
  | 'zeros'
  | 'ones';

const initializers = [
  'pytorch',
  'heUniform',
  'heNormal',
  'glorotUniform',
  'glorotNormal',
  'lecunUniform',
  'lecunNormal',
  'zeros',
  'ones',
] as const;

/** Deviation of a standard normal distribution cut at two deviations. */
const cutDeviation = 0.87962566103423978;

const constant = (a: number): InitializerDescription => ({ kind: 'constant', a, b: 0 });
const uniform = (limit: number): InitializerDescription => ({
  kind: 'uniform',
  a: -limit,
  b: limit,
});
const normal = (deviation: number): InitializerDescription => ({
  kind: 'truncatedNormal',
  a: 0,
  b: deviation / cutDeviation,
});

export function checkInitializer(value: unknown): Initializer {
  return value === undefined ? 'pytorch' : is.oneOf(value, 'initializer', initializers);
}

/** `fanIn`, `fanOut`: how many inputs an output reads, and how many outputs read an input. */
export function weightInitializer(
  name: Initializer,
  fanIn: number,
  fanOut: number,
): InitializerDescription {
  const [fans, total] = [Math.max(1, fanIn), Math.max(1, fanIn + fanOut)];
  switch (name) {
    case 'pytorch':
      return uniform(1 / Math.sqrt(fans));
    case 'heUniform':
      return uniform(Math.sqrt(6 / fans));
    case 'heNormal':
      return normal(Math.sqrt(2 / fans));
    case 'glorotUniform':
      return uniform(Math.sqrt(6 / total));
    case 'glorotNormal':
      return normal(Math.sqrt(2 / total));
    case 'lecunUniform':
      return uniform(Math.sqrt(3 / fans));
    case 'lecunNormal':
      return normal(Math.sqrt(1 / fans));
    case 'zeros':
      return constant(0);
    case 'ones':
      return constant(1);
  }
}

export function biasInitializer(name: Initializer, fanIn: number): InitializerDescription {
  return name === 'pytorch' ? weightInitializer(name, fanIn, 0) : constant(0);
}
