// The data set: plays as characters, see ../data/README.md.
import { readFile } from 'node:fs/promises';
import { gunzipSync } from 'node:zlib';
import { generator } from './random.mjs';

/**
 * Reads the plays as numbers of characters; the last tenth is for validation.
 * @returns {Promise<{ characters: string[], train: Int32Array, validation: Int32Array }>}
 */
export async function loadPlays() {
  const file = await readFile(new URL('../data/tinyshakespeare.txt.gz', import.meta.url));
  const text = gunzipSync(file).toString();
  const characters = [...new Set(text)].sort();
  const numbers = new Map(characters.map((character, i) => [character, i]));
  const tokens = Int32Array.from(text, (character) => numbers.get(character) ?? 0);
  const end = Math.floor(0.9 * tokens.length);
  return { characters, train: tokens.subarray(0, end), validation: tokens.subarray(end) };
}

/**
 * Windows that begin at `starts`: rows of `length` tokens, and for each token the one after it.
 * @param {Int32Array} tokens
 * @param {number[]} starts
 * @param {number} length
 */
function windows(tokens, starts, length) {
  const x = new Int32Array(starts.length * length);
  const y = new Int32Array(starts.length * length);
  starts.forEach((start, row) => {
    x.set(tokens.subarray(start, start + length), row * length);
    y.set(tokens.subarray(start + 1, start + length + 1), row * length);
  });
  return { x, y };
}

/**
 * `count` windows from anywhere.
 * @param {Int32Array} tokens
 * @param {{ count: number, length: number, seed: number }} options
 */
export function randomWindows(tokens, { count, length, seed }) {
  const random = generator(seed);
  const starts = Array.from({ length: count }, () =>
    Math.floor(random() * (tokens.length - length)),
  );
  return windows(tokens, starts, length);
}

/**
 * Windows side by side over all of the text.
 * @param {Int32Array} tokens
 * @param {number} length
 */
export function allWindows(tokens, length) {
  const count = Math.floor((tokens.length - 1) / length);
  const starts = Array.from({ length: count }, (_, i) => i * length);
  return windows(tokens, starts, length);
}
