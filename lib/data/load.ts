// All rows of a dataset into memory, without holding up the event loop.
import * as is from '../is.js';
import { elementsPerTurn, nextTurn } from '../trainer/turns.js';
import { type Batch, concatInTurns, gatherRows } from './batch.js';
import { type Plan, pieces } from './pieces.js';

/** The selected rows in order. Rejects with ERR_SHAPE for none. */
export async function loadRows<B extends Batch>(plan: Plan<B>): Promise<B> {
  if (plan.source.kind === 'memory' && plan.stages.length === 0 && plan.keep === undefined)
    return await plan.source.all();
  const blocks: B[] = [];
  const inOrder = { epoch: 0, rank: 0, worldSize: 1, signal: undefined, shuffle: undefined };
  for await (const { block, order } of pieces({ ...plan, resample: undefined }, inOrder)) {
    for (let begin = 0; begin < order.length; begin += elementsPerTurn) {
      if (begin > 0) await nextTurn();
      blocks.push(gatherRows(block, order.subarray(begin, begin + elementsPerTurn)));
    }
  }
  if (blocks.length === 0) throw is.mismatch('ERR_SHAPE', 'one row or more', 'dataset', 'none');
  return await concatInTurns(blocks);
}
