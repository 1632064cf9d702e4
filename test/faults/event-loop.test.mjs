// The event loop stays free while the engine works. What counts is how long its own thread computes
// in one turn, so that other load on the machine does not matter and work on the event loop does;
// bench/ has the delays, which other threads can cause too.
import { readFileSync } from 'node:fs';
import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import test from 'ava';
import {
  adam,
  batchNorm,
  dense,
  input,
  layerNorm,
  metrics,
  Predictor,
  quantize,
  sequential,
  sgd,
  Trainer,
} from 'tandem-ml';
import { classWeights, csv, fitEncoder, fromArrays, fromRows, fromTable } from 'tandem-ml/data';
import { file } from '../helpers/folder.mjs';
import { makeTrainer, quiet } from './support.mjs';

const usualLimit = 5;

const never = new Int32Array(new SharedArrayBuffer(4));

/** Milliseconds that this thread has computed; elsewhere than on Linux those that have passed. */
function computed() {
  if (process.platform !== 'linux') return performance.now();
  Atomics.wait(never, 0, 0, 0.01); // Linux brings the number up to date when a thread sleeps
  return Number.parseInt(readFileSync('/proc/thread-self/schedstat', 'latin1'), 10) / 1e6;
}

/** Turns of a run that may be longer, but not by much, for a collection of garbage. */
const spared = 3;
const most = 50;
const leastTurns = 300;

/**
 * What is too long in a turn is so whenever it runs; a neighbour on the processor, or a collection
 * of garbage that it makes slow, is there once and gone.
 */
const attempts = 5;

/** Milliseconds that each turn computes, in order, while `start` runs, as often as turns want it. */
async function turnsOf(start) {
  const turns = [];
  let over = false;
  let runs = 0;
  const run = async () => {
    do {
      await start();
      runs++;
    } while (turns.length <= leastTurns);
  };
  const done = run().finally(() => {
    over = true;
  });
  for (let last = computed(); !over; ) {
    await new Promise((resolve) => setImmediate(resolve));
    const now = computed();
    turns.push(now - last);
    last = now;
  }
  await done;
  turns.sort((a, b) => a - b);
  return { turns, usual: turns[turns.length - 1 - spared * runs], longest: turns.at(-1) };
}

/** No turn of the loop but those computes for as long as `limit`, in one attempt of a few. */
async function staysFree(t, start, limit = usualLimit) {
  for (let left = attempts; left > 0; left--) {
    const { turns, usual, longest } = await turnsOf(start);
    const p99 = turns[Math.floor((turns.length - 1) * 0.99)];
    t.log(`${turns.length} turns, p99 ${p99.toFixed(2)} ms, longest ${longest.toFixed(2)} ms`);
    if (usual < limit && longest < most) return t.pass();
  }
  t.fail(`turns of ${limit} ms and longer in each of ${attempts} attempts`);
}

const model = () => sequential([dense(256, { activation: 'relu' }), dense(10)], { input: [256] });
const x = Float32Array.from({ length: 256 * 2048 }, (_, i) => Math.sin(i));
const y = Int32Array.from({ length: 2048 }, (_, i) => i % 10);

test.serial('while fit runs', async (t) => {
  const trainer = makeTrainer(model());
  await trainer.fit({ x, y }, { ...quiet, batchSize: 64 });
  await staysFree(t, async () => {
    const fit = trainer.fit({ x, y }, { ...quiet, batchSize: 64, epochs: 1_000_000 });
    await sleep(700);
    trainer.stop();
    await fit;
  });
  await trainer.close();
});

test.serial('while fit shuffles, converts and checks half a million rows', async (t) => {
  const rows = 2 ** 19;
  const trainer = makeTrainer(sequential([dense(2)], { input: [4] }), { checkNumerics: true });
  const data = { x: new Float32Array(4 * rows).fill(0.5), y: new Uint8Array(rows) };
  await trainer.fit(data, { ...quiet, batchSize: 32_768 });
  await staysFree(t, async () => {
    await trainer.fit(data, { ...quiet, batchSize: 32_768, epochs: 16 });
  });
  await trainer.close();
});

