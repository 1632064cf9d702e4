import { Value } from '../graph/value.js';
import * as is from '../is.js';
import * as elementwise from '../ops/elementwise.js';
import { logSoftmax, softmax } from '../ops/shapes.js';

const activations = {
  relu: elementwise.relu,
  gelu: elementwise.gelu,
  silu: elementwise.silu,
  sigmoid: elementwise.sigmoid,
  tanh: elementwise.tanh,
  leakyRelu: elementwise.leakyRelu,
  elu: elementwise.elu,
  softplus: elementwise.softplus,
  hardSwish: elementwise.hardSwish,
  hardSigmoid: elementwise.hardSigmoid,
  mish: elementwise.mish,
  softmax,
  logSoftmax,
} satisfies Record<string, (x: Value) => Value>;

/** An activation by the name of its op, with that op's defaults, or any function of a value. */
export type Activation = keyof typeof activations | ((x: Value) => Value);

export function toActivation(value: unknown): ((x: Value) => Value) | undefined {
  if (value === undefined) return undefined;
  if (typeof value === 'function') return (x) => resultOf(value(x));
  const names = Object.keys(activations) as (keyof typeof activations)[];
  return activations[is.oneOf(value, 'activation', names)];
}

function resultOf(y: unknown): Value {
  if (y instanceof Value) return y;
  throw is.mismatch('ERR_ARGUMENT', 'a function that returns a Value', 'activation', is.show(y));
}
