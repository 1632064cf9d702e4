// Runs that are interrupted and go on, against runs that were left alone: the same bits.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { crossEntropy, earlyStopping, reduceOnPlateau, sgd } from 'tandem-ml';
import { makeFolder } from '../helpers/folder.mjs';
import { generator } from '../helpers/numbers.mjs';
import { runModule } from '../helpers/process.mjs';
import { bits, kinds, start } from './support.mjs';

const worker = fileURLToPath(new URL('worker.mjs', import.meta.url));
const run = (options) =>
  spawn(process.execPath, [worker, JSON.stringify(options)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });

const until = (last) => ({ callbacks: [{ onBatchEnd: (step) => step < last - 1 }] });
const long = { epochs: 1_000_000 };
/** Without the bits of a NaN: what is compared is text. */
const text = (history) => JSON.stringify(history);

/** Everything that training has made, after `last` steps. */
async function finish(kind, last, more = {}, options = {}) {
  const { model, data, fit, trainer } = start(kind, options);
  const history = await trainer.fit(data, { ...fit, ...long, ...until(last), ...more });
  const averages = kinds[kind]().options.ema ? bits(await trainer.averagedModel()) : undefined;
  await trainer.close();
  return { parameters: bits(model), history: text(history), averages };
}

for (const kind of Object.keys(kinds)) {
  test(`${kind}: 200 steps are 100 steps, kill -9, and the rest`, async (t) => {
    const dir = await makeFolder(t);
    const child = run({ kind, dir, everySteps: 100, killAfter: 130, killOn: 100 });
    const [, signal] = await once(child, 'exit');
    t.is(signal, 'SIGKILL');
    const files = (await readdir(dir)).filter((name) => name.endsWith('.safetensors'));
    t.deepEqual(files, ['step-000000100.safetensors']);
    const whole = await finish(kind, 200);
    const path = join(dir, files[0] ?? '');
    t.deepEqual(await finish(kind, 200, { resumeFrom: path }), whole);
    const checkpoint = { dir, everySteps: 37 };
    t.deepEqual(await finish(kind, 200, { resumeFrom: 'latest', checkpoint }), whole);
  });
}

test('micro-batches, schedules and validation go on, too', async (t) => {
  const dir = await makeFolder(t);
  const options = () => ({
    gradientAccumulationSteps: 3,
    lrScheduler: reduceOnPlateau({ patience: 0, factor: 0.7, threshold: 0.05 }),
    checkNumerics: { skip: true },
    gradientCheckpointing: true,
  });
  const fit = { validationSplit: 0.1 };
  const whole = await finish('mlp', 40, fit, options());
  await finish('mlp', 23, { ...fit, checkpoint: { dir, everySteps: 7, keep: 2 } }, options());
  // The end of a fit has a checkpoint, too, which takes the epoch for done: that is not gone on from.
  const files = (await readdir(dir)).sort();
  t.deepEqual(files, ['step-000000021.safetensors', 'step-000000023.safetensors']);
  const resumeFrom = join(dir, files[0] ?? '');
  t.deepEqual(await finish('mlp', 40, { ...fit, resumeFrom }, options()), whole);
});

/** The steps that have a checkpoint. */
const stepsIn = async (dir) =>
  (await readdir(dir)).flatMap((name) => {
    const [, digits] = /^step-(\d+)\.safetensors$/.exec(name) ?? [];
    return digits === undefined ? [] : [Number(digits)];
  });

/** Kills a child some time after it has written a checkpoint; the newest that was there then. */
async function killFromOutside(t, dir, reached, random) {
  const child = run({ kind: 'mlp', dir, everySteps: 1, resumeFrom: 'latest' });
  const ended = once(child, 'exit');
  while (Math.max(0, ...(await stepsIn(dir))) <= reached) {
    t.is(child.exitCode, null);
    await wait(2);
  }
  await wait(12 * random());
  const before = Math.max(...(await stepsIn(dir)));
  child.kill('SIGKILL');
  await ended;
  return before;
}

/** A child that kills itself in the middle of writing its second checkpoint or its third. */
async function killWithin(t, dir, reached, random) {
  const kill = { checkpoint: 1 + Math.floor(2 * random()), share: random() };
  const child = run({ kind: 'mlp', dir, everySteps: 1, resumeFrom: 'latest', kill });
  const [, signal] = await once(child, 'exit');
  t.is(signal, 'SIGKILL');
  const unfinished = (await readdir(dir)).filter((name) => name.endsWith('.tmp'));
  t.is(unfinished.length, 1);
  t.true((await stat(join(dir, unfinished[0] ?? ''))).size > 0);
  return reached + kill.checkpoint;
}