test.serial('while fit and evaluate convert and check 40 million labels', async (t) => {
  const rows = 4e7;
  const labels = new Uint8Array(rows);
  labels[rows - 1] = 2;
  const trainer = makeTrainer(sequential([dense(2)], { input: [1] }));
  const data = { x: new Float32Array(rows), y: labels };
  const refusal = { code: 'ERR_ARGUMENT', message: /for `y`, received 2 at position 39999999$/ };
  await staysFree(t, async () => {
    await t.throwsAsync(trainer.fit(data, quiet), refusal);
    await t.throwsAsync(trainer.evaluate(data), refusal);
  });
});

test.serial('while fit and evaluate copy batches of 19 MB', async (t) => {
  const wide = 150_528;
  const trainer = makeTrainer(sequential([dense(4)], { input: [wide] }));
  const data = { x: new Float32Array(wide * 64), y: new Int32Array(64) };
  await trainer.fit(data, quiet);
  await staysFree(t, async () => {
    await trainer.fit(data, { ...quiet, epochs: 12 });
    for (let i = 0; i < 12; i++) await trainer.evaluate(data);
  });
  await trainer.close();
});

test.serial('while 1,000 predictions are handed over in one turn', async (t) => {
  const predictor = await Predictor.load(
    sequential([dense(512, { activation: 'relu' }), dense(10)], { input: [64] }),
  );
  const row = new Float32Array(64).fill(0.5);
  const many = () => Promise.all(Array.from({ length: 1000 }, () => predictor.predict(row)));
  await many();
  await staysFree(
    t,
    async () => {
      const until = performance.now() + 700;
      while (performance.now() < until) {
        await many();
        await sleep(1);
      }
    },
    2 * usualLimit,
  ); // the calls themselves take most of it
  await predictor.close();
});

test.serial('brief predictions that are awaited one by one let it turn', async (t) => {
  const predictor = await Predictor.load(sequential([dense(2)], { input: [4] }));
  const row = new Float32Array(4);
  const io = predictor.bind(1);
  const trainer = new Trainer(sequential([dense(2)], { input: [4] }), {
    loss: 'mse',
    optimizer: sgd(),
  });
  const batch = { x: row, y: new Float32Array(2) };
  const out = new Float32Array(2);
  const busy = (ms) => {
    const end = performance.now() + ms;
    while (performance.now() < end);
  };
  // A millisecond of each turn is theirs: calls of a microsecond, or fewer with work in between.
  const calls = {
    predict: [() => predictor.predict(row), 5000],
    'predict with out': [() => predictor.predict(row, { out }), 5000],
    run: [() => io.run(), 5000],
    step: [() => trainer.step(batch), 5000],
    'predict and work': [() => predictor.predict(row).then(() => busy(0.05)), 100],
  };
  for (const [name, [call, most]] of Object.entries(calls)) {
    for (let round = 0; round < 5; round++) {
      let turned = false;
      setImmediate(() => {
        turned = true;
      });
      let count = 0;
      while (!turned && count < most) {
        await call();
        count++;
      }
      t.true(turned, name);
    }
  }
  await Promise.all([predictor.close(), trainer.close()]);
});

test.serial('while 1,000 predictions are in flight', async (t) => {
  const predictor = await Predictor.load(model());
  const rows = x.subarray(0, 256 * 64);
  await predictor.predict(rows);
  await staysFree(t, async () => {
    const pending = new Set();
    const until = performance.now() + 700;
    // A thousand at any time, handed over a few at a time as servers do.
    while (performance.now() < until) {
      for (let i = 0; i < 20 && pending.size < 1000; i++) {
        const call = predictor.predict(rows).then(() => pending.delete(call));
        pending.add(call);
      }
      await new Promise((resolve) => setImmediate(resolve));
    }
    await Promise.all(pending);
  });
  await predictor.close();
});

