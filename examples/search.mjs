// Searches for a network that reads digits well: 27 sets of options by successive halving, then the best
// of them by cross-validation. Run it again to see that results in out/ are not computed twice, which
// they are with --quick, in a folder of its own.
import { mkdir, rm } from 'node:fs/promises';
import {
  adamw,
  crossValidate,
  dense,
  dropout,
  search,
  sequential,
  space,
  Trainer,
} from 'tandem-ml';
import { classes, loadDigits, pixels } from './lib/digits.mjs';
import { out, quick } from './lib/options.mjs';

await mkdir(out, { recursive: true });
const files = { search: new URL('search.jsonl', out), folds: new URL('search-folds.jsonl', out) };
if (quick) await Promise.all(Object.values(files).map((file) => rm(file, { force: true })));
const [train, validation] = await loadDigits({ sizes: [1000, 400], seed: 1 });

/** @param {{ learningRate: number, units: number, rate: number, activation: 'relu' | 'tanh' }} options */
function build({ learningRate, units, rate, activation }) {
  const layers = [dense(units, { activation }), dropout(rate), dense(classes)];
  return new Trainer(sequential(layers, { input: [pixels], seed: 1 }), {
    loss: 'crossEntropy',
    optimizer: adamw({ learningRate }),
    metrics: ['accuracy', 'f1'],
    seed: 1,
  });
}

const found = await search({
  space: {
    learningRate: space.logUniform(1e-4, 1e-1),
    units: space.int(16, 256, { log: true }),
    rate: space.uniform(0, 0.5),
    activation: space.choice(['relu', 'tanh']),
  },
  build,
  data: train,
  fit: { validationData: validation, batchSize: 32 },
  trials: 27,
  epochs: 27,
  seed: 1,
  file: files.search,
  verbose: 1,
});
const { best } = found;
if (best === undefined) throw new Error('expected a trial that did not fail');
console.log(`\n${found.table()}\n`);

const folds = await crossValidate({
  build: () => build(best.options),
  data: train,
  epochs: best.epoch + 1,
  file: files.folds,
});
console.log(`The best of them, in 5 folds of the training data\n\n${folds.table()}`);
