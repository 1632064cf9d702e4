// A source that nobody reads any more is told so, closed, and asked for no more rows.
import { setTimeout as sleep } from 'node:timers/promises';
import test from 'ava';
import { dense, sequential, Trainer } from 'tandem-ml';
import { fitEncoder, fromBatches, fromRows, fromTable } from 'tandem-ml/data';

/** A source that gives an item a millisecond for ever; what became of it. */
function endless(item) {
  const seen = { given: 0, told: 0, closed: 0 };
  async function* open({ signal }) {
    signal.addEventListener('abort', () => {
      seen.told++;
    });
    try {
      for (;;) {
        seen.given++;
        yield item();
        await sleep(1);
      }
    } finally {
      seen.closed++;
    }
  }
  return { open, seen };
}

const encoder = await fitEncoder(fromTable({ a: [1, 2], b: [1, 2] }), {
  x: { a: 'number' },
  y: { b: 'number' },
});
const sources = {
  batches() {
    const batch = () => ({ x: new Float32Array(4), y: new Float32Array(4) });
    const { open, seen } = endless(batch);
    return { seen, data: fromBatches(open) };
  },
  rows() {
    const { open, seen } = endless(() => ({ a: 1, b: 2 }));
    return { seen, data: encoder.encode(fromRows(open)) };
  },
};

/** How a fit ends before its source does. */
const ends = {
  signal: (_trainer, controller) => controller.abort(),
  stop: (trainer) => trainer.stop(),
  close: (trainer) => trainer.close(),
};

for (const [kind, make] of Object.entries(sources)) {
  for (const [how, end] of Object.entries(ends)) {
    // A window of rows to shuffle that would be full in a quarter of a minute.
    test(`a fit on ${kind} that is ended by ${how} leaves its source`, async (t) => {
      const { data, seen } = make();
      const trainer = new Trainer(sequential([dense(1)], { input: [1] }), { loss: 'mse' });
      t.teardown(() => trainer.close());
      const controller = new AbortController();
      const fit = trainer.fit(data, { verbose: 0, signal: controller.signal }).catch(() => {});
      while (seen.given < 5) await sleep(1);
      await end(trainer, controller);
      await fit;
      for (let i = 0; i < 1000 && seen.closed === 0; i++) await sleep(1);
      const { given } = seen;
      t.deepEqual(seen, { given, told: 1, closed: 1 });
      await sleep(20);
      t.is(seen.given, given);
    });
  }

  test(`leaving an iteration of ${kind} closes the source without more of its rows`, async (t) => {
    const { data, seen } = make();
    let before = 0;
    for await (const { rows } of data
      .shuffle({ seed: 1, window: 1000 })
      .batches({ batchSize: 100 })) {
      t.is(rows, 100);
      before = seen.given;
      break;
    }
    for (let i = 0; i < 1000 && seen.closed === 0; i++) await sleep(1);
    // The window after it would take a thousand rows more.
    t.true(seen.given < before + 100, `${seen.given - before}`);
    t.deepEqual(seen, { given: seen.given, told: 1, closed: 1 });
  });
}

test('a source that is read to its end is told nothing', async (t) => {
  let told = 0;
  async function* open({ signal }) {
    signal.addEventListener('abort', () => {
      told++;
    });
    yield await Promise.resolve({ x: new Float32Array(4), y: new Float32Array(4) });
  }
  const trainer = new Trainer(sequential([dense(1)], { input: [1] }), { loss: 'mse' });
  t.teardown(() => trainer.close());
  await trainer.fit(fromBatches(open), { epochs: 3, verbose: 0 });
  for await (const { rows } of fromBatches(open).batches()) t.is(rows, 4);
  t.is(told, 0);
});

test('leaving an iteration does not wait for a source that never answers', async (t) => {
  async function* open() {
    yield { x: new Float32Array(4), y: new Float32Array(4) };
    await new Promise(() => {});
  }
  let batches = 0;
  for await (const { rows } of fromBatches(open).batches({ batchSize: 2 })) {
    t.is(rows, 2);
    batches++;
    break;
  }
  t.is(batches, 1);
});

test('a source that fails or ends is not closed, one that is left is', async (t) => {
  const made = (next) => {
    const closed = { times: 0 };
    const close = async () => {
      closed.times++;
      return await Promise.resolve({ done: true });
    };
    const open = () => ({ [Symbol.asyncIterator]: () => ({ next, return: close }) });
    return { closed, data: fromBatches(open) };
  };
  const batch = () => ({ x: new Float32Array(4), y: new Float32Array(4) });
  const failing = made(() => Promise.reject(new RangeError('mine')));
  await t.throwsAsync(failing.data.load(), { instanceOf: RangeError });
  await t.throwsAsync(
    async () => {
      for await (const _ of failing.data.batches());
    },
    { instanceOf: RangeError },
  );
  const throwing = made(() => {
    throw new RangeError('mine');
  });
  await t.throwsAsync(
    async () => {
      for await (const _ of throwing.data.batches());
    },
    { instanceOf: RangeError },
  );
  let given = 0;
  const ending = made(() => Promise.resolve(++given > 2 ? { done: true } : { value: batch() }));
  for await (const { rows } of ending.data.batches({ batchSize: 4 })) t.is(rows, 4);
  const endless = made(() => Promise.resolve({ value: batch() }));
  for await (const _ of endless.data.batches({ batchSize: 4 })) break;
  t.deepEqual(
    [failing, throwing, ending, endless].map(({ closed }) => closed.times),
    [0, 0, 0, 1],
  );
});
