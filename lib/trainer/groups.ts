// Groups of parameters: which attributes of the optimizer, or none, each parameter has.
import type { Attributes } from '../../bindings.js';
import * as is from '../is.js';
import type { Parameter } from '../model.js';
import type { Optimizer } from '../optimizers.js';

/** Tells parameters apart by their name (`encoder.weight`) and what they are. */
export type ParameterFilter = (name: string, parameter: Parameter) => boolean;

/** Parameters that are trained otherwise than the optimizer says, or not at all. */
export interface ParameterGroup {
  /**
   * Those whose name has one of these strings in it, or that one of these expressions matches, or for
   * which the function says so.
   */
  parameters: string | RegExp | readonly (string | RegExp)[] | ParameterFilter;
  /** In place of the optimizer's. */
  weightDecay?: number;
  /** In place of the optimizer's; a schedule's factor applies to it in the same way. */
  learningRate?: number;
  /** False: they stay as they are; true by default. */
  trainable?: boolean;
}

/**
 * A group for `parameterGroups` without weight decay: biases, and the weights and biases of norms, which
 * are the parameters of less than two dimensions. Decay of those is of no use to generalisation: Loshchilov
 * and Hutter's and Hugging Face's training leave them out, too.
 */
export const noDecay: ParameterGroup = Object.freeze({
  parameters: (_name: string, { shape }: Parameter) => shape.length < 2,
  weightDecay: 0,
});

/** What native code takes: attributes by group, and the group of each parameter, -1 for frozen ones. */
export interface OptimizerDescription {
  readonly op: string;
  readonly groups: readonly Attributes[];
  readonly groupOf: readonly number[];
}

/**
 * A parameter is in the first group that it fits, else in one that is just the optimizer. Throws
 * ERR_ARGUMENT for a group of nothing, which is a name mistaken.
 */
export function describeOptimizer(
  optimizer: Optimizer,
  given: unknown,
  parameters: ReadonlyMap<string, Parameter>,
): OptimizerDescription {
  const { op, attributes } = optimizer;
  const groups: Attributes[] = [attributes];
  const read = readGroups(given, optimizer);
  const members = read.map(() => 0);
  const numbers = read.map((group) => (group.trainable ? groups.push(group.attributes) - 1 : -1));
  const groupOf = [...parameters].map(([name, parameter]) => {
    const which = read.findIndex(({ fits }) => fits(name, parameter));
    if (which !== -1) members[which] = (members[which] ?? 0) + 1;
    if (!parameter.trainable) return -1;
    return which === -1 ? 0 : (numbers[which] ?? 0);
  });
  const empty = members.indexOf(0);
  if (empty !== -1) {
    const what = `a group of some of ${[...parameters.keys()].join(', ')}`;
    throw is.mismatch('ERR_ARGUMENT', what, `parameterGroups[${empty}].parameters`, 'one of none');
  }
  return { op, groups, groupOf };
}

interface Group {
  readonly fits: ParameterFilter;
  readonly attributes: Attributes;
  readonly trainable: boolean;
}

function readGroups(given: unknown, optimizer: Optimizer): Group[] {
  if (given === undefined) return [];
  if (!Array.isArray(given)) throw is.invalid('an array of groups', 'parameterGroups', given);
  return given.map((item: unknown, i): Group => {
    const name = `parameterGroups[${i}]`;
    if (!is.isRecord(item)) throw is.invalid('a group', name, item);
    const known = ['parameters', 'weightDecay', 'learningRate', 'trainable'] as const;
    const set = is.options(item as unknown as ParameterGroup, name, known);
    const attributes: Record<string, Attributes[string]> = { ...optimizer.attributes };
    if (set.weightDecay !== undefined) {
      attributes.weightDecay = is.number(set.weightDecay, `${name}.weightDecay`, 0);
    }
    if (set.learningRate !== undefined) {
      const rate = is.number(set.learningRate, `${name}.learningRate`, 0);
      if (optimizer.learningRate === 0 && rate > 0) {
        throw is.invalid('a number above 0 beside groups', 'learningRate', optimizer.learningRate);
      }
      attributes.rateFactor = rate === 0 ? 0 : rate / optimizer.learningRate;
    }
    return {
      fits: readFilter(set.parameters, `${name}.parameters`),
      attributes,
      trainable: is.boolean(set.trainable ?? true, `${name}.trainable`),
    };
  });
}

function readFilter(given: unknown, name: string): ParameterFilter {
  if (typeof given === 'function') return given as ParameterFilter;
  const list: readonly unknown[] = Array.isArray(given) ? given : [given];
  for (const item of list) {
    if (typeof item === 'string' || item instanceof RegExp) continue;
    throw is.invalid('strings, expressions or a function', name, item);
  }
  const patterns = list as readonly (string | RegExp)[];
  return (parameter) =>
    patterns.some((pattern) =>
      // search() knows no state of the expression, unlike test()
      typeof pattern === 'string' ? parameter.includes(pattern) : parameter.search(pattern) !== -1,
    );
}
