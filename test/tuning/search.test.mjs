// Searches: what is drawn, who goes on, what is kept.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { adam, dense, search, sequential, sgd, space, Trainer } from 'tandem-ml';
import { fromArrays } from 'tandem-ml/data';
import { halvingRungs, sample } from '../../dist/internals.js';
import { makeFolder } from '../helpers/folder.mjs';
import { make } from './child.mjs';

const data = { x: Float32Array.of(1, 2, 3, 4), y: Float32Array.of(2, 4, 6, 8) };
const build = ({ learningRate }) =>
  new Trainer(sequential([dense(1)], { input: [1], seed: 1 }), {
    loss: 'mse',
    optimizer: sgd({ learningRate }),
  });
const rates = { learningRate: space.logUniform(1e-6, 1e-3) };

/** What a repeated search must give again; times differ. */
const withoutTime = ({ results }) => results.map(({ seconds, ...rest }) => rest);

test('draws are spread as they should be', (t) => {
  const count = 4000;
  const from = {
    uniform: space.uniform(-2, 6),
    log: space.logUniform(1e-4, 1),
    int: space.int(3, 6),
    logInt: space.int(1, 1000, { log: true }),
    choice: space.choice(['a', 'b', 'c']),
  };
  const drawn = Array.from({ length: count }, (_, trial) => sample(from, 1, trial));
  const share = (holds) => drawn.filter(holds).length / count;
  // Four deviations of a share at most.
  const near = (found, expected) =>
    t.true(
      Math.abs(found - expected) < 4 * Math.sqrt((expected * (1 - expected)) / count),
      `${found}`,
    );
  near(
    share(({ uniform }) => uniform < 0),
    0.25,
  );
  t.true(drawn.every(({ uniform }) => uniform >= -2 && uniform <= 6));
  near(
    share(({ log }) => log < 1e-3),
    0.25,
  );
  t.true(drawn.every(({ log }) => log >= 1e-4 && log <= 1));
  for (const value of [3, 4, 5, 6])
    near(
      share(({ int }) => int === value),
      0.25,
    );
  t.true(drawn.every(({ int }) => Number.isInteger(int) && int >= 3 && int <= 6));
  near(
    share(({ logInt }) => logInt < 10),
    Math.log(10) / Math.log(1001),
  );
  t.true(drawn.every(({ logInt }) => Number.isInteger(logInt) && logInt >= 1 && logInt <= 1000));
  for (const value of ['a', 'b', 'c'])
    near(
      share(({ choice }) => choice === value),
      1 / 3,
    );
  // Options are drawn apart from each other.
  near(
    share(({ uniform, log }) => uniform < 2 && log < 1e-2),
    0.25,
  );
  t.deepEqual(sample(from, 1, 17), drawn[17]);
  t.notDeepEqual(sample(from, 2, 17), drawn[17]);
});

test('rungs of successive halving', (t) => {
  t.deepEqual(halvingRungs(27, 27, 3, 1), [
    { trials: 27, epochs: 1 },
    { trials: 9, epochs: 3 },
    { trials: 3, epochs: 9 },
    { trials: 1, epochs: 27 },
  ]);
  t.deepEqual(halvingRungs(20, 10, 3, 2), [
    { trials: 20, epochs: 3 },
    { trials: 6, epochs: 10 },
  ]);
  t.deepEqual(halvingRungs(1, 10, 3, 1), [{ trials: 1, epochs: 10 }]);
  t.deepEqual(halvingRungs(8, 1, 2, 1), [{ trials: 8, epochs: 1 }]);
});

test('the best of each rung goes on, and the best of the last is the best', async (t) => {
  const found = await make(undefined);
  const rungs = [0, 1, 2].map((rung) => found.results.filter((result) => result.rung === rung));
  t.deepEqual(
    rungs.map((results) => [results.length, results[0].epochs]),
    [
      [9, 1],
      [3, 3],
      [1, 9],
    ],
  );
  for (const [i, next] of [rungs[1], rungs[2]].entries()) {
    const best = rungs[i].toSorted((a, b) => a.value - b.value).slice(0, next.length);
    t.deepEqual(
      next.map(({ trial }) => trial),
      best.map(({ trial }) => trial),
    );
  }
  t.is(found.best, found.results.at(-1));
  t.is(found.best.scores.valLoss, found.best.value);
  t.deepEqual(withoutTime(await make(undefined)), withoutTime(found));
  const lines = found.table().split('\n');
  t.regex(lines[0], /trial +epochs +valLoss +learningRate +units +activation +seconds/);
  t.is(lines.length, 2 + 13);
  t.true(lines[2].trim().startsWith(`${found.best.trial + 1} `));
});

