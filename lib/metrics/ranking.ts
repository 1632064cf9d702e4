// Metrics of the order in which an output puts things: top-k accuracy and the area under the ROC
// curve.
import { apply } from '../graph/apply.js';
import * as is from '../is.js';
import { sub } from '../ops/elementwise.js';
import { gather } from '../ops/indexing.js';
import { min, reshape, slice, softmax, sum } from '../ops/shapes.js';
import { elementsPerTurn, inPieces, nextTurn } from '../trainer/turns.js';
import { areaUnderRoc } from './auc.js';
import { classes, expectsClasses, fitsClasses } from './fits.js';
import { Floats } from './floats.js';
import { type Accumulator, type BuiltIn, builtIn, type Pair } from './metric.js';
import { lastAxis } from './predictions.js';
import { readPieces, readSums } from './state.js';

/** How many classes topKAccuracy looks at. */
export interface TopKOptions {
  /** The target has to be among so many largest logits; 5 by default. */
  k?: number;
}

/**
 * The share of targets among the k largest logits of their rows. Of equal logits the target comes in
 * the middle: it counts where more than half of the orders put it there. A row that holds NaN is wrong.
 * Negative targets do not count. Of outputs with class numbers. Throws ERR_ARGUMENT.
 */
export function topKAccuracy(options?: TopKOptions): BuiltIn;
export function topKAccuracy(options?: TopKOptions, ...more: unknown[]): BuiltIn {
  is.lastArgument(more, 'topKAccuracy');
  const { k: given } = is.options(options, 'options of topKAccuracy', ['k']);
  const k = is.integer(given ?? 5, 'k', 1);
  return builtIn({
    name: 'topKAccuracy',
    largerIsBetter: true,
    expects: 'a metric for an output with class numbers',
    fits: (pair) => classes(pair) && pair.target.dtype === 'int32' && lastAxis(pair.output) > 1,
    build: ({ output, target }) => ({
      values: () => {
        // A copy, for targets that do not count are no index: an input that was one would be checked.
        const copy = slice(target, { axis: 0 });
        const index = reshape(copy, [...target.shape.map((n) => n ?? -1), 1]);
        const own = gather(output, index, { axis: -1 });
        // Each larger logit counts 1, each equal one a half, the target's own among them.
        const before = sum(apply('greater', [output, own]), { axes: -1 });
        // 0 for a row that holds NaN, which predicts nothing.
        const valid = min(apply('equal', [output, output]), { axes: -1 });
        return [before, valid, target];
      },
      accumulate(state): Accumulator {
        const sums = readSums(state, 2);
        const count = lastAxis(output);
        return {
          state: () => Array.from(sums),
          add([before = none, valid = none, targets = none]) {
            let [hits = 0, counted = 0] = sums;
            for (let i = 0; i < targets.length; i++) {
              const target = targets[i] ?? -1;
              if (target < 0) continue;
              counted++;
              if (target < count && valid[i] === 1 && (before[i] ?? 0) < k) hits++;
            }
            sums.set([hits, counted]);
          },
          result: () => (sums[0] ?? 0) / (sums[1] ?? 0),
        };
      },
    }),
  });
}

/** How rocAuc makes one number of several classes or labels. */
export interface RocAucOptions {
  /** The mean over the classes that occur, or one weighted by how often; 'macro' by default. */
  average?: 'macro' | 'weighted';
}

/**
 * The area under the receiver operating characteristic: the chance that a row of a class has a larger
 * score than one that is not of it, equal scores counting a half, as scikit-learn's roc_auc_score:
 * exact, from all scores of an epoch, which it keeps (4 bytes a score and a target). With two classes or one logit
 * of class 1; with several of each class against the others, by softmax; with several columns of
 * bceWithLogits of each column. Classes that all rows are of, or none, do not count; NaN without any
 * other. Negative targets do not count. Hanley and McNeil, "The Meaning and Use of the Area under a
 * Receiver Operating Characteristic (ROC) Curve" (1982). Throws ERR_ARGUMENT.
 */
export function rocAuc(options?: RocAucOptions): BuiltIn;
export function rocAuc(options?: RocAucOptions, ...more: unknown[]): BuiltIn {
  is.lastArgument(more, 'rocAuc');
  const set = is.options(options, 'options of rocAuc', ['average']);
  const average = is.oneOf(set.average ?? 'macro', 'average', ['macro', 'weighted']);
  return builtIn({
    name: 'rocAuc',
    largerIsBetter: true,
    expects: expectsClasses,
    fits: fitsClasses,
    build(pair) {
      const { scores, columns, isClass } = scored(pair);
      return {
        values: () => [scores, pair.target],
        accumulate: (state) => new Areas(columns, isClass, average, state),
      };
    },
  });
}

