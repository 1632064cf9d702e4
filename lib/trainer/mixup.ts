// Mixup: rows of a batch are mixed with others of it, and so are their targets. Zhang, Cisse, Dauphin
// and Lopez-Paz, "mixup: Beyond Empirical Risk Minimization" (2018).
import { gather } from '../data/batch.js';
import type { NamedValue } from '../graph/describe.js';
import { inputLike } from '../graph/leaves.js';
import { substitution } from '../graph/substitute.js';
import { definition, type Value } from '../graph/value.js';
import * as is from '../is.js';
import { add, mul, sub } from '../ops/elementwise.js';
import { max } from '../ops/shapes.js';
import type { Feed, Rows } from './data.js';
import { haveInCommon } from './divisors.js';
import type { Objective } from './losses.js';
import { generator, numbersOf } from './random.js';
import type { Piece, StepSource } from './supply.js';
import { nextTurn } from './turns.js';

/** How training mixes the rows of a batch. */
export interface MixupOptions {
  /**
   * Of the distribution Beta(alpha, alpha) that a batch's share is drawn from; 0.1 to 0.4 as a rule.
   * Larger values mix more evenly.
   */
  alpha: number;
}

/** Alpha; undefined for no mixup. Throws ERR_ARGUMENT. */
export function readMixup(given: unknown, inputs: readonly NamedValue[]): number | undefined {
  if (given === undefined) return undefined;
  const set = is.options<Partial<MixupOptions>>(given as MixupOptions, 'mixup', ['alpha']);
  const alpha = is.positive(set.alpha, 'mixup.alpha');
  const whole = inputs.find(({ value }) => value.dtype !== 'float32');
  if (whole === undefined) return alpha;
  const received = `input \`${whole.name}\` of ${whole.value.dtype} numbers, which do not mix`;
  throw is.mismatch('ERR_ARGUMENT', 'a model with float32 inputs', 'mixup', received);
}

/** What a graph has more for losses of mixed class numbers. */
export interface MixedLosses {
  /** In place of the losses; other values stay. */
  readonly of: (value: Value) => Value;
  /** The class numbers of the rows that were mixed in, and each row's share of its own. */
  readonly inputs: readonly NamedValue[];
  /** The places of class numbers among all targets. */
  readonly classes: readonly number[];
}

/**
 * Targets that are numbers are mixed themselves. Class numbers cannot be: a loss becomes `share *
 * loss(target) + (1 - share) * loss(other target)`, which is that of soft targets.
 */
export function mixLosses({ targets, results, losses }: Objective): MixedLosses {
  const classes = targets.flatMap(({ value }, i) => (value.dtype === 'int32' ? [i] : []));
  const first = targets[classes[0] ?? -1];
  if (first === undefined) return { of: (value) => value, inputs: [], classes };
  const others = classes.flatMap((i): [NamedValue, Value][] => {
    const target = targets[i];
    if (target === undefined) return [];
    const name = `${target.name}.target.other`;
    const value = inputLike(definition(target.value).samples, 0, 'int32', name);
    return [[{ name, value }, target.value]];
  });
  const { samples } = definition(first.value);
  const shares = inputLike(samples, samples[0].length - 1, 'float32', 'mixup.share');
  // It is one number in all rows of a batch, which a mean would round.
  const share = haveInCommon(max(shares, { axes: [0] }));
  const rest = sub(1, share);
  const swapped = substitution(new Map(others.map(([{ value }, own]) => [own, value])));
  const mixed = new Map(
    results
      .slice(0, losses)
      .map(({ value }) => [value, add(mul(value, share), mul(swapped(value), rest))]),
  );
  return {
    of: (value) => mixed.get(value) ?? value,
    inputs: [...others.map(([other]) => other), { name: 'mixup.share', value: shares }],
    classes,
  };
}

/** How a batch is mixed. */
export interface Mixture {
  /** Of each row itself, from 0.5 to 1. */
  readonly share: number;
  /** The row that is mixed into each one. */
  readonly partners: Uint32Array;
}

/** Streams of random numbers apart from those of shuffles and of what datasets draw. */
const stream = 0x60000000;

/**
 * The mixture of one batch of training, which follows from these numbers alone, so that a run that
 * goes on from a checkpoint mixes as one that was never interrupted. The larger share is a row's own:
 * that makes no difference to what mixtures there are, because rows and partners are in random order,
 * but metrics then compare with the target that weighs more.
 */
export function mixtureOf(rows: number, alpha: number, seed: number, batch: number): Mixture {
  const random = generator(seed, stream + (batch % 2 ** 28));
  const drawn = beta(alpha, random);
  const partners = numbersOf({ start: 0, count: rows });
  for (let end = rows - 1; end > 0; end--) {
    const other = Math.floor((random() / 2 ** 32) * (end + 1));
    const item = partners[end] ?? 0;
    partners[end] = partners[other] ?? 0;
    partners[other] = item;
  }
  return { share: Math.fround(Math.max(drawn, 1 - drawn)), partners };
}

/** A number from Beta(alpha, alpha), out of two of Gamma(alpha, 1). `random` gives integers below 2^32. */
export function beta(alpha: number, random: () => number): number {
  const difference = logGamma(alpha, random) - logGamma(alpha, random);
  return 1 / (1 + Math.exp(-difference));
}