test('a random search trains every trial for all epochs', async (t) => {
  const options = { space: rates, build, data, fit: { validationSplit: 0.5 } };
  const found = await search({ ...options, strategy: 'random', trials: 4, epochs: 3 });
  t.deepEqual(
    found.results.map(({ trial, epochs }) => [trial, epochs]),
    [
      [0, 3],
      [1, 3],
      [2, 3],
      [3, 3],
    ],
  );
  // The steepest rate of these gets furthest.
  const largest = Math.max(...found.results.map(({ options: { learningRate } }) => learningRate));
  t.is(found.best.options.learningRate, largest);
});

test('larger is better where the name or mode says so', async (t) => {
  const options = {
    space: rates,
    build,
    data,
    fit: { validationSplit: 0.5 },
    trials: 4,
    epochs: 1,
  };
  const up = await search({ ...options, mode: 'max' });
  const down = await search(options);
  t.is(Math.max(...up.results.map(({ value }) => value)), up.best.value);
  t.is(Math.min(...down.results.map(({ value }) => value)), down.best.value);
});

async function runUntil(file, results) {
  const child = spawn(
    process.execPath,
    [fileURLToPath(new URL('child.mjs', import.meta.url)), file, String(results)],
    { stdio: 'inherit' },
  );
  const [, signal] = await once(child, 'exit');
  return signal;
}

test('after kill -9 it goes on with the same trials and results', async (t) => {
  const dir = await makeFolder(t);
  const file = join(dir, 'search.jsonl');
  const expected = withoutTime(await make(undefined));
  for (const results of [1, 5, 9, 11]) {
    t.is(await runUntil(file, results), 'SIGKILL');
    const lines = (await readFile(file, 'utf8')).trim().split('\n').slice(1).map(JSON.parse);
    t.is(lines.length, results);
    for (const [i, { result }] of lines.entries()) {
      const { seconds, ...kept } = result;
      t.deepEqual(kept, expected[i]);
    }
  }
  let built = 0;
  const found = await make(file, (trainer) => {
    built++;
    return trainer;
  });
  t.is(built, 2);
  t.deepEqual(withoutTime(found), expected);
  t.deepEqual(await readdir(dir), ['search.jsonl']);
  await make(file, () => t.fail());
});

test('an abort leaves what was done', async (t) => {
  const file = join(await makeFolder(t), 'search.jsonl');
  const controller = new AbortController();
  let built = 0;
  const options = {
    space: rates,
    data,
    build: (drawn) => {
      if (++built === 3) controller.abort(new Error('enough'));
      return build(drawn);
    },
    fit: { validationSplit: 0.5 },
    trials: 5,
    file,
  };
  const error = await t.throwsAsync(search({ ...options, signal: controller.signal }), {
    code: 'ERR_ABORTED',
  });
  t.is(error.cause.message, 'enough');
  t.is((await readFile(file, 'utf8')).trim().split('\n').length, 3);
});

test('a loss that is not finite fails the trial alone', async (t) => {
  const file = join(await makeFolder(t), 'search.jsonl');
  const options = {
    space: { learningRate: space.choice([1e-3, 1e30]) },
    build: ({ learningRate }) =>
      new Trainer(sequential([dense(1)], { input: [1], seed: 1 }), {
        loss: 'mse',
        optimizer: sgd({ learningRate }),
        checkNumerics: true,
      }),
    data,
    fit: { validationSplit: 0.5, batchSize: 1 },
    trials: 8,
    strategy: 'random',
    file,
  };
  const found = await search(options);
  const failed = found.results.filter(({ error }) => error !== undefined);
  t.true(failed.length > 0 && failed.length < 8);
  for (const { options: drawn, value } of failed) {
    t.is(drawn.learningRate, 1e30);
    t.is(value, Number.NaN);
  }
  t.is(found.best.options.learningRate, 1e-3);
  t.regex(found.table(), /failed/);
  t.deepEqual(withoutTime(await search({ ...options, build: () => t.fail() })), withoutTime(found));
  const hopeless = { ...options, space: { learningRate: space.uniform(1e30, 1e31) } };
  const none = await search({ ...hopeless, file: undefined });
  t.is(none.best, undefined);
});

