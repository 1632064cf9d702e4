import { collect, nodeOf, parameterOf } from '../graph/describe.js';
import { elements, type LayerIdentity, showShape, type Value } from '../graph/value.js';
import type { ModelState } from './state.js';

/** A table of the model's inputs, layers and ops with their output shapes and parameters. */
export function summarize(title: string, state: ModelState): string {
  const rows: [string, string, string][] = [['layer (type)', 'output shape', 'parameters']];
  for (const { name, value } of state.inputs) rows.push([`${name} (input)`, showShape(value), '0']);

  const counts = new Map<LayerIdentity, number>();
  let total = 0;
  let trainable = 0;
  for (const { value } of state.parameters) {
    const { layer, shape, trainable: trained } = parameterOf(value);
    const count = elements(shape);
    counts.set(layer, (counts.get(layer) ?? 0) + count);
    total += count;
    if (trained) trainable += count;
  }
  for (const { layer, op, value } of stages(state)) {
    const shape = showShape(value);
    if (layer === undefined) {
      rows.push([op, shape, '0']);
    } else {
      rows.push([
        `${state.layerNames.get(layer)} (${layer.type})`,
        shape,
        group(counts.get(layer) ?? 0),
      ]);
      counts.delete(layer);
    }
  }
  const widths = [0, 1, 2].map((i) => Math.max(...rows.map((row) => row[i]?.length ?? 0)));
  const line = (row: readonly string[]) =>
    row
      .map((cell, i) => (i === 2 ? cell.padStart(widths[i] ?? 0) : cell.padEnd(widths[i] ?? 0)))
      .join('  ');
  const [head = [], ...body] = rows;
  const rule = '-'.repeat(line(head).length);
  const totals = `parameters: ${group(total)} (${bytes(total * 4)}), trainable: ${group(trainable)}`;
  return [title, rule, line(head), rule, ...body.map(line), rule, totals].join('\n');
}

/** A layer's last value in each of its calls; every value of ops outside of layers. */
function stages(
  state: ModelState,
): { layer: LayerIdentity | undefined; op: string; value: Value }[] {
  const { results } = collect(
    state.inputs.map(({ value }) => value),
    state.outputs.map(({ value }) => value),
  );
  const found: { layer: LayerIdentity | undefined; op: string; value: Value }[] = [];
  /** Of the last one. */
  const call = new Set<Value | null>();
  for (const value of results) {
    const { layer, op, inputs } = nodeOf(value);
    const last = found.at(-1);
    if (layer !== undefined && last?.layer === layer && inputs.some((input) => call.has(input))) {
      last.value = value;
    } else {
      found.push({ layer, op, value });
      call.clear();
    }
    call.add(value);
  }
  return found;
}

const group = (count: number): string => count.toLocaleString('en-US');

function bytes(count: number): string {
  const units = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB'];
  let unit = 0;
  let size = count;
  for (; size >= 1024 && unit < units.length - 1; unit++) size /= 1024;
  return `${unit === 0 ? size : size.toFixed(1)} ${units[unit]}`;
}
