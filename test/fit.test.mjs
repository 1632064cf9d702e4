// The loop: history, shuffling, validation, callbacks, early stopping.
import { setTimeout as sleep } from 'node:timers/promises';
import test from 'ava';
import {
  abs,
  add,
  crossEntropy,
  dense,
  earlyStopping,
  input,
  l1,
  Model,
  mean,
  mse,
  sequential,
  sgd,
  sub,
  Trainer,
} from 'tandem-ml';

const rows = 23;
const x = Float32Array.from({ length: rows }, (_, i) => i / rows);
const y = x.map((value) => 2 * value - 1);
const quiet = { verbose: 0 };

const make = (t, options = {}) => {
  const model = sequential([dense(4, { activation: 'tanh' }), dense(1)], { input: [1], seed: 1 });
  const optimizer = sgd({ learningRate: 0.1 });
  const trainer = new Trainer(model, { loss: 'mse', optimizer, ...options });
  t.teardown(() => trainer.close());
  return trainer;
};

const values = ({ model }) => [...model.parameters.values()].map(({ data }) => [...data]);

/** A trainer whose learning rate is 0: losses show which rows a batch has, and nothing changes. */
const still = (t, options) => make(t, { optimizer: sgd({ learningRate: 0 }), ...options });

test('history has a number an epoch', async (t) => {
  const trainer = make(t, { metrics: ['mae'] });
  const history = await trainer.fit({ x, y }, { ...quiet, epochs: 4, validationSplit: 0.25 });
  t.deepEqual(history.epochs, [0, 1, 2, 3]);
  for (const name of ['loss', 'mae', 'valLoss', 'valMae', 'learningRate']) {
    t.is(history[name]?.length, 4, name);
    t.true(history[name]?.every(Number.isFinite), name);
  }
  t.true((history.loss[3] ?? 1) < (history.loss[0] ?? 0));
});

test('without validation there is no valLoss', async (t) => {
  const history = await make(t).fit({ x, y }, quiet);
  t.false('valLoss' in history);
});

test('fit called again goes on', async (t) => {
  const [once, twice] = [make(t), make(t)];
  await once.fit({ x, y }, { ...quiet, epochs: 4, batchSize: 5 });
  await twice.fit({ x, y }, { ...quiet, epochs: 1, batchSize: 5 });
  const { epochs } = await twice.fit({ x, y }, { ...quiet, epochs: 3, batchSize: 5 });
  t.deepEqual(epochs, [1, 2, 3]);
  t.deepEqual(values(twice), values(once));
});

test('losses are weighted by the rows of their batches', async (t) => {
  const trainer = still(t);
  const whole = await trainer.evaluate({ x, y }, { batchSize: rows });
  const parts = await trainer.evaluate({ x, y }, { batchSize: 5 });
  const { loss } = await trainer.fit({ x, y }, { ...quiet, batchSize: 7 });
  t.true(Math.abs(parts.loss - whole.loss) < 1e-6);
  t.true(Math.abs((loss[0] ?? 0) - whole.loss) < 1e-6);
});

/** The means of the inputs of each batch, seen through a metric. */
async function batchMeans(t, options, seed = 0) {
  const seen = [];
  const onBatchEnd = (_, logs) => void seen.push(logs.target);
  const trainer = still(t, { metrics: { target: (_, target) => mean(target) }, seed });
  await trainer.fit({ x, y: x }, { ...quiet, ...options, callbacks: [{ onBatchEnd }] });
  return seen;
}

test('without shuffle rows come in order, and the last batch is smaller', async (t) => {
  const means = await batchMeans(t, { batchSize: 10, shuffle: false });
  t.is(means.length, 3);
  for (const [i, expected] of [4.5, 14.5, 21].entries()) {
    t.true(Math.abs((means[i] ?? 0) * rows - expected) < 1e-4);
  }
});

test('a shuffle follows from the seed and differs between epochs', async (t) => {
  const options = { batchSize: 1, epochs: 2 };
  const means = await batchMeans(t, options);
  t.deepEqual(await batchMeans(t, options), means);
  t.notDeepEqual(await batchMeans(t, options, 1), means);
  const [first, second] = [means.slice(0, rows), means.slice(rows)];
  t.notDeepEqual(first, second);
  const sorted = (list) => list.toSorted((a, b) => a - b).map((value) => Math.round(value * rows));
  t.deepEqual(sorted(first), [...Array(rows).keys()]);
  t.deepEqual(sorted(second), [...Array(rows).keys()]);
});

