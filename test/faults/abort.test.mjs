// AbortSignal: before, during and after.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import test from 'ava';
import { dense, Predictor, sequential, TandemError } from 'tandem-ml';
import { fromArrays, fromBatches } from 'tandem-ml/data';
import { makeFolder } from '../helpers/folder.mjs';
import { listenerWarnings } from '../helpers/warnings.mjs';
import { bits, build, ends, makeData, makeTrainer, makeX, quiet, startFit } from './support.mjs';

const aborted = { instanceOf: TandemError, code: 'ERR_ABORTED' };

test('a fit aborted before it begins leaves the model alone', async (t) => {
  const trainer = makeTrainer();
  const before = bits(trainer.model);
  const signal = AbortSignal.abort('never');
  const error = await t.throwsAsync(trainer.fit(makeData(64), { ...quiet, signal }), aborted);
  t.is(error.cause, 'never');
  t.deepEqual(bits(trainer.model), before);
  const controller = new AbortController();
  const fit = trainer.fit(makeData(64), { ...quiet, signal: controller.signal });
  controller.abort();
  await t.throwsAsync(fit, aborted);
  t.deepEqual(bits(trainer.model), before);
  await trainer.fit(makeData(64), quiet);
  t.notDeepEqual(bits(trainer.model), before);
  await trainer.close();
});

/** Of 30 turns of the event loop, in the last of which there is a label out of range. */
function longLabels() {
  const rows = 30 * 2 ** 18;
  const y = new Uint8Array(rows);
  y[rows - 1] = 9;
  return { x: new Float32Array(rows), y };
}

test('a fit that is ended while labels are looked through has not begun', async (t) => {
  const data = longLabels();
  const begun = [];
  const options = {
    ...quiet,
    callbacks: [
      { onTrainBegin: () => begun.push('callback'), onTrainEnd: () => begun.push('end') },
    ],
    checkpoint: { dir: join(await makeFolder(t), 'checkpoints') },
  };
  for (const code of ['ERR_ABORTED', 'ERR_CLOSED']) {
    const trainer = makeTrainer(sequential([dense(2)], { input: [1], seed: 1 }));
    const controller = new AbortController();
    const fit = trainer.fit(data, { ...options, signal: controller.signal });
    await new Promise((resolve) => setImmediate(resolve));
    if (code === 'ERR_ABORTED') controller.abort();
    else trainer.close();
    await t.throwsAsync(fit, { instanceOf: TandemError, code });
    if (code === 'ERR_ABORTED')
      await trainer.fit({ x: data.x.slice(0, 9), y: data.y.slice(0, 9) }, quiet);
    await trainer.close();
  }
  t.deepEqual(begun, []);
  t.false(existsSync(options.checkpoint.dir));
});

test('an evaluation that is aborted while labels are looked through is over', async (t) => {
  const data = longLabels();
  const trainer = makeTrainer(sequential([dense(2)], { input: [1], seed: 1 }));
  const controller = new AbortController();
  const ended = trainer.evaluate(data, { signal: controller.signal });
  await new Promise((resolve) => setImmediate(resolve));
  controller.abort();
  await t.throwsAsync(ended, aborted);
  // What is left of it would be 29 turns.
  let turns = 0;
  const counting = () => {
    turns++;
    turn = setImmediate(counting);
  };
  let turn = setImmediate(counting);
  await trainer.step({ x: data.x.slice(0, 9), y: data.y.slice(0, 9) });
  clearImmediate(turn);
  t.true(turns < 20, `${turns} turns`);
  await trainer.close();
});

test('a fit aborted in the middle keeps the steps that it took', async (t) => {
  const model = build();
  const trainer = makeTrainer(model);
  const controller = new AbortController();
  const { done } = await startFit(trainer, makeData(64), { signal: controller.signal });
  controller.abort(new Error('enough'));
  const error = await t.throwsAsync(done, aborted);
  t.is(error.cause.message, 'enough');
  const kept = bits(model);
  await new Promise((resolve) => setTimeout(resolve, 20));
  t.deepEqual(bits(model), kept);
  for (const { data } of model.parameters.values()) t.true(data.every(Number.isFinite));
  const { loss } = await trainer.fit(makeData(64), quiet);
  t.true(Number.isFinite(loss[0]));
  await trainer.close();
});

test('a fit aborted at a known step has the parameters of that step', async (t) => {
  const abortAt = async (stopAt) => {
    const trainer = makeTrainer();
    const controller = new AbortController();
    const onBatchEnd = (step) => {
      if (step === stopAt) controller.abort();
    };
    const options = { ...quiet, epochs: 2, batchSize: 16, callbacks: [{ onBatchEnd }] };
    const error = await trainer
      .fit(makeData(64), { ...options, signal: controller.signal })
      .catch((thrown) => thrown);
    await trainer.close();
    return { code: error.code, bits: bits(trainer.model) };
  };
  const steps = async (count) => {
    const trainer = makeTrainer();
    let left = count;
    const onBatchEnd = () => --left > 0;
    const options = { ...quiet, epochs: 2, batchSize: 16, callbacks: [{ onBatchEnd }] };
    await trainer.fit(makeData(64), options);
    await trainer.close();
    return bits(trainer.model);
  };
  t.deepEqual(await abortAt(2), { code: 'ERR_ABORTED', bits: await steps(3) });
  t.deepEqual(await abortAt(5), { code: 'ERR_ABORTED', bits: await steps(6) });
});