/**
 * The logarithm, which does not vanish for small alpha, of a number from Gamma(alpha, 1): Marsaglia and
 * Tsang, "A Simple Method for Generating Gamma Variables" (2000).
 */
function logGamma(alpha: number, random: () => number): number {
  const uniform = () => (random() + 0.5) / 2 ** 32;
  // Gamma(alpha + 1) times U^(1 / alpha).
  if (alpha < 1) return logGamma(alpha + 1, random) + Math.log(uniform()) / alpha;
  const d = alpha - 1 / 3;
  const c = 1 / Math.sqrt(9 * d);
  for (;;) {
    const normal = Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
    const v = (1 + c * normal) ** 3;
    if (v <= 0) continue;
    const bound = 0.5 * normal ** 2 + d - d * v + d * Math.log(v);
    if (Math.log(uniform()) < bound) return Math.log(d * v);
  }
}

/** Elements that are mixed in one turn of the event loop. */
const elementsMixedPerTurn = 2 ** 17;

/** Mixes the batches on their way to training. */
export class Mixer {
  readonly #feeds: readonly Feed[];
  /** Numbers of the arrays with class numbers. */
  readonly #classes: readonly number[];
  #ones = new Float32Array();

  constructor(
    readonly alpha: number,
    readonly seed: number,
    x: readonly Feed[],
    y: readonly Feed[],
    classes: readonly number[],
  ) {
    this.#feeds = [...x, ...y];
    this.#classes = classes.map((target) => x.length + target);
  }

  /** The batches of `source`, mixed; the first of them is number `batch` of the training. */
  mixed(source: StepSource, batch: number): StepSource {
    let at = batch;
    const mix = (piece: Piece): Promise<Piece> => {
      const mixtures = Array.from(piece.sizes, (rows) =>
        mixtureOf(rows, this.alpha, this.seed, at++),
      );
      return this.#mix(piece, mixtures);
    };
    return {
      ...source,
      steps: source.steps,
      batchSize: source.batchSize,
      // Begins to copy at once where the rows are there, as training without mixup does.
      next(steps) {
        const piece = source.next(steps);
        if (piece instanceof Promise) return piece.then((item) => item && mix(item));
        return piece && mix(piece);
      },
    };
  }

  async #mix({ rows, order, sizes, ...rest }: Piece, mixtures: readonly Mixture[]): Promise<Piece> {
    const count = order.length;
    const other = Uint32Array.from(order);
    const shares = new Float32Array(count);
    let begin = 0;
    for (const { share, partners } of mixtures) {
      const batch = order.subarray(begin, begin + partners.length);
      for (const [i, partner] of partners.entries()) other[begin + i] = batch[partner] ?? 0;
      shares.fill(share, begin, begin + partners.length);
      begin += partners.length;
    }
    const arrays: (Float32Array | Int32Array)[] = [];
    const mixedIn: Int32Array[] = [];
    for (const [i, { elements }] of this.#feeds.entries()) {
      const source = rows.arrays[i];
      if (source instanceof Float32Array) {
        arrays.push(await mixRows(source, elements, order, other, shares));
      } else if (source !== undefined) {
        arrays.push(gather(source, elements, order));
        mixedIn.push(gather(source, elements, other));
      }
    }
    if (mixedIn.length > 0) arrays.push(...mixedIn, shares);
    return {
      ...rest,
      rows: { ...rows, arrays, count },
      order: numbersOf({ start: 0, count }),
      sizes,
    };
  }

  /** Rows as the graph takes them where nothing is mixed. */
  async plain(piece: Piece): Promise<Piece> {
    if (this.#classes.length === 0) return piece;
    const { arrays, count } = piece.rows;
    const classes = this.#classes.flatMap((i) => arrays[i] ?? []);
    const ones = await this.#onesFor(count);
    const rows: Rows = { ...piece.rows, arrays: [...arrays, ...classes, ones] };
    return { ...piece, rows };
  }

  async #onesFor(count: number): Promise<Float32Array> {
    if (this.#ones.length < count) {
      const ones = new Float32Array(count);
      for (let begin = 0; begin < count; begin += elementsMixedPerTurn) {
        if (begin > 0) await nextTurn();
        ones.fill(1, begin, begin + elementsMixedPerTurn);
      }
      this.#ones = ones;
    }
    return this.#ones.subarray(0, count);
  }
}

/** Row by row `share * own + (1 - share) * other`, rounded once. */
async function mixRows(
  source: Float32Array,
  width: number,
  order: Uint32Array,
  other: Uint32Array,
  shares: Float32Array,
): Promise<Float32Array> {
  const result = new Float32Array(order.length * width);
  const rows = Math.max(1, Math.floor(elementsMixedPerTurn / width));
  for (let row = 0; row < order.length; row++) {
    if (row > 0 && row % rows === 0) await nextTurn();
    const [a, b] = [(order[row] ?? 0) * width, (other[row] ?? 0) * width];
    const share = shares[row] ?? 1;
    const to = row * width;
    for (let i = 0; i < width; i++) {
      result[to + i] = share * (source[a + i] ?? 0) + (1 - share) * (source[b + i] ?? 0);
    }
  }
  return result;
}
