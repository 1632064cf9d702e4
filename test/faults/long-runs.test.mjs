// What goes on for long stays as large as it is: nothing of a batch, a step, a call is kept.
import test from 'ava';
import { ends } from './support.mjs';

const flags = ['--expose-gc'];
const megabytes = 1;

/** `body` calls `look(i)` for each i below `count`; what is held then is compared. */
async function staysAsLarge(t, count, body) {
  const script = `
    import { fromBatches } from 'tandem-ml/data';
    const sizes = [];
    const look = async (i) => {
      if (i % ${count / 4} !== 0) return;
      for (let k = 0; k < 4; k++) {
        globalThis.gc();
        await new Promise((resolve) => setImmediate(resolve));
      }
      const { heapUsed, external } = process.memoryUsage(); // arrays count as external
      sizes.push((heapUsed + external) / 2 ** 20);
    };
    const count = ${count};
    async function* batches() {
      for (let i = 0; i < count; i++) {
        await look(i);
        yield { rows: 64, ...makeData(64) };
      }
    }
    ${body}
    console.log(sizes.slice(1).join(' '));`;
  const { stdout } = await ends(t, script, 0, { flags });
  const sizes = stdout.trim().split(' ').map(Number);
  t.log(sizes.map((size) => size.toFixed(2)).join(', '));
  t.is(sizes.length, 3);
  t.true(sizes[2] - sizes[0] < megabytes, sizes.join(', '));
}

// Each batch takes 4 KB and more, each step or call a few hundred bytes.
const trainer = 'const trainer = makeTrainer(); const data = fromBatches(batches);';

test.serial('an epoch of a source', async (t) => {
  const signal = '{ ...quiet, batchSize: 64, signal: new AbortController().signal }';
  await staysAsLarge(t, 20000, `${trainer} await trainer.fit(data, ${signal});`);
});

test.serial('an evaluation of a source', async (t) => {
  await staysAsLarge(t, 20000, `${trainer} await trainer.evaluate(data);`);
});

test.serial('steps that callbacks see', async (t) => {
  const fit =
    '{ ...quiet, batchSize: 16, epochs: count / 10, callbacks: [{ onBatchEnd: (step) => look(step) }] }';
  await staysAsLarge(t, 40000, `await makeTrainer().fit(makeData(160), ${fit});`);
});

test.serial('steps of arrays', async (t) => {
  await staysAsLarge(
    t,
    20000,
    `const trainer = makeTrainer();
    const data = makeData(64);
    for (let i = 0; i < count; i++) {
      await look(i);
      await trainer.step(data);
    }`,
  );
});

const predictor = 'const predictor = await Predictor.load(build());';

for (const options of ['{}', '{ signal: new AbortController().signal }']) {
  test.serial(`a stream with ${options}`, async (t) => {
    await staysAsLarge(
      t,
      20000,
      `${predictor}
      async function* rows() { for await (const { x } of batches()) yield x; }
      for await (const y of predictor.stream(rows(), ${options})) if (y.length === 0) throw y;`,
    );
  });
}

test.serial('runs of buffers that are bound', async (t) => {
  await staysAsLarge(
    t,
    40000,
    `${predictor}
    const io = predictor.bind(8);
    for (let i = 0; i < count; i++) {
      await look(i);
      if (i % 2 === 0) io.runSync();
      else await io.run();
    }`,
  );
});

test.serial('calls with one signal', async (t) => {
  await staysAsLarge(
    t,
    20000,
    `${predictor}
    const { signal } = new AbortController();
    for await (const { x } of batches()) await predictor.predict(x, { signal });`,
  );
});
