// Sequences of different lengths -> padded batches of sequences of about the same length.
import * as is from '../is.js';
import { type Batch, concatRows, gatherRows, type TensorBatch } from './batch.js';
import type { Chunk } from './chunks.js';
import type { Piece } from './pieces.js';

/** Numbers in order, as many as there are. */
export type Sequence = Int32Array | Float32Array | readonly number[];

/** Rows of one sequence each, and their targets: some numbers a row, or a sequence as long. */
export interface SequenceBatch extends Batch {
  readonly x: readonly Sequence[];
  readonly y: TensorBatch['y'] | readonly Sequence[];
}

/** How sequences become rows of the same length. */
export interface BucketOptions {
  /**
   * Lengths, rising: a sequence is padded to the first that it fits in, or cut to the last. For `fit`
   * and `evaluate` none may be longer than the model's inputs.
   */
  lengths: readonly number[];
  /** What stands after the end; 0 by default. */
  padding?: number;
  /** Of the input for the sequences where there is a mask; 'x' by default. */
  name?: string;
  /** The name of an input with 1 for each number of a sequence and 0 for padding; none by default. */
  mask?: string;
  /**
   * 'int32' (the default) for numbers of tokens, 'float32' for measurements. A number that it does
   * not hold ends the reading with ERR_DTYPE.
   */
  dtype?: 'int32' | 'float32';
  /**
   * Of targets that are sequences: their type, 'int32' by default for class numbers, and what stands
   * after the end, by default -100, which `crossEntropy` ignores, or 0 for 'float32'.
   */
  targets?: { dtype?: 'int32' | 'float32'; padding?: number };
}

/** How numbers are stored. */
interface Fill {
  readonly padding: number;
  readonly dtype: 'int32' | 'float32';
}

type Checked = Required<Omit<BucketOptions, 'mask' | 'targets'>> & {
  readonly mask: string | undefined;
  readonly targets: Fill;
};

export function checkBuckets(options: BucketOptions): Checked {
  const names = ['lengths', 'padding', 'name', 'mask', 'dtype', 'targets'] as const;
  const set = is.options<BucketOptions>(options, 'options of bucketByLength', names);
  const lengths = is.integers(set.lengths, 'lengths', 1);
  if (lengths.length === 0 || lengths.some((length, i) => length <= (lengths[i - 1] ?? 0))) {
    throw is.invalid('one rising length or more', 'lengths', set.lengths);
  }
  const targets = is.options<Partial<Fill>>(set.targets, 'targets', ['dtype', 'padding']);
  const padding = targets.padding ?? (targets.dtype === 'float32' ? 0 : -100);
  return {
    lengths,
    ...checkFill(set.dtype, set.padding ?? 0, ''),
    targets: checkFill(targets.dtype, padding, 'targets.'),
    name: is.string(set.name ?? 'x', 'name'),
    mask: set.mask === undefined ? undefined : is.string(set.mask, 'mask'),
  };
}

function checkFill(type: unknown, given: unknown, prefix: string): Fill {
  const dtype = is.oneOf(type ?? 'int32', `${prefix}dtype`, ['int32', 'float32']);
  const name = `${prefix}padding`;
  const padding = is.number(given, name);
  if (dtype === 'int32' && (padding | 0) !== padding) {
    throw is.invalid("an integer that int32 holds, or `dtype: 'float32'`,", name, padding);
  }
  return { dtype, padding };
}

/** A batch whenever a bucket has `batchSize` rows; what is left at the end makes smaller ones. */
export async function* bucketed(
  pieces: AsyncIterable<Piece<SequenceBatch>>,
  batchSize: number,
  options: Checked,
): AsyncGenerator<Chunk<TensorBatch>> {
  const { lengths } = options;
  const buckets = lengths.map((): Piece<SequenceBatch>[] => []);
  const counts = lengths.map(() => 0);
  const take = (bucket: number): Chunk<TensorBatch> => {
    const rows = concatRows(
      (buckets[bucket] ?? []).map(({ block, order }) => gatherRows(block, order)),
    );
    buckets[bucket] = [];
    counts[bucket] = 0;
    const order = Uint32Array.from({ length: rows.rows }, (_, i) => i);
    const block = padded(rows, lengths[bucket] ?? 0, options);
    return { block, order, sizes: Uint32Array.of(rows.rows) };
  };
  for await (const { block, order } of pieces) {
    const waiting = lengths.map((): number[] => []);
    const settle = (bucket: number) => {
      const which = Uint32Array.from(waiting[bucket] ?? []);
      waiting[bucket] = [];
      if (which.length > 0) buckets[bucket]?.push({ block, order: which });
    };
    for (const row of order) {
      const { length } = sequenceOf(block.x, row, options.name);
      const found = lengths.findIndex((limit) => limit >= length);
      const bucket = found === -1 ? lengths.length - 1 : found;
      waiting[bucket]?.push(row);
      counts[bucket] = (counts[bucket] ?? 0) + 1;
      if (counts[bucket] < batchSize) continue;
      settle(bucket);
      yield take(bucket);
    }
    for (const bucket of lengths.keys()) settle(bucket);
  }
  for (const [bucket, count] of counts.entries()) if (count > 0) yield take(bucket);
}

/** Of whatever a dataset has, which its type says to be sequences. Throws ERR_ARGUMENT for anything else. */
function sequenceOf(sequences: unknown, row: number, name: string): Sequence {
  const found: unknown = Array.isArray(sequences) ? sequences[row] : sequences;
  const isOne = is.isTypedArray(found) || Array.isArray(found);
  if (isOne && Array.isArray(sequences)) return found as Sequence;
  const what = 'a sequence for each row, as `fromSequences` has them,';
  throw is.mismatch('ERR_ARGUMENT', what, name, is.show(found));
}

/** Whether an array has taken a number for what it is, but for rounding to float32. */
function held(value: unknown, stored: unknown, dtype: Checked['dtype']): boolean {
  if (dtype === 'int32') return stored === value;
  return typeof value === 'number' && Number.isFinite(value) === Number.isFinite(stored);
}

function padded({ rows, x, y }: SequenceBatch, length: number, options: Checked): TensorBatch {
  const { name, mask, targets } = options;
  const values = filled(x, length, options, name);
  const target = isSequences(y) ? filled(y, length, targets, 'y') : y;
  if (mask === undefined) return { rows, x: values, y: target };
  const there = new Float32Array(rows * length);
  x.forEach((sequence, row) => {
    there.fill(1, row * length, row * length + Math.min(length, sequence.length));
  });
  return { rows, x: { [name]: values, [mask]: there }, y: target };
}

/** Whether targets are a sequence for each row. */
export const isSequences = (y: unknown): y is readonly Sequence[] => Array.isArray(y);

/** The numbers of sequences at one length. */
function filled(
  sequences: readonly Sequence[],
  length: number,
  { dtype, padding }: Fill,
  name: string,
): Int32Array | Float32Array {
  const size = sequences.length * length;
  const values = (dtype === 'int32' ? new Int32Array(size) : new Float32Array(size)).fill(padding);
  sequences.forEach((_, row) => {
    const sequence = sequenceOf(sequences, row, name);
    const cut = Math.min(length, sequence.length);
    const begin = row * length;
    for (let i = 0; i < cut; i++) {
      const value: unknown = sequence[i];
      values[begin + i] = Number(value);
      if (held(value, values[begin + i], dtype)) continue;
      const what = dtype === 'int32' ? "int32 (`dtype: 'float32'` is for others)" : dtype;
      throw is.mismatch('ERR_DTYPE', `numbers that are ${what}`, name, is.show(value));
    }
  });
  return values;
}
