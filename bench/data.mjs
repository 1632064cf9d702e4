// Training from a file larger than memory allows: makes a CSV or Parquet file of `--gb` gigabytes,
// trains one epoch on it, and prints as JSON the speed of the reader, of the step and of both, the
// largest RSS, and the delay of the event loop (a timer of 1 ms, so that 1 ms is no delay).
// --save puts them into bench/results/, for the pages of docs/performance.md.
// Usage: data.mjs [--gb 1] [--format csv | parquet] [--folder path] [--save]
import { closeSync, openSync, readFileSync, rmSync, statSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { ByteWriter, ParquetWriter } from 'hyparquet-writer';
import { adam, dense, sequential, Trainer } from 'tandem-ml';
import { csv, fitEncoder, oneHot, parquet, standard } from 'tandem-ml/data';
import { describeEngine } from './lib/engine.mjs';
import { refuseOtherMachine, saveResults } from './lib/results.mjs';

const { values: flags } = parseArgs({
  options: {
    gb: { type: 'string', default: '1' },
    format: { type: 'string', default: 'csv' },
    folder: { type: 'string', default: tmpdir() },
    save: { type: 'boolean', default: false },
  },
});
const features = Array.from({ length: 16 }, (_, i) => `f${i}`);
const kinds = ['clear', 'mist', 'rain', 'snow'];
const batchSize = 256;
if (flags.format !== 'csv' && flags.format !== 'parquet') {
  throw new Error(`--format is csv or parquet, not ${flags.format}`);
}
if (flags.save) refuseOtherMachine(`data-${flags.format}`, describeEngine());
const file = join(flags.folder, `tandem-bench-${process.pid}.${flags.format}`);

/** Columns of `rows` rows that follow from the seed. */
function makeColumns(rows, seed) {
  let state = seed;
  const random = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  const columns = features.map(() =>
    Float64Array.from({ length: rows }, () => Math.round(4e5 * random() - 2e5) / 1e5),
  );
  const weather = Array.from({ length: rows }, () => kinds[Math.floor(4 * random())]);
  const label = Float64Array.from({ length: rows }, (_, i) => {
    const sum = columns.reduce((total, column, k) => total + (column[i] * (k - 8)) / 8, 0);
    return Math.round(1e4 * (Math.sin(sum) + (weather[i] === 'rain' ? 0.5 : 0))) / 1e4;
  });
  return { columns, weather, label };
}

function makeCsv(bytes) {
  const out = openSync(file, 'w');
  let written = writeSync(out, `${features.join(',')},weather,label\n`);
  const parts = Array.from({ length: 8 }, (_, part) => {
    const { columns, weather, label } = makeColumns(20000, part + 1);
    const lines = weather.map(
      (kind, i) =>
        `${columns.map((column) => column[i].toFixed(5)).join(',')},${kind},${label[i]}\n`,
    );
    return Buffer.from(lines.join(''));
  });
  for (let i = 0; written < bytes; i++) written += writeSync(out, parts[i % parts.length]);
  closeSync(out);
}

function makeParquet(bytes) {
  const out = openSync(file, 'w');
  const writer = new ByteWriter();
  let written = 0;
  // What the writer has so far goes to the file after each row group.
  const flush = () => {
    const view = new Uint8Array(writer.getBuffer());
    written += writeSync(out, view);
    writer.index = 0;
  };
  const required = /** @type {const} */ ({ repetition_type: 'REQUIRED' });
  const double = (/** @type {string} */ name) => ({
    name,
    type: /** @type {const} */ ('DOUBLE'),
    ...required,
  });
  /** @type {ConstructorParameters<typeof ParquetWriter>[0]['schema']} */
  const schema = [
    { name: 'root', num_children: features.length + 2 },
    ...features.map(double),
    { name: 'weather', type: 'BYTE_ARRAY', converted_type: 'UTF8', ...required },
    double('label'),
  ];
  const parquetWriter = new ParquetWriter({ writer, schema, codec: 'SNAPPY' });
  for (let i = 0; written < bytes; i++) {
    const { columns, weather, label } = makeColumns(100000, (i % 8) + 1);
    const columnData = [
      ...features.map((name, k) => ({ name, data: columns[k] })),
      { name: 'weather', data: weather },
      { name: 'label', data: label },
    ];
    parquetWriter.write({ columnData });
    flush();
  }
  parquetWriter.finish();
  flush();
  closeSync(out);
}

const seconds = async (run) => {
  const start = performance.now();
  await run();
  return (performance.now() - start) / 1000;
};

const never = new Int32Array(new SharedArrayBuffer(4));

/** Milliseconds that this thread has computed; NaN elsewhere than on Linux. */
function computed() {
  if (process.platform !== 'linux') return Number.NaN;
  Atomics.wait(never, 0, 0, 0.01); // Linux brings the number up to date when a thread sleeps
  return Number.parseInt(readFileSync('/proc/thread-self/schedstat', 'latin1'), 10) / 1e6;
}

/**
 * How long the thread of the event loop computes in one turn, looked at every two milliseconds: its
 * part of the delays, whatever else the machine does.
 */
async function watchTurns(/** @type {() => boolean} */ over) {
  const turns = [];
  while (!over()) {
    await sleep(2);
    const before = computed();
    await new Promise((resolve) => setImmediate(resolve));
    turns.push(computed() - before);
  }
  turns.sort((a, b) => a - b);
  return { p99: turns[Math.floor(0.99 * (turns.length - 1))], max: turns.at(-1) };
}

/** The largest RSS and the delays of the event loop while something runs. */
async function watch(run) {
  const histogram = monitorEventLoopDelay({ resolution: 1 });
  let rss = 0;
  const poll = setInterval(() => {
    rss = Math.max(rss, process.memoryUsage.rss());
  }, 20);
  let over = false;
  const turns = watchTurns(() => over);
  histogram.enable();
  const time = await seconds(run);
  histogram.disable();
  over = true;
  clearInterval(poll);
  const ms = (share) => histogram.percentile(share) / 1e6;
  return {
    time,
    rss,
    delay: { p50: ms(50), p99: ms(99), max: histogram.max / 1e6, turns: await turns },
  };
}

try {
  const makers = { csv: makeCsv, parquet: makeParquet };
  const madeIn = await seconds(() => makers[flags.format](Number(flags.gb) * 1e9));
  const raw = flags.format === 'csv' ? csv(file) : await parquet(file);
  const encoder = await fitEncoder(raw.take(100000), {
    x: {
      ...Object.fromEntries(features.map((name) => [name, standard()])),
      weather: oneHot({ unknown: 'own' }),
    },
    y: { label: 'standard' },
  });
  const data = encoder.encode(raw);
  const idle = await watch(() => sleep(2000));
  let rows = 0;
  const reading = await watch(async () => {
    for await (const { sizes } of data.chunks({ batchSize })) {
      for (const size of sizes) rows += size;
    }
  });

  const model = sequential(
    [dense(256, { activation: 'relu' }), dense(128, { activation: 'relu' }), dense(1)],
    { input: [Number(encoder.width)], seed: 1 },
  );
  const trainer = new Trainer(model, { loss: 'mse', optimizer: adam({ learningRate: 1e-3 }) });
  const options = /** @type {const} */ ({ batchSize, verbose: 0 });
  const few = await data.take(200000).load();
  await trainer.fit(few.take(20000), options);
  const stepTime = await seconds(() => trainer.fit(few, options));
  const history = { loss: /** @type {number[]} */ ([]) };
  const training = await watch(async () => {
    history.loss = (await trainer.fit(data, options)).loss;
  });
  await trainer.close();
  const perSecond = (count, time) => Math.round(count / time);
  const { size } = statSync(file);
  const step = perSecond(200000, stepTime);
  const trained = perSecond(rows, training.time);
  const turns = training.delay.turns;
  const results = [
    { name: 'file', value: size / 1e6, unit: 'MB' },
    { name: 'reader alone', value: size / 1e6 / reading.time, unit: 'MB/s' },
    { name: 'reader alone', value: perSecond(rows, reading.time), unit: 'rows/s' },
    { name: 'step alone, rows in memory', value: step, unit: 'rows/s' },
    { name: 'training from the file', value: trained, unit: 'rows/s' },
    { name: 'largest RSS while training', value: training.rss / 1e6, unit: 'MB' },
    { name: 'event loop, computing in one turn, p99', value: turns.p99, unit: 'ms' },
    { name: 'event loop, computing in one turn, longest', value: turns.max, unit: 'ms' },
    {
      name: 'event loop, a timer of 1 ms while training, p99',
      value: training.delay.p99,
      unit: 'ms',
    },
    { name: 'event loop, a timer of 1 ms without work, p99', value: idle.delay.p99, unit: 'ms' },
  ];
  if (flags.save) {
    const { format, gb } = flags;
    const command = `node bench/data.mjs --gb ${gb} --format ${format} --save`;
    saveResults(`data-${format}`, command, results, describeEngine());
  }
  console.log(
    JSON.stringify({
      format: flags.format,
      bytes: size,
      rows,
      madeInSeconds: Math.round(madeIn),
      idleDelayMs: idle.delay,
      reader: {
        rowsPerSecond: perSecond(rows, reading.time),
        megabytesPerSecond: Math.round(size / 1e6 / reading.time),
        eventLoopDelayMs: reading.delay,
      },
      step: { batchSize, rowsPerSecond: step },
      training: {
        rowsPerSecond: trained,
        ofTheStepAlone: (trained / step).toFixed(3),
        rssMegabytes: Math.round(training.rss / 1e6),
        eventLoopDelayMs: training.delay,
        loss: history.loss,
      },
    }),
  );
} finally {
  rmSync(file, { force: true });
}
