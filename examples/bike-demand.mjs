// Forecasts bicycle rentals by the hour: a perceptron that knows the hour, and a recurrent network
// that has also seen the day before. Trained on the first nine tenths of 2011, tested on the last.
import { adam, Predictor, Trainer } from 'tandem-ml';
import { loadBike, meanError, models } from './lib/bike.mjs';
import { chart, table } from './lib/terminal.mjs';

const data = await loadBike();
const { train, test, mean, deviation } = data;
console.log(`${train.y.length} hours to train on, ${test.y.length} to test\n`);

/**
 * Trains one of the models and forecasts the hours to test on, in rentals.
 * @param {'mlp' | 'gru'} name
 */
async function forecast(name) {
  const { build, fit, learningRate } = models[name];
  const model = build(data.width, 1);
  const trainer = new Trainer(model, { loss: 'mse', optimizer: adam({ learningRate }), seed: 1 });
  const start = performance.now();
  await trainer.fit({ x: train[name], y: train.y }, { ...fit, verbose: 0 });
  const seconds = (performance.now() - start) / 1000;
  const predictor = await Predictor.load(model);
  const standardised = await predictor.predict(test[name]);
  await predictor.close();
  await trainer.close();
  // Nobody rents fewer than no bicycles.
  const rentals = Array.from(standardised, (value) => Math.max(0, mean + deviation * value));
  return { rentals, seconds };
}

const before = [...train.counts.slice(-24), ...test.counts].slice(0, test.counts.length);
const perceptron = await forecast('mlp');
const recurrent = await forecast('gru');

const row = (name, rentals, seconds) => [
  name,
  seconds === undefined ? '' : `${seconds.toFixed(1)} s`,
  meanError(rentals, test.counts).toFixed(1),
];
console.log(
  table(
    ['forecast', 'training', 'mean error, rentals an hour'],
    [
      row('the same hour of the day before', before),
      row('perceptron', perceptron.rentals, perceptron.seconds),
      row('GRU over 24 hours', recurrent.rentals, recurrent.seconds),
    ],
  ),
);
const week = (counts) => counts.slice(0, 3 * 24);
console.log(`\nThe first three days, forecast by the GRU hour by hour\n`);
console.log(chart({ rentals: week(test.counts), forecast: week(recurrent.rentals) }));
