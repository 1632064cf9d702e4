import type { TypedArray } from '../../../bindings.js';
import * as is from '../../is.js';
import type { Column, TableBatch, TensorBatch } from '../batch.js';
import { gatherRows } from '../batch.js';
import { badData, type DataError, type OnError, type Place } from '../errors.js';
import { compileColumn, type Encode } from './compile.js';
import { type EncoderState, type GroupState, isInteger, widthOf } from './state.js';

interface CompiledGroup {
  readonly name: string | null;
  readonly width: number;
  readonly integer: boolean;
  readonly columns: readonly {
    readonly name: string;
    readonly offset: number;
    readonly encode: Encode;
  }[];
}

/** What encoding needs to know of rows besides their values. */
export interface EncodeContext {
  readonly onError: OnError;
  /** Where a row of the batch is. */
  readonly place: (row: number) => Place;
  /** Gets the error of each row that is left out. */
  readonly skipped?: (error: DataError) => void;
}

/** Encodes tables: a fitted encoder ready for use, in any thread. */
export class CompiledEncoder {
  readonly #x: readonly CompiledGroup[];
  readonly #y: readonly CompiledGroup[];

  private constructor(x: readonly CompiledGroup[], y: readonly CompiledGroup[]) {
    this.#x = x;
    this.#y = y;
  }

  /** Rejects with ERR_ARGUMENT where a package is missing. */
  static async compile({ x, y }: EncoderState): Promise<CompiledEncoder> {
    const compile = (groups: readonly GroupState[]) => Promise.all(groups.map(compileGroup));
    return new CompiledEncoder(await compile(x), await compile(y));
  }

  /** All arrays of a batch. Throws DataError for the first bad row, or leaves bad rows out. */
  encode(batch: TableBatch, context: EncodeContext): TensorBatch {
    const bad = new BadRows(batch, context);
    const x = encodeGroups(this.#x, batch, context, bad) as TensorBatch['x'];
    const y = encodeGroups(this.#y, batch, context, bad) as TensorBatch['y'];
    return bad.leaveOut({ rows: batch.rows, x, y });
  }

  /** The inputs alone, for rows without targets. */
  encodeInputs(batch: TableBatch, place: (row: number) => Place): TensorBatch['x'] {
    const context: EncodeContext = { onError: 'throw', place };
    const groups = encodeGroups(this.#x, batch, context, new BadRows(batch, context));
    return groups as TensorBatch['x'];
  }
}

class BadRows {
  #rows: Set<number> | undefined;

  constructor(
    readonly batch: TableBatch,
    readonly context: EncodeContext,
  ) {}

  add(row: number, column: string, what: string, received: string): void {
    if (this.#rows?.has(row)) return;
    const error = badData(what, received, { ...this.context.place(row), column });
    if (this.context.onError === 'throw') throw error;
    this.#rows ??= new Set();
    this.#rows.add(row);
    this.context.skipped?.(error);
  }

  leaveOut(encoded: TensorBatch): TensorBatch {
    const bad = this.#rows;
    if (bad === undefined) return encoded;
    const kept = new Uint32Array(encoded.rows - bad.size);
    let count = 0;
    for (let row = 0; row < encoded.rows; row++) if (!bad.has(row)) kept[count++] = row;
    return gatherRows(encoded, kept);
  }
}

function encodeGroups(
  groups: readonly CompiledGroup[],
  batch: TableBatch,
  context: EncodeContext,
  bad: BadRows,
): TypedArray | Record<string, TypedArray> {
  const arrays = groups.map(
    (group) => [group.name, encodeGroup(group, batch, context, bad)] as const,
  );
  const [first] = arrays;
  if (first !== undefined && first[0] === null) return first[1];
  return Object.fromEntries(arrays);
}

function encodeGroup(
  { columns, width, integer }: CompiledGroup,
  batch: TableBatch,
  context: EncodeContext,
  bad: BadRows,
): TypedArray {
  const length = batch.rows * width;
  const out = integer ? new Int32Array(length) : new Float32Array(length);
  for (const { name, offset, encode } of columns) {
    const column = columnOf(batch, name, context);
    encode(column, out, offset, width, (row, what, received) => bad.add(row, name, what, received));
  }
  return out;
}

function columnOf(batch: TableBatch, name: string, { place }: EncodeContext): Column {
  const column = Object.hasOwn(batch.columns, name) ? batch.columns[name] : undefined;
  if (column !== undefined) return column;
  const names = Object.keys(batch.columns);
  const hint = is.didYouMean(name, names);
  const received = `only ${names.map((item) => `\`${item}\``).join(', ')}${hint}`;
  throw badData('this column', received, { file: place(0).file, column: name });
}

async function compileGroup({ name, columns }: GroupState): Promise<CompiledGroup> {
  let width = 0;
  const compiled = [];
  for (const [column, state] of columns) {
    compiled.push({ name: column, offset: width, encode: await compileColumn(state) });
    width += widthOf(state);
  }
  return {
    name,
    width,
    integer: columns.every(([, state]) => isInteger(state)),
    columns: compiled,
  };
}
