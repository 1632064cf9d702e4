// From a raw CSV file to a saved model that takes raw rows: bicycle rentals by the hour, forecast from
// calendar and weather. Columns become numbers by an encoder that is fitted on the rows to train on
// and travels in the model's file; a report shows how training went.
import { mkdir } from 'node:fs/promises';
import { adam, dense, earlyStopping, htmlReport, Predictor, sequential, Trainer } from 'tandem-ml';
import { csv, cyclic, fitEncoder, oneHot, standard } from 'tandem-ml/data';

const out = new URL('../out/', import.meta.url);
await mkdir(out, { recursive: true });

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
  { input: [encoder.width], seed: 1 },
);
const trainer = new Trainer(model, {
  loss: 'mse',
  optimizer: adam({ learningRate: 1e-3 }),
  seed: 1,
});
const path = new URL('bike-report.html', out);
const history = await trainer.fit(encoder.encode(train), {
  epochs: 40,
  batchSize: 64,
  validationData: encoder.encode(validation),
  callbacks: [
    earlyStopping({ patience: 6, restoreBestWeights: true }),
    htmlReport({ path, title: 'Bicycle rentals by the hour' }),
  ],
  verbose: 0,
});
const file = new URL('bike.safetensors', out);
await model.save(file);
await trainer.close();

// Another process would begin here: all it needs is the file.
const predictor = await Predictor.load(file);
const raw = [];
for await (const { rows, columns } of test.batches({ batchSize: 256 })) {
  const row = (i) => Object.entries(columns).map(([name, values]) => [name, values[i]]);
  for (let i = 0; i < rows; i++) raw.push(Object.fromEntries(row(i)));
}
const forecasts = (await predictor.predictRows(raw)).map((rentals) => Math.max(0, Number(rentals)));
const errors = raw.map(({ cnt }, i) => Math.abs(forecasts[i] - Number(cnt)));
const meanError = errors.reduce((sum, error) => sum + error, 0) / raw.length;
console.log(`${history.epochs.length} epochs; mean error ${meanError.toFixed(1)} rentals an hour`);
console.log(`over ${raw.length} hours that the model has not seen\n\nEight o’clock on`);

const isMorning = ({ hr, workingday }) => hr === 8 && workingday === 1;
const mornings = raw.map((row, i) => [row, forecasts[i]]).filter(([row]) => isMorning(row));
for (const [{ dteday, cnt }, forecast] of mornings.slice(0, 5)) {
  console.log(`${dteday}  ${cnt} rentals, forecast ${forecast.toFixed(0)}`);
}
await predictor.close();
console.log('\nWrote out/bike.safetensors and out/bike-report.html');