test('with folds a trial is judged by their mean', async (t) => {
  const options = { space: rates, build, data, folds: 2, trials: 3, epochs: 2, strategy: 'random' };
  const found = await search(options);
  t.true(found.results.every(({ value, scores }) => value === scores.loss && value > 0));
  t.deepEqual(withoutTime(await search(options)), withoutTime(found));
  const dataset = await search({ ...options, data: fromArrays(data) });
  t.deepEqual(withoutTime(dataset), withoutTime(found));
});

test('a file of another search or a broken one is refused, and kept', async (t) => {
  const file = join(await makeFolder(t), 'search.jsonl');
  const options = { space: rates, build, data, fit: { validationSplit: 0.5 }, trials: 2, file };
  await search(options);
  const text = await readFile(file, 'utf8');
  for (const change of [
    { seed: 1 },
    { trials: 3 },
    { space: { learningRate: space.logUniform(1e-6, 1e-2) } },
    { fit: { validationSplit: 0.25 } },
    { monitor: 'loss' },
  ]) {
    await t.throwsAsync(search({ ...options, ...change }), {
      code: 'ERR_ARGUMENT',
      message: /file/,
    });
  }
  t.is(await readFile(file, 'utf8'), text);
  const [head, line] = text.split('\n');
  for (const [broken, number] of [
    ['', 1],
    ['{"a":1}', 1],
    [`${head}\n${line}\n{"key":`, 3],
    [`${head}\n{"key":3}`, 2],
    ['\u0000\u0001', 1],
  ]) {
    await writeFile(file, broken);
    const message = new RegExp(`line ${number}$`);
    await t.throwsAsync(search(options), { code: 'ERR_FILE_FORMAT', message });
    t.is(await readFile(file, 'utf8'), broken);
  }
});

test('a choice of things that are no JSON is shown by number', async (t) => {
  const makers = [() => sgd({ learningRate: 1e-3 }), () => adam()];
  const found = await search({
    space: { optimizer: space.choice(makers) },
    build: ({ optimizer }) => {
      t.true(makers.includes(optimizer));
      const model = sequential([dense(1)], { input: [1], seed: 1 });
      return new Trainer(model, { loss: 'mse', optimizer: optimizer() });
    },
    data,
    fit: { validationSplit: 0.5 },
    trials: 3,
    strategy: 'random',
    epochs: 1,
  });
  t.regex(found.table(), /#[01]/);
});

test('refuses what is wrong', async (t) => {
  const good = { space: rates, build, data, fit: { validationSplit: 0.5 }, trials: 1 };
  for (const wrong of [
    { space: {} },
    { space: { learningRate: 3 } },
    { build: undefined },
    { build: () => 3 },
    { data: undefined },
    { trials: 0 },
    { strategy: 'grid' },
    { factor: 1 },
    { epochs: 4, minEpochs: 5 },
    { strategy: 'random', factor: 3 },
    { strategy: 'random', minEpochs: 1 },
    { monitor: 'valLos' },
    { fit: { epochs: 3 } },
    { fit: { validationSplit: 2 } },
    { seed: -1 },
    { tries: 3 },
  ]) {
    await t.throwsAsync(
      search({ ...good, ...wrong }),
      { code: 'ERR_ARGUMENT' },
      JSON.stringify(wrong),
    );
  }
  t.throws(() => space.logUniform(0, 1), { code: 'ERR_ARGUMENT' });
  t.throws(() => space.uniform(2, 1), { code: 'ERR_ARGUMENT' });
  t.throws(() => space.int(0, 1, { log: true }), { code: 'ERR_ARGUMENT' });
  t.throws(() => space.choice([]), { code: 'ERR_ARGUMENT' });
});
