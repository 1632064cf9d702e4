// Raw rows -> inputs, outputs -> values as the data had them.
import type { TypedArray } from '../../bindings.js';
import { type Decoded, decodeGroup } from '../data/encoders/decode.js';
import { CompiledEncoder } from '../data/encoders/encoder.js';
import type { EncoderState } from '../data/encoders/state.js';
import * as is from '../is.js';
import type { PredictOutput } from './arrays.js';

/** A row as the data had it, by the names of columns. */
export type RawRow = Readonly<Record<string, unknown>>;

/** The target's value, or those of several targets by their columns. */
export type RowPrediction = number | string | Readonly<Record<string, number | string>>;

/** The encoder of a model's rows, and what it needs to read them. */
export class RowCoder {
  readonly #state: EncoderState;
  readonly #columns: readonly string[];
  #compiled: Promise<CompiledEncoder> | undefined;

  constructor(state: EncoderState) {
    this.#state = state;
    this.#columns = state.x.flatMap(({ columns }) => columns.map(([name]) => name));
  }

  /** Throws ERR_ARGUMENT, and DataError for a row that cannot be encoded. */
  async encode(rows: unknown): Promise<Arrays> {
    if (!Array.isArray(rows) || rows.length === 0) {
      throw is.invalid('an array of one row or more', 'rows', rows);
    }
    rows.forEach((row: unknown, i) => {
      if (!is.isRow(row)) throw is.invalid('a record of columns', `rows[${i}]`, row);
      const absent = this.#columns.find((name) => !(name in row));
      if (absent !== undefined) {
        const names = Object.keys(row);
        const received = `only ${names.join(', ') || 'an empty row'}${is.didYouMean(absent, names)}`;
        throw is.mismatch('ERR_ARGUMENT', `column \`${absent}\``, `rows[${i}]`, received);
      }
    });
    const columns = Object.fromEntries(
      this.#columns.map((name) => [name, rows.map((row: RawRow) => row[name])] as const),
    );
    this.#compiled ??= CompiledEncoder.compile(this.#state);
    const encoder = await this.#compiled;
    return encoder.encodeInputs({ rows: rows.length, columns }, (row) => ({ row }));
  }

  /** Throws ERR_SHAPE for outputs that the target's columns do not make. */
  decode(outputs: PredictOutput, rows: number): RowPrediction[] {
    const { y } = this.#state;
    const results: Record<string, Decoded>[] = Array.from({ length: rows }, () => ({}));
    for (const group of y) {
      const output = outputOf(outputs, group.name);
      decodeGroup(group, output, rows, group.name ?? 'y').forEach((values, row) => {
        Object.assign(results[row] ?? {}, values);
      });
    }
    const [only, ...others] = y.flatMap(({ columns }) => columns.map(([name]) => name));
    if (only === undefined || others.length > 0) return results;
    return results.map((values) => values[only] ?? Number.NaN);
  }
}

type Arrays = TypedArray | Readonly<Record<string, TypedArray>>;
type Predict = (x: Arrays, options?: { signal: AbortSignal }) => Promise<PredictOutput>;

/** predictRows() of a Predictor that has this coder. Rejects as that does. */
export async function predictRows(
  coder: RowCoder | undefined,
  rows: readonly RawRow[],
  options: { signal?: AbortSignal } | undefined,
  predict: Predict,
): Promise<RowPrediction[]> {
  const { signal } = is.options(options, 'options of predictRows', ['signal']);
  if (coder === undefined) {
    const what = 'a model trained on rows that an encoder of `tandem-ml/data` made';
    throw is.mismatch('ERR_ARGUMENT', what, 'predictRows', 'one without an encoder');
  }
  const x = await coder.encode(rows);
  const outputs = await predict(x, signal === undefined ? undefined : { signal });
  return coder.decode(outputs, rows.length);
}

function outputOf(outputs: PredictOutput, name: string | null): Float32Array | Int32Array {
  const output = is.isTypedArray(outputs)
    ? outputs
    : (outputs as Readonly<Record<string, Float32Array>>)[name ?? 'y'];
  if (output instanceof Float32Array || output instanceof Int32Array) return output;
  throw is.mismatch('ERR_ARGUMENT', 'an output of the model', name ?? 'y', 'another name');
}
