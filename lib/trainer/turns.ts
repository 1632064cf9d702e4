// Work on large data that has to be done on the event loop, in pieces with turns between them.

/** Elements for a piece of work that takes less than a millisecond or two. */
export const elementsPerTurn = 2 ** 15;

/** Resolves in the next turn of the event loop, after timers and sockets have had theirs. */
export const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Does work on so many elements, with a turn of the event loop between pieces of them. */
export async function inPieces(
  length: number,
  work: (from: number, to: number) => void,
): Promise<void> {
  for (let from = 0; from < length; from += elementsPerTurn) {
    if (from > 0) await nextTurn();
    work(from, Math.min(length, from + elementsPerTurn));
  }
}

/** Milliseconds. */
const longest = 3;

/**
 * For who goes from one item to the next, which may be there at once again and again, so that nothing
 * but microtasks would ever run.
 */
export class Pace {
  #turned = performance.now();

  /** Whether there has been no turn for a while. */
  get due(): boolean {
    return performance.now() - this.#turned > longest;
  }

  async turn(): Promise<void> {
    await nextTurn();
    this.#turned = performance.now();
  }
}
