// The queue of predict: one run of many calls, aborts, priorities, bounds, closing.
import test from 'ava';
import { dense, input, Model, Predictor, sequential } from 'tandem-ml';
import { loadPredictor } from './helpers/predictors.mjs';

const build = () => sequential([dense(3)], { input: [2], seed: 1 });
const rowOf = (i) => Float32Array.of(Math.sin(i), Math.cos(i));
const close = (t, actual, wanted) => {
  t.is(actual.length, wanted.length);
  for (const [i, value] of actual.entries()) t.true(Math.abs(value - wanted[i]) < 1e-5);
};
const load = (t, options, model = build()) => loadPredictor(t, model, options);
const codes = async (promises) =>
  (await Promise.allSettled(promises)).map((result) => result.reason?.code ?? result.status);

test('concurrent calls get their own rows of one run', async (t) => {
  const predictor = await load(t, { batching: { maxBatch: 8, maxDelayUs: 200 } });
  const calls = Array.from({ length: 30 }, (_, i) => predictor.predict(rowOf(i)));
  for (const [i, y] of (await Promise.all(calls)).entries()) {
    close(t, y, predictor.predictSync(rowOf(i)));
  }
  const several = await Promise.all([
    predictor.predict(Float32Array.of(...rowOf(1), ...rowOf(2))),
    predictor.predict(rowOf(3), { out: new Float32Array(3) }),
    predictor.predict(new Float32Array(40).fill(1)),
  ]);
  t.deepEqual(
    several.map(({ length }) => length),
    [6, 3, 60],
  );
  close(t, several[0].subarray(3), predictor.predictSync(rowOf(2)));
  close(t, several[1], predictor.predictSync(rowOf(3)));
});

test('a run holds the calls of one turn, up to maxBatch rows', async (t) => {
  const predictor = await load(t, { batching: { maxBatch: 16 } });
  const call = (_, i) => predictor.predict(rowOf(i));
  await Promise.all(Array.from({ length: 16 }, call));
  // A run that is not full waits for a minute: what is answered was in one.
  const patient = await load(t, { batching: { maxBatch: 16, maxDelayUs: 60e6 } });
  let answered = 0;
  const count = (_, i) => patient.predict(rowOf(i)).then(() => answered++);
  const early = Array.from({ length: 15 }, count);
  await Promise.all(Array.from({ length: 8 }, call));
  t.is(answered, 0);
  await Promise.all([...early, count(null, 15)]);
  t.is(answered, 16);
  await t.throwsAsync(Predictor.load(build(), { batching: { maxBatch: 0 } }), {
    code: 'ERR_ARGUMENT',
  });
  await t.throwsAsync(Predictor.load(build(), { batching: { maxBatch: 300 } }), {
    code: 'ERR_ARGUMENT',
  });
  await t.throwsAsync(Predictor.load(build(), { batching: { maxDelayUs: -1 } }), {
    code: 'ERR_ARGUMENT',
  });
  await t.throwsAsync(Predictor.load(build(), { maxQueue: 0 }), { code: 'ERR_ARGUMENT' });
});

test('inputs may change after the call, and out is leased until its end', async (t) => {
  const predictor = await load(t, { batching: { maxDelayUs: 100 } });
  const x = rowOf(5);
  const wanted = predictor.predictSync(x);
  const out = new Float32Array(3);
  const call = predictor.predict(x, { out });
  x.fill(0);
  await t.throwsAsync(predictor.predict(x, { out }), { code: 'ERR_BUSY' });
  t.throws(() => predictor.predictSync(x, out), { code: 'ERR_BUSY' });
  t.is(await call, out);
  close(t, out, wanted);
  t.is(await predictor.predict(x, { out }), out);
  const moved = new Float32Array(3);
  const lost = predictor.predict(x, { out: moved });
  structuredClone(moved, { transfer: [moved.buffer] });
  await t.throwsAsync(lost, { code: 'ERR_ARGUMENT' });
  const pair = new Float32Array(6);
  const twice = { out: [pair.subarray(0, 3)], priority: 1 };
  await Promise.all([predictor.predict(x, twice), predictor.predict(x, { out: pair.subarray(3) })]);
});

test('more calls than maxQueue are busy, and an abort frees a place', async (t) => {
  for (const batching of [undefined, { maxBatch: 4, maxDelayUs: 100 }]) {
    const predictor = await load(t, { maxQueue: 20, batching });
    const controller = new AbortController();
    const { signal } = controller;
    const first = Array.from({ length: 30 }, (_, i) =>
      predictor.predict(rowOf(i), i % 2 === 0 ? { signal } : undefined),
    );
    controller.abort('enough');
    const second = Array.from({ length: 20 }, (_, i) => predictor.predict(rowOf(i)));
    const [one, two] = [await codes(first), await codes(second)];
    t.deepEqual(one.slice(0, 4), ['ERR_ABORTED', 'fulfilled', 'ERR_ABORTED', 'fulfilled']);
    t.true(one.slice(20).every((code) => code === 'ERR_BUSY'));
    t.is(two.filter((code) => code === 'fulfilled').length, 10);
    t.is(two.filter((code) => code === 'ERR_BUSY').length, 10);
    t.is((await predictor.predict(rowOf(1))).length, 3);
  }
});