test.serial(
  'while rows in memory are weighed, repeated, dealt out, learnt from and predicted',
  async (t) => {
    const rows = 2 ** 19;
    const labels = Int32Array.from({ length: rows }, (_, i) => Number(i % 5 === 0));
    const dataset = fromArrays({ x: new Float32Array(rows), y: labels });
    const table = fromTable({ a: new Float32Array(rows).fill(1), b: labels });
    const first = async (batches) => {
      for await (const batch of batches) return batch;
      throw new Error('no batch');
    };
    const encodings = { x: { a: 'standard' }, y: { b: 'category' } };
    const classifier = sequential([dense(2)], { input: [1] });
    classifier.encoder = await fitEncoder(table, encodings);
    const predictor = await Predictor.load(classifier);
    const raw = Array.from({ length: 20_000 }, (_, i) => ({ a: i }));
    const work = async () => {
      for (let i = 0; i < 5; i++) {
        await predictor.predictRows(raw);
        const weights = await classWeights(dataset);
        t.deepEqual(await classWeights(labels), weights);
        await first(dataset.oversample(weights).shuffle().batches());
        await first(
          dataset
            .take(rows - 1)
            .shuffle()
            .batches({ rank: 1, worldSize: 2 }),
        );
        await fitEncoder(table, encodings);
      }
    };
    await work();
    await staysFree(t, work, 2 * usualLimit); // arrays of megabytes are made, page by page
    await predictor.close();
  },
);

test.serial('while rows that are there at once are gone through one after another', async (t) => {
  const rows = 2 ** 17;
  const raw = Array.from({ length: 1024 }, (_, i) => ({ a: i, b: i % 2 }));
  const listed = fromRows(function* () {
    for (let i = 0; i < rows; i++) yield raw[i % raw.length];
  });
  const encoder = await fitEncoder(listed.take(1024), {
    x: { a: 'standard' },
    y: { b: 'category' },
  });
  const [width, few] = [256, 2 ** 16];
  const wide = fromArrays({ x: new Float32Array(few * width).fill(0.5), y: new Int32Array(few) });
  const classifier = sequential([dense(2)], { input: [width] });
  const through = async (dataset, options) => {
    let found = 0;
    for await (const batch of dataset.batches(options)) found += batch.rows;
    return found;
  };
  const work = {
    rows: () => through(listed),
    'shuffled rows': () => through(listed.shuffle({ seed: 1 })),
    'encoded rows': () => through(encoder.encode(listed), { batchSize: 1024 }),
    load: () => listed.load(),
    'rows in memory': () => through(wide, { batchSize: 1024 }),
    quantize: async () => (await quantize(classifier, { calibration: wide })).close(),
  };
  for (const [name, often] of Object.entries(work)) {
    t.log(name);
    await staysFree(t, often, 3 * usualLimit);
  }
});

test.serial('while an encoder learns many categories and finds them again', async (t) => {
  const ids = Array.from({ length: 60_000 }, (_, i) => `user-${(i * 7919) % 60_000}`);
  const table = fromTable({ id: ids, y: new Float64Array(ids.length) });
  await staysFree(t, async () => {
    const encoder = await fitEncoder(table, { x: { id: 'category' }, y: { y: 'number' } });
    t.is(encoder.count('id'), ids.length + 1);
    for await (const _ of encoder.encode(table).batches({ batchSize: 8192 }));
  });
});

for (const kind of ['an array', 'a generator', 'an asynchronous generator']) {
  test.serial(`while fit encodes and shuffles rows of ${kind}`, async (t) => {
    const names = Array.from({ length: 20 }, (_, i) => `c${i}`);
    const rows = Array.from({ length: 40_000 }, (_, i) =>
      Object.fromEntries(names.map((name, k) => [name, (i + k) % 97])),
    );
    const open = {
      'an array': () => rows,
      *'a generator'() {
        yield* rows;
      },
      async *'an asynchronous generator'() {
        yield* rows;
      },
    };
    const [target, ...others] = names;
    const table = fromRows(open[kind]);
    const encoder = await fitEncoder(table, {
      x: Object.fromEntries(others.map((name) => [name, 'standard'])),
      y: { [target]: 'number' },
    });
    const trainer = makeTrainer(sequential([dense(1)], { input: [encoder.width] }), {
      loss: 'mse',
      metrics: [],
    });
    const data = encoder.encode(table);
    await trainer.fit(data, { ...quiet, batchSize: 512 });
    await staysFree(t, () => trainer.fit(data, { ...quiet, batchSize: 512 }));
    await trainer.close();
  });
}

