// Weights as signed bytes with scales, rounded as native code rounds them.
import { nextTurn } from '../trainer/turns.js';

/** Weights that are looked at in well under a millisecond. */
export const weightsPerTurn = 2 ** 16;

/**
 * The scale of each of `rows` rows of a weight, or one for all of them. The event loop has its turns
 * meanwhile.
 */
export async function weightScales(
  data: Float32Array,
  rows: number,
  perChannel: boolean,
): Promise<Float32Array> {
  const scales = new Float32Array(rows);
  const length = data.length / rows;
  await rowsInTurns(rows, length, (row) => {
    scales[row] = largestOf(data, row * length, (row + 1) * length) / 127;
  });
  if (!perChannel) scales.fill(scales.reduce((a, b) => Math.max(a, b), 0));
  return scales.map((scale) => (scale > 1e-36 && Number.isFinite(scale) ? scale : 1));
}

function largestOf(data: Float32Array, begin: number, end: number): number {
  let largest = 0;
  for (let i = begin; i < end; i++) {
    const size = Math.abs(data[i] as number);
    if (size > largest) largest = size;
  }
  return largest;
}

/** To nearest, halves to even, within [-127, 127]. NaN becomes 0. */
function toByte(value: number): number {
  if (value >= 127) return 127;
  if (value <= -127) return -127;
  return (Math.fround(value + 12582912) - 12582912) | 0;
}

/** Fills `bytes`, with turns of the event loop. */
export async function toBytes(
  data: Float32Array,
  scales: Float32Array,
  bytes: Int8Array,
): Promise<void> {
  const length = data.length / scales.length;
  await rowsInTurns(scales.length, length, (row) => {
    const scale = scales[row] as number;
    const end = (row + 1) * length;
    for (let i = row * length; i < end; i++) {
      bytes[i] = toByte(Math.fround((data[i] as number) / scale));
    }
  });
}

/** Does work on each of so many rows of `length`, with turns of the event loop. */
export async function rowsInTurns(
  rows: number,
  length: number,
  work: (row: number) => void,
): Promise<void> {
  const rowsPerTurn = Math.max(1, Math.floor(weightsPerTurn / length));
  for (let row = 0; row < rows; row++) {
    work(row);
    if ((row + 1) % rowsPerTurn === 0) await nextTurn();
  }
}
