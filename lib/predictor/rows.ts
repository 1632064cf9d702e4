// Raw rows -> inputs, outputs -> values as the data had them.
import { concatInTurns, type TensorBatch } from '../data/batch.js';
import {
  type Decoded,
  decodeColumn,
  decodeGroup,
  type Probabilities,
  probabilitiesOf,
} from '../data/encoders/decode.js';
import { CompiledEncoder } from '../data/encoders/encoder.js';
import type { EncoderState } from '../data/encoders/state.js';
import * as is from '../is.js';
import { elementsPerTurn, nextTurn } from '../trainer/turns.js';
import type { PredictOutput } from './arrays.js';

/** A row as the data had it, by the names of columns. */
export type RawRow = Readonly<Record<string, unknown>>;

/** The target's value, or those of several targets by their columns. */
export type RowPrediction = number | string | Readonly<Record<string, number | string>>;

/**
 * Probabilities of the target's categories by their names, that of unknown ones under `''`. Of several
 * targets a record by their columns, in which those that are no categories have their values.
 */
export type RowProbabilities =
  | Probabilities
  | Readonly<Record<string, number | string | Probabilities>>;

/** What a call of predictRows may say. */
export interface RowOptions {
  /** Rejects with ERR_ABORTED. */
  signal?: AbortSignal;
  /**
   * Of a 'category' target the probability of each category, by softmax of its logits or, where one logit
   * tells two categories apart, its sigmoid. False by default; ERR_ARGUMENT without such a target.
   */
  probabilities?: boolean;
}

/** The encoder of a model's rows, and what it needs to read them. */
export class RowCoder {
  readonly #state: EncoderState;
  readonly #columns: readonly string[];
  #compiled: Promise<CompiledEncoder> | undefined;

  constructor(state: EncoderState) {
    this.#state = state;
    this.#columns = state.x.flatMap(({ columns }) => columns.map(([name]) => name));
  }

  /** Rejects with ERR_ARGUMENT, and DataError for a row that cannot be encoded. */
  async encode(rows: unknown): Promise<Inputs> {
    if (!Array.isArray(rows) || rows.length === 0) {
      throw is.invalid('an array of one row or more', 'rows', rows);
    }
    const given: readonly unknown[] = [...rows];
    this.#compiled ??= CompiledEncoder.compile(this.#state);
    const encoder = await this.#compiled;
    const parts: Inputs[] = [];
    await this.#inParts(given.length, (begin, end) => {
      const columns = this.#columnsOf(given, begin, end);
      const count = end - begin;
      const x = encoder.encodeInputs({ rows: count, columns }, (row) => ({ row: begin + row }));
      parts.push({ rows: count, x });
    });
    return await concatInTurns(parts);
  }

  #columnsOf(rows: readonly unknown[], begin: number, end: number) {
    const part = rows.slice(begin, end);
    part.forEach((row, i) => {
      const label = `rows[${begin + i}]`;
      if (!is.isRow(row)) throw is.invalid('a record of columns', label, row);
      const absent = this.#columns.find((name) => !(name in row));
      if (absent !== undefined) {
        const names = Object.keys(row);
        const received = `only ${names.join(', ') || 'an empty row'}${is.didYouMean(absent, names)}`;
        throw is.mismatch('ERR_ARGUMENT', `column \`${absent}\``, label, received);
      }
    });
    const records = part as readonly RawRow[];
    return Object.fromEntries(
      this.#columns.map((name) => [name, records.map((row) => row[name])] as const),
    );
  }

  /** Whether a target has probabilities. */
  get classifies(): boolean {
    return this.#state.y.some(({ columns }) => columns.some(([, { kind }]) => kind === 'category'));
  }

  /**
   * Values, or probabilities where there are such. Rejects with ERR_SHAPE for outputs that the target's
   * columns do not make.
   */
  async decode(outputs: PredictOutput, rows: number, probabilities: boolean): Promise<Row[]> {
    const { y } = this.#state;
    const decode = probabilities ? probabilitiesOf : decodeColumn;
    const results: Record<string, Decoded>[] = [];
    await this.#inParts(rows, (begin, end) => {
      const part: Record<string, Decoded>[] = Array.from({ length: end - begin }, () => ({}));
      for (const group of y) {
        const output = outputOf(outputs, group.name);
        const width = output.length / rows;
        const own = output.subarray(begin * width, end * width);
        const settings = { rows: part.length, name: group.name ?? 'y', decode };
        decodeGroup(group, own, settings).forEach((values, row) => {
          Object.assign(part[row] ?? {}, values);
        });
      }
      for (const values of part) results.push(values);
    });
    const [only, ...others] = y.flatMap(({ columns }) => columns.map(([name]) => name));
    if (only === undefined || others.length > 0) return results;
    return results.map((values) => values[only] ?? Number.NaN);
  }

  /** Work on rows, with a turn of the event loop between pieces of them. */
  async #inParts(rows: number, work: (begin: number, end: number) => void): Promise<void> {
    const columns = this.#columns.length + this.#state.y.length;
    const most = Math.max(1, Math.floor(elementsPerTurn / (16 * columns)));
    for (let begin = 0; begin < rows; begin += most) {
      if (begin > 0) await nextTurn();
      work(begin, Math.min(rows, begin + most));
    }
  }
}

type Row = RowPrediction | RowProbabilities;
type Inputs = Pick<TensorBatch, 'rows' | 'x'>;
type Predict = (x: Inputs['x'], options?: { signal: AbortSignal }) => Promise<PredictOutput>;

/** predictRows() of a Predictor that has this coder. Rejects as that does. */
export async function predictRows(
  coder: RowCoder | undefined,
  rows: readonly RawRow[],
  options: RowOptions | undefined,
  predict: Predict,
): Promise<Row[]> {
  const names = ['signal', 'probabilities'] as const;
  const set = is.options<RowOptions>(options, 'options of predictRows', names);
  const { signal } = set;
  const probabilities = is.boolean(set.probabilities ?? false, 'probabilities');
  if (coder === undefined) {
    const what = 'a model trained on rows that an encoder of `tandem-ml/data` made';
    throw is.mismatch('ERR_ARGUMENT', what, 'predictRows', 'one without an encoder');
  }
  if (probabilities && !coder.classifies) {
    const what = "false for a model without a target that is a 'category'";
    throw is.mismatch('ERR_ARGUMENT', what, 'probabilities', 'true');
  }
  const { x, rows: count } = await coder.encode(rows);
  const outputs = await predict(x, signal === undefined ? undefined : { signal });
  return await coder.decode(outputs, count, probabilities);
}

function outputOf(outputs: PredictOutput, name: string | null): Float32Array | Int32Array {
  const output = is.isTypedArray(outputs)
    ? outputs
    : (outputs as Readonly<Record<string, Float32Array>>)[name ?? 'y'];
  if (output instanceof Float32Array || output instanceof Int32Array) return output;
  throw is.mismatch('ERR_ARGUMENT', 'an output of the model', name ?? 'y', 'another name');
}
