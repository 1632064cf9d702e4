// Files and folders of checkpoints: what stays, what is refused, and the format of older versions.
import { execFile } from 'node:child_process';
import { copyFile, mkdir, readdir, readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import test from 'ava';
import { adam, dense, earlyStopping, sequential, sgd, Trainer } from 'tandem-ml';
import { copyArrays, copyWeights, restoreWeights } from '../../dist/internals.js';
import { makeFolder } from '../helpers/folder.mjs';
import { relativeError } from '../helpers/numbers.mjs';
import { bits, hex, quiet, start } from './support.mjs';

const epochs = (count, more) => ({ ...quiet, epochs: count, ...more });
const make = (t, kind, more) => {
  const made = start(kind, more);
  t.teardown(() => made.trainer.close());
  return made;
};

test('the newest ones stay, and the best', async (t) => {
  const dir = join(await makeFolder(t), 'deep', 'er');
  const { data, trainer } = make(t, 'mlp');
  const checkpoint = { dir, keep: 2, keepBest: 'valLoss' };
  const fit = epochs(5, { checkpoint, validationSplit: 0.2, batchSize: 46 });
  const { valLoss = [] } = await trainer.fit(data, fit);
  t.deepEqual((await readdir(dir)).sort(), [
    'best.safetensors',
    'step-000000016.safetensors',
    'step-000000020.safetensors',
  ]);
  const best = make(t, 'mlp');
  await best.trainer.loadCheckpoint(join(dir, 'best.safetensors'));
  const held = { x: data.x.subarray(184 * 6), y: data.y.subarray(184) };
  const { loss } = await best.trainer.evaluate(held, { batchSize: 46 });
  t.is(loss, Math.min(...valLoss));
});

/** A metric that counts epochs, so that the first one is the best. */
test('an empty folder starts anew, and one that is not there, too', async (t) => {
  const dir = await makeFolder(t);
  const plain = make(t, 'mlp');
  await plain.trainer.fit(plain.data, epochs(1));
  for (const path of [dir, join(dir, 'new')]) {
    const { model, data, trainer } = make(t, 'mlp');
    await trainer.fit(data, epochs(1, { checkpoint: { dir: path }, resumeFrom: 'latest' }));
    t.deepEqual(bits(model), bits(plain.model));
  }
  await mkdir(join(dir, 'empty'));
  const { data, trainer } = make(t, 'mlp');
  await trainer.fit(data, epochs(1, { resumeFrom: join(dir, 'empty') }));
  const missing = epochs(1, { resumeFrom: join(dir, 'missing') });
  await t.throwsAsync(trainer.fit(data, missing), { code: 'ENOENT' });
});

test.serial('a damaged file is passed over for the one before it', async (t) => {
  const dir = await makeFolder(t);
  const { data, trainer } = make(t, 'mlp');
  await trainer.fit(data, epochs(2, { checkpoint: { dir } }));
  const [older = '', newest = ''] = (await readdir(dir)).sort();
  await truncate(join(dir, newest), 1000);
  const warnings = [];
  const listen = ({ message }) => void warnings.push(message);
  process.on('warning', listen);
  t.teardown(() => process.off('warning', listen));
  const next = make(t, 'mlp');
  const history = await next.trainer.fit(data, epochs(2, { resumeFrom: dir }));
  t.deepEqual(history.epochs, [0, 1]);
  t.deepEqual(bits(next.model), bits(trainer.model));
  await new Promise((resolve) => setImmediate(resolve));
  t.true(
    warnings.some((message) => message.includes(newest)),
    String(warnings),
  );
  await truncate(join(dir, older), 10);
  const bad = { code: 'ERR_FILE_FORMAT' };
  await t.throwsAsync(next.trainer.fit(data, epochs(1, { resumeFrom: dir })), bad);
});

test('other models, trainers and files are refused, and change nothing', async (t) => {
  const dir = await makeFolder(t);
  const path = join(dir, 'c.safetensors');
  const { trainer } = make(t, 'mlp');
  await trainer.saveCheckpoint(path);
  const refuses = async (other, code, message) => {
    const before = bits(other.model);
    await t.throwsAsync(other.trainer.loadCheckpoint(path), { code, message });
    t.deepEqual(bits(other.model), before);
  };
  await refuses(make(t, 'cnn'), 'ERR_FILE_FORMAT', /conv2d/);
  const optimizer = adam({ learningRate: 1 });
  await refuses(make(t, 'mlp', { seed: 12 }), 'ERR_ARGUMENT', /seed/);
  await refuses(make(t, 'mlp', { optimizer: sgd() }), 'ERR_FILE_FORMAT', /optimizer/);
  await refuses(make(t, 'mlp', { gradientAccumulationSteps: 2 }), 'ERR_ARGUMENT', /Accumulation/);
  await refuses(make(t, 'mlp', { precision: 'bf16-mixed' }), 'ERR_ARGUMENT', /precision/);
  await refuses(make(t, 'mlp', { ema: {} }), 'ERR_FILE_FORMAT', /averages/);
  const same = make(t, 'mlp', { optimizer });
  await same.trainer.loadCheckpoint(path);
  const model = join(dir, 'm.safetensors');
  await trainer.model.save(model);
  const bad = { code: 'ERR_FILE_FORMAT' };
  await t.throwsAsync(trainer.loadCheckpoint(model), { ...bad, message: /checkpoint/ });
  await t.throwsAsync(trainer.loadCheckpoint(join(dir, 'none')), { code: 'ENOENT' });
});

test('damaged state is refused', async (t) => {
  const path = join(await makeFolder(t), 'c.safetensors');
  const { trainer } = make(t, 'mlp');
  await trainer.saveCheckpoint(path);
  const whole = await readFile(path);
  const length = Number(whole.readBigUInt64LE(0));
  const header = JSON.parse(whole.subarray(8, 8 + length).toString());
  const write = async (change) => {
    const copy = structuredClone(header);
    const state = JSON.parse(copy.__metadata__.state);
    change(state, copy);
    copy.__metadata__.state = typeof state === 'string' ? state : JSON.stringify(state);
    const json = Buffer.from(JSON.stringify(copy));
    const size = Buffer.alloc(8);
    size.writeBigUInt64LE(BigInt(json.length));
    await writeFile(path, Buffer.concat([size, json, whole.subarray(8 + length)]));
  };
  await write(() => {});
  await trainer.loadCheckpoint(path);
  // As before there was fp16-mixed.
  await write(({ progress }) => {
    for (const name of ['skipped', 'lossScale', 'scaleSteps']) delete progress[name];
  });
  await trainer.loadCheckpoint(path);
  for (const change of [
    (state) => delete state.progress,
    (state) => (state.progress.step = -1),
    (state) => (state.progress.backoff = 'x'),
    (state) => (state.progress.skipped = 1),
    (state) => (state.progress.lossScale = 3),
    (state) => (state.progress.scaleSteps = 2000),
    (state) => (state.position.epoch = 0.5),
    (state) => (state.position.means = { rows: 1 }),
    (state) => (state.position.learningRate = { $number: 'many' }),
    (state) => (state.setup.slots = null),
    (state) => (state.position.fit = { history: [] }),
    (_, file) => (file.__metadata__.version = '2'),
    (_, file) => (file.__metadata__.version = 'one'),
    (_, file) => (file.__metadata__.format = 'pt'),
  ]) {
    await write(change);
    const error = await t.throwsAsync(trainer.loadCheckpoint(path), { code: 'ERR_FILE_FORMAT' });
    t.true((error?.message.length ?? 0) > 10);
  }
});

test('state of callbacks that contains itself, or is too deep to read again, is refused', async (t) => {
  const dir = await makeFolder(t);
  const nested = (levels) => {
    let state = {};
    for (let i = 0; i < levels; i++) state = { a: [state] };
    return state;
  };
  const circle = {};
  circle.next = { circle };
  let state;
  const callback = { onEpochEnd() {}, saveState: () => state, loadState() {} };
  const save = epochs(1, { checkpoint: { dir }, callbacks: [callback] });
  for (const bad of [circle, nested(2000), nested(200_000)]) {
    const { data, trainer } = make(t, 'mlp');
    state = bad;
    const error = await t.throwsAsync(trainer.fit(data, save), { code: 'ERR_ARGUMENT' });
    t.regex(error?.message ?? '', /levels or fewer for `checkpoint.position.fit.callbacks\[0\]/);
    t.deepEqual(await readdir(dir), []);
  }
  const { data, trainer } = make(t, 'mlp');
  state = nested(100);
  await trainer.fit(data, save);
  await make(t, 'mlp').trainer.fit(data, { ...save, epochs: 2, resumeFrom: 'latest' });
});

test('state that a callback refuses changes nothing', async (t) => {
  const dir = await makeFolder(t);
  const keeping = (loadState) => ({ onTrainBegin() {}, saveState: () => 1, loadState });
  const { data, trainer } = make(t, 'mlp');
  const callbacks = [
    keeping(() => {}),
    earlyStopping({ monitor: 'loss', restoreBestWeights: true }),
  ];
  await trainer.fit(data, epochs(2, { checkpoint: { dir }, callbacks }));
  const other = make(t, 'mlp');
  const before = bits(other.model);
  callbacks[0] = keeping(() => {
    throw new Error('mine');
  });
  const resuming = other.trainer.fit(data, epochs(3, { resumeFrom: dir, callbacks }));
  await t.throwsAsync(resuming, { message: 'mine' });
  t.deepEqual(bits(other.model), before);
  const plain = make(t, 'mlp');
  const [found, expected] = [
    await other.trainer.fit(data, epochs(2)),
    await plain.trainer.fit(data, epochs(2)),
  ];
  t.deepEqual(found, expected);
  t.deepEqual(bits(other.model), bits(plain.model));
});

test('rows that are refused before a run goes on change nothing', async (t) => {
  const dir = await makeFolder(t);
  const checking = { checkNumerics: true };
  const { data, trainer } = make(t, 'mlp', checking);
  await trainer.fit(data, epochs(2, { checkpoint: { dir } }));
  const other = make(t, 'mlp', checking);
  const before = bits(other.model);
  const x = Float32Array.from(data.x);
  x[0] = Number.NaN;
  const resuming = other.trainer.fit({ ...data, x }, epochs(3, { resumeFrom: dir }));
  await t.throwsAsync(resuming, { code: 'ERR_NUMERIC', message: /for `x/ });
  t.deepEqual(bits(other.model), before);
});

test('options of checkpoints are checked', async (t) => {
  const { data, trainer } = make(t, 'mlp');
  const dir = await makeFolder(t);
  for (const options of [
    { checkpoint: {} },
    { checkpoint: { dir, everySteps: 0 } },
    { checkpoint: { dir, keep: 0 } },
    { checkpoint: { dir, every: 3 } },
    { checkpoint: { dir, keepBest: 'valLoss' } },
    { resumeFrom: 'latest' },
    { resumeFrom: 3 },
    { exitOnSigterm: true },
    { retry: { attempts: -1 } },
    { retry: 3 },
  ]) {
    const run = trainer.fit(data, { ...quiet, ...options });
    await t.throwsAsync(run, { code: 'ERR_ARGUMENT' }, JSON.stringify(options));
  }
});

test('within an epoch, batches have to be as they were', async (t) => {
  const dir = await makeFolder(t);
  const { data, trainer } = make(t, 'mlp');
  const path = join(dir, 'c.safetensors');
  const save = {
    onBatchEnd: (step) => (step === 3 ? trainer.saveCheckpoint(path) : undefined),
  };
  await trainer.fit(data, { ...quiet, batchSize: 10, callbacks: [save] });
  for (const options of [{ batchSize: 5 }, { batchSize: 10, shuffle: false }]) {
    const run = trainer.fit(data, { ...quiet, ...options, resumeFrom: path });
    await t.throwsAsync(run, { code: 'ERR_ARGUMENT', message: /as when/ });
  }
});

test('what cannot be written ends fit with the reason', async (t) => {
  const dir = await makeFolder(t);
  const { data, trainer } = make(t, 'mlp');
  await writeFile(join(dir, 'file'), '');
  const under = epochs(1, { checkpoint: { dir: join(dir, 'file') } });
  await t.throwsAsync(trainer.fit(data, under), { message: /EEXIST|ENOTDIR/ });
  const target = join(dir, 'gone');
  // A folder in the place of the file.
  const block = { onEpochBegin: () => mkdir(join(target, 'step-000000029.safetensors')) };
  const blocked = epochs(3, { checkpoint: { dir: target }, batchSize: 8, callbacks: [block] });
  const error = await t.throwsAsync(trainer.fit(data, blocked));
  t.regex(String(error), /EISDIR|ENOTEMPTY|EEXIST|EPERM/);
});

test('runs that save to one folder at a time do not end each other', async (t) => {
  const dir = await makeFolder(t);
  const checkpoint = { dir, everySteps: 1, keep: 1, keepBest: 'loss' };
  const run = async () => {
    for (let i = 0; i < 8; i++) {
      const { data, trainer } = make(t, 'mlp');
      await trainer.fit(data, epochs(1, { checkpoint, batchSize: 46 }));
    }
  };
  await t.notThrowsAsync(Promise.all([run(), run(), run(), run()]));
  const left = await readdir(dir);
  t.deepEqual(
    left.filter((name) => name.endsWith('.tmp')),
    [],
  );
  const { data, trainer } = make(t, 'mlp');
  await trainer.fit(data, epochs(1, { checkpoint, batchSize: 46, resumeFrom: 'latest' }));
});

// A process of its own: what waits for the folder without end holds it, too.
const unwritable = process.platform === 'linux' ? test : test.skip;
unwritable(
  'a folder that cannot be made or written to ends fit, and nothing is lost',
  async (t) => {
    const program = `
    import { dense, sequential, tensorBoard, Trainer } from 'tandem-ml';
    const data = { x: new Float32Array(64), y: new Float32Array(64).fill(1) };
    const fit = async (options) => {
      const model = sequential([dense(1)], { input: [1] });
      const trainer = new Trainer(model, { loss: 'mse' });
      const bias = model.parameters.get('dense.bias').data;
      const [before] = bias;
      const outcome = await trainer.fit(data, { verbose: 0, ...options }).catch((error) => error);
      const learned = bias[0] !== before;
      const { loss } = await trainer.fit(data, { verbose: 0 });
      console.log(outcome.code, outcome.syscall, learned, Number.isFinite(loss[0]));
      await trainer.close();
    };
    await fit({ checkpoint: { dir: '/proc/nothing/here' } });
    await fit({ callbacks: [tensorBoard({ dir: '/proc/nothing/here' })] });
    await fit({ checkpoint: { dir: '/proc' } });
  `;
    const args = ['--input-type=module', '--eval', program];
    const limits = { timeout: 100_000, killSignal: /** @type {const} */ ('SIGKILL') };
    const { stdout } = await promisify(execFile)(process.execPath, args, {
      cwd: fileURLToPath(new URL('../..', import.meta.url)),
      ...limits,
    });
    t.deepEqual(stdout.trim().split('\n'), [
      'ENOENT mkdir false true',
      'ENOENT mkdir true true',
      'ENOENT open true true',
    ]);
  },
);

test('a trainer that trains is busy, and one that is closed is closed', async (t) => {
  const path = join(await makeFolder(t), 'c.safetensors');
  const { data, trainer } = start('mlp');
  const running = trainer.fit(data, epochs(50));
  await t.throwsAsync(trainer.loadCheckpoint(path), { code: 'ERR_BUSY' });
  await running;
  await trainer.close();
  await t.throwsAsync(trainer.saveCheckpoint(path), { code: 'ERR_CLOSED' });
  await t.throwsAsync(trainer.loadCheckpoint(path), { code: 'ERR_CLOSED' });
  await t.throwsAsync(trainer.averagedModel(), { code: 'ERR_CLOSED' });
  await t.throwsAsync(trainer.findLearningRate(data), { code: 'ERR_CLOSED' });
});

// Written by `node test/training/golden.mjs` with the first version of the format.
test('version 1 of the format is read', async (t) => {
  const path = fileURLToPath(new URL('../golden/checkpoint/v1.safetensors', import.meta.url));
  const copy = join(await makeFolder(t), 'v1.safetensors');
  await copyFile(path, copy);
  const golden = () => {
    const model = sequential([dense(3, { activation: 'tanh' }), dense(1)], { input: [2], seed: 5 });
    const optimizer = adam({ learningRate: 0.01 });
    const trainer = new Trainer(model, { loss: 'mse', optimizer, ema: { decay: 0.5 }, seed: 3 });
    t.teardown(() => trainer.close());
    return trainer;
  };
  const x = Float32Array.from({ length: 20 }, (_, i) => Math.sin(i));
  const data = { x, y: x.subarray(0, 10) };
  const fit = { ...quiet, batchSize: 4, epochs: 4 };
  const whole = golden();
  const expected = await whole.fit(data, fit);
  const resumed = golden();
  const history = await resumed.fit(data, { ...fit, resumeFrom: copy });
  t.deepEqual(history.epochs, [0, 1, 2, 3]);
  t.true(relativeError(history.loss, expected.loss) < 1e-5);
  const averages = await whole.averagedModel();
  for (const [name, { data: values }] of (await resumed.averagedModel()).parameters) {
    t.true(relativeError(values, averages.parameters.get(name)?.data) < 1e-4, name);
  }
});

test('large arrays are copied over several turns of the event loop', async (t) => {
  const arrays = [2 ** 20 + 3, 1, 2 ** 19].map((length) =>
    Float32Array.from({ length }, (_, i) => i % 1013),
  );
  let turns = 0;
  let over = false;
  const count = () => {
    turns++;
    if (!over) setImmediate(count);
  };
  setImmediate(count);
  const copies = await copyArrays(arrays);
  over = true;
  t.true(copies.every((copy, i) => copy.every((value, k) => value === arrays[i][k])));
  t.true(copies.every((copy, i) => copy.buffer !== arrays[i].buffer));
  // A megabyte a turn.
  t.true(turns >= 6, `${turns}`);
  const model = sequential([dense(1024)], { input: [1024], seed: 1 });
  const weights = await copyWeights(model);
  const before = bits(model);
  for (const { data } of model.parameters.values()) data.fill(7);
  await restoreWeights(model, weights);
  t.true(bits(model)['dense.weight'] === before['dense.weight']);
});

test('a trainer that is closed while fit ends has the best weights, whole', async (t) => {
  const model = sequential([dense(2048, { name: 'a' })], { input: [1024], seed: 1 });
  const trainer = new Trainer(model, { loss: 'mse', optimizer: sgd({ learningRate: 100 }) });
  const stopping = earlyStopping({ monitor: 'loss', patience: 1, restoreBestWeights: true });
  let best = '';
  let closing = Promise.resolve();
  const watching = {
    onEpochEnd(epoch) {
      if (epoch === 0) best = hex(model.parameters.get('a.weight').data);
    },
  };
  const { onTrainEnd } = stopping;
  stopping.onTrainEnd = (...given) => {
    const restoring = onTrainEnd.apply(stopping, given);
    // The weights are on their way back.
    closing = trainer.close();
    return restoring;
  };
  const data = { x: new Float32Array(4 * 1024).fill(1), y: new Float32Array(4 * 2048).fill(1) };
  const fitting = trainer.fit(data, { epochs: 3, callbacks: [watching, stopping], ...quiet });
  await t.throwsAsync(fitting, { code: 'ERR_CLOSED' });
  await closing;
  // Texts too long to show where they differ.
  t.true(hex(model.parameters.get('a.weight').data) === best);
  t.is(stopping.bestEpoch, 0);
});

test('best weights that are not those of the model are refused', (t) => {
  const { trainer } = make(t, 'mlp');
  const { parameters } = trainer.model;
  const whole = () =>
    Object.fromEntries([...parameters].map(([name, { data }]) => [name, data.slice()]));
  const [name = ''] = parameters.keys();
  const load = (weights) => {
    const stopping = earlyStopping({ restoreBestWeights: true });
    stopping.onTrainBegin?.(trainer, ['valLoss']);
    return stopping.loadState?.({ best: 1, bestEpoch: 0, wait: 0, stoppedEpoch: -1, weights });
  };
  t.true(load(whole()));
  t.true(load({}));
  const lacking = whole();
  delete lacking[name];
  const longer = new Float32Array((parameters.get(name)?.data.length ?? 0) + 1);
  for (const weights of [lacking, { ...whole(), [name]: longer }, { ...whole(), [name]: 'x' }]) {
    t.throws(() => load(weights), { code: 'ERR_FILE_FORMAT', message: /weights\./ });
  }
});
