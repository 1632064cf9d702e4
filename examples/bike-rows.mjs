// From a raw CSV file to a saved model that takes raw rows: bicycle rentals by the hour, forecast from
// calendar and weather. Columns become numbers by an encoder that is fitted on the rows to train on
// and travels in the model's file.
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { adam, dense, earlyStopping, Predictor, sequential, Trainer } from 'tandem-ml';
import { csv, cyclic, fitEncoder, oneHot, standard } from 'tandem-ml/data';
import { meanError } from './lib/bike.mjs';
import { table } from './lib/terminal.mjs';

// Two years in order: nine tenths to train on, of which the last tenth says when to stop.
const rows = await csv(new URL('data/bike-hour.csv.gz', import.meta.url)).load();
const [known, test] = rows.split(0.9);
const [train, validation] = known.split(0.9);

const encoder = await fitEncoder(train, {
  x: {
    yr: standard(),
    dteday: cyclic({ period: 'year' }),
    hr: oneHot(),
    weekday: oneHot(),
    weathersit: oneHot({ unknown: 'zero' }),
    workingday: 'number',
    holiday: 'number',
    temp: standard({ missing: 'mean' }),
    atemp: standard({ missing: 'mean' }),
    hum: standard({ missing: 'mean' }),
    windspeed: standard({ missing: 'mean' }),
  },
  y: { cnt: standard() },
});

const model = sequential(
  [dense(64, { activation: 'relu' }), dense(32, { activation: 'relu' }), dense(1)],
  { input: [Number(encoder.width)], seed: 1 },
);
const trainer = new Trainer(model, {
  loss: 'mse',
  optimizer: adam({ learningRate: 1e-3 }),
  seed: 1,
});
const history = await trainer.fit(encoder.encode(train), {
  epochs: 40,
  batchSize: 64,
  validationData: encoder.encode(validation),
  callbacks: [earlyStopping({ patience: 6, restoreBestWeights: true })],
  verbose: 0,
});
const file = join(tmpdir(), `bike-${process.pid}.safetensors`);
await model.save(file);
await trainer.close();

// Another process would begin here: all it needs is the file.
const predictor = await Predictor.load(file);
const raw = [];
for await (const { rows, columns } of test.batches({ batchSize: 256 })) {
  for (let i = 0; i < rows; i++) {
    raw.push(
      Object.fromEntries(Object.entries(columns).map(([name, values]) => [name, values[i]])),
    );
  }
}
const forecasts = (await predictor.predictRows(raw)).map((rentals) => Math.max(0, Number(rentals)));
const counts = raw.map(({ cnt }) => Number(cnt));
console.log(
  `${history.epochs.length} epochs; mean error ${meanError(forecasts, counts).toFixed(1)}`,
);
console.log(`rentals an hour over ${counts.length} hours that the model has not seen\n`);

const morning = raw.filter(({ hr, workingday }) => hr === 8 && workingday === 1).slice(0, 5);
const eight = await predictor.predictRows(morning);
const line = (row, i) => [row.dteday, String(row.cnt), Number(eight[i]).toFixed(0)];
console.log(table(['eight o’clock on', 'rentals', 'forecast'], morning.map(line)));
await predictor.close();
await rm(file);