test('an abort rejects at once with its reason and leaves out alone', async (t) => {
  const predictor = await load(t, { batching: { maxDelayUs: 60e6 } });
  const controller = new AbortController();
  const out = new Float32Array(3).fill(7);
  const call = predictor.predict(rowOf(1), { out, signal: controller.signal });
  controller.abort('why');
  const error = await t.throwsAsync(call, { code: 'ERR_ABORTED' });
  t.is(error.cause, 'why');
  t.deepEqual(out, new Float32Array(3).fill(7));
  close(t, predictor.predictSync(rowOf(1), out), predictor.predictSync(rowOf(1)));
});

test('calls of a higher priority overtake those that wait', async (t) => {
  const predictor = await load(t, { batching: { maxBatch: 2, maxDelayUs: 100 } });
  const order = [];
  const call = (name, priority) =>
    predictor.predict(rowOf(1), { priority }).then(() => order.push(name));
  // Two runs of two begin at once; of the rest the important ones come first.
  const begun = [0, 0, 0, 0].map(() => predictor.predict(rowOf(0)));
  const rest = [call('low', -1), call('a', 0), call('b', 0), call('high', 5), call('higher', 6)];
  await Promise.all([...begun, ...rest]);
  t.deepEqual(order, ['higher', 'high', 'a', 'b', 'low']);
  await t.throwsAsync(predictor.predict(rowOf(1), { priority: Number.NaN }), {
    code: 'ERR_ARGUMENT',
  });
});

test('close settles every pending call', async (t) => {
  for (const batching of [undefined, { maxBatch: 4, maxDelayUs: 60e6 }]) {
    const predictor = await load(t, { maxQueue: 1000, batching });
    const calls = Array.from({ length: 500 }, (_, i) => predictor.predict(rowOf(i)));
    const closed = predictor.close();
    await t.throwsAsync(predictor.predict(rowOf(1)), { code: 'ERR_CLOSED' });
    t.true((await codes(calls)).every((code) => code === 'fulfilled'));
    await closed;
  }
});

test('who closes twice waits twice', async (t) => {
  const predictor = await load(t, { batching: { maxBatch: 4, maxDelayUs: 60e6 } });
  const call = predictor.predict(rowOf(0));
  const closed = [predictor.close(), predictor.close()];
  t.is((await call).length, 3);
  t.is((await Promise.all(closed)).length, 2);
});

test('ten thousand calls are answered in their order, none lost', async (t) => {
  const predictor = await load(t, { batching: { maxBatch: 64, maxDelayUs: 300 } });
  const controller = new AbortController();
  const order = [];
  const calls = Array.from({ length: 10_000 }, async (_, i) => {
    const y = await predictor.predict(rowOf(i), i % 2 ? { signal: controller.signal } : undefined);
    order.push(i);
    return y;
  });
  controller.abort();
  const found = await Promise.allSettled(calls);
  t.deepEqual(
    order,
    Array.from({ length: 5000 }, (_, i) => 2 * i),
  );
  for (const [i, result] of found.entries()) {
    if (i % 2) t.is(result.reason.code, 'ERR_ABORTED');
    else if (i % 500 === 0) close(t, result.value, predictor.predictSync(rowOf(i)));
  }
});

test('calls of a model with a fixed batch are runs of their own', async (t) => {
  const x = input([2], { batch: 2 });
  const model = new Model({ inputs: x, outputs: dense(3)(x), seed: 1 });
  const predictor = await load(t, { batching: { maxBatch: 8 } }, model);
  const rows = Float32Array.of(...rowOf(1), ...rowOf(2));
  const [a, b] = await Promise.all([predictor.predict(rows), predictor.predict(rows)]);
  t.deepEqual(a, b);
  close(t, a, predictor.predictSync(rows));
});

test('as many priorities as calls keep their order, with aborts among them', async (t) => {
  const predictor = await load(t, { batching: { maxBatch: 4, maxDelayUs: 0 } });
  const count = 600;
  const order = [];
  const controllers = Array.from({ length: count }, () => new AbortController());
  const calls = controllers.map(({ signal }, i) => {
    const priority = (i * 7919) % count;
    const call = predictor.predict(rowOf(i), { priority, signal });
    // The first eight go to the engine before the others are there.
    return call.then(() => (i < 8 ? 0 : order.push(priority)));
  });
  for (const [i, controller] of controllers.entries()) if (i % 3 === 1) controller.abort();
  const found = await codes(calls);
  for (const [i, code] of found.entries()) t.is(code, i % 3 === 1 ? 'ERR_ABORTED' : 'fulfilled');
  t.true(order.length > 300);
  t.deepEqual(
    order,
    [...order].sort((a, b) => b - a),
  );
});