test('validationSplit takes the last rows, before any shuffle', async (t) => {
  const trainer = still(t);
  const { loss, valLoss } = await trainer.fit({ x, y }, { ...quiet, validationSplit: 3 / 23 });
  const head = await trainer.evaluate({ x: x.subarray(0, 20), y: y.subarray(0, 20) });
  const tail = await trainer.evaluate({ x: x.subarray(20), y: y.subarray(20) });
  t.true(Math.abs((loss[0] ?? 0) - head.loss) < 1e-6);
  t.true(Math.abs((valLoss?.[0] ?? 0) - tail.loss) < 1e-6);
});

test('validationData is an object or a pair', async (t) => {
  const trainer = still(t);
  const data = { x: x.subarray(5), y: y.subarray(5) };
  const { loss } = await trainer.evaluate(data);
  for (const validationData of [data, [data.x, data.y]]) {
    const { valLoss } = await trainer.fit({ x, y }, { ...quiet, validationData });
    t.true(Math.abs((valLoss?.[0] ?? 0) - loss) < 1e-6);
  }
});

test('callbacks are called and awaited in order', async (t) => {
  const calls = [];
  const later = async (name) => {
    await new Promise((resolve) => setTimeout(resolve, 1));
    calls.push(name);
  };
  const callback = {
    onTrainBegin: (trainer) => later(`begin ${trainer instanceof Trainer}`),
    onEpochBegin: (epoch) => later(`epoch ${epoch}`),
    onBatchEnd: (step, logs) => later(`step ${step} ${Number.isFinite(logs.loss)}`),
    onEpochEnd: (epoch, logs) => later(`end ${epoch} ${Number.isFinite(logs.loss)}`),
    onTrainEnd: () => later('end'),
  };
  await make(t).fit({ x, y }, { ...quiet, epochs: 2, batchSize: 12, callbacks: [callback] });
  t.deepEqual(calls, [
    'begin true',
    'epoch 0',
    'step 0 true',
    'step 1 true',
    'end 0 true',
    'epoch 1',
    'step 2 true',
    'step 3 true',
    'end 1 true',
    'end',
  ]);
});

test('a callback whose hook is written in other letters is refused', async (t) => {
  const train = (callback) => make(t).fit({ x, y }, { ...quiet, callbacks: [callback] });
  const onEpochEnd = () => {};
  class Logger {
    onEpochEnd() {}
    on_train_end() {}
  }
  for (const callback of [{ onEpochEnd, onBatchend() {} }, new Logger()]) {
    await t.throwsAsync(train(callback), {
      code: 'ERR_ARGUMENT',
      message:
        /^expected on(BatchEnd|TrainEnd) for `callbacks\[0\]`, received `on(Batche|_train_e)nd`$/,
    });
  }
  await train({ onEpochEnd, onEpochend() {}, _onBatchEnd() {}, other: onEpochEnd });
  await train(Object.assign(Object.create(null), { onEpochEnd }));
});

test('results do not depend on how steps are handed over', async (t) => {
  const [chunks, singly] = [make(t), make(t)];
  const options = { ...quiet, epochs: 3, batchSize: 4 };
  const one = await chunks.fit({ x, y }, options);
  const two = await singly.fit({ x, y }, { ...options, callbacks: [{ onBatchEnd() {} }] });
  t.deepEqual(two, one);
  t.deepEqual(values(singly), values(chunks));
});

test('a callback stops training by false or by stop()', async (t) => {
  const run = async (callback, epochs = 50) => {
    const trainer = make(t);
    return await trainer.fit({ x, y }, { ...quiet, epochs, batchSize: 5, callbacks: [callback] });
  };
  t.is((await run({ onEpochEnd: (epoch) => epoch < 2 })).loss.length, 3);
  t.is(
    (await run({ onEpochEnd: (epoch, _, trainer) => void (epoch === 1 && trainer.stop()) })).loss
      .length,
    2,
  );
  t.is((await run({ onBatchEnd: (step) => step < 6 })).loss.length, 2);
  t.is((await run({ onTrainBegin: () => false })).loss.length, 0);
});

