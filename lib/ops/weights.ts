// Weights of ops that have many: records, by the names of the layer's parameters.
import { asOptional, asValue } from '../graph/leaves.js';
import { expectFloat32, misshapen } from '../graph/operands.js';
import type { Value } from '../graph/value.js';
import * as is from '../is.js';

/** Values that stand for a layer's `weight` and, where there is one, its `bias`. */
export interface Weights {
  /** A matrix [out, in] of a product, or the factors [dim] of a norm. */
  weight: Value;
  /** What is added, [out] or [dim]; nothing by default. */
  bias?: Value | null;
}

/** What is called with weights: its name, and the value that their sizes follow from. */
export interface Caller {
  readonly op: string;
  readonly x: Value;
}

/** Weights, or a part of them, that are still to be checked. */
export interface Part {
  /** The names on the way to it, "attention.inProj"; '' for all weights. */
  readonly name: string;
  readonly given: unknown;
}

/** The parts of a part. Throws ERR_ARGUMENT for others than those that are known. */
export function partsOf<K extends string>(
  { name, given }: Part,
  known: readonly K[],
): Record<K, Part> {
  const set = is.options(
    given as Partial<Record<K, unknown>>,
    name === '' ? 'weights' : name,
    known,
  );
  const part = (key: K): Part => ({ name: name === '' ? key : `${name}.${key}`, given: set[key] });
  return Object.fromEntries(known.map((key) => [key, part(key)])) as Record<K, Part>;
}

/**
 * `shape` is that of the matrix or the factors; a dimension that is a word may be any. Throws
 * ERR_ARGUMENT, ERR_SHAPE, ERR_DTYPE.
 */
export function checkWeights(
  caller: Caller,
  { name, given }: Part,
  shape: readonly (number | string)[],
): Required<Weights> {
  const set = is.options(given as Partial<Weights>, name, ['weight', 'bias']);
  const weight = asValue(set.weight, `${name}.weight`);
  checkShape(caller, `${name}.weight`, weight, shape);
  const bias = asOptional(set.bias, `${name}.bias`);
  if (bias !== null) checkShape(caller, `${name}.bias`, bias, [weight.shape[0] ?? 0]);
  expectFloat32(caller.op, { [`${name}.weight`]: weight, [`${name}.bias`]: bias });
  return { weight, bias };
}

function checkShape(
  { op, x }: Caller,
  name: string,
  value: Value,
  wanted: readonly (number | string)[],
): void {
  const fits = (length: number | string | undefined, size: number | null) =>
    typeof length === 'string' ? size !== null : size === length;
  if (value.shape.length === wanted.length && value.shape.every((size, i) => fits(wanted[i], size)))
    return;
  throw misshapen(op, `${name} [${wanted.join(', ')}]`, { x, [name]: value });
}

/** The length of the last axis of x [batch, time, dim]. Throws ERR_SHAPE, ERR_DTYPE. */
export function widthOf({ op, x }: Caller): number {
  const dim = x.shape[2];
  if (x.shape.length !== 3 || typeof dim !== 'number') {
    throw misshapen(op, 'x [batch, time, dim] whose last dimension is known', { x });
  }
  expectFloat32(op, { x });
  return dim;
}
