// predictor.stream: order, back-pressure, errors, aborts.
import { setTimeout as sleep } from 'node:timers/promises';
import test from 'ava';
import { dense, sequential } from 'tandem-ml';
import { loadPredictor } from './helpers/predictors.mjs';

const rowOf = (i) => Float32Array.of(Math.sin(i), Math.cos(i));
const load = (t, options) =>
  loadPredictor(t, sequential([dense(3)], { input: [2], seed: 1 }), options);

/** Rows of so many items; notes how many were read, and whether it was closed. */
function source(count, { pause = 0, fail = -1 } = {}) {
  const log = { read: 0, closed: false };
  const items = async function* () {
    try {
      for (let i = 0; i < count; i++) {
        if (pause > 0) await sleep(pause);
        if (i === fail) throw new Error('broken');
        log.read++;
        yield rowOf(i);
      }
    } finally {
      log.closed = true;
    }
  };
  return { log, items: items() };
}

for (const [name, batching] of [
  ['a queue', { maxBatch: 8, maxDelayUs: 300 }],
  ['no queue', undefined],
]) {
  test(`results come in order, with ${name}`, async (t) => {
    const predictor = await load(t, { batching });
    let i = 0;
    for await (const y of predictor.stream(source(100).items)) {
      const wanted = predictor.predictSync(rowOf(i++));
      for (const k of [0, 1, 2]) t.true(Math.abs(y[k] - wanted[k]) < 1e-5);
    }
    t.is(i, 100);
    const listed = [];
    for await (const y of predictor.stream([rowOf(1), rowOf(2)])) listed.push(y.length);
    t.deepEqual(listed, [3, 3]);
  });

  test(`no more is read than is asked for, with ${name}`, async (t) => {
    const predictor = await load(t, { batching });
    const { log, items } = source(1000);
    let taken = 0;
    for await (const _ of predictor.stream(items, { concurrency: 5 })) {
      await sleep(1);
      taken++;
      t.true(log.read <= taken + 6, `${log.read} read, ${taken} taken`);
      if (taken === 20) break;
    }
    await sleep(1);
    t.true(log.closed);
  });
}

test('a source that waits for results gets them', async (t) => {
  const predictor = await load(t, { batching: { maxBatch: 8 } });
  let got = 0;
  let wake = () => undefined;
  const items = (async function* () {
    for (let i = 0; i < 4; i++) {
      yield rowOf(i);
      while (got <= i) await new Promise((resolve) => (wake = resolve));
    }
  })();
  for await (const _ of predictor.stream(items)) {
    got++;
    wake();
  }
  t.is(got, 4);
});

test('errors are thrown in their place and close the source', async (t) => {
  const predictor = await load(t);
  const got = [];
  const { items } = source(10, { fail: 3 });
  await t.throwsAsync(
    async () => {
      for await (const y of predictor.stream(items, { concurrency: 1 })) got.push(y);
    },
    { message: 'broken' },
  );
  t.is(got.length, 3);
  const several = [];
  await t.throwsAsync(
    async () => {
      const stream = predictor.stream(source(10, { fail: 3 }).items, { concurrency: 5 });
      for await (const y of stream) several.push(y);
    },
    { message: 'broken' },
  );
  t.is(several.length, 3);
  const closing = { closed: false };
  const bad = (async function* () {
    try {
      yield await Promise.resolve(rowOf(1));
      yield new Float32Array(3);
      yield rowOf(2);
    } finally {
      closing.closed = true;
    }
  })();
  const fine = [];
  await t.throwsAsync(
    async () => {
      for await (const y of predictor.stream(bad)) fine.push(y);
    },
    { code: 'ERR_SHAPE' },
  );
  t.is(fine.length, 1);
  await sleep(1);
  t.true(closing.closed);
});

test('a signal ends a stream that waits', async (t) => {
  const predictor = await load(t);
  const controller = new AbortController();
  const never = (async function* () {
    yield rowOf(1);
    await new Promise(() => undefined);
  })();
  let got = 0;
  const error = await t.throwsAsync(
    async () => {
      for await (const _ of predictor.stream(never, { signal: controller.signal })) {
        got++;
        setTimeout(() => controller.abort('late'), 2);
      }
    },
    { code: 'ERR_ABORTED' },
  );
  t.is(error.cause, 'late');
  t.is(got, 1);
  for (const bad of [undefined, 3, rowOf(1)]) {
    t.throws(() => predictor.stream(bad), { code: 'ERR_ARGUMENT' });
  }
  t.throws(() => predictor.stream([], { concurrency: 0 }), { code: 'ERR_ARGUMENT' });
  t.throws(() => predictor.stream([], { priority: Number.NaN }), { code: 'ERR_ARGUMENT' });
});

