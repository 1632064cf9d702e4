// The data set: 28x28 images of handwritten digits, see ../data/README.md.
import { readFile } from 'node:fs/promises';
import { gunzipSync } from 'node:zlib';

/** Of an image: rows and columns of pixels. */
export const size = 28;
const pixels = size * size;

/** @typedef {{ x: Float32Array, y: Int32Array }} Images x: rows of 28 * 28 pixels */

/**
 * Reads the 10,000 images and cuts them in two, in the order of the file. Pixels are standardised
 * with the mean and the deviation of the first part, as that is the one to train on.
 * @param {number} count images of the first part
 * @returns {Promise<[train: Images, test: Images]>}
 */
export async function loadMnist(count) {
  const [images, labels] = await Promise.all([
    readIdx('mnist-10k-images-idx3-ubyte.gz', 16),
    readIdx('mnist-10k-labels-idx1-ubyte.gz', 8),
  ]);
  const { mean, deviation } = moments(images.subarray(0, count * pixels));
  const part = (start, end) => ({
    x: Float32Array.from(
      images.subarray(start * pixels, end * pixels),
      (value) => (value - mean) / deviation,
    ),
    y: Int32Array.from(labels.subarray(start, end)),
  });
  return [part(0, count), part(count, labels.length)];
}

/** The bytes of an IDX file behind its header. */
async function readIdx(name, header) {
  const file = await readFile(new URL(`../data/${name}`, import.meta.url));
  return gunzipSync(file).subarray(header);
}

/** @param {Uint8Array} values */
function moments(values) {
  let sum = 0;
  let squares = 0;
  for (const value of values) {
    sum += value;
    squares += value * value;
  }
  const mean = sum / values.length;
  return { mean, deviation: Math.sqrt(squares / values.length - mean ** 2) };
}
