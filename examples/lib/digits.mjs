// The data set: 8x8 images of handwritten digits, see ../data/README.md.
import { readFile } from 'node:fs/promises';
import { gunzipSync } from 'node:zlib';
import { shuffled } from './random.mjs';

/** Pixels of an image, in rows of 8. */
export const pixels = 64;
export const classes = 10;

/**
 * Reads the images, shuffles them, and cuts them into parts. Pixels are standardised with the mean
 * and the deviation of the first part, as that is the one to train on.
 * @param {{ sizes: number[], seed: number }} options rows of the first parts; one more gets the rest
 * @returns {Promise<{ x: Float32Array, y: Int32Array }[]>}
 */
export async function loadDigits({ sizes, seed }) {
  const file = await readFile(new URL('../data/digits.csv.gz', import.meta.url));
  const lines = gunzipSync(file).toString().trim().split('\n');
  const images = shuffled(lines, seed).map((line) => line.split(',').map(Number));

  let start = 0;
  const parts = [...sizes, images.length].map((size) => {
    const rows = images.slice(start, start + size);
    start += size;
    return {
      x: Float32Array.from(rows.flatMap((row) => row.slice(0, pixels))),
      y: Int32Array.from(rows, (row) => row[pixels]),
    };
  });

  const { mean, deviation } = moments(parts[0].x);
  for (const { x } of parts) {
    for (let i = 0; i < x.length; i++) x[i] = (x[i] - mean) / deviation;
  }
  return parts;
}

/** @param {Float32Array} values */
function moments(values) {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length;
  return { mean, deviation: Math.sqrt(variance) };
}

/**
 * An image as text, a line for each row of pixels.
 * @param {Float32Array} image
 * @returns {string[]}
 */
export function drawDigit(image) {
  const shades = ' .:-=+*#%@';
  const low = Math.min(...image);
  const high = Math.max(...image);
  return Array.from({ length: 8 }, (_, row) =>
    Array.from(image.subarray(row * 8, row * 8 + 8), (value) =>
      shades[Math.round(((value - low) / (high - low)) * (shades.length - 1))].repeat(2),
    ).join(''),
  );
}
