// Work on large data that has to be done on the event loop, in pieces with turns between them.

/** Elements for a piece of work that takes less than a millisecond. */
export const elementsPerTurn = 2 ** 14;

/** Resolves in the next turn of the event loop, after timers and sockets have had theirs. */
export const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** The same of strings that are compared or looked up. */
export const stringsPerTurn = 2 ** 11;

/** Milliseconds that small pieces of work go on for without a turn. */
const mostWithoutTurn = 1;

/**
 * To be called between small pieces of work, and what it gives awaited: a turn of the event loop where
 * there was none for a while. Promises that settle at once, as those of rows in memory do, give it none.
 */
export function turnsBetween(): () => Promise<void> | undefined {
  let last = performance.now();
  return () => {
    if (performance.now() - last < mostWithoutTurn) return undefined;
    return nextTurn().then(() => {
      last = performance.now();
    });
  };
}

/** Does work on so many elements, with a turn of the event loop between pieces of them. */
export async function inPieces(
  length: number,
  work: (from: number, to: number) => void,
  most = elementsPerTurn,
): Promise<void> {
  for (let from = 0; from < length; from += most) {
    if (from > 0) await nextTurn();
    work(from, Math.min(length, from + most));
  }
}

type Compare = (a: string, b: string) => number;

/** Different strings in order, by merges of pieces that are sorted. */
export async function sortedInTurns(
  strings: readonly string[],
  compare: Compare,
): Promise<readonly string[]> {
  let runs: (readonly string[])[] = [];
  const sort = (from: number, to: number) => {
    runs.push(strings.slice(from, to).sort(compare));
  };
  await inPieces(strings.length, sort, stringsPerTurn);
  while (runs.length > 1) {
    const merged: (readonly string[])[] = [];
    for (let i = 0; i < runs.length; i += 2) {
      merged.push(await mergedInTurns(runs[i] ?? [], runs[i + 1] ?? [], compare));
    }
    runs = merged;
  }
  return runs[0] ?? [];
}

async function mergedInTurns(
  a: readonly string[],
  b: readonly string[],
  compare: Compare,
): Promise<readonly string[]> {
  if (b.length === 0) return a;
  const all: string[] = [];
  let next = 0;
  const merge = (from: number, to: number) => {
    for (let i = from; i < to; i++) {
      const [left, right] = [a[next], b[i - next]];
      const isLeft = right === undefined || (left !== undefined && compare(left, right) < 0);
      all.push((isLeft ? left : right) ?? '');
      if (isLeft) next++;
    }
  };
  await inPieces(a.length + b.length, merge, stringsPerTurn);
  return all;
}
