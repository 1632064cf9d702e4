import { elementsPerTurn, nextTurn } from './turns.js';

/**
 * xoshiro128**: Blackman and Vigna, "Scrambled Linear Pseudorandom Number Generators" (2021), its
 * state filled by splitmix32 from two numbers. Only shuffles use it; native code has its own.
 */
export function generator(seed: number, stream: number): () => number {
  let mix = (seed ^ Math.imul(Math.floor(seed / 2 ** 32), 0x85ebca6b)) | 0;
  mix = (mix + Math.imul(stream + 1, 0xc2b2ae35)) | 0;
  const split = () => {
    mix = (mix + 0x9e3779b9) | 0;
    let z = Math.imul(mix ^ (mix >>> 16), 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    return z ^ (z >>> 15);
  };
  let [a, b, c, d] = [split(), split(), split(), split() | 1];
  const rotate = (x: number, k: number) => (x << k) | (x >>> (32 - k));
  return () => {
    const result = Math.imul(rotate(Math.imul(b, 5), 7), 9) >>> 0;
    const t = b << 9;
    c ^= a;
    d ^= b;
    b ^= c;
    a ^= d;
    c ^= t;
    d = rotate(d, 11);
    return result;
  };
}

/** Numbers of rows from `start` on. */
export interface Span {
  readonly start: number;
  readonly count: number;
}

function fill(rows: Uint32Array, start: number, begin: number, end: number): void {
  for (let i = begin; i < end; i++) rows[i] = start + i;
}

/** The numbers of a span, at once. */
export function numbersOf({ start, count }: Span): Uint32Array {
  const rows = new Uint32Array(count);
  fill(rows, start, 0, count);
  return rows;
}

/** The numbers of a span. */
export async function inOrder({ start, count }: Span): Promise<Uint32Array> {
  const rows = new Uint32Array(count);
  for (let begin = 0; begin < count; begin += elementsPerTurn) {
    if (begin > 0) await nextTurn();
    fill(rows, start, begin, Math.min(count, begin + elementsPerTurn));
  }
  return rows;
}

/** The same in another order: Fisher and Yates' shuffle (Durstenfeld 1964). */
export async function shuffled(span: Span, random: () => number): Promise<Uint32Array> {
  const rows = await inOrder(span);
  for (let end = rows.length - 1; end > 0; ) {
    const stop = Math.max(0, end - elementsPerTurn);
    for (; end > stop; end--) {
      const other = Math.floor((random() / 2 ** 32) * (end + 1));
      const item = rows[end] ?? 0;
      rows[end] = rows[other] ?? 0;
      rows[other] = item;
    }
    if (end > 0) await nextTurn();
  }
  return rows;
}
