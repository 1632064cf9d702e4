// The lengths of sequences that a Trainer's data have: a graph for each, over the same parameters.
import type { Dataset } from '../data/dataset.js';
import { TandemError } from '../errors.js';
import * as is from '../is.js';
import { type Feeds, type Later, type Rows, readData } from './data.js';
import { nextTurn } from './turns.js';

/** A graph of the trainer, by its number, and what it takes. */
export interface GraphFeeds {
  readonly graph: number;
  readonly feeds: Feeds;
}

/** A Trainer's graphs, `kMaxGraphs` of native/core/trainer.h, but for the model's own. */
const most = 63;

export class Lengths {
  readonly #found = new Map<number, GraphFeeds>();

  constructor(
    /** That of the model's inputs, where they have one. */
    readonly own: number | undefined,
    readonly make: (length: number) => GraphFeeds,
  ) {}

  has(length: number): boolean {
    return this.#found.has(length);
  }

  /** Whether there is no room for another length. */
  get full(): boolean {
    return this.#found.size >= most;
  }

  /** Throws ERR_ARGUMENT for a length that the model has no graph at, and for one too many. */
  at(length: number): GraphFeeds {
    const known = this.#found.get(length);
    if (known !== undefined) return known;
    if (this.own !== undefined && length > this.own) {
      const what = `lengths up to the ${this.own} of the model's inputs`;
      throw is.mismatch('ERR_ARGUMENT', what, 'lengths', String(length));
    }
    const made = this.make(length);
    this.#found.set(length, made);
    return made;
  }
}

/**
 * Makes the graphs for a dataset of several lengths, one in each turn of the event loop. Rejects as
 * Lengths.at throws.
 */
export async function planLengths(
  { lengths = [], isMapped }: Dataset,
  { lengths: graphs }: Feeds,
): Promise<void> {
  // Who changes batches may change their lengths, too.
  if (lengths.length < 2 || isMapped) return;
  for (const length of lengths) {
    if (length === graphs.own || graphs.has(length)) continue;
    graphs.at(length);
    await nextTurn();
  }
}

/**
 * The graph for rows whose first input is `x`: one of `lengths`, or of any where these are not given.
 * The model's own where it has none at the rows' length, with what it says to that.
 */
export function graphFor(
  x: unknown,
  rows: number,
  feeds: Feeds,
  lengths?: readonly number[],
): GraphFeeds & { readonly refusal?: string } {
  const own = { graph: 0, feeds };
  const [first] = feeds.x;
  const positions = feeds.lengths.own;
  if (first === undefined || positions === undefined) return own;
  const named = is.isRecord(x) && !is.isTypedArray(x) ? x[first.name] : x;
  const array: unknown = Array.isArray(named) ? named[0] : named;
  if (!is.isTypedArray(array)) return own;
  const elements = array.length / rows;
  const length = elements / (first.elements / positions);
  if (elements === first.elements || !Number.isInteger(length) || length < 1) return own;
  if (lengths?.includes(length)) return feeds.lengths.at(length);
  if (lengths !== undefined || length > positions) return own;
  try {
    return feeds.lengths.at(length);
  } catch (error) {
    if (!(error instanceof TandemError) || error.code !== 'ERR_ARGUMENT') throw error;
    if (feeds.lengths.full) throw error;
    // Perhaps they are rows of another width than the model's, as the check of their arrays will say.
    return { ...own, refusal: `at length ${length}: ${error.message}` };
  }
}

/** Arrays for `feeds`; those that say their `rows` may be shorter sequences than the model's. `later` as of readData. */
export function readRows(data: unknown, feeds: Feeds, name: string, later?: Later): Rows {
  const { x, rows }: { x?: unknown; rows?: unknown } = is.isRecord(data) ? data : {};
  if (typeof rows !== 'number') return readData(data, feeds, name, later);
  const { graph, feeds: taken, refusal } = graphFor(x, rows, feeds);
  try {
    return { ...readData(data, taken, name, later), graph };
  } catch (error) {
    if (refusal === undefined || !(error instanceof TandemError)) throw error;
    if (error.code !== 'ERR_SHAPE') throw error;
    throw new TandemError('ERR_SHAPE', `${error.message}; ${refusal}`);
  }
}