test('killed while it writes, 50 times: nothing is lost but the unfinished file', async (t) => {
  const trials = async (count, seed) => {
    const random = generator(seed);
    const dir = await makeFolder(t);
    let reached = 0;
    for (let i = 0; i < count; i++) {
      const kill = i % 2 === 0 ? killWithin : killFromOutside;
      const before = await kill(t, dir, reached, random);
      const names = await readdir(dir);
      const after = await stepsIn(dir);
      reached = Math.max(...after);
      t.true(reached >= before, `${before} was there, ${reached} is`);
      t.true(after.length >= Math.min(3, reached), `${after}`);
      for (const name of names.filter((item) => item.endsWith('.safetensors'))) {
        const { trainer } = start('mlp');
        await t.notThrowsAsync(trainer.loadCheckpoint(join(dir, name)), name);
        await trainer.close();
      }
    }
    const whole = await finish('mlp', reached + 5);
    t.deepEqual(await finish('mlp', reached + 5, { resumeFrom: dir }), whole);
    const checkpoint = { dir, everySteps: 1000 };
    await finish('mlp', reached + 1, { resumeFrom: 'latest', checkpoint });
    t.false((await readdir(dir)).some((name) => name.endsWith('.tmp')));
  };
  await Promise.all([trials(25, 9), trials(25, 10)]);
});

test('SIGTERM saves and exits with 0', async (t) => {
  const dir = await makeFolder(t);
  const child = run({ kind: 'mlp', dir, everySteps: 1e6, exitOnSigterm: true, announce: 40 });
  const ended = once(child, 'exit');
  await once(child.stdout, 'data');
  child.kill('SIGTERM');
  t.deepEqual(await ended, [0, null]);
  const [file = ''] = await readdir(dir);
  const step = Number(/\d+/.exec(file)?.[0]);
  t.true(step > 40);
  const whole = await finish('mlp', step + 30);
  t.deepEqual(await finish('mlp', step + 30, { resumeFrom: join(dir, file) }), whole);
});

/** A process with a small and a large fit, which sends itself SIGTERM in the midst of both. */
const twoFits = (small, large) => `
  import { dense, sequential, Trainer } from 'tandem-ml';
  let begun = 0;
  async function fit(width, dir) {
    const model = sequential([dense(width), dense(width)], { input: [width], seed: 1 });
    const trainer = new Trainer(model, { loss: 'mse' });
    const data = { x: new Float32Array(16 * width), y: new Float32Array(16 * width) };
    const onBatchEnd = (step) => {
      if (step === 0 && ++begun === 2) process.kill(process.pid, 'SIGTERM');
    };
    await trainer.fit(data, {
      ...{ epochs: 1e6, batchSize: 8, verbose: 0, callbacks: [{ onBatchEnd }] },
      ...{ checkpoint: { dir, everySteps: 1e6 }, exitOnSigterm: true },
    });
    console.log('goes on');
  }
  await Promise.all([fit(8, ${JSON.stringify(small)}), fit(1024, ${JSON.stringify(large)})]);`;

test('SIGTERM waits until all fits of the process have saved', async (t) => {
  const [small, large] = [await makeFolder(t), await makeFolder(t)];
  const { status, stdout, stderr } = await runModule(twoFits(small, large));
  t.deepEqual({ status, stdout, stderr }, { status: 0, stdout: '', stderr: '' });
  for (const dir of [small, large]) t.is((await readdir(dir)).length, 1);
});

test('SIGTERM ends a fit within a callback of another, and then that one', async (t) => {
  const [outer, inner] = [await makeFolder(t), await makeFolder(t)];
  const body = `
    import { dense, sequential, Trainer } from 'tandem-ml';
    const fit = async (dir, callback) => {
      const trainer = new Trainer(sequential([dense(1)], { input: [1] }), { loss: 'mse' });
      await trainer.fit({ x: new Float32Array(8), y: new Float32Array(8) }, {
        ...{ epochs: 1e6, verbose: 0, callbacks: [callback] },
        ...{ checkpoint: { dir, everySteps: 1e6 }, exitOnSigterm: true },
      });
    };
    setTimeout(() => process.exit(3), 100_000);
    const kill = { onBatchEnd: (step) => void (step === 0 && process.kill(process.pid, 'SIGTERM')) };
    await fit(${JSON.stringify(outer)}, { onEpochEnd: () => fit(${JSON.stringify(inner)}, kill) });`;
  const { status, stderr } = await runModule(body);
  t.deepEqual({ status, stderr }, { status: 0, stderr: '' });
  for (const dir of [outer, inner]) t.is((await readdir(dir)).length, 1);
});

