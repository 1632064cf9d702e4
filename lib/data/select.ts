// Which rows of a source belong to a dataset: what take, skip and split leave.
import { generator } from '../trainer/random.js';

/** Keeps the rows from `begin` to before `end`, or a seeded share of all rows. */
export type Stage =
  | { readonly kind: 'range'; readonly begin: number; readonly end: number }
  | {
      readonly kind: 'share';
      readonly seed: number;
      readonly low: number;
      readonly high: number;
    };

/** Applies stages to rows that come in order; each counts those that the one before it left. */
export class Selector {
  readonly #stages: readonly { readonly stage: Stage; seen: number; random: () => number }[];

  constructor(stages: readonly Stage[]) {
    this.#stages = stages.map((stage) => ({
      stage,
      seen: 0,
      random: stage.kind === 'share' ? generator(stage.seed, 0) : () => 0,
    }));
  }

  /** Whether no row that is still to come can be kept. */
  get done(): boolean {
    return this.#stages.some(({ stage, seen }) => stage.kind === 'range' && seen >= stage.end);
  }

  /** The numbers, from 0, of the next `rows` rows that are kept. */
  next(rows: number): Uint32Array {
    const kept = new Uint32Array(rows);
    let count = 0;
    for (let row = 0; row < rows; row++) if (this.keeps()) kept[count++] = row;
    return kept.subarray(0, count);
  }

  /** Whether the next row is kept. */
  keeps(): boolean {
    for (const entry of this.#stages) {
      const { stage } = entry;
      if (stage.kind === 'range') {
        const at = entry.seen++;
        if (at < stage.begin || at >= stage.end) return false;
      } else {
        const share = entry.random() / 2 ** 32;
        if (share < stage.low || share >= stage.high) return false;
      }
    }
    return true;
  }
}

/** Rows that are decided on at once. */
const choicesAhead = 8192;

/** A selector whose decisions about some of the next rows can be looked at. */
export class Choices {
  readonly #selector: Selector;
  readonly #all: boolean;
  #kept = new Uint8Array();
  /** Those of `kept` that are behind. */
  #passed = 0;

  constructor(stages: readonly Stage[]) {
    this.#selector = new Selector(stages);
    this.#all = stages.length === 0;
  }

  /** Whether no row that is still to come can be kept. */
  get done(): boolean {
    return this.#passed === this.#kept.length && this.#selector.done;
  }

  /** For each of some of the next rows 1 where it is kept and else 0; null where all are kept. */
  get ahead(): Uint8Array | null {
    if (this.#all) return null;
    if (this.#passed === this.#kept.length) this.#choose();
    return this.#kept.subarray(this.#passed);
  }

  /** Goes on behind `rows` of those ahead. */
  pass(rows: number): void {
    if (!this.#all) this.#passed += rows;
  }

  /** Whether the next row is kept. */
  keeps(): boolean {
    const [kept] = this.ahead ?? [1];
    this.pass(1);
    return kept === 1;
  }

  #choose(): void {
    const kept = new Uint8Array(choicesAhead);
    let count = 0;
    while (count < choicesAhead && !this.#selector.done) {
      kept[count++] = this.#selector.keeps() ? 1 : 0;
    }
    this.#kept = kept.subarray(0, count);
    this.#passed = 0;
  }
}

/** How many of `rows` rows the stages keep; undefined where only going through them tells. */
export function countKept(rows: number | undefined, stages: readonly Stage[]): number | undefined {
  let left = rows;
  for (const stage of stages) {
    if (stage.kind === 'share' || left === undefined) return undefined;
    left = Math.max(0, Math.min(left, stage.end) - stage.begin);
  }
  return left;
}