/** Scores by column, and whether the targets are the numbers of columns. */
function scored({ output, target }: Pair) {
  const last = lastAxis(output);
  if (target.dtype === 'float32' || last === 1) {
    return { scores: output, columns: target.dtype === 'float32' ? last : 1, isClass: false };
  }
  if (last > 2) return { scores: softmax(output), columns: last, isClass: true };
  const one = (start: number) => slice(output, { axis: -1, start, end: start + 1 });
  return { scores: sub(one(1), one(0)), columns: 1, isClass: false };
}

const none = new Float64Array();

/** Keeps everything as it comes, which costs a step least, and sorts it out at the end. */
class Areas implements Accumulator {
  readonly #scores = new Floats();
  readonly #targets = new Floats();

  constructor(
    readonly columns: number,
    readonly isClass: boolean,
    readonly average: 'macro' | 'weighted',
    state: unknown,
  ) {
    for (const piece of readPieces(state, 'scores')) this.#scores.append(piece);
    for (const piece of readPieces(state, 'targets')) this.#targets.append(piece);
  }

  state(): unknown {
    return { scores: this.#scores.parts, targets: this.#targets.parts };
  }

  add([scores = none, targets = none]: readonly Float64Array[]): void {
    this.#scores.append(scores);
    this.#targets.append(targets);
  }

  async result(): Promise<number> {
    for (const floats of [this.#scores, this.#targets]) {
      while (!floats.settle(2 * elementsPerTurn)) await nextTurn();
    }
    let total = 0;
    let weights = 0;
    let done = 0;
    const rows = this.#scores.length / this.columns;
    const sides = new Sides(rows);
    for (let column = 0; column < this.columns; column++) {
      // What is done of a column without a turn may be little.
      done += rows;
      if (done > elementsPerTurn) {
        await nextTurn();
        done = 0;
      }
      await this.#divide(column, sides);
      const { yes, no } = sides;
      if (yes.length === 0 || no.length === 0) continue;
      const weight = this.average === 'weighted' ? yes.length : 1;
      total += weight * (await areaUnderRoc(yes, no, sides.spare));
      weights += weight;
    }
    return total / weights;
  }

  /** A column's scores into those of rows that are of it, and of the others. */
  async #divide(column: number, sides: Sides): Promise<void> {
    const { columns, isClass } = this;
    sides.clear();
    await inPieces(sides.rows, (from, to) => {
      const { scores, targets } = sides.piece(to - from);
      this.#scores.read(scores, from * columns + column, columns);
      if (isClass) this.#targets.read(targets, from, 1);
      else this.#targets.read(targets, from * columns + column, columns);
      sides.add(scores, targets, isClass ? column : undefined);
    });
  }
}

/** Scores of a column by what their targets say; one column after another in the same memory. */
class Sides {
  /** Those that count from the beginning on, others from the end on. */
  readonly #all: Float32Array;
  readonly spare: Uint32Array;
  readonly #piece: { readonly scores: Float32Array; readonly targets: Float32Array };
  #yes = 0;
  #no = 0;

  constructor(readonly rows: number) {
    this.#all = new Float32Array(rows);
    this.spare = new Uint32Array(rows);
    const length = Math.min(rows, elementsPerTurn);
    this.#piece = { scores: new Float32Array(length), targets: new Float32Array(length) };
  }

  get yes(): Float32Array {
    return this.#all.subarray(0, this.#yes);
  }

  get no(): Float32Array {
    return this.#all.subarray(this.rows - this.#no);
  }

  clear(): void {
    this.#yes = 0;
    this.#no = 0;
  }

  /** Room for what add() takes. */
  piece(rows: number) {
    const { scores, targets } = this.#piece;
    return { scores: scores.subarray(0, rows), targets: targets.subarray(0, rows) };
  }

  /** Targets are classes, of which `column` counts, or else yes or no. */
  add(scores: Float32Array, targets: Float32Array, column: number | undefined): void {
    const all = this.#all;
    let yes = this.#yes;
    let end = this.rows - this.#no;
    for (let i = 0; i < scores.length; i++) {
      const target = targets[i] ?? -1;
      const score = scores[i] ?? Number.NaN;
      if (column === undefined ? target > 0.5 : target === column) all[yes++] = score;
      else if (target >= 0) all[--end] = score;
    }
    this.#yes = yes;
    this.#no = this.rows - end;
  }
}
