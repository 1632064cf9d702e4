// precision, recall, F1 and the confusion matrix: counts of predicted and actual classes.
import { TandemError } from '../errors.js';
import * as is from '../is.js';
import { expectsClasses, fitsClasses } from './fits.js';
import { matrixOf, packCounts } from './matrices.js';
import { type Accumulator, type BuiltIn, builtIn } from './metric.js';
import { type Predictions, predictions } from './predictions.js';
import { readSums } from './state.js';

/** How precision, recall and f1 make one number of several classes. */
export interface AverageOptions {
  /**
   * 'binary': of class 1 alone. 'macro': the mean over the classes that occur, as predictions or as
   * targets. 'weighted': the same, weighted by how often each is the target. 'micro': of all
   * decisions together. By default 'binary' where there are two classes, else 'macro'.
   */
  average?: 'binary' | 'macro' | 'weighted' | 'micro';
}

/** Of each class: how often it was predicted rightly, predicted, and the target. */
class Counts {
  /** One after the other in `all`. */
  readonly hits: Float64Array;
  readonly predicted: Float64Array;
  readonly actual: Float64Array;
  readonly all: Float64Array;

  constructor(
    readonly of: Predictions,
    state: unknown,
  ) {
    // Several labels count as classes, each of which is there or not.
    const count = of.labels > 1 ? of.labels : of.classes;
    this.all = readSums(state, 3 * count);
    this.hits = this.all.subarray(0, count);
    this.predicted = this.all.subarray(count, 2 * count);
    this.actual = this.all.subarray(2 * count);
  }

  add([predicted = none, target = none]: readonly Float64Array[]): void {
    const { labels } = this.of;
    if (labels === 1) this.#addClasses(predicted, target);
    else this.#addLabels(predicted, target, labels);
  }

  #addClasses(predicted: Float64Array, target: Float64Array): void {
    const count = this.hits.length;
    const { yes } = decisions(this.of);
    for (let i = 0; i < target.length; i++) {
      const actual = yes(target[i] ?? -1);
      // Targets that are ignored are below 0 or no class at all.
      if (actual < 0 || actual >= count) continue;
      const guess = yes(predicted[i] ?? count);
      bump(this.actual, actual);
      if (guess < count) bump(this.predicted, guess);
      if (guess === actual) bump(this.hits, actual);
    }
  }

  #addLabels(predicted: Float64Array, target: Float64Array, labels: number): void {
    for (let i = 0; i < target.length; i++) {
      const wanted = target[i] ?? -1;
      if (wanted < 0) continue;
      const label = i % labels;
      const [guess, actual] = [(predicted[i] ?? 0) > 0.5, wanted > 0.5];
      if (actual) bump(this.actual, label);
      if (guess) bump(this.predicted, label);
      if (guess && actual) bump(this.hits, label);
    }
  }
}

const none = new Float64Array();

function bump(counts: Float64Array, at: number): void {
  counts[at] = (counts[at] ?? 0) + 1;
}

/** Reads a number as a class: yes and no may come as shares of one. */
function decisions({ classes }: Predictions): { yes: (value: number) => number } {
  if (classes > 2) return { yes: (value) => value };
  return { yes: (value) => (value < 0 || value > 1 ? value : value > 0.5 ? 1 : 0) };
}

/** A score of one class from its counts. */
type Score = (hits: number, predicted: number, actual: number) => number;

/** Nothing predicted or nothing to find scores 0, as scikit-learn has it. */
const ratio = (part: number, whole: number): number => (whole === 0 ? 0 : part / whole);
const scores = {
  precision: (hits, predicted) => ratio(hits, predicted),
  recall: (hits, _, actual) => ratio(hits, actual),
  f1: (hits, predicted, actual) => ratio(2 * hits, predicted + actual),
} satisfies Record<string, Score>;

const total = (numbers: Float64Array): number => numbers.reduce((sum, n) => sum + n, 0);

