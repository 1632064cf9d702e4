// Event files, read back by a decoder of their own: bitwise checksums, protocol buffers by the book.
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { dense, metrics, sequential, Trainer, tensorBoard } from 'tandem-ml';
import { makeFolder } from '../helpers/folder.mjs';

function crc32c(data) {
  let crc = 0xffffffff;
  for (const byte of data) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  }
  return ~crc >>> 0;
}

const masked = (data) => {
  const crc = crc32c(data);
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
};

/** The fields of a message: numbers of fields with what they hold. */
function* fields(data) {
  let at = 0;
  const varint = () => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = data[at++];
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return value;
    }
  };
  while (at < data.length) {
    const key = Number(varint());
    const [field, wire] = [key >> 3, key & 7];
    if (wire === 0) yield [field, varint()];
    else if (wire === 1) {
      yield [field, data.readDoubleLE(at)];
      at += 8;
    } else if (wire === 5) {
      yield [field, data.readFloatLE(at)];
      at += 4;
    } else if (wire === 2) {
      const length = Number(varint());
      yield [field, data.subarray(at, at + length)];
      at += length;
    } else throw new Error(`wire type ${wire}`);
  }
  if (at !== data.length) throw new Error('a message that ends within a field');
}

function readEvents(t, data) {
  const events = [];
  for (let at = 0; at < data.length; ) {
    const length = Number(data.readBigUInt64LE(at));
    t.is(data.readUInt32LE(at + 8), masked(data.subarray(at, at + 8)), 'checksum of the length');
    const body = data.subarray(at + 12, at + 12 + length);
    t.is(body.length, length);
    t.is(data.readUInt32LE(at + 12 + length), masked(body), 'checksum of the data');
    at += 16 + length;
    const event = { step: 0, scalars: {} };
    for (const [field, value] of fields(body)) {
      if (field === 1) event.seconds = value;
      if (field === 2) event.step = Number(value);
      if (field === 7) event.status = Number([...fields(value)][0][1]);
      if (field === 3) event.version = value.toString();
      if (field !== 5) continue;
      for (const [, item] of fields(value)) {
        const parts = Object.fromEntries(fields(item));
        event.scalars[parts[1].toString()] = parts[2];
      }
    }
    events.push(event);
  }
  return events;
}

async function readRun(t, dir) {
  const [name, ...others] = await readdir(dir);
  t.deepEqual(others, []);
  t.regex(name, /^events\.out\.tfevents\.\d{10}\./);
  return readNumbers(t, await readFile(join(dir, name)));
}

/** The version, then the numbers; between them is that the run starts at the step of the first ones. */
function readNumbers(t, file) {
  const [version, start, ...events] = readEvents(t, file);
  t.is(start.status, 1);
  t.is(start.step, events[0].step);
  return [version, ...events];
}

const data = { x: Float32Array.from({ length: 40 }, (_, i) => i / 40), y: new Float32Array(40) };

function make(t) {
  const model = sequential([dense(3), dense(1)], { input: [1], seed: 1 });
  const trainer = new Trainer(model, { loss: 'mse', metrics: ['r2'] });
  t.teardown(() => trainer.close());
  return trainer;
}

test('the checksum is that of the check value', (t) => {
  t.is(crc32c(Buffer.from('123456789')), 0xe3069283);
});

test('epochs of training and validation, in runs of their own', async (t) => {
  const dir = await makeFolder(t);
  const before = Date.now() / 1000;
  const history = await make(t).fit(data, {
    epochs: 300,
    batchSize: 40,
    validationSplit: 0.2,
    verbose: 0,
    callbacks: [tensorBoard({ dir })],
  });
  const runs = { train: ['loss', 'r2', 'learningRate'], validation: ['loss', 'r2'] };
  t.deepEqual((await readdir(dir)).sort(), Object.keys(runs).sort());
  for (const [run, names] of Object.entries(runs)) {
    const [version, ...events] = await readRun(t, join(dir, run));
    t.is(version.version, 'brain.Event:2');
    t.true(version.seconds >= before && version.seconds <= Date.now() / 1000);
    t.deepEqual(
      events.map(({ step }) => step),
      history.epochs,
    );
    for (const name of names) {
      const own = run === 'train' ? name : `val${name[0].toUpperCase()}${name.slice(1)}`;
      t.deepEqual(
        events.map(({ scalars }) => scalars[name]),
        history[own].map(Math.fround),
        `${run} ${name}`,
      );
    }
    t.deepEqual(Object.keys(events[0].scalars).sort(), names.toSorted());
  }
});

