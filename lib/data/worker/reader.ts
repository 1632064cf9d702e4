// The thread that reads a file, parses and encodes it, and sends the blocks.
import { getPriority, setPriority } from 'node:os';
import { parentPort, workerData } from 'node:worker_threads';
import * as is from '../../is.js';
import { readArrow } from '../arrow/read.js';
import { type Batch, columnsOf, type TableBatch } from '../batch.js';
import { readCsv } from '../csv/read.js';
import { CompiledEncoder } from '../encoders/encoder.js';
import { type DataError, type PlainError, toPlain } from '../errors.js';
import { readParquet } from '../parquet/read.js';
import { readRows } from '../tensors/rows.js';
import type { Job, Message, Start } from './messages.js';

const { job, encoder: state, onError, credit } = workerData as Start;
/** Errors of a block that are told; many more would only fill memory. */
const maxSkipped = 100;
let skipped: PlainError[] = [];

const skip = (error: DataError) => {
  if (skipped.length < maxSkipped) skipped.push(toPlain(error));
};

lowerPriority();
try {
  if (job.kind === 'tensors') for await (const block of readRows(job)) send(block);
  else await sendTables(job);
  post({ kind: 'end', skipped });
} catch (error) {
  post({ kind: 'error', error: toPlain(error) });
}

/**
 * As that of the engine's threads: with an equal one, a waking event loop would wait for the end of a time
 * slice. Only Linux has priorities of threads under the numbers of processes; elsewhere it would be
 * the process's.
 */
function lowerPriority(): void {
  if (process.platform !== 'linux') return;
  try {
    setPriority(0, Math.min(19, getPriority(process.pid) + 3));
  } catch {
    // A system that refuses: nothing changes.
  }
}

async function sendTables(tables: Job): Promise<void> {
  const encoder = state && (await CompiledEncoder.compile(state));
  for await (const table of read(tables)) {
    const block = encoder ? encode(table, encoder) : table;
    if (block.rows > 0) send(block);
  }
}

function read(tables: Job): AsyncGenerator<TableBatch> {
  if (tables.kind === 'csv') return readCsv(tables, skip);
  return tables.kind === 'parquet' ? readParquet(tables, skip) : readArrow(tables);
}

function encode(table: TableBatch, encoder: CompiledEncoder): Batch {
  return encoder.encode(table, {
    onError,
    place: (row) => ({ file: job.path, row: table.at?.[row] }),
    skipped: skip,
  });
}

/** Waits until the other side has room: nothing but the reading happens in this thread. */
function send(block: Batch): void {
  while (Atomics.load(credit, 0) <= 0) Atomics.wait(credit, 0, 0);
  Atomics.sub(credit, 0, 1);
  post({ kind: 'block', block, skipped }, block);
  skipped = [];
}

function post(message: Message, block?: Batch): void {
  const buffers = new Set<ArrayBuffer>();
  for (const [, column] of block ? columnsOf(block) : []) {
    if (is.isTypedArray(column) && column.buffer instanceof ArrayBuffer) buffers.add(column.buffer);
  }
  parentPort?.postMessage(message, [...buffers]);
}