function averaged(counts: Counts, average: string, score: Score): number {
  const { hits, predicted, actual, of } = counts;
  const of1 = (i: number) => score(hits[i] ?? 0, predicted[i] ?? 0, actual[i] ?? 0);
  const seen = total(actual) + total(predicted) > 0;
  if (!seen && of.labels === 1) return Number.NaN;
  if (average === 'binary') return of1(1);
  if (average === 'micro') return score(total(hits), total(predicted), total(actual));
  let sum = 0;
  let weights = 0;
  for (let i = 0; i < hits.length; i++) {
    const occurs = of.labels > 1 || (actual[i] ?? 0) + (predicted[i] ?? 0) > 0;
    const weight = average === 'weighted' ? (actual[i] ?? 0) : occurs ? 1 : 0;
    sum += weight * of1(i);
    weights += weight;
  }
  return ratio(sum, weights);
}

type Averaged = (options?: AverageOptions) => BuiltIn;

function counted(
  name: keyof typeof scores,
  options: AverageOptions | undefined,
  more: readonly unknown[],
): BuiltIn {
  is.lastArgument(more, name);
  const set = is.options(options, `options of ${name}`, ['average']);
  const averages = ['binary', 'macro', 'weighted', 'micro'] as const;
  const given = set.average === undefined ? undefined : is.oneOf(set.average, 'average', averages);
  return builtIn({
    name,
    largerIsBetter: true,
    expects: expectsClasses,
    fits: fitsClasses,
    build(pair) {
      const made = predictions(pair);
      const two = made.labels === 1 && made.classes === 2;
      if (given === 'binary' && !two) {
        const received = `"binary" for an output of ${made.labels > 1 ? `${made.labels} labels` : `${made.classes} classes`}`;
        throw is.mismatch('ERR_ARGUMENT', 'another average than "binary"', 'average', received);
      }
      const average = given ?? (two ? 'binary' : 'macro');
      return {
        values: () => made.values,
        accumulate(state): Accumulator {
          const counts = new Counts(made, state);
          return {
            state: () => Array.from(counts.all),
            add: (values) => counts.add(values),
            result: () => averaged(counts, average, scores[name]),
          };
        },
      };
    },
  });
}

/**
 * The share of what was predicted as a class that is of that class, 0 where nothing was: as
 * scikit-learn's precision_score. Of outputs with class numbers (the largest logit decides) or
 * bceWithLogits (a logit above 0 is yes; several columns are labels). Negative targets do not count.
 * Throws ERR_ARGUMENT.
 */
export const precision: Averaged = (options, ...more) => counted('precision', options, more);

/** The share of a class that was predicted as it, as recall_score; otherwise as precision. */
export const recall: Averaged = (options, ...more) => counted('recall', options, more);

/** The harmonic mean of precision and recall of each class, as f1_score; otherwise as precision. */
export const f1: Averaged = (options, ...more) => counted('f1', options, more);

/** Above it a matrix is more than anyone reads, and takes more memory than many models. */
const maxClasses = 1024;

/**
 * How often each class (a row) was predicted as which (a column), as scikit-learn's
 * confusion_matrix. It is no number, so that it stands in `history.matrices` (of the last epoch), in
 * `matrices` of what evaluate returns, and in the report. Of outputs with up to 1,024 classes, or one
 * logit with bceWithLogits. Throws ERR_ARGUMENT.
 */
export function confusionMatrix(): BuiltIn;
export function confusionMatrix(...more: unknown[]): BuiltIn {
  is.lastArgument(more, 'confusionMatrix');
  return builtIn({
    name: 'confusionMatrix',
    largerIsBetter: undefined,
    expects: expectsClasses,
    fits: fitsClasses,
    build(pair) {
      const made = predictions(pair);
      const { classes, labels } = made;
      if (labels > 1 || classes > maxClasses) {
        throw new TandemError(
          'ERR_ARGUMENT',
          `expected up to ${maxClasses} classes for \`confusionMatrix\`, received ${labels > 1 ? `${labels} labels` : `${classes}`}`,
        );
      }
      return { values: () => made.values, accumulate: (state) => matrix(made, state) };
    },
  });
}

function matrix(made: Predictions, state: unknown): Accumulator {
  const { classes } = made;
  const counts = readSums(state, classes * classes);
  const { yes } = decisions(made);
  return {
    state: () => packCounts(counts),
    add([predicted = none, target = none]) {
      for (let i = 0; i < target.length; i++) {
        const actual = yes(target[i] ?? -1);
        const guess = yes(predicted[i] ?? classes);
        if (actual >= 0 && actual < classes && guess < classes) {
          bump(counts, actual * classes + guess);
        }
      }
    },
    result: () => matrixOf(counts, classes),
  };
}
