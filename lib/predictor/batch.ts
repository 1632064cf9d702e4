// Rows of several calls in one set of arrays, and the results apart again.
import { rowElements } from '../graph/value.js';
import { gone, type Layout, makeElements, type PredictOutput, result } from './arrays.js';
import { Blocks, type Copy, elementsOf, emptyCopy } from './blocks.js';

type Arrays = readonly (Float32Array | Int32Array)[];

/** A call's rows and where its results go; undefined: into new arrays. */
export interface Share {
  readonly rows: number;
  readonly copies: readonly Copy[];
  readonly outputs: Arrays | undefined;
}

/** The outputs of one run. */
export type Batch = Arrays;

/**
 * Rows that a run of so many is filled up to: 1, 2, 3, 4, 6, 8, 12, 16, ... and `most`. Every number
 * of rows has a plan of its own, so that few of them serve all, with a third of the rows to spare.
 */
export function bucketRows(rows: number, most: number): number {
  if (rows >= most) return rows;
  const power = 2 ** Math.floor(Math.log2(rows));
  const bucket = [power, 1.5 * power, 2 * power].find((size) => size >= rows) ?? rows;
  return Math.min(Math.ceil(bucket), most);
}

/** Joins and cuts the arrays of one model. */
export class Batcher {
  readonly #layout: Layout;
  readonly #rowIn: readonly (number | null)[];
  readonly #rowOut: readonly (number | null)[];
  readonly #blocks: readonly Blocks[];
  /** What join() fills, by input. */
  readonly #memory: (Float32Array | Int32Array)[] = [];

  constructor(layout: Layout) {
    this.#layout = layout;
    this.#blocks = layout.inputs.map((input) => new Blocks(input));
    this.#rowIn = layout.inputs.map(({ value }) => rowElements(value));
    this.#rowOut = layout.outputs.map(({ value }) =>
      layout.shapesAt === undefined ? rowElements(value) : null,
    );
  }

  /** Whether the rows of calls may stand side by side in runs. */
  get joins(): boolean {
    return [...this.#rowIn, ...this.#rowOut].every((size) => size !== null);
  }

  /** Room for the copies of a call's inputs. */
  room(): readonly Copy[] {
    return this.#layout.inputs.map(emptyCopy);
  }

  /** Copies a call's inputs; `copies` need their release. Throws RangeError without memory. */
  copy(arrays: Arrays, copies: readonly Copy[]): void {
    for (let i = 0; i < copies.length; i++) this.copyInput(i, arrays[i] as Arrays[number], copies);
  }

  /** copy() of the input `i` alone. */
  copyInput(i: number, array: Arrays[number], copies: readonly Copy[]): void {
    (this.#blocks[i] as Blocks).copy(array, copies[i] as Copy);
  }

  release(copies: readonly Copy[]): void {
    for (let i = 0; i < copies.length; i++) this.#blocks[i]?.release(copies[i] as Copy);
  }

  /**
   * The inputs of all calls one below the other, filled up with zeros; good until the next join.
   * Throws ERR_OUT_OF_MEMORY.
   */
  join(calls: readonly Share[], rows: number): Arrays {
    const [only] = calls;
    if (only !== undefined && calls.length === 1 && only.rows === rows) {
      return only.copies.map(elementsOf);
    }
    return this.#layout.inputs.map((input, i) => {
      const length = rows * (this.#rowIn[i] ?? 0);
      const last = this.#memory[i];
      const memory = last && last.length >= length ? last : makeElements(input, length);
      this.#memory[i] = memory;
      let at = 0;
      for (let call = 0; call < calls.length; ) {
        const { memory: from, start } = (calls[call] as Share).copies[i] as Copy;
        let end = start;
        // Calls that came one after the other lie side by side, and are copied together.
        for (; call < calls.length; call++) {
          const next = (calls[call] as Share).copies[i] as Copy;
          if (next.memory !== from || next.start !== end) break;
          end += next.length;
        }
        memory.set(from.subarray(start, end), at);
        at += end - start;
      }
      return memory.subarray(0, length).fill(0, at);
    });
  }

  /** What a native prediction without outputs of its own resolves with, as a list. */
  open(outputs: Float32Array | Int32Array | Arrays | undefined): Batch {
    if (outputs === undefined) return [];
    return ArrayBuffer.isView(outputs) ? [outputs] : outputs;
  }

  /** The rows of a call from `start` on. Throws ERR_ARGUMENT where its arrays are no longer there. */
  cut(batch: Batch, start: number, share: Share): PredictOutput {
    if (batch.length === 1) return this.#cutOutput(batch, 0, start, share);
    const parts = batch.map((_, i) => this.#cutOutput(batch, i, start, share));
    return result(this.#layout, parts);
  }

  #cutOutput(batch: Batch, i: number, start: number, { rows, outputs }: Share): Arrays[number] {
    const whole = batch[i] as Arrays[number];
    const length = (this.#rowOut[i] ?? whole.length / rows) * rows;
    const from = start === 0 ? 0 : (length / rows) * start;
    const out = outputs?.[i];
    if (out === undefined) {
      return length === whole.length ? whole : whole.slice(from, from + length);
    }
    if (out.length !== length) throw gone(this.#layout.outputs[i]?.name ?? 'y', out);
    out.set(length === whole.length ? whole : whole.subarray(from, from + length));
    return out;
  }
}
