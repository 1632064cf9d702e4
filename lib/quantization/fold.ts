// batchNorm as part of the convolution or dense layer before it, in the description of a model.
import { unary } from '../graph/elementwise.js';
import type { GraphFile } from '../graph/serialize.js';
import type { Parameter } from '../model.js';
import { rowsInTurns } from './weights.js';

/** One batchNorm that has been taken out: the names of what is to be changed, and of its numbers. */
export interface Fold {
  readonly weight: string;
  /** The norm's own bias where the product had none. */
  readonly bias: string;
  readonly hadBias: boolean;
  /** Weight, bias, mean and variance. */
  readonly norm: readonly [string, string, string, string];
  readonly eps: number;
}

/** Takes each batchNorm out of the graph that can be folded; what is to be folded. */
export function findFolds(file: GraphFile): Fold[] {
  const folds: Fold[] = [];
  for (let i = 0; i < file.nodes.length; ) {
    const fold = foldNode(file, i);
    if (fold === undefined) i++;
    else folds.push(fold);
  }
  return folds;
}

function foldNode(file: GraphFile, index: number): Fold | undefined {
  const first = file.inputs.length + file.parameters.length + file.constants.length;
  const norm = file.nodes[index];
  if (norm?.op !== 'batchNorm' || norm.inputs.length !== 5) return undefined;
  const product = file.nodes[(norm.inputs[0] ?? -1) - first];
  if (product === undefined || !isProduct(file, product)) return undefined;
  const uses = (number: number | undefined) =>
    [
      ...file.nodes.flatMap(({ inputs }) => inputs),
      ...file.outputs.map(({ value }) => value),
    ].filter((one) => one === number).length;
  const name = (number: number | undefined) => nameOf(file, number);
  const own = (number: number | undefined) => (uses(number) === 1 ? name(number) : undefined);
  const [weight, hadBias] = [own(product.inputs[1]), (product.inputs[2] ?? -1) !== -1];
  const bias = own(hadBias ? product.inputs[2] : norm.inputs[2]);
  const [w, b, mean, variance] = norm.inputs.slice(1).map(name);
  if (uses(norm.inputs[0]) !== 1 || weight === undefined || bias === undefined) return undefined;
  if (w === undefined || b === undefined || mean === undefined || variance === undefined) {
    return undefined;
  }
  if (!hadBias) {
    product.inputs = [product.inputs[0] ?? -1, product.inputs[1] ?? -1, norm.inputs[2] ?? -1];
  }
  const eps = Number(norm.attributes.eps ?? 1e-5);
  remove(file, index, first);
  return { weight, bias, hadBias, norm: [w, b, mean, variance], eps };
}

/** After dense the channels are axis 1 only in rows without time, which batchNorm alone allows. */
function isProduct(file: GraphFile, { op, inputs }: GraphFile['nodes'][number]): boolean {
  if (op === 'conv1d' || op === 'conv2d') return true;
  const x = file.inputs[inputs[0] ?? -1];
  return op === 'linear' && (x === undefined ? rowsOnly(file, inputs[0]) : x.shape.length === 2);
}

/** Whether value `number` is known to have two dimensions: what dense or flatten gives from one. */
function rowsOnly(file: GraphFile, number: number | undefined): boolean {
  const first = file.inputs.length + file.parameters.length + file.constants.length;
  for (let at = number ?? -1; ; ) {
    const input = file.inputs[at];
    if (input !== undefined) return input.shape.length === 2;
    const node = file.nodes[at - first];
    if (node?.op === 'flatten') return true;
    if (node === undefined || !keepsRank.has(node.op)) return false;
    at = node.inputs[0] ?? -1;
  }
}

const keepsRank = new Set([...unary, 'linear', 'dropout', 'batchNorm', 'layerNorm', 'rmsNorm']);

function nameOf(file: GraphFile, number: number | undefined): string | undefined {
  const parameter = file.parameters[(number ?? -1) - file.inputs.length];
  return parameter && `${file.layers[parameter.layer]?.name}.${parameter.suffix}`;
}

/** Drops a node; what reads it reads its first input. */
function remove(file: GraphFile, index: number, first: number): void {
  const number = first + index;
  const instead = file.nodes[index]?.inputs[0] ?? -1;
  file.nodes.splice(index, 1);
  const renumber = (n: number) => (n === number ? instead : n > number ? n - 1 : n);
  for (const node of file.nodes) node.inputs = node.inputs.map(renumber);
  for (const output of file.outputs) output.value = renumber(output.value);
}

type Parameters = ReadonlyMap<string, Parameter>;

/**
 * Scales the weight in `to` and sets its bias by the norm's numbers in `from`, with turns of the event
 * loop.
 */
export async function foldWeights(fold: Fold, to: Parameters, from: Parameters): Promise<void> {
  const [w, b, mean, variance] = fold.norm.map((name) => from.get(name)?.data);
  const weight = to.get(fold.weight)?.data;
  const bias = to.get(fold.bias)?.data;
  if (w === undefined || b === undefined || mean === undefined || variance === undefined) return;
  if (weight === undefined || bias === undefined) return;
  const each = weight.length / w.length;
  await rowsInTurns(w.length, each, (c) => {
    const factor = (w[c] ?? 0) / Math.sqrt((variance[c] ?? 0) + fold.eps);
    for (let i = c * each; i < (c + 1) * each; i++) weight[i] = (weight[i] as number) * factor;
    const before = fold.hadBias ? (bias[c] ?? 0) : 0;
    bias[c] = (before - (mean[c] ?? 0)) * factor + (b[c] ?? 0);
  });
}