test.serial('while a stream is iterated that is there at once', async (t) => {
  const dataset = fromArrays({ x: new Float32Array(16 * 2 ** 17), y: new Int32Array(2 ** 17) });
  await staysFree(t, async () => {
    for await (const _ of dataset.map((batch) => batch).batches({ batchSize: 256 }));
  });
});

test.serial('while fit reads, parses, encodes and shuffles a CSV file', async (t) => {
  const names = Array.from({ length: 16 }, (_, i) => `f${i}`);
  const line = (i) =>
    [...names.map((_, k) => ((i * (k + 7)) % 1000) / 8), `k${i % 5}`, i % 3].join();
  const lines = Array.from({ length: 60_000 }, (_, i) => line(i));
  const path = await file(t, 'rows.csv', [[...names, 'kind', 'label'].join(), ...lines].join('\n'));
  const encoder = await fitEncoder(csv(path), {
    x: { ...Object.fromEntries(names.map((name) => [name, 'standard'])), kind: 'oneHot' },
    y: { label: 'category' },
  });
  const data = encoder.encode(csv(path));
  const trainer = makeTrainer(sequential([dense(64), dense(3)], { input: [encoder.width] }));
  await trainer.fit(data.take(1000), quiet);
  await staysFree(t, async () => {
    await trainer.fit(data, { ...quiet, batchSize: 256, epochs: 3 });
  });
  await trainer.close();
});

test.serial(
  'while the state of a large model is put back and averages become a model',
  async (t) => {
    const [inputs, units, rows] = [4096, 1024, 4];
    const trainer = new Trainer(sequential([dense(units)], { input: [inputs] }), {
      loss: 'mse',
      optimizer: adam(),
      ema: { decay: 0.9 },
    });
    const data = { x: new Float32Array(inputs * rows), y: new Float32Array(units * rows) };
    await trainer.step(data);
    const path = await file(t, 'large.safetensors', '');
    await trainer.saveCheckpoint(path);
    const work = {
      findLearningRate: () => trainer.findLearningRate(data, { steps: 3 }),
      loadCheckpoint: () => trainer.loadCheckpoint(path),
      averagedModel: () => trainer.averagedModel(),
    };
    for (const [name, call] of Object.entries(work)) {
      t.log(name);
      const often = async () => {
        for (let i = 0; i < 2 * spared; i++) await call();
      };
      // Longer than usual: 64 MB each time are pages that the system maps and takes back.
      await staysFree(t, often, 3 * usualLimit);
    }
    await trainer.close();
  },
);

test.serial('while a large model is saved', async (t) => {
  const large = sequential([dense(4096)], { input: [4096], seed: 1 });
  const path = await file(t, 'large.safetensors', '');
  const often = async () => {
    for (let i = 0; i < 2 * spared; i++) await large.save(path);
  };
  await staysFree(t, often, 2 * usualLimit);
});

test.serial('while rocAuc has a million scores at once, and goes on from them', async (t) => {
  const rows = 1_000_000;
  const { accumulate } = metrics
    .rocAuc()
    .build({ output: input([1]), target: input([1]), loss: 'bceWithLogits' });
  const scores = Float64Array.from({ length: rows }, (_, i) => Math.sin(i));
  const targets = scores.map((_, i) => i % 2);
  const often = async () => {
    for (let i = 0; i < 2 * spared; i++) {
      const areas = accumulate();
      areas.add([scores, targets]);
      await areas.result();
      const again = accumulate(areas.state());
      await new Promise((resolve) => setImmediate(resolve));
      t.is(await again.result(), await areas.result());
    }
  };
  await staysFree(t, often, 2 * usualLimit);
});

