// A search that kills itself after so many results: see search.test.mjs.
import { readFileSync } from 'node:fs';
import { adam, dense, search, sequential, space, Trainer } from 'tandem-ml';

const rows = 64;
const x = Float32Array.from({ length: rows }, (_, i) => Math.sin(i));
const y = x.map((value, i) => 2 * value + Math.cos(i) / 10);

/** The search of the tests; the same each time. */
export const make = (file, build = (trainer) => trainer) =>
  search({
    space: {
      learningRate: space.logUniform(1e-4, 1),
      units: space.int(1, 8),
      activation: space.choice(['relu', 'tanh']),
    },
    build: ({ learningRate, units, activation }) => {
      const model = sequential([dense(units, { activation }), dense(1)], { input: [1], seed: 1 });
      return build(new Trainer(model, { loss: 'mse', optimizer: adam({ learningRate }) }));
    },
    data: { x, y },
    fit: { validationSplit: 0.25, batchSize: 16 },
    trials: 9,
    epochs: 9,
    seed: 5,
    ...(file && { file }),
  });

const [, , file, results] = process.argv;
if (results !== undefined) {
  // Trainers are made one by one: the results of those before are in the file by then.
  await make(file, (trainer) => {
    const done = (() => {
      try {
        return readFileSync(file, 'utf8').split('\n').length - 2;
      } catch {
        return 0;
      }
    })();
    if (done >= Number(results)) process.kill(process.pid, 'SIGKILL');
    return trainer;
  });
}