test('a stream stays within maxQueue, and waits for places beside other calls', async (t) => {
  const predictor = await load(t, { maxQueue: 2, batching: { maxBatch: 64 } });
  const rows = Array.from({ length: 50 }, (_, i) => rowOf(i));
  const read = async () => {
    let count = 0;
    for await (const _ of predictor.stream(rows)) count++;
    return count;
  };
  t.deepEqual(await Promise.all([read(), read(), read()]), [50, 50, 50]);
  const controller = new AbortController();
  const aborted = (async () => {
    for await (const _ of predictor.stream(rows, { signal: controller.signal })) controller.abort();
  })();
  await Promise.all([t.throwsAsync(aborted, { code: 'ERR_ABORTED' }), read()]);
  t.is(await read(), 50);
});

test('return ends a stream that waits for its source', async (t) => {
  const predictor = await load(t, {});
  const never = { [Symbol.asyncIterator]: () => ({ next: () => new Promise(() => undefined) }) };
  const stream = predictor.stream(/** @type {any} */ (never));
  const next = stream.next();
  t.deepEqual(await stream.return(), { value: undefined, done: true });
  t.deepEqual(await next, { value: undefined, done: true });
});

/** A Predictor with one place, and what frees it: a call that waits for another row, until aborted. */
async function occupied(t) {
  const batching = { maxBatch: 2, maxDelayUs: 60e6 };
  const predictor = await load(t, { maxQueue: 1, batching });
  const controller = new AbortController();
  const pending = predictor.predict(rowOf(0), { signal: controller.signal });
  const aborted = t.throwsAsync(pending, { code: 'ERR_ABORTED' });
  return { predictor, aborted, free: () => controller.abort() };
}

/** Two rows, a full batch. */
const full = Float32Array.of(1, 2, 3, 4);

/** Until so many items were read, and whatever follows from that at once has happened. */
async function whenRead(log, count) {
  do await sleep(1);
  while (log.read < count);
}

test('what was read and not begun before return is not predicted any more', async (t) => {
  const { predictor, aborted, free } = await occupied(t);
  const { log, items } = source(10);
  const stream = predictor.stream(items, { concurrency: 4 });
  const next = stream.next();
  await whenRead(log, 1);
  t.is(log.read, 1); // the source waits for the place as well
  await stream.return();
  t.true((await next).done);
  free();
  await aborted;
  await sleep(1);
  t.is((await predictor.predict(full)).length, 6); // the only place is free
});

test('a source may fill one array again and again, also where items wait for places', async (t) => {
  const count = 40;
  for (const batching of [undefined, { maxBatch: 4, maxDelayUs: 100 }]) {
    const predictor = await load(t, { maxQueue: 2, batching });
    const read = async (_, stream) => {
      const array = new Float32Array(2);
      const items = (function* () {
        for (let i = 0; i < count; i++) {
          array.set(rowOf(stream * count + i));
          yield array;
        }
      })();
      let i = stream * count;
      for await (const y of predictor.stream(items)) {
        const wanted = predictor.predictSync(rowOf(i++));
        for (const k of [0, 1, 2]) t.true(Math.abs(y[k] - wanted[k]) < 1e-5);
      }
      t.is(i, (stream + 1) * count);
    };
    await Promise.all(Array.from({ length: 3 }, read));
  }
});

test('streams get places in the order in which they came', async (t) => {
  const { predictor, aborted, free } = await occupied(t);
  const order = [];
  const streams = [];
  for (const name of ['a', 'b', 'c']) {
    const log = { read: 0 };
    const items = (function* () {
      log.read++;
      yield full;
    })();
    const read = predictor.stream(items).next();
    streams.push(read.then(() => order.push(name)));
    await whenRead(log, 1);
  }
  free();
  // In the same turn, when the first of those who wait has yet to notice that there is a place.
  const hasty = predictor.predict(full).catch(() => undefined);
  await Promise.all([aborted, ...streams, hasty]);
  t.deepEqual(order, ['a', 'b', 'c']);
});