test.serial('while a batch of a million rows gives as many numbers', async (t) => {
  const rows = 1_000_000;
  const trainer = new Trainer(sequential([dense(1)], { input: [1], seed: 1 }), {
    ...{ loss: 'bceWithLogits', metrics: ['rocAuc'] },
  });
  const data = { x: new Float32Array(rows), y: new Float32Array(rows) };
  for (let i = 0; i < rows; i++) [data.x[i], data.y[i]] = [Math.sin(i), i % 2];
  const { rocAuc } = await trainer.evaluate(data, { batchSize: 1000 });
  const often = async () => {
    for (let i = 0; i < 2 * spared; i++) {
      t.is((await trainer.evaluate(data, { batchSize: rows })).rocAuc, rocAuc);
    }
  };
  await staysFree(t, often, 2 * usualLimit);
  await trainer.close();
});

test.serial('small models that are quantized one by one let it turn', async (t) => {
  const model = sequential([dense(2)], { input: [4] });
  for (const options of [{}, { precision: 'int8-weights' }]) {
    let turned = false;
    setImmediate(() => {
      turned = true;
    });
    for (let i = 0; i < 100 && !turned; i++) (await quantize(model, options)).close();
    t.true(turned);
  }
});

test.serial('while a large model is quantized', async (t) => {
  const width = 2048;
  const large = sequential([layerNorm(), dense(width)], { input: [width], seed: 1 });
  const calibration = { x: Float32Array.from({ length: 8 * width }, (_, i) => Math.sin(i)) };
  for (const options of [{ calibration }, { precision: 'int8-weights' }]) {
    const often = async () => {
      for (let i = 0; i < 2 * spared; i++) (await quantize(large, options)).close();
    };
    await staysFree(t, often, 2 * usualLimit);
  }
});

test.serial('while a large quantized model is saved', async (t) => {
  const large = sequential([dense(8192)], { input: [4096], seed: 1 });
  const quantized = await quantize(large, { precision: 'int8-weights' });
  const path = await file(t, 'quantized.safetensors', '');
  await staysFree(t, async () => {
    for (let i = 0; i < 2 * spared; i++) await quantized.save(path);
  });
  quantized.close();
});

test.serial('while a large layer is left as it is by quantization', async (t) => {
  const large = sequential([dense(4096)], { input: [4096], seed: 1 });
  const options = { precision: 'int8-weights', quantization: { keep: ['dense'] } };
  const often = async () => {
    for (let i = 0; i < 2 * spared; i++) (await quantize(large, options)).close();
  };
  await staysFree(t, often, 2 * usualLimit);
});

test.serial('while the ranges of many layers are chosen for quantization', async (t) => {
  const layers = Array.from({ length: 24 }, () => dense(32, { activation: 'tanh' }));
  const deep = sequential(layers, { input: [32], seed: 1 });
  const calibration = { x: x.subarray(0, 256 * 32) };
  for (const observer of ['mse', 'entropy']) {
    const quantization = { observer };
    const often = async () => (await quantize(deep, { calibration, quantization })).close();
    await staysFree(t, often, 2 * usualLimit);
  }
});

test.serial('while quantization makes a batchNorm part of a large weight', async (t) => {
  const large = sequential([dense(2048), batchNorm()], { input: [2048], seed: 1 });
  const options = { precision: 'int8-weights' };
  const often = async () => {
    for (let i = 0; i < 2 * spared; i++) (await quantize(large, options)).close();
  };
  await staysFree(t, often, 2 * usualLimit);
});

test.serial('while many numbers are counted for quantization', async (t) => {
  const width = 2 ** 15;
  const wide = sequential([dense(4)], { input: [width], seed: 1 });
  const x = Float32Array.from({ length: 32 * width }, (_, i) => Math.sin(i));
  const calibration = Array.from({ length: 6 }, () => ({ x }));
  await staysFree(t, async () => (await quantize(wide, { calibration })).close(), 2 * usualLimit);
});