test('a metric of any name is of validation data in the run of these', async (t) => {
  const dir = await makeFolder(t);
  const model = sequential([dense(1)], { input: [1], seed: 1 });
  const names = ['MAE', '_error', '3rd', 'écart', 'valid'];
  const made = Object.fromEntries(names.map((name) => [name, metrics.mae()]));
  const trainer = new Trainer(model, { loss: 'mse', metrics: made });
  t.teardown(() => trainer.close());
  const callbacks = [tensorBoard({ dir })];
  await trainer.fit(data, { validationSplit: 0.2, verbose: 0, callbacks });
  for (const [run, more] of [
    ['train', ['learningRate']],
    ['validation', []],
  ]) {
    const [, { scalars }] = await readRun(t, join(dir, run));
    t.deepEqual(Object.keys(scalars).sort(), ['loss', ...names, ...more].sort());
  }
});

test('steps, when asked for', async (t) => {
  const dir = await makeFolder(t);
  const callbacks = [tensorBoard({ dir, everySteps: 3 })];
  const trainer = make(t);
  await trainer.fit(data, { epochs: 2, batchSize: 10, verbose: 0, callbacks });
  const steps = (await readRun(t, join(dir, 'steps'))).slice(1);
  t.deepEqual(
    steps.map(({ step }) => step),
    [0, 3, 6],
  );
  t.true(steps.every(({ scalars }) => scalars['step/gradNorm'] > 0));
});

test('a file for each call of fit, closed also after an error', async (t) => {
  const dir = await makeFolder(t);
  const callbacks = [tensorBoard({ dir })];
  const trainer = make(t);
  await trainer.fit(data, { verbose: 0, callbacks });
  const onEpochEnd = () => {
    throw new Error('mine');
  };
  const failing = trainer.fit(data, { verbose: 0, callbacks: [...callbacks, { onEpochEnd }] });
  await t.throwsAsync(failing, { message: 'mine' });
  const names = await readdir(join(dir, 'train'));
  t.is(names.length, 2);
  for (const name of names) {
    const events = readNumbers(t, await readFile(join(dir, 'train', name)));
    t.is(events.length, 2);
  }
});

/** The steps that are in a chart, as TensorBoard reads the files of a run. */
async function chartedSteps(t, dir) {
  let steps = [];
  for (const name of (await readdir(dir)).sort()) {
    for (const { step, status, scalars } of readEvents(t, await readFile(join(dir, name)))) {
      if (status === 1) steps = steps.filter((earlier) => earlier < step);
      else if (Object.keys(scalars).length > 0) steps.push(step);
    }
  }
  return steps;
}

test('a run that goes on from a checkpoint is in a chart once', async (t) => {
  const [dir, log] = [await makeFolder(t), await makeFolder(t)];
  const callbacks = [tensorBoard({ dir: log, everySteps: 1 })];
  const options = { batchSize: 10, validationSplit: 0.5, verbose: 0, callbacks };
  await make(t).fit(data, { ...options, epochs: 3, checkpoint: { dir } });
  const [first] = (await readdir(dir)).sort();
  await make(t).fit(data, { ...options, epochs: 4, resumeFrom: join(dir, first) });
  t.deepEqual(await chartedSteps(t, join(log, 'train')), [0, 1, 2, 3]);
  t.deepEqual(await chartedSteps(t, join(log, 'validation')), [0, 1, 2, 3]);
  t.deepEqual(await chartedSteps(t, join(log, 'steps')), [0, 1, 2, 3, 4, 5, 6, 7]);
});

test('so it is where it writes fewer of its steps than the run before', async (t) => {
  for (const [everySteps, charted] of [
    [3, [0, 1, 3, 6]],
    [100, [0, 1]],
  ]) {
    const [dir, log] = [await makeFolder(t), await makeFolder(t)];
    const options = { batchSize: 20, verbose: 0 };
    const each = [tensorBoard({ dir: log, everySteps: 1 })];
    await make(t).fit(data, { ...options, epochs: 3, checkpoint: { dir }, callbacks: each });
    const [first] = (await readdir(dir)).sort();
    const fewer = [tensorBoard({ dir: log, everySteps })];
    const resumeFrom = join(dir, first);
    await make(t).fit(data, { ...options, epochs: 4, resumeFrom, callbacks: fewer });
    t.deepEqual(await chartedSteps(t, join(log, 'steps')), charted, `every ${everySteps} steps`);
  }
});

test('a folder that cannot be made ends fit with that error', async (t) => {
  const dir = await makeFolder(t);
  const file = new URL(import.meta.url);
  const bad = tensorBoard({ dir: join(file.pathname, 'under a file') });
  await t.throwsAsync(make(t).fit(data, { verbose: 0, callbacks: [bad] }), { code: 'ENOTDIR' });
  t.deepEqual(await readdir(dir), []);
});

test('refuses options that are wrong', (t) => {
  for (const options of [undefined, {}, { dir: '' }, { dir: 'a', everySteps: 0 }, { path: 'a' }]) {
    t.throws(() => tensorBoard(options), { code: 'ERR_ARGUMENT' });
  }
});
