// What quantization adds to the result of each layer on its own.
import type { GraphDescription, NodeDescription } from '../../bindings.js';
import type { Frozen } from './frozen.js';
import type { Numbers } from './observers.js';
import { eachPiece, type Rows, type Run, runRows } from './run.js';

/** More rows hardly change a ratio of sums over a whole layer. */
export const noiseRows = 64;

/**
 * The ratio of signal to noise in decibels for each marked node: of its result from the float32
 * input, computed once in float32 and once with bytes, side by side in one graph.
 */
export async function measureNoise(
  frozen: Frozen,
  marked: readonly NodeDescription[],
  data: Rows,
  run: Run,
): Promise<Map<number, number>> {
  const indices = marked.flatMap(({ quantization }, i) => (quantization ? [i] : []));
  if (indices.length === 0) return new Map();
  const copies = indices.flatMap((i) => marked[i] ?? []);
  const nodes = [...frozen.graph.nodes, ...copies];
  const graph: GraphDescription = { ...frozen.graph, nodes };
  const exact = indices.map((i) => frozen.numberOf(i));
  const rounded = copies.map((_, i) => frozen.numberOf(frozen.graph.nodes.length + i));
  const signal = new Float64Array(indices.length);
  const noise = new Float64Array(indices.length);
  await runRows(run, graph, [...exact, ...rounded], data, (values) =>
    eachPiece(values.slice(0, indices.length), (i, from, to) => {
      const [wanted, found] = [values[i], values[indices.length + i]];
      if (wanted === undefined || found === undefined) return;
      const [power, squares] = powers(wanted.subarray(from, to), found.subarray(from, to));
      signal[i] = (signal[i] ?? 0) + power;
      noise[i] = (noise[i] ?? 0) + squares;
    }),
  );
  return new Map(indices.map((index, i) => [index, decibels(signal[i] ?? 0, noise[i] ?? 0)]));
}

/** Sums of squares: of what is wanted, and of what was found less that. */
function powers(wanted: Numbers, found: Numbers): [signal: number, noise: number] {
  let [signal, noise] = [0, 0];
  for (let j = 0; j < wanted.length; j++) {
    const value = wanted[j] as number;
    const error = (found[j] as number) - value;
    signal += value * value;
    noise += error * error;
  }
  return [signal, noise];
}

/** At most 200: what is exact has no noise. */
const decibels = (signal: number, noise: number): number =>
  noise === 0 ? 200 : Math.max(-200, Math.min(200, 10 * Math.log10(signal / noise)));
