// Rows of files of one array each, in any order, in the thread that calls.
import { closeSync, openSync, readSync } from 'node:fs';
import type { TypedArray } from '../../../bindings.js';
import { withPath } from '../../files/paths.js';
import type { TensorBatch } from '../batch.js';
import { tensorRows } from '../blocks.js';
import { cutShort } from '../errors.js';
import { rowOrder } from '../order.js';
import type { Stage } from '../select.js';
import { decode, type Format, makeArray } from './decode.js';
import { sizes } from './header.js';

/** A file with the rows of an input or a target. */
export interface TensorPart extends Format {
  readonly group: 'x' | 'y';
  /** Of one of several in the group. */
  readonly name: string | undefined;
  readonly path: string;
  /** Where the numbers begin. */
  readonly start: number;
  /** Numbers of a row. */
  readonly width: number;
}

/** A job for a reader; it can be sent to a worker thread. */
export interface TensorJob {
  readonly path: string;
  readonly parts: readonly TensorPart[];
  readonly rows: number;
  readonly stages: readonly Stage[];
  /** Undefined: in order. */
  readonly shuffle: { readonly seed: number; readonly epoch: number } | undefined;
}

/** Throws DataError, and the file system's error. */
export async function* readRows({
  parts,
  rows,
  stages,
  shuffle,
}: TensorJob): AsyncGenerator<TensorBatch> {
  const order = await rowOrder(rows, stages, shuffle);
  const rowBytes = parts.reduce((sum, { width, kind }) => sum + width * sizes[kind], 0);
  const size = tensorRows(rowBytes);
  const files: number[] = [];
  try {
    for (const { path } of parts) files.push(openSync(path, 'r'));
    for (let begin = 0; begin < order.length; begin += size) {
      const which = order.subarray(begin, begin + size);
      const read = parts.map((part, i) => [part, readPart(part, files[i] ?? -1, which)] as const);
      yield { rows: which.length, x: group(read, 'x'), y: group(read, 'y') };
    }
  } finally {
    for (const file of files) closeSync(file);
  }
}

function readPart(part: TensorPart, file: number, which: Uint32Array): TypedArray {
  const { path, kind, width, start } = part;
  const rowBytes = width * sizes[kind];
  const bytes = new Uint8Array(which.length * rowBytes);
  for (let i = 0; i < which.length; ) {
    const first = which[i] ?? 0;
    let count = 1;
    while (i + count < which.length && which[i + count] === first + count) count++;
    const target = bytes.subarray(i * rowBytes, (i + count) * rowBytes);
    readFully(file, target, start + first * rowBytes, path);
    i += count;
  }
  const result = makeArray(part, which.length * width, { file: path });
  const row = (i: number) => ({ file: path, row: (which[Math.floor(i / width)] ?? 0) + 1 });
  decode(bytes, part, result, 0, row);
  return result;
}

function readFully(file: number, target: Uint8Array, position: number, path: string): void {
  for (let done = 0; done < target.length; ) {
    const count = readAt(file, target.subarray(done), position + done, path);
    if (count === 0) throw cutShort(path);
    done += count;
  }
}

function readAt(file: number, target: Uint8Array, position: number, path: string): number {
  try {
    return readSync(file, target, 0, target.length, position);
  } catch (error) {
    throw withPath(error, path);
  }
}

function group(
  read: readonly (readonly [TensorPart, TypedArray])[],
  of: 'x' | 'y',
): TensorBatch['x'] {
  const own = read.filter(([part]) => part.group === of);
  const [first] = own;
  if (first !== undefined && first[0].name === undefined) return first[1];
  return Object.fromEntries(own.map(([{ name = of }, array]) => [name, array] as const));
}
