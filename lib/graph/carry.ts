// What an op's attributes become where its operands are shorter, as far as it is sure that they then
// mean the same. All else is refused: it would be computed, but be something else.
import { TandemError } from '../errors.js';
import { nodeOf } from './describe.js';
import { elementwise } from './elementwise.js';
import { reshapeAt } from './reshape-at-length.js';
import { definition, type Node, sampleBatches, type Value } from './value.js';

/**
 * The attributes of `node` over `operands`, which are its inputs at `length` in place of `time`. Throws
 * ERR_ARGUMENT.
 */
export function attributesAt(
  node: Node,
  result: Value,
  operands: readonly (Value | null)[],
  time: number,
  length: number,
): Node['attributes'] {
  const { op, inputs, attributes } = node;
  const [input, now] = [inputs[0], operands[0]];
  if (!input || !now) return attributes;
  const [from] = definition(input).samples;
  const [to] = definition(now).samples;
  if (from.every((size, i) => size === to[i])) return attributes;
  if (op === 'slice') return sliceAt(node, from, to);
  if (op !== 'reshape' || !Array.isArray(attributes.shape)) return attributes;
  const shape = reshapeAt({
    ...{ from, to: definition(result).samples[0], now: to },
    ...{ time, length, batch: sampleBatches[0] },
  });
  if (shape === undefined) {
    throw refused(`a shape that says which axis has the length, received [${attributes.shape}]`);
  }
  const kept = attributes.shape.map((size, i) => (size === -1 ? -1 : Number(shape[i])));
  return { ...attributes, shape: kept };
}

/**
 * Positions that count from the beginning are the same ones at each length, those that count from the
 * end are as far from it.
 */
function sliceAt(node: Node, from: readonly number[], to: readonly number[]): Node['attributes'] {
  const { attributes } = node;
  const given = Number(attributes.axis ?? 0);
  const axis = given < 0 ? given + from.length : given;
  const [was = 0, now = 0] = [from[axis], to[axis]];
  if (was === now) return attributes;
  if (isLastState(node, axis, was)) return { ...attributes, start: -1 };
  const first = Number(attributes.start ?? 0);
  const start = first <= -was ? 0 : first;
  const last = attributes.end === undefined ? Number.POSITIVE_INFINITY : Number(attributes.end);
  // What begins with the first position or is counted from the end ends with the last; another slice
  // may do so by chance.
  const open = last > was || (last === was && start <= 0);
  const at = (position: number) => (position < 0 ? position + now : position);
  const [begin, end] = [at(start), open ? now : at(last)];
  const isMixed = start < 0 && !open && last >= 0;
  if (!isMixed && begin >= 0 && begin < end && end <= now) return attributes;
  const positions = `${first} to ${attributes.end ?? 'the end'} of ${was}`;
  throw refused(`positions that ${now} have too, received ${positions}`);
}

/** The last state of lstm or gru, which earlier versions wrote as a position from the beginning. */
function isLastState({ inputs, attributes, layer }: Node, axis: number, was: number): boolean {
  const { source } = definition(inputs[0] as Value);
  const [, states] = /^(lstm|gru)$/.exec(layer?.type ?? '') ?? [];
  const { start, end, step } = attributes;
  const isLast = axis === 1 && start === was - 1 && end === undefined && step === undefined;
  return isLast && source.kind === 'output' && source.node.op === states;
}

/**
 * Throws ERR_ARGUMENT where `made`, which `result` has become, is longer than operands that were cut: one
 * that has become of length 1 is repeated beside another that is not.
 */
export function checkCarried(result: Value, made: Value): void {
  const { op, inputs } = nodeOf(result);
  const product = op === 'matmul';
  if (!product && !elementwise.has(op)) return;
  const operands = nodeOf(made).inputs;
  inputs.forEach((input, i) => {
    const operand = operands[i];
    if (input && operand) checkAxes(input, operand, result, made, product ? 2 : 0);
  });
}

/** Axes count from the last; the last `own` ones are the op's. */
function checkAxes(input: Value, operand: Value, result: Value, made: Value, own: number): void {
  const [before, after, whole, cut] = [input, operand, result, made].map((value) =>
    [...definition(value).samples[0]].reverse().slice(own),
  ) as [number[], number[], number[], number[]];
  for (const [i, size] of before.entries()) {
    if (size === after[i] || size !== whole[i] || after[i] === cut[i]) continue;
    throw refused(`operands of one length, received ${operand} and one of ${size}`);
  }
}

const refused = (message: string): TandemError =>
  new TandemError('ERR_ARGUMENT', `expected ${message}`);