test('an error in a callback rejects fit, and the trainer goes on', async (t) => {
  const trainer = make(t);
  const callbacks = [
    {
      onEpochEnd() {
        throw new RangeError('mine');
      },
    },
  ];
  await t.throwsAsync(trainer.fit({ x, y }, { ...quiet, callbacks }), { instanceOf: RangeError });
  await trainer.fit({ x, y }, quiet);
});

test('callbacks may evaluate and save', async (t) => {
  const trainer = make(t);
  const seen = [];
  const onEpochEnd = async () => void seen.push(await trainer.evaluate({ x, y }));
  await trainer.fit({ x, y }, { ...quiet, epochs: 2, callbacks: [{ onEpochEnd }] });
  t.is(seen.length, 2);
});

test('stop() right after fit leaves nothing to do', async (t) => {
  const trainer = make(t);
  const running = trainer.fit({ x, y }, { ...quiet, epochs: 1000 });
  trainer.stop();
  t.deepEqual((await running).loss, []);
});

test('stop() outside of fit does nothing', async (t) => {
  const trainer = make(t);
  trainer.stop();
  t.is((await trainer.fit({ x, y }, quiet)).loss.length, 1);
});

/** Feeds made-up numbers to earlyStopping through onEpochEnd, as fit would. */
async function feed(t, stopper, numbers, name = 'valLoss') {
  const trainer = make(t);
  const weight = trainer.model.parameters.get('dense.weight')?.data;
  stopper.onTrainBegin(trainer, [name]);
  let epoch = 0;
  for (; epoch < numbers.length; epoch++) {
    weight?.fill(epoch);
    if ((await stopper.onEpochEnd(epoch, { [name]: numbers[epoch] }, trainer)) === false) break;
  }
  await stopper.onTrainEnd(trainer);
  return { epoch, weight: weight?.[0] };
}

test('early stopping waits for `patience` epochs without improvement', async (t) => {
  const numbers = [5, 4, 4.5, 3, 3.5, 3.4, 3.3, 1];
  t.is((await feed(t, earlyStopping(), numbers)).epoch, 2);
  t.is((await feed(t, earlyStopping({ patience: 2 }), numbers)).epoch, 5);
  t.is((await feed(t, earlyStopping({ patience: 4 }), numbers)).epoch, 8);
  t.is((await feed(t, earlyStopping({ patience: 2, minDelta: 1.5 }), numbers)).epoch, 2);
});

test('early stopping knows which way is better', async (t) => {
  const numbers = [0.5, 0.6, 0.4, 0.9];
  const upwards = { monitor: 'valAccuracy' };
  t.is((await feed(t, earlyStopping(upwards), numbers, 'valAccuracy')).epoch, 2);
  t.is(
    (await feed(t, earlyStopping({ ...upwards, mode: 'min' }), numbers, 'valAccuracy')).epoch,
    1,
  );
  t.is((await feed(t, earlyStopping({ mode: 'max' }), numbers)).epoch, 2);
});

test('early stopping restores the best weights', async (t) => {
  const options = { patience: 2, restoreBestWeights: true };
  const stopper = earlyStopping(options);
  t.is((await feed(t, stopper, [3, 2, 4, 5, 1])).weight, 1);
  t.is(stopper.bestEpoch, 1);
  t.is(stopper.best, 2);
  t.is(stopper.stoppedEpoch, 3);
  t.is((await feed(t, earlyStopping({ patience: 2 }), [3, 2, 4, 5, 1])).weight, 3);
});

test('early stopping counts a NaN as no improvement', async (t) => {
  t.is((await feed(t, earlyStopping({ patience: 2 }), [3, Number.NaN, Number.NaN, 1])).epoch, 2);
});

