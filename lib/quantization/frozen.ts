// A copy of a model that quantization may change: batchNorm is part of the weights before it.
import type { GraphDescription, NodeDescription } from '../../bindings.js';
import { describe } from '../graph/describe.js';
import { rebuild } from '../graph/rebuild.js';
import { serialize } from '../graph/serialize.js';
import type { Value } from '../graph/value.js';
import { assertIdle, copying, type ModelState, stateOf } from '../model/state.js';
import { Model } from '../model.js';
import { copyInTurns } from '../trainer/weights.js';
import { type Fold, findFolds, foldWeights } from './fold.js';

export class Frozen {
  readonly model: Model;
  readonly state: ModelState;
  readonly graph: GraphDescription;
  /** What the ops of the graph give. */
  readonly results: readonly Value[];

  constructor(model: Model) {
    this.model = model;
    this.state = stateOf(model);
    const outputs = this.state.outputs.map(({ value }) => value);
    const { graph, parts } = describe(this.state.inputs, outputs, this.state.parameters);
    this.graph = graph;
    this.results = parts.results;
  }

  /** The name of the parameter that value `number` is; undefined for another value. */
  parameterName(number: number | undefined): string | undefined {
    return this.graph.parameters[(number ?? -1) - this.graph.inputs.length]?.name;
  }

  /** The numbers of parameter `name`, which may be changed. */
  data(name: string): Float32Array {
    return this.model.parameters.get(name)?.data ?? new Float32Array(0);
  }

  /** The number of the value that node `index` gives. */
  numberOf(index: number): number {
    const { inputs, parameters, constants } = this.graph;
    return inputs.length + parameters.length + constants.length + index;
  }

  /** The node that gives value `number`. */
  producer(number: number): NodeDescription | undefined {
    return this.graph.nodes[number - this.numberOf(0)];
  }

  /** How many operands and outputs are value `number`. */
  uses(number: number): number {
    const lists = [this.graph.outputs, ...this.graph.nodes.map(({ inputs }) => inputs)];
    return lists.flat().filter((one) => one === number).length;
  }

  /** Gives the copy's memory back. */
  release(): void {
    this.state.native.release();
  }
}

/** A copy of the model as it is now. Throws ERR_BUSY while a step is training it. */
export async function freeze(model: Model): Promise<Frozen> {
  const state = stateOf(model);
  assertIdle(state, 'quantize');
  const file = serialize(model.name, state);
  const folds: Fold[] = findFolds(file);
  const { inputs, outputs, name } = rebuild(file);
  const frozen = new Frozen(new Model({ inputs, outputs, ...(name !== undefined && { name }) }));
  frozen.state.encoder = state.encoder;
  await copying(state, async () => {
    for (const trainer of state.devices) await trainer.sync();
    await copyParameters(frozen.model.parameters, model.parameters, folds);
  });
  return frozen;
}

async function copyParameters(
  to: Model['parameters'],
  from: Model['parameters'],
  folds: readonly Fold[],
): Promise<void> {
  await copyInTurns(
    Array.from(to, ([name, { data }]) => [from.get(name)?.data ?? new Float32Array(0), data]),
  );
  for (const fold of folds) await foldWeights(fold, to, from);
}
