// The thread that reads files, parses and encodes them, and sends the blocks.
import { parentPort } from 'node:worker_threads';
import { withPath } from '../../files/paths.js';
import * as is from '../../is.js';
import { native } from '../../native.js';
import { numbersOf } from '../../trainer/random.js';
import { readArrow } from '../arrow/read.js';
import {
  type Batch,
  bytesOf,
  columnsOf,
  gatherRows,
  mapColumns,
  type TableBatch,
} from '../batch.js';
import { tensorRows } from '../blocks.js';
import { readCsv } from '../csv/read.js';
import { CompiledEncoder } from '../encoders/encoder.js';
import { type DataError, type PlainError, toPlain } from '../errors.js';
import { readParquet } from '../parquet/read.js';
import { readRows } from '../tensors/rows.js';
import { type Piece, shuffledWindows } from '../windows.js';
import type { Job, Message, Start } from './messages.js';

/** Errors of a block that are told; many more would only fill memory. */
const maxSkipped = 100;

/** The encoder of the last reading that had one. */
let encoder: CompiledEncoder | undefined;

// As that of the engine's threads: with an equal one, a waking event loop would wait for the end of a
// time slice.
native.lowerPriority();
parentPort?.on('message', (start: Start) => void read(start));

async function read(start: Start): Promise<void> {
  const reading = new Reading(start);
  try {
    if (start.job.kind === 'tensors') {
      for await (const block of readRows(start.job)) reading.send(block);
    } else await sendTables(start.job, start, reading);
    reading.end();
  } catch (error) {
    post({ kind: 'error', error: toPlain(withPath(error, start.job.path)) });
  }
}

async function sendTables(
  job: Job,
  { encoder: state, shuffle }: Start,
  reading: Reading,
): Promise<void> {
  if (typeof state === 'object') encoder = await CompiledEncoder.compile(state);
  const blocks = blocksOf(job, state === undefined ? undefined : encoder, reading);
  if (shuffle === undefined) {
    for await (const block of blocks) reading.send(owned(block));
    return;
  }
  for await (const { block, order } of shuffledWindows(whole(blocks), shuffle)) {
    const rows = rowsOfBlock(block);
    for (let begin = 0; begin < order.length; begin += rows) {
      reading.send(gatherRows(block, order.subarray(begin, begin + rows)));
    }
  }
}

async function* blocksOf(
  job: Job,
  compiled: CompiledEncoder | undefined,
  reading: Reading,
): AsyncGenerator<Batch> {
  for await (const table of tablesOf(job, reading.skip)) {
    const block = compiled ? reading.encode(table, compiled) : table;
    if (block.rows > 0) yield block;
  }
}

async function* whole(blocks: AsyncIterable<Batch>): AsyncGenerator<Piece<Batch>> {
  for await (const block of blocks) {
    yield { block, order: numbersOf({ start: 0, count: block.rows }) };
  }
}

const rowsOfBlock = (block: Batch): number => tensorRows(bytesOf(block) / Math.max(1, block.rows));

function tablesOf(job: Job, skip: (error: DataError) => void): AsyncGenerator<TableBatch> {
  if (job.kind === 'csv') return readCsv(job, skip);
  return job.kind === 'parquet' ? readParquet(job, skip) : readArrow(job);
}

/** With memory of its own, which can go to another thread: a view takes all of the larger array along. */
const owned = (block: Batch): Batch =>
  mapColumns(block, block.rows, (column) =>
    is.isTypedArray(column) && column.byteLength < column.buffer.byteLength
      ? column.slice()
      : column,
  );

/** One that is under way. */
class Reading {
  #skipped: PlainError[] = [];

  constructor(readonly start: Start) {}

  readonly skip = (error: DataError): void => {
    if (this.#skipped.length < maxSkipped) this.#skipped.push(toPlain(error));
  };

  encode(table: TableBatch, compiled: CompiledEncoder): Batch {
    const { job, onError } = this.start;
    return compiled.encode(table, {
      onError,
      place: (row) => ({ file: job.path, row: table.at?.[row] }),
      skipped: this.skip,
    });
  }

  /** Waits until the other side has room: nothing but the reading happens in this thread. */
  send(block: Batch): void {
    const { credit } = this.start;
    while (Atomics.load(credit, 0) <= 0) Atomics.wait(credit, 0, 0);
    Atomics.sub(credit, 0, 1);
    post({ kind: 'block', block, skipped: this.#skipped }, block);
    this.#skipped = [];
  }

  end(): void {
    post({ kind: 'end', skipped: this.#skipped });
  }
}

function post(message: Message, block?: Batch): void {
  const buffers = new Set<ArrayBuffer>();
  for (const [, column] of block ? columnsOf(block) : []) {
    if (is.isTypedArray(column) && column.buffer instanceof ArrayBuffer) buffers.add(column.buffer);
  }
  parentPort?.postMessage(message, [...buffers]);
}
