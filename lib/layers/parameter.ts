import { checkCountable, parameterValue } from '../graph/leaves.js';
import type { Value } from '../graph/value.js';
import * as is from '../is.js';
import { checkInitializer, type Initializer, weightInitializer } from './initializers.js';

/** Options of parameter. */
export interface ParameterOptions {
  /** Its name begins with it: `<name>.weight`; `parameter`, `parameter_1`, ... by default. */
  name?: string;
  /** How it starts, as a weight [out, in, ...]; 'pytorch' by default. */
  initializer?: Initializer;
  /** Whether optimizers change it. True by default. */
  trainable?: boolean;
}

/**
 * A parameter of that shape as a value: one that no layer owns, for ops and for the forms of `functional`.
 * What is used in several places is one parameter. Throws ERR_ARGUMENT.
 *
 * @example const table = parameter([5000, 64], { name: 'tokens' });
 */
export function parameter(shape: readonly number[], options?: ParameterOptions): Value {
  const sizes = is.integers(shape, 'shape', 1);
  if (sizes.length > 8) throw is.invalid('at most 8 dimensions', 'shape', shape);
  checkCountable(sizes, 'shape');
  const set = is.options(options, 'options of parameter', ['name', 'initializer', 'trainable']);
  if (set.name !== undefined) is.string(set.name, 'name');
  const [outputs = 1, inputs = outputs, ...kernel] = sizes;
  const taps = kernel.reduce((product, size) => product * size, 1);
  return parameterValue({
    layer: { type: 'parameter', name: set.name },
    suffix: 'weight',
    shape: sizes,
    initializer: weightInitializer(
      checkInitializer(set.initializer),
      inputs * taps,
      outputs * taps,
    ),
    trainable: is.boolean(set.trainable ?? true, 'trainable'),
    data: undefined,
  });
}
