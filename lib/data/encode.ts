// Tables through a fitted encoder: where rows are read if their source can, else block by block.
import * as is from '../is.js';
import { elementsPerTurn, nextTurn } from '../trainer/turns.js';
import {
  type Batch,
  checkTable,
  concatInTurns,
  gatherRows,
  sliceRows,
  type TableBatch,
  type TensorBatch,
} from './batch.js';
import { CompiledEncoder } from './encoders/encoder.js';
import type { EncoderState } from './encoders/state.js';
import { loadRows } from './load.js';
import { keptPieces, type Plan } from './pieces.js';
import { countKept } from './select.js';
import type { ErrorPolicy, Source, StreamOptions } from './source.js';

/** The encoded rows of a plan; its stages are theirs unless they come with the source. */
export function encodedSource(
  plan: Plan<TableBatch>,
  encoder: EncoderState,
  policy: ErrorPolicy,
): { source: Source<TensorBatch>; stages: Plan<Batch>['stages'] } {
  const { source, stages } = plan;
  if (source.kind === 'memory') return { source: encodedMemory(plan, encoder, policy), stages: [] };
  if (source.encoded !== undefined && source.selects) {
    return { source: { kind: 'stream', ...source.encoded(encoder, policy) }, stages };
  }
  async function* stream({ epoch, signal }: StreamOptions): AsyncGenerator<TensorBatch> {
    const compiled = await CompiledEncoder.compile(encoder);
    const options = { epoch, signal, rank: 0, worldSize: 1, shuffle: undefined };
    for await (const { block, order } of keptPieces(plan, options)) {
      const rows = order.length === block.rows ? block : gatherRows(block, order);
      yield* encodeInTurns(rows, compiled, policy, plan.file);
    }
  }
  return { source: { kind: 'stream', length: undefined, stream }, stages: [] };
}

/** Encoded once, when it is first used. */
function encodedMemory(
  plan: Plan<TableBatch>,
  encoder: EncoderState,
  policy: ErrorPolicy,
): Source<TensorBatch> {
  let encoded: Promise<TensorBatch> | undefined;
  const encode = async () => {
    const compiled = await CompiledEncoder.compile(encoder);
    const table = await loadRows(plan);
    const parts: TensorBatch[] = [];
    for await (const part of encodeInTurns(table, compiled, policy, plan.file)) parts.push(part);
    // Rows that `onError` leaves out may be all that there are.
    if (parts.length === 0) throw is.mismatch('ERR_SHAPE', 'one row or more', 'dataset', 'none');
    return await concatInTurns(parts);
  };
  const { onError } = policy;
  const length = onError === 'skip' ? undefined : countKept(plan.source.length, plan.stages);
  return {
    kind: 'memory',
    length,
    all() {
      encoded ??= encode();
      return encoded;
    },
  };
}

async function* encodeInTurns(
  table: TableBatch,
  encoder: CompiledEncoder,
  { onError, onSkip }: ErrorPolicy,
  file: string | undefined,
): AsyncGenerator<TensorBatch> {
  checkTable(table);
  const columns = Math.max(1, Object.keys(table.columns).length);
  const rows = Math.max(1, Math.floor(elementsPerTurn / (4 * columns)));
  for (let begin = 0; begin < table.rows; begin += rows) {
    if (begin > 0) await nextTurn();
    const part = sliceRows(table, begin, Math.min(table.rows, begin + rows));
    const encoded = encoder.encode(part, {
      onError,
      place: (row) => ({ file, row: part.at?.[row] ?? begin + row }),
      ...(onSkip && { skipped: onSkip }),
    });
    if (encoded.rows > 0) yield encoded;
  }
}
