// The ranges of inputs of layers over the calibration data.
import { TandemError } from '../errors.js';
import { native } from '../native.js';
import type { Frozen } from './frozen.js';
import type { QuantizableLayer } from './layers.js';
import {
  count,
  cover,
  emptyHistogram,
  extend,
  type Interval,
  type Steps,
  stepsOf,
} from './observers.js';
import type { QuantizationSettings } from './options.js';
import { eachPiece, type Rows, type Run, runRows } from './run.js';

/** What calibration found of a value. */
export interface Calibration extends Steps {
  /** Of all numbers seen, and 0. */
  readonly seen: Interval;
  /** What of them the steps cover. */
  readonly covered: Interval;
}

/**
 * For each value that a layer reads, by its number. Runs the data twice where the observer counts
 * numbers. Throws ERR_NUMERIC where a value is not finite.
 */
export async function calibrate(
  frozen: Frozen,
  layers: readonly QuantizableLayer[],
  data: Rows,
  settings: QuantizationSettings,
  run: Run,
): Promise<Map<number, Calibration>> {
  const numbers = [...new Set(layers.flatMap(({ input }) => input ?? []))];
  if (numbers.length === 0) return new Map();
  const seen = numbers.map((): Interval => ({ low: 0, high: 0 }));
  await runRows(run, frozen.graph, numbers, data, (values, first) =>
    eachPiece(values, (i, from, to) => {
      const piece = values[i]?.subarray(from, to);
      const before = seen[i];
      if (piece === undefined || before === undefined) return;
      checkFinite(piece, numbers[i], layers, first);
      seen[i] = extend(before, piece);
    }),
  );
  const histograms = seen.map(emptyHistogram);
  if (settings.observer !== 'minMax') {
    await runRows(run, frozen.graph, numbers, data, (values) =>
      eachPiece(values, (i, from, to) => {
        const [histogram, piece] = [histograms[i], values[i]?.subarray(from, to)];
        if (histogram !== undefined && piece !== undefined) count(histogram, piece);
      }),
    );
  }
  const found = new Map<number, Calibration>();
  for (const [i, histogram] of histograms.entries()) {
    const covered = await cover(histogram, settings.observer, settings.percentile);
    const { low, high } = histogram;
    const steps = stepsOf(covered, settings.symmetric);
    found.set(numbers[i] ?? -1, { ...steps, seen: { low, high }, covered });
  }
  return found;
}

function checkFinite(
  value: Float32Array | Int32Array,
  number: number | undefined,
  layers: readonly QuantizableLayer[],
  first: number,
): void {
  if (!(value instanceof Float32Array) || native.findNonFinite(value) === -1) return;
  const layer = layers.find(({ input }) => input === number);
  throw new TandemError(
    'ERR_NUMERIC',
    `expected finite numbers for \`calibration\`, received data with which the input of ${layer?.name} has others, in one of the 32 rows from row ${first} on`,
  );
}