test('evaluations aborted before, during and after', async (t) => {
  const trainer = makeTrainer();
  const data = makeData(64);
  const expected = await trainer.evaluate(data);
  const never = { signal: AbortSignal.abort('never') };
  t.is((await t.throwsAsync(trainer.evaluate(data, never), aborted)).cause, 'never');
  const controller = new AbortController();
  const { signal } = controller;
  // One that is computing for a long time, and one that waits for it.
  const pending = [trainer.evaluate(makeData(500_000), { batchSize: 1, signal })];
  pending.push(trainer.evaluate(data, { signal }));
  const behind = trainer.evaluate(data);
  setImmediate(() => controller.abort(new Error('enough')));
  for (const promise of pending) {
    t.is((await t.throwsAsync(promise, aborted)).cause.message, 'enough');
  }
  t.deepEqual(await behind, expected);
  const late = new AbortController();
  t.deepEqual(await trainer.evaluate(data, { signal: late.signal }), expected);
  late.abort();
  await trainer.fit(data, quiet);
  await trainer.close();
});

test.serial('many evaluations that wait for each other are no leak of listeners', async (t) => {
  const trainer = makeTrainer();
  t.teardown(() => trainer.close());
  const warnings = [];
  const note = (warning) => warnings.push(warning.name);
  process.on('warning', note);
  t.teardown(() => process.off('warning', note));
  await Promise.all(Array.from({ length: 30 }, () => trainer.evaluate(makeData(64))));
  await sleep(0);
  t.deepEqual(warnings, []);
});

test('an aborted evaluation does not wait for rows that never come', async (t) => {
  const trainer = makeTrainer();
  const rows = fromBatches(async function* () {
    yield makeData(64);
    await new Promise(() => {});
  });
  const controller = new AbortController();
  const pending = trainer.evaluate(rows, { signal: controller.signal });
  setTimeout(() => controller.abort(), 50);
  await t.throwsAsync(pending, aborted);
  t.true(Number.isFinite((await trainer.evaluate(makeData(64))).loss));
  await trainer.close();
});

test('a signal aborted after the end does nothing', async (t) => {
  const trainer = makeTrainer();
  const controller = new AbortController();
  const { signal } = controller;
  await trainer.fit(makeData(64), { ...quiet, signal });
  const { done } = await startFit(trainer);
  controller.abort();
  trainer.stop();
  t.true((await done).loss.length > 0);
  await trainer.close();
});

test('predictions aborted before, during and after', async (t) => {
  const predictor = await Predictor.load(build());
  const x = makeX(64);
  const expected = predictor.predictSync(x);
  const out = new Float32Array(256).fill(7);
  const error = await t.throwsAsync(
    predictor.predict(x, { out, signal: AbortSignal.abort('no') }),
    aborted,
  );
  t.is(error.cause, 'no');
  const controller = new AbortController();
  const { signal } = controller;
  const pending = Array.from({ length: 50 }, () => predictor.predict(x, { signal }));
  pending.push(predictor.predict(x, { signal, out }));
  const other = predictor.predict(x);
  controller.abort();
  for (const promise of pending) await t.throwsAsync(promise, aborted);
  t.true(out.every((value) => value === 7));
  t.deepEqual(await other, expected);
  const late = new AbortController();
  t.deepEqual(await predictor.predict(x, { out, signal: late.signal }), expected);
  late.abort();
  t.deepEqual(out, expected);
  t.deepEqual(await predictor.predict(x, { out }), expected);
  await predictor.close();
});

test('one signal serves any number of calls', async (t) => {
  await ends(
    t,
    `const predictor = await Predictor.load(build());
    const controller = new AbortController();
    const { signal } = controller;
    const pending = Array.from({ length: 1000 }, () => predictor.predict(makeX(1), { signal }));
    await pending[0];
    await Promise.all(pending);
    const more = Array.from({ length: 20 }, () => predictor.predict(makeX(1), { signal }));
    controller.abort();
    for (const result of await Promise.allSettled(more)) {
      if (result.reason?.code !== 'ERR_ABORTED') throw new Error(result.status);
    }`,
  );
});

test('signals have to be signals', async (t) => {
  const trainer = makeTrainer();
  const predictor = await Predictor.load(trainer.model);
  const argument = { instanceOf: TandemError, code: 'ERR_ARGUMENT', message: /`signal`/ };
  for (const signal of [1, {}, new AbortController()]) {
    await t.throwsAsync(trainer.fit(makeData(8), { ...quiet, signal }), argument);
    await t.throwsAsync(trainer.evaluate(makeData(8), { signal }), argument);
    await t.throwsAsync(predictor.predict(makeX(1), { signal }), argument);
  }
  await trainer.close();
  await predictor.close();
});

test('many evaluations and readings with one signal warn of nothing, and all end with it', async (t) => {
  const warnings = listenerWarnings(t);
  const trainer = makeTrainer();
  t.teardown(() => trainer.close());
  const data = makeData(64);
  const controller = new AbortController();
  const { signal } = controller;
  const read = async () => {
    for await (const batch of fromArrays(data).batches({ signal })) await batch;
  };
  const many = () =>
    Array.from({ length: 12 }, () => [trainer.evaluate(data, { signal }), read()]).flat();
  await Promise.all(many());
  const running = many();
  controller.abort('enough');
  for (const each of running) t.is((await t.throwsAsync(each, aborted)).cause, 'enough');
  await new Promise((resolve) => setImmediate(resolve));
  t.deepEqual(warnings, []);
});
