// SmoothQuant: Xiao et al., "SmoothQuant: Accurate and Efficient Post-Training Quantization for Large
// Language Models" (2023). Channels of a normalised value are divided by factors that the weights
// behind take over, so that outliers of a few channels do not widen the steps of all.
import type { Frozen } from './frozen.js';
import type { QuantizableLayer } from './layers.js';
import { eachPiece, type Rows, type Run, runRows } from './run.js';
import { rowsInTurns } from './weights.js';

/** A norm, and the dense layers that are all that reads it. */
interface Group {
  readonly number: number;
  /** The norm's weight and, if there is one, its bias. */
  readonly norm: readonly string[];
  readonly weights: readonly string[];
}

const none = new Float64Array(0);

/** Changes the parameters of `frozen`, whose outputs stay what they are; how many norms it changed. */
export async function smooth(
  frozen: Frozen,
  layers: readonly QuantizableLayer[],
  data: Rows,
  power: number,
  run: Run,
): Promise<number> {
  const groups = findGroups(frozen, layers);
  if (groups.length === 0) return 0;
  const largest = groups.map(({ norm }) => new Float64Array(frozen.data(norm[0] ?? '').length));
  const numbers = groups.map(({ number }) => number);
  await runRows(run, frozen.graph, numbers, data, (values) =>
    eachPiece(
      values,
      (i, from, to) => raiseColumns(largest[i] ?? none, values[i]?.subarray(from, to) ?? []),
      (i) => largest[i]?.length ?? 1,
    ),
  );
  for (const [i, group] of groups.entries()) {
    await smoothGroup(frozen, group, largest[i] ?? none, power);
  }
  return groups.length;
}

function findGroups(frozen: Frozen, layers: readonly QuantizableLayer[]): Group[] {
  const groups: Group[] = [];
  const linear = layers.filter(({ op, reason }) => op === 'linear' && reason === undefined);
  for (const number of new Set(linear.flatMap(({ input }) => input ?? []))) {
    const node = frozen.producer(number);
    if (node?.op !== 'layerNorm' && node?.op !== 'rmsNorm') continue;
    const readers = linear.filter(({ input }) => input === number);
    const own = (name: string | undefined, at: number | undefined): name is string =>
      name !== undefined && frozen.uses(at ?? -1) === 1;
    const given = node.inputs.slice(1).filter((at) => at !== -1);
    const norm = given.flatMap((at) => frozen.parameterName(at) ?? []);
    const weights = readers.flatMap(({ weight }) => weight ?? []);
    const all =
      norm.length > 0 &&
      given.every((at) => own(frozen.parameterName(at), at)) &&
      readers.every(({ index, weight }) => own(weight, frozen.graph.nodes[index]?.inputs[1]));
    if (all && frozen.uses(number) === readers.length) groups.push({ number, norm, weights });
  }
  return groups;
}

function raiseColumns(largest: Float64Array, values: ArrayLike<number>): void {
  const width = largest.length;
  for (let i = 0; i < values.length; i += width) {
    for (let j = 0; j < width; j++) {
      const size = Math.abs(values[i + j] as number);
      if (size > (largest[j] as number)) largest[j] = size;
    }
  }
}

async function smoothGroup(
  frozen: Frozen,
  group: Group,
  input: Float64Array,
  power: number,
): Promise<void> {
  const width = input.length;
  const weight = new Float64Array(width);
  const eachRow = async (work: (row: Float32Array) => void) => {
    for (const name of group.weights) {
      const data = frozen.data(name);
      await rowsInTurns(data.length / width, width, (row) => {
        work(data.subarray(row * width, (row + 1) * width));
      });
    }
  };
  await eachRow((row) => raiseColumns(weight, row));
  const factors = input.map((size, j) => {
    const factor = Math.max(size, 1e-5) ** power / Math.max(weight[j] ?? 0, 1e-5) ** (1 - power);
    return Number.isFinite(factor) && factor > 1e-5 ? factor : 1;
  });
  for (const name of group.norm) {
    const data = frozen.data(name);
    factors.forEach((factor, j) => {
      data[j] = (data[j] ?? 0) / factor;
    });
  }
  await eachRow((row) => {
    for (let j = 0; j < width; j++) row[j] = (row[j] as number) * (factors[j] as number);
  });
}