test('a fit that cannot save at SIGTERM fails, and the process does not exit with 0', async (t) => {
  const [small, large] = [await makeFolder(t), await makeFolder(t)];
  const broken = `import { rmdirSync, writeFileSync } from 'node:fs';
    process.once('SIGTERM', () => {
      rmdirSync(${JSON.stringify(large)});
      writeFileSync(${JSON.stringify(large)}, '');
    });`;
  const { status, stderr } = await runModule(`${broken} ${twoFits(small, large)}`);
  t.is(status, 1);
  t.regex(stderr, /ENOTDIR|EEXIST/);
  t.is((await readdir(small)).length, 1);
});

test('an abort saves first', async (t) => {
  const dir = await makeFolder(t);
  const controller = new AbortController();
  const abort = { onBatchEnd: (step) => void (step === 32 && controller.abort()) };
  const { data, fit, trainer } = start('mlp');
  const more = { checkpoint: { dir }, callbacks: [abort], signal: controller.signal };
  await t.throwsAsync(trainer.fit(data, { ...fit, ...more, epochs: 9 }), { code: 'ERR_ABORTED' });
  await trainer.close();
  t.deepEqual(await readdir(dir), ['step-000000029.safetensors', 'step-000000033.safetensors']);
  const whole = await finish('mlp', 60);
  const checkpoint = { dir };
  t.deepEqual(await finish('mlp', 60, { resumeFrom: 'latest', checkpoint }), whole);
});

test('a fit that has ended is not done again', async (t) => {
  const dir = await makeFolder(t);
  const once_ = async () => {
    const { model, data, fit, trainer } = start('mlp');
    const seen = [];
    const callbacks = [{ onEpochEnd: (epoch) => void seen.push(epoch) }];
    const checkpoint = { dir, everySteps: 20 };
    const options = { ...fit, checkpoint, resumeFrom: 'latest', epochs: 3, callbacks };
    const history = await trainer.fit(data, options);
    await trainer.close();
    return { parameters: bits(model), history: text(history), seen };
  };
  const first = await once_();
  t.deepEqual(first.seen, [0, 1, 2]);
  const again = await once_();
  t.deepEqual(again, { ...first, seen: [] });
});

test('callbacks get back what they kept', async (t) => {
  const dir = await makeFolder(t);
  const fit = { validationSplit: 0.2, epochs: 12 };
  const once_ = async (epochs, more = {}) => {
    const { model, data, fit: how, trainer } = start('mlp');
    const stopper = earlyStopping({ patience: 50, restoreBestWeights: true });
    const stop = { onEpochEnd: (epoch) => epoch < epochs - 1 };
    const callbacks = [stopper, stop];
    const history = await trainer.fit(data, { ...how, ...fit, ...more, callbacks });
    await trainer.close();
    const { best, bestEpoch } = stopper;
    return { parameters: bits(model), history: text(history), best, bestEpoch };
  };
  const whole = await once_(12);
  await once_(5, { checkpoint: { dir, keep: 9 } });
  t.deepEqual(await once_(12, { resumeFrom: dir }), whole);
});

test('what callbacks kept outlives a fit that ends before they get it back', async (t) => {
  const dir = await makeFolder(t);
  const kept = [];
  const once_ = async (hook) => {
    const { data, fit, trainer } = start('mlp');
    const controller = new AbortController();
    let epochs = 0;
    const counting = {
      onEpochEnd: () => void epochs++,
      saveState: () => epochs,
      loadState(state) {
        epochs = state;
        kept.push(state);
      },
    };
    const abort = { [hook]: () => controller.abort() };
    const callbacks = [counting, abort];
    const more = { checkpoint: { dir }, resumeFrom: 'latest', signal: controller.signal };
    const run = trainer.fit(data, { ...fit, ...more, epochs: 9, callbacks });
    await t.throwsAsync(run, { code: 'ERR_ABORTED' });
    await trainer.close();
  };
  for (const hook of ['onEpochEnd', 'onTrainBegin', 'onEpochEnd']) await once_(hook);
  t.deepEqual(kept, [1]);
});

test('saveCheckpoint and loadCheckpoint: fit goes on in the middle of an epoch', async (t) => {
  const dir = await makeFolder(t);
  const path = join(dir, 'c.safetensors');
  const { data, fit, trainer } = start('cnn');
  const save = {
    onBatchEnd: (step) => (step === 20 ? trainer.saveCheckpoint(path) : undefined),
  };
  await trainer.fit(data, { ...fit, epochs: 2, callbacks: [save] });
  const expected = bits(trainer.model);
  await trainer.close();
  const other = start('cnn');
  await other.trainer.loadCheckpoint(path);
  const copy = join(dir, 'd.safetensors');
  await other.trainer.saveCheckpoint(copy);
  const { epochs, loss } = await other.trainer.fit(data, fit);
  t.deepEqual([epochs, loss.length], [[1], 1]);
  t.deepEqual(bits(other.model), expected);
  await other.trainer.close();
  const third = start('cnn');
  await third.trainer.loadCheckpoint(copy);
  await third.trainer.fit(data, fit);
  t.deepEqual(bits(third.model), expected);
  await third.trainer.close();
});

