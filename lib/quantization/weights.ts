// Weights as signed bytes with scales, rounded as native code rounds them.

/** The scale of each of `rows` rows of a weight, or one for all of them. */
export function weightScales(data: Float32Array, rows: number, perChannel: boolean): Float32Array {
  const scales = new Float32Array(rows);
  const length = data.length / rows;
  for (let row = 0; row < rows; row++) {
    let largest = 0;
    const end = (row + 1) * length;
    for (let i = row * length; i < end; i++) {
      const size = Math.abs(data[i] as number);
      if (size > largest) largest = size;
    }
    scales[row] = largest / 127;
  }
  if (!perChannel) scales.fill(scales.reduce((a, b) => Math.max(a, b), 0));
  return scales.map((scale) => (scale > 1e-36 && Number.isFinite(scale) ? scale : 1));
}

/** To nearest, halves to even, within [-127, 127]. NaN becomes 0. */
function toByte(value: number): number {
  if (value >= 127) return 127;
  if (value <= -127) return -127;
  return (Math.fround(value + 12582912) - 12582912) | 0;
}

/** Fills `bytes`. */
export function toBytes(data: Float32Array, scales: Float32Array, bytes: Int8Array): void {
  const length = data.length / scales.length;
  for (let row = 0; row < scales.length; row++) {
    const scale = scales[row] as number;
    const end = (row + 1) * length;
    for (let i = row * length; i < end; i++) {
      bytes[i] = toByte(Math.fround((data[i] as number) / scale));
    }
  }
}
