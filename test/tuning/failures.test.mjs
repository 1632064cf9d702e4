// Options that nothing can be built of, and models that are no new ones.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import {
  crossValidate,
  dense,
  search,
  sequential,
  sgd,
  space,
  TandemError,
  Trainer,
} from 'tandem-ml';
import { makeFolder } from '../helpers/folder.mjs';

const x = Float32Array.from({ length: 12 }, (_, i) => i / 12);
const data = { x, y: x };
const fit = { validationSplit: 0.5 };
const make = (units = 1) => sequential([dense(units), dense(1)], { input: [1], seed: 1 });
const train = (model) =>
  new Trainer(model, { loss: 'mse', optimizer: sgd({ learningRate: 1e-3 }) });

const common = { space: { units: space.int(-2, 4) }, data, trials: 12, seed: 3 };

for (const folds of [undefined, 2]) {
  test(`options that cannot be built fail their trial, folds ${folds}`, async (t) => {
    const file = join(await makeFolder(t), 'search.jsonl');
    const judged = folds === undefined ? { fit } : { folds };
    const options = { ...common, ...judged, file, strategy: 'random', epochs: 1 };
    const build = ({ units }) => train(make(units));
    const found = await search({ ...options, build });
    const failed = found.results.filter(({ error }) => error !== undefined);
    t.true(failed.length > 0 && failed.length < 12);
    t.true(failed.every((trial) => trial.options.units < 1 && Number.isNaN(trial.value)));
    t.regex(failed[0].error, /units/);
    t.is(found.results.length, 12);
    t.true(found.best.options.units > 0);
    // A build that has been mended is tried again.
    t.is((await readFile(file, 'utf8')).trim().split('\n').length, 1 + 12 - failed.length);
    const mended = await search({ ...options, build: ({ units }) => train(make(units + 4)) });
    t.true(mended.results.every(({ error }) => error === undefined));
  });
}

test('where no options can be built, search rejects with the first reason', async (t) => {
  const build = ({ units }) => train(make(units - 9));
  await t.throwsAsync(search({ ...common, build, fit }), {
    code: 'ERR_ARGUMENT',
    message: /units/,
  });
});

test('errors that no options are to blame for end the search', async (t) => {
  const own = () => {
    throw new Error('own');
  };
  await t.throwsAsync(search({ ...common, build: own, fit }), { message: 'own' });
  const build = () => train(make());
  const bad = { x, y: new Float32Array(5) };
  await t.throwsAsync(search({ ...common, data: bad, build, fit }), { instanceOf: TandemError });
  await t.throwsAsync(search({ ...common, build, fit, monitor: 'typo' }), { message: /monitor/ });
});

test('one model for all folds or trials is refused', async (t) => {
  const model = make();
  const build = () => train(model);
  const refusal = { code: 'ERR_ARGUMENT', message: /a new model each time/ };
  await t.throwsAsync(crossValidate({ build, data, folds: 3 }), refusal);
  const other = make();
  const again = { ...common, build: () => train(other), fit, strategy: 'random' };
  await t.throwsAsync(search(again), refusal);
});

test('confusion matrices of folds are kept, in the file, too', async (t) => {
  const file = join(await makeFolder(t), 'folds.jsonl');
  const y = Int32Array.from(x, (value) => (value > 0.5 ? 1 : 0));
  const build = () =>
    new Trainer(sequential([dense(2)], { input: [1] }), {
      loss: 'crossEntropy',
      metrics: ['confusionMatrix'],
    });
  const first = await crossValidate({ build, data: { x, y }, folds: 3, file });
  const sums = first.folds.map(({ matrices }) => matrices.confusionMatrix.flat());
  t.is(
    sums.flat().reduce((sum, count) => sum + count, 0),
    12,
  );
  t.false(first.table().includes('confusionMatrix'));
  const kept = await crossValidate({ build: () => t.fail(), data: { x, y }, folds: 3, file });
  t.deepEqual(kept.folds, first.folds);
});