const stopping = (more) => earlyStopping({ monitor: 'loss', patience: 2, ...more });

test('a fit that earlyStopping ended stays ended, with its best weights', async (t) => {
  for (const [rate, restoreBestWeights] of [
    [0, false],
    [50, true],
  ]) {
    const dir = await makeFolder(t);
    const once = async (patience = 2) => {
      const { model, data, fit, trainer } = start('mlp', {
        optimizer: sgd({ learningRate: rate }),
      });
      const callback = stopping({ restoreBestWeights, patience });
      const own = { ...fit, epochs: 30, shuffle: false, checkpoint: { dir }, resumeFrom: 'latest' };
      const history = await trainer.fit(data, { ...own, callbacks: [callback] });
      await trainer.close();
      const { stoppedEpoch, bestEpoch } = callback;
      return { bits: bits(model), history: text(history), stoppedEpoch, bestEpoch };
    };
    const first = await once();
    t.true(first.stoppedEpoch >= 2 && first.stoppedEpoch < 29);
    t.deepEqual(await once(), first);
    t.deepEqual(await once(), first);
    // More patience goes on.
    t.true((await once(4)).stoppedEpoch > first.stoppedEpoch);
  }
});

test('the newest checkpoint is of the newest run, also after fewer steps', async (t) => {
  const dir = await makeFolder(t);
  const checkpoint = { dir, everySteps: 10, keep: 9 };
  await finish('mlp', 40, { checkpoint });
  await finish('mlp', 20, { checkpoint });
  t.true((await readdir(dir)).includes('step-000000040.safetensors'));
  /** The step that a fit goes on with. */
  const firstStep = async (resumeFrom) => {
    let first = -1;
    const onBatchEnd = (step) => {
      first = step;
      return false;
    };
    await finish('mlp', 0, { resumeFrom, checkpoint, callbacks: [{ onBatchEnd }] });
    return first;
  };
  t.is(await firstStep('latest'), 20);
  t.is(await firstStep(dir), 21);
  // Going on from an older one begins a run, too.
  t.is(await firstStep(join(dir, 'step-000000010.safetensors')), 10);
  t.is(await firstStep('latest'), 11);
  // What cannot be read is passed over.
  await writeFile(join(dir, 'step-000000099.safetensors'), 'x');
  t.is(await firstStep('latest'), 12);
});

test('what a checkpoint was not saved with is refused, and changes nothing', async (t) => {
  const dir = await makeFolder(t);
  const own = { onEpochEnd() {}, saveState: () => 3, loadState() {} };
  const checkpoint = { dir };
  await finish('mlp', 58, { checkpoint, callbacks: [own, stopping()], epochs: 2 });
  const cases = [
    [{ callbacks: [stopping(), own] }, {}, /callbacks\[0\]/],
    [{ callbacks: [own] }, {}, /callbacks\[1\]/],
    [{ callbacks: [{ ...own, loadState: undefined }, stopping()] }, {}, /callbacks\[0\]/],
    [{ data: 100, callbacks: [own, stopping()] }, {}, /230 rows.*100 rows/],
    [
      { callbacks: [own, stopping()] },
      { loss: (output, target) => crossEntropy(output, target) },
      /loss/,
    ],
  ];
  for (const [{ data: rows, ...more }, options, message] of cases) {
    const { model, data, fit, trainer } = start('mlp', options);
    const before = bits(model);
    const some =
      rows === undefined ? data : { x: data.x.subarray(0, rows * 6), y: data.y.subarray(0, rows) };
    const resuming = trainer.fit(some, { ...fit, ...more, checkpoint, resumeFrom: 'latest' });
    await t.throwsAsync(resuming, { code: 'ERR_ARGUMENT', message });
    t.deepEqual(bits(model), before);
    await trainer.close();
  }
});

test('what callbacks keep comes back as it was, whatever its keys', async (t) => {
  const dir = await makeFolder(t);
  const state = { $array: 0, $number: 'x', $$a: [Number.NaN, -0], list: Float32Array.of(0.1) };
  const loaded = [];
  const own = {
    onEpochEnd() {},
    saveState: () => state,
    loadState: (kept) => loaded.push(kept),
  };
  const checkpoint = { dir };
  await finish('mlp', 5, { checkpoint, callbacks: [own], epochs: 1 });
  await finish('mlp', 5, { checkpoint, callbacks: [own], epochs: 1, resumeFrom: 'latest' });
  t.deepEqual(loaded, [state]);
});
