// The data set: hourly bicycle rentals with calendar and weather, see ../data/README.md; and two
// models that forecast them.
import { readFile } from 'node:fs/promises';
import { gunzipSync } from 'node:zlib';
import { dense, gru, sequential } from 'tandem-ml';

/** Hours that the recurrent model sees, the one to forecast included. */
export const window = 24;

const oneHot = (value, count) => Array.from({ length: count }, (_, i) => Number(i === value));

/** What is known of an hour before it begins, weather forecast included. */
function features(row) {
  const day = (2 * Math.PI * (Date.parse(row.dteday) - Date.parse('2011-01-01'))) / (365 * 864e5);
  return [
    ...oneHot(Number(row.hr), 24),
    ...oneHot(Number(row.weekday), 7),
    ...oneHot(Number(row.weathersit) - 1, 4),
    ...[row.workingday, row.holiday, row.temp, row.atemp, row.hum, row.windspeed].map(Number),
    Math.sin(day),
    Math.cos(day),
  ];
}

/**
 * The hours of 2011 in order, and how many of them to train on: nine tenths.
 */
async function readHours() {
  const file = await readFile(new URL('../data/bike-hour.csv.gz', import.meta.url));
  const [head, ...lines] = gunzipSync(file).toString().trim().split(/\r?\n/);
  const names = head.split(',');
  const rows = lines
    .map((line) => Object.fromEntries(line.split(',').map((cell, i) => [names[i], cell])))
    .filter(({ yr }) => yr === '0');
  return {
    features: rows.map(features),
    counts: rows.map(({ cnt }) => Number(cnt)),
    trained: Math.floor(0.9 * rows.length),
  };
}

/**
 * 2011 for both models, `mlp` with the features of an hour and `gru` with those of `window` hours,
 * each with the count of the hour before. Both forecast the counts of the same hours, which are
 * standardised with the mean and the deviation (rentals an hour) of the part to train on.
 */
export async function loadBike() {
  const { features, counts, trained } = await readHours();
  const known = counts.slice(0, trained);
  const mean = known.reduce((sum, count) => sum + count, 0) / trained;
  const deviation = Math.sqrt(known.reduce((sum, count) => sum + (count - mean) ** 2, 0) / trained);
  const standard = counts.map((count) => (count - mean) / deviation);
  const steps = features.map((row, i) => [...row, standard[i - 1] ?? 0]);

  /** Hours [from, to) as rows of each model. */
  const part = (from, to) => ({
    mlp: Float32Array.from(features.slice(from, to).flat()),
    gru: Float32Array.from(
      Array.from({ length: to - from }, (_, i) =>
        steps.slice(from + i + 1 - window, from + i + 1).flat(2),
      ).flat(),
    ),
    y: Float32Array.from(standard.slice(from, to)),
    counts: counts.slice(from, to),
  });
  return {
    mean,
    deviation,
    train: part(window, trained),
    test: part(trained, counts.length),
    width: features[0].length,
  };
}

/** How each model is made and trained. */
export const models = {
  mlp: {
    build: (width, seed) =>
      sequential([dense(64, { activation: 'relu' }), dense(32, { activation: 'relu' }), dense(1)], {
        input: [width],
        seed,
      }),
    fit: { epochs: 60, batchSize: 64 },
    learningRate: 1e-3,
  },
  gru: {
    build: (width, seed) => sequential([gru(32), dense(1)], { input: [window, width + 1], seed }),
    fit: { epochs: 12, batchSize: 64 },
    learningRate: 3e-3,
  },
};

/**
 * The mean absolute error of forecasts in rentals an hour.
 * @param {ArrayLike<number>} forecasts
 * @param {number[]} counts
 */
export const meanError = (forecasts, counts) =>
  counts.reduce((sum, count, i) => sum + Math.abs(count - forecasts[i]), 0) / counts.length;
