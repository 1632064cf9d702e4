// A small regression, and what the tests of optimisation do with it.
import { dense, sequential, Trainer } from 'tandem-ml';
import { generator, relativeError, uniform } from '../helpers/numbers.mjs';
import { quiet } from './support.mjs';

export const values = ({ parameters }) =>
  new Map([...parameters].map(([name, { data }]) => [name, data.slice()]));

export const perceptron = (seed = 1) =>
  sequential([dense(8, { activation: 'tanh', name: 'a' }), dense(2, { name: 'b' })], {
    input: [3],
    seed,
  });

const random = generator(4);
export const rows = 24;
export const x = uniform(rows * 3, random);
export const y = Float32Array.from({ length: rows * 2 }, (_, i) => {
  const [a, b, c] = x.subarray(3 * (i >> 1));
  return i % 2 === 0 ? a - b : b * c + 0.5;
});
export const regression = { x, y };

export const withTrainer = async (t, model, options, body) => {
  const trainer = new Trainer(model, { loss: 'mse', ...options });
  t.teardown(() => trainer.close());
  return await body(trainer);
};

export const train = async (t, options, fit = {}, model = perceptron(), data = regression) => {
  await withTrainer(t, model, options, (trainer) =>
    trainer.fit(data, { ...quiet, shuffle: false, ...fit }),
  );
  return values(model);
};

export const near = (t, actual, expected, limit) => {
  for (const [name, data] of expected) {
    const error = relativeError(actual.get(name), data);
    t.true(error <= limit, `${name}: ${error}`);
  }
};
