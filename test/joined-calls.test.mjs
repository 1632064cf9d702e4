// Calls that wait for the engine run together, some rows at a time: nobody can tell but by the time,
// and by the memory that it takes.
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import test from 'ava';
import {
  dense,
  dropout,
  input,
  Model,
  Predictor,
  reshape,
  sequential,
  softmax,
  TandemError,
} from 'tandem-ml';
import { loadPredictor } from './helpers/predictors.mjs';
import { runModule } from './helpers/process.mjs';

const inputs = 60;

const build = (seed = 1) =>
  sequential([dense(90, { activation: 'gelu' }), dropout(0.1), dense(7)], {
    input: [inputs],
    seed,
  });

const rowsOf = (count, rows = 1) =>
  Array.from({ length: count }, (_, i) =>
    Float32Array.from({ length: rows * inputs }, (_, j) => Math.sin(i * 1.7 + j * 0.31)),
  );

/**
 * What `calls` resolve with, made while another one is pending, behind which they wait. That one has
 * so many rows that it is not computed on this thread.
 */
const behind = async (predictor, calls) => {
  const first = predictor.predict(new Float32Array(300 * inputs));
  const results = await Promise.allSettled(calls());
  await first;
  return results.map(({ value, reason }) => value ?? reason);
};

const memory = (predictor) => predictor.profile().memory.total;

/** The results of each x, and the memory that calls take which do not wait. */
const alone = async (predictor, xs) => {
  const want = xs.map((x) => predictor.predictSync(x));
  for (const x of xs) await behind(predictor, () => [predictor.predict(x)]);
  return { want, took: memory(predictor) };
};

test('calls that wait have the bits that they have alone, and keep their order', async (t) => {
  const predictor = await loadPredictor(t, build());
  const xs = rowsOf(50);
  const { want, took } = await alone(predictor, xs);
  const numbers = xs.map((_, i) => i);
  for (let round = 0; round < 5; round++) {
    const order = [];
    const calls = () => xs.map((x, i) => predictor.predict(x).finally(() => order.push(i)));
    t.deepEqual(await behind(predictor, calls), want);
    t.deepEqual(order, numbers);
  }
  t.true(memory(predictor) > took, 'no calls ran together');
});

test('calls whose rows a reshape relates run alone', async (t) => {
  const x = input([inputs]);
  const halves = softmax(reshape(x, [2, -1]));
  const model = new Model({ inputs: [x], outputs: [reshape(halves, [-1, inputs])] });
  const predictor = await loadPredictor(t, model, { maxBatch: 300 });
  const xs = rowsOf(12);
  const { want } = await alone(predictor, xs);
  t.deepEqual(await behind(predictor, () => xs.map((x) => predictor.predict(x))), want);
});

test('calls of several predictors and of several rows wait in one line', async (t) => {
  const predictors = [await loadPredictor(t, build(1)), await loadPredictor(t, build(2))];
  const calls = [1, 1, 2, 1, 3, 2, 2, 5, 1, 1, 4, 1, 1, 1, 1, 1].map((rows, i) => ({
    predictor: predictors[i % 5 === 4 ? 1 : 0],
    x: rowsOf(i + 1, rows)[i],
  }));
  const want = calls.map(({ predictor, x }) => predictor.predictSync(x));
  for (let round = 0; round < 5; round++) {
    const order = [];
    const all = () =>
      calls.map(({ predictor, x }, i) => predictor.predict(x).finally(() => order.push(i)));
    t.deepEqual(await behind(predictors[0], all), want);
    t.deepEqual(
      order,
      calls.map((_, i) => i),
    );
  }
});

test('what happens to one of them happens to no other', async (t) => {
  const predictor = await loadPredictor(t, build());
  const xs = rowsOf(12);
  const { want } = await alone(predictor, xs);
  const outs = want.map((y) => new Float32Array(y.length));
  const got = await behind(predictor, () => {
    const calls = xs.map((x, i) => predictor.predict(x, { out: outs[i] }));
    structuredClone(outs[5], { transfer: [outs[5].buffer] });
    for (const x of xs) x.fill(0); // inputs have been copied
    return calls;
  });
  for (const [i, result] of got.entries()) {
    if (i !== 5) t.deepEqual(result, want[i]);
    else t.like(result, { constructor: TandemError, code: 'ERR_ARGUMENT' });
  }
});

test('calls run one by one where memory is limited', async (t) => {
  const free = await loadPredictor(t, build());
  const xs = rowsOf(20);
  const { want, took } = await alone(free, xs);
  const predictor = await loadPredictor(t, build(), { memoryLimit: 2 * took });
  for (let round = 0; round < 3; round++) {
    t.deepEqual(await behind(predictor, () => xs.map((x) => predictor.predict(x))), want);
  }
  t.true(memory(predictor) <= took);
});

test('close() settles the calls that wait', async (t) => {
  const predictor = await Predictor.load(build());
  const xs = rowsOf(30);
  const { want } = await alone(predictor, xs);
  const calls = behind(predictor, () => xs.map((x) => predictor.predict(x)));
  await predictor.close();
  t.deepEqual(await calls, want);
});

const endless = `
  const { dense, Predictor, sequential } = await import('tandem-ml');
  const predictor = await Predictor.load(sequential([dense(512), dense(9)], { input: [700] }));
  const x = new Float32Array(700);
  const caller = async () => { for (;;) await predictor.predict(x); };
  for (let i = 0; i < 200; i++) caller();`;

test('a process may end in the midst of such runs', async (t) => {
  for (const delay of [0, 1, 5, 20]) {
    const script = `${endless} setTimeout(() => process.exit(3), ${delay});`;
    const { status, signal, stderr } = await runModule(script);
    t.deepEqual({ status, signal, stderr }, { status: 3, signal: null, stderr: '' });
  }
});

test('so may worker threads', async (t) => {
  const script = `(async () => { ${endless}
    require('node:worker_threads').parentPort.postMessage('busy'); })();`;
  for (const delay of [0, 1, 5, 20]) {
    const workers = Array.from({ length: 3 }, () => new Worker(script, { eval: true }));
    await Promise.all(workers.map((worker) => once(worker, 'message')));
    await new Promise((resolve) => setTimeout(resolve, delay));
    const codes = await Promise.all(workers.map((worker) => worker.terminate()));
    t.deepEqual(codes, [1, 1, 1]);
  }
});
