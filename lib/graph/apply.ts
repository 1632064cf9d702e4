import type { Attributes, TensorSpec } from '../../bindings.js';
import { TandemError } from '../errors.js';
import { native } from '../native.js';
import { misshapen } from './operands.js';
import { currentLayer } from './scope.js';
import { definition, makeValue, type Node, sampleBatches, showSize, type Value } from './value.js';

/**
 * The first output of an op. Shapes are inferred natively; ERR_SHAPE, ERR_DTYPE and ERR_ARGUMENT are
 * thrown here, before any graph runs.
 */
export function apply(
  op: string,
  inputs: readonly (Value | null)[],
  attributes: Attributes = {},
): Value {
  const first = inferAt(0, op, attributes, inputs);
  const free = inputs.some(
    (input) => input !== null && definition(input).samples[0] !== definition(input).samples[1],
  );
  const second = free ? inferAt(1, op, attributes, inputs) : first;
  const node: Node = { op, inputs, attributes, layer: currentLayer() };
  const [at0, at1] = [first[0], second[0]];
  if (at0 === undefined || at1 === undefined) {
    throw new TandemError('ERR_ARGUMENT', `expected an op with an output, received \`${op}\``);
  }
  if (free && op === 'reshape') checkDivides(at0.shape, at1.shape, inputs, attributes);
  const samples = free ? ([at0.shape, at1.shape] as const) : ([at0.shape, at0.shape] as const);
  return makeValue(at0.dtype, samples, { kind: 'output', node, index: 0 });
}

/** A dimension that is no whole multiple or part of the batch divides the samples by chance. */
function checkDivides(
  first: readonly number[],
  second: readonly number[],
  inputs: readonly (Value | null)[],
  { shape }: Attributes,
): void {
  const [low, high] = sampleBatches;
  for (const [i, length] of first.entries()) {
    const slope = ((second[i] ?? length) - length) / (high - low);
    if (slope === 0 || Number.isInteger(slope) || Number.isInteger(1 / slope)) continue;
    const elements = Array.isArray(shape) ? `as many elements as [${shape.join(', ')}]` : 'a shape';
    throw misshapen('reshape', elements, { x: inputs[0] ?? null });
  }
}

function inferAt(
  sample: 0 | 1,
  op: string,
  attributes: Attributes,
  inputs: readonly (Value | null)[],
): TensorSpec[] {
  try {
    return inferFrom(sample, op, attributes, inputs);
  } catch (error) {
    if (!(error instanceof TandemError)) throw error;
    let other: string | undefined;
    try {
      inferFrom(sample === 0 ? 1 : 0, op, attributes, inputs);
    } catch (twin) {
      other = (twin as Error).message;
    }
    throw new TandemError(error.code, nameBatch(error.message, other, sampleBatches[sample]));
  }
}

function inferFrom(
  sample: 0 | 1,
  op: string,
  attributes: Attributes,
  inputs: readonly (Value | null)[],
): TensorSpec[] {
  const specs = inputs.map((input) =>
    input === null ? null : { shape: definition(input).samples[sample], dtype: input.dtype },
  );
  return native.infer(op, attributes, specs);
}

/**
 * Writes "batch" where a message shows the sample size, "2·batch" for twice that. What stays the same in
 * `other`, the message at another sample size, has nothing to do with the batch.
 */
function nameBatch(message: string, other: string | undefined, batch: number): string {
  const numbers = /(?<![\d.])\d+(?![\d.]*\d)/g;
  const others = other?.match(numbers) ?? [];
  const comparable = others.length === message.match(numbers)?.length;
  let i = 0;
  return message.replace(numbers, (digits) => {
    const size = Number(digits);
    // Without another message small divisors of the sample size are taken for dimensions of their own.
    const fixed = comparable ? others[i++] === digits : size < batch / 16;
    return fixed ? digits : showSize(size, batch);
  });
}
