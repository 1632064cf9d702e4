import type { InitializerDescription } from '../../bindings.js';
import { asValue, parameterValue } from '../graph/leaves.js';
import { within } from '../graph/scope.js';
import type { LayerIdentity, Value } from '../graph/value.js';
import * as is from '../is.js';

/**
 * A function from a value to a value that owns its parameters. They are made in the first call, for
 * the shape it gets; calling the layer again shares them. A layer that stands in a second model
 * starts there from the values that it has in the model built before; each model then trains its
 * own copy.
 */
export interface Layer {
  (x: Value): Value;
  /** What kind of layer: it gives a layer without a name its name. */
  readonly type: string;
}

/** What a layer's forward function gets to make its parameters with. */
export interface Own {
  /** The parameter of this name within the layer: made in the first call, the same in later ones. */
  parameter(
    suffix: string,
    shape: readonly number[],
    initializer: InitializerDescription,
    trainable?: boolean,
  ): Value;
}

/**
 * A layer that makes its parameters and its result with `forward`, which gets what the layer is called
 * with and checks all of it but x.
 */
export function makeLayer<Rest extends unknown[] = []>(
  type: string,
  name: string | undefined,
  forward: (own: Own, x: Value, ...rest: Rest) => Value,
): ((x: Value, ...rest: Rest) => Value) & Pick<Layer, 'type'> {
  if (name !== undefined) is.string(name, 'name');
  const identity: LayerIdentity = { type, name };
  let parameters = new Map<string, Value>();
  const call = (x: Value, ...rest: Rest): Value => {
    asValue(x, 'x');
    // Taken over only when the call succeeds: a wrong first input leaves no parameters behind.
    const next = new Map(parameters);
    const own: Own = {
      parameter(suffix, shape, initializer, trainable = true) {
        let value = next.get(suffix);
        if (value === undefined) {
          const source = {
            layer: identity,
            suffix,
            shape,
            initializer,
            trainable,
            data: undefined,
          };
          value = parameterValue(source);
          next.set(suffix, value);
        }
        return value;
      },
    };
    const y = within(identity, [x], () => forward(own, x, ...rest));
    parameters = next;
    return y;
  };
  return Object.freeze(Object.assign(call, { type }));
}