test('early stopping ends fit, and refuses what fit does not report', async (t) => {
  const trainer = still(t);
  const options = { ...quiet, epochs: 50, validationSplit: 0.2 };
  const { loss } = await trainer.fit(
    { x, y },
    { ...options, callbacks: [earlyStopping({ patience: 3 })] },
  );
  t.is(loss.length, 4);
  const callbacks = [earlyStopping({ monitor: 'valLos' })];
  const message = /did you mean `valLoss`\?/;
  await t.throwsAsync(trainer.fit({ x, y }, { ...options, callbacks }), {
    code: 'ERR_ARGUMENT',
    message,
  });
  const next = await trainer.fit({ x, y }, { ...options, epochs: 1 });
  t.deepEqual(next.epochs, [4], 'refused before a step');
  t.throws(() => earlyStopping({ patience: -1 }), { code: 'ERR_ARGUMENT' });
  t.throws(() => earlyStopping({ mode: 'up' }), { code: 'ERR_ARGUMENT' });
});

test('losses and metrics may be functions', async (t) => {
  const loss = (output, target) => add(mse(output, target), l1(output, target));
  const trainer = make(t, {
    loss,
    metrics: { bias: (output, target) => mean(sub(output, target)) },
  });
  const { loss: losses, bias } = await trainer.fit({ x, y }, { ...quiet, epochs: 2 });
  t.is(losses.length, 2);
  t.is(bias?.length, 2);
});

test('functions get the only output alone, in whatever form the model has it', async (t) => {
  const value = input([1]);
  const output = dense(1)(value);
  for (const outputs of [output, [output], { y: output }]) {
    const trainer = new Trainer(new Model({ inputs: [value], outputs, seed: 1 }), {
      loss: (got, target) => mse(got, target),
      metrics: { bias: (got, target) => mean(sub(got, target)) },
    });
    t.teardown(() => trainer.close());
    const { loss, bias } = await trainer.step({ x, y });
    t.true(Number.isFinite(loss) && Number.isFinite(bias));
  }
});

test('means of crossEntropy and accuracy are over the targets that count', async (t) => {
  const targets = Int32Array.from({ length: rows }, (_, i) =>
    i < 9 || i % 4 === 0 ? -100 : i % 3,
  );
  const value = input([1]);
  const [cls, reg] = [dense(3)(value), dense(1)(value)];
  const optimizer = sgd({ learningRate: 0 });
  const classWeights = [0.5, 1, 3];
  const single = (loss) => ({ outputs: cls, y: targets, loss, metrics: ['accuracy'] });
  const cases = [
    single('crossEntropy'),
    single((output, target) => crossEntropy(output, target, { classWeights, labelSmoothing: 0.1 })),
    single((output, target) => crossEntropy(output, target, { ignoreIndex: 2 })),
    {
      outputs: { cls, reg },
      y: { cls: targets, reg: y },
      loss: { cls: 'crossEntropy', reg: 'mse' },
      lossWeights: { cls: 0.25 },
      metrics: {},
    },
  ];
  for (const [number, { outputs, y: wanted, loss, lossWeights, metrics }] of cases.entries()) {
    const model = new Model({ inputs: value, outputs, seed: 1 });
    const options = { loss, lossWeights, metrics, optimizer };
    const trainer = new Trainer(model, options);
    t.teardown(() => trainer.close());
    const data = number === 2 ? { x, y: wanted.map((c) => (c < 0 ? 2 : c)) } : { x, y: wanted };
    const whole = await trainer.evaluate(data, { batchSize: rows });
    const history = await trainer.fit(data, { ...quiet, batchSize: 2, validationData: data });
    for (const [name, expected] of Object.entries(whole)) {
      for (const batchSize of [1, 2, 5, 22]) {
        const scores = await trainer.evaluate(data, { batchSize });
        t.true(Math.abs(scores[name] - expected) < 1e-5, `${number} ${name} by ${batchSize}`);
      }
      const validation = history[`val${name.charAt(0).toUpperCase()}${name.slice(1)}`];
      t.true(Math.abs((history[name]?.[0] ?? 0) - expected) < 1e-5, `${number} ${name}`);
      t.true(Math.abs((validation?.[0] ?? 0) - expected) < 1e-5, `${number} val ${name}`);
    }
  }
  const model = new Model({ inputs: value, outputs: cls });
  const trainer = new Trainer(model, { loss: 'crossEntropy', optimizer });
  t.teardown(() => trainer.close());
  t.true(Number.isNaN((await trainer.evaluate({ x, y: targets.map(() => -100) })).loss));
});

