// Which rows an epoch goes through, by their numbers, and in which order.
import { generator, shuffled } from '../trainer/random.js';
import { elementsPerTurn, inPieces, nextTurn } from '../trainer/turns.js';
import { Selector, type Stage } from './select.js';

/** The numbers of the rows that the stages leave. */
export async function selected(rows: number, stages: readonly Stage[]): Promise<Uint32Array> {
  const selector = new Selector(stages);
  const order = new Uint32Array(rows);
  let count = 0;
  for (let begin = 0; begin < rows && !selector.done; begin += elementsPerTurn) {
    if (begin > 0) await nextTurn();
    for (const row of selector.next(Math.min(elementsPerTurn, rows - begin))) {
      order[count++] = begin + row;
    }
  }
  return order.subarray(0, count);
}

/** The same rows shuffled as a whole. */
export async function mixed(
  order: Uint32Array,
  { seed, epoch }: { readonly seed: number; readonly epoch: number },
): Promise<Uint32Array> {
  const rows = await shuffled({ start: 0, count: order.length }, generator(seed, epoch));
  await inPieces(rows.length, (from, to) => {
    for (let i = from; i < to; i++) rows[i] = order[rows[i] ?? 0] ?? 0;
  });
  return rows;
}

/** The rows that the stages leave of `rows`, in the order of an epoch. */
export async function rowOrder(
  rows: number,
  stages: readonly Stage[],
  shuffle: { readonly seed: number; readonly epoch: number } | undefined,
): Promise<Uint32Array> {
  const order = await selected(rows, stages);
  return shuffle === undefined ? order : await mixed(order, shuffle);
}
