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

/** 0, 1, ..., count - 1, from `start` on. */
export function sequence(count: number, start = 0): Uint32Array {
  const rows = new Uint32Array(count);
  for (let i = 0; i < count; i++) rows[i] = start + i;
  return rows;
}

/** Fisher and Yates' shuffle (Durstenfeld 1964), in place. */
export function shuffle(rows: Uint32Array, random: () => number): void {
  for (let i = rows.length - 1; i > 0; i--) {
    const j = Math.floor((random() / 2 ** 32) * (i + 1));
    const item = rows[i] ?? 0;
    rows[i] = rows[j] ?? 0;
    rows[j] = item;
  }
}