test('early stopping restores the best weights when fit rejects', async (t) => {
  const fail = () => {
    throw new RangeError('mine');
  };
  const ends = [(_, controller) => controller.abort(), fail, (trainer) => trainer.close()];
  for (const end of ends) {
    const controller = new AbortController();
    const trainer = make(t, { optimizer: sgd({ learningRate: 1e3 }) });
    const stopper = earlyStopping({ monitor: 'loss', patience: 9, restoreBestWeights: true });
    let best;
    let later;
    const onEpochEnd = (epoch) => {
      if (epoch === 0) best = values(trainer);
      if (epoch < 2) return undefined;
      later = values(trainer);
      return end(trainer, controller);
    };
    const options = { ...quiet, epochs: 5, signal: controller.signal };
    await t.throwsAsync(
      trainer.fit({ x, y }, { ...options, callbacks: [stopper, { onEpochEnd }] }),
    );
    t.is(stopper.bestEpoch, 0);
    t.notDeepEqual(later, best);
    t.deepEqual(values(trainer), best);
  }
});

test('onTrainEnd is called once however fit ends, and does not hide the error', async (t) => {
  const trainer = make(t);
  const mine = new RangeError('mine');
  const seen = [];
  const noisy = {
    onTrainEnd(_, ...error) {
      seen.push(error);
      if (error.length > 0) throw new TypeError('later');
    },
  };
  await trainer.fit({ x, y }, { ...quiet, callbacks: [noisy] });
  const failing = {
    onEpochEnd() {
      throw mine;
    },
  };
  const options = { ...quiet, callbacks: [noisy, failing] };
  t.is(await t.throwsAsync(trainer.fit({ x, y }, options)), mine);
  t.deepEqual(seen, [[], [mine]]);
  const signal = AbortSignal.abort();
  await t.throwsAsync(trainer.fit({ x, y }, { ...options, signal }), { code: 'ERR_ABORTED' });
  t.is(seen.length, 2);
});

test('stop() and an abort leave evaluations whole', async (t) => {
  const many = Float32Array.from({ length: 50_000 }, (_, i) => i / 50_000);
  const all = { x: many, y: many };
  const small = { ...quiet, batchSize: 8 };
  const trainer = still(t);
  const { loss } = await trainer.evaluate(all, { batchSize: 8 });
  for (const delay of [0, 1, 2, 4, 8]) {
    const onBatchEnd = () => void setTimeout(() => trainer.stop(), delay);
    const history = await trainer.fit(
      { x, y },
      { ...small, validationData: all, callbacks: [{ onBatchEnd }] },
    );
    t.deepEqual(history.valLoss, [loss], `${delay} ms`);
  }

  const waited = trainer.evaluate(all, { batchSize: 8 });
  const behind = trainer.fit({ x, y }, small);
  trainer.stop();
  t.is((await waited).loss, loss);
  t.deepEqual((await behind).loss, []);

  const controller = new AbortController();
  let inside;
  const onBatchEnd = () => {
    inside = trainer.evaluate(all, { batchSize: 8 });
    setTimeout(() => controller.abort(), 2);
  };
  const aborted = trainer.fit(
    { x, y },
    { ...small, signal: controller.signal, callbacks: [{ onBatchEnd }] },
  );
  await t.throwsAsync(aborted, { code: 'ERR_ABORTED' });
  t.is((await inside).loss, loss);
});

test('an abort while a validation has its metrics made leaves evaluations whole', async (t) => {
  const many = Float32Array.from({ length: 50_000 }, (_, i) => i / 50_000);
  const all = { x: many, y: many };
  const controller = new AbortController();
  let inside;
  const slow = {
    values: (output, target) => [mean(abs(sub(output, target)))],
    accumulate: () => ({
      add() {},
      async result() {
        if (inside === undefined) {
          inside = trainer.evaluate(all, { batchSize: 8 });
          await sleep(2);
          controller.abort();
        }
        return 0;
      },
    }),
  };
  const trainer = still(t, { metrics: { slow } });
  const { signal } = controller;
  const aborted = trainer.fit({ x, y }, { ...quiet, signal, validationData: { x, y } });
  await t.throwsAsync(aborted, { code: 'ERR_ABORTED' });
  const { loss } = await inside;
  t.is(loss, (await trainer.evaluate(all, { batchSize: 8 })).loss);
});
