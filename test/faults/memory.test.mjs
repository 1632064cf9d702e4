// What is made and closed a thousand times gives its memory back.
import { join } from 'node:path';
import test from 'ava';
import { makeFolder } from '../helpers/folder.mjs';
import { build, ends } from './support.mjs';

// What is lost with every call grows in each round, while an allocator or V8 may once take some more
// in any of them.
const [usual, most] = [3, 10];

// V8's young generation otherwise doubles once, by 8 MB, in one round or another.
const flags = ['--expose-gc', '--min-semi-space-size=1', '--max-semi-space-size=1'];

/**
 * Runs `body` 1,500 times for a warm-up, in which allocators settle, then three rounds of 1,000, and
 * reports how much the resident memory of the process grew in each, with garbage collected before
 * each look.
 */
const grows = (prepare, body) => `
  ${prepare}
  const many = async (count) => { for (let i = 0; i < count; i++) { ${body} } };
  const held = async () => {
    for (let i = 0; i < 4; i++) {
      globalThis.gc();
      await new Promise((resolve) => setImmediate(resolve));
    }
    return process.memoryUsage.rss() / 2 ** 20;
  };
  await many(1500);
  const sizes = [await held()];
  for (let round = 0; round < 3; round++) {
    await many(1000);
    sizes.push(await held());
  }
  console.log(sizes.slice(1).map((size, i) => size - sizes[i]).join(' '));`;

async function keepsSize(t, prepare, body) {
  const { stdout } = await ends(t, grows(prepare, body), 0, { flags });
  const rounds = stdout.trim().split(' ').map(Number);
  t.log(rounds.map((growth) => `${growth.toFixed(2)} MB`).join(', '));
  const [, middle, largest] = rounds.sort((a, b) => a - b);
  t.true(middle < usual && largest < most, `${rounds.join(', ')} MB`);
}

const use = 'predictor.predictSync(x); await predictor.predict(x);';

test.serial('predictors of a model', async (t) => {
  await keepsSize(
    t,
    'const model = build(); const x = makeX(16);',
    `const predictor = await Predictor.load(model); ${use} await predictor.close();`,
  );
});

test.serial('predictors of a model of 2 MB', async (t) => {
  await keepsSize(
    t,
    `import { dense, sequential } from 'tandem-ml';
    const model = sequential([dense(512), dense(256), dense(10)], { input: [784] });
    const x = new Float32Array(784);`,
    `const predictor = await Predictor.load(model); ${use} await predictor.close();`,
  );
});

test.serial('predictors of a file', async (t) => {
  const path = join(await makeFolder(t), 'm.safetensors');
  await build().save(path);
  await keepsSize(
    t,
    `const x = makeX(16); const path = ${JSON.stringify(path)};`,
    `const predictor = await Predictor.load(path); ${use} await predictor.close();`,
  );
});

test.serial('bindings', async (t) => {
  await keepsSize(
    t,
    'const predictor = await Predictor.load(build());',
    'const io = predictor.bind(16); io.runSync(); await io.run(); io.close();',
  );
});

test.serial('trainers of a model', async (t) => {
  await keepsSize(
    t,
    'const model = build(); const data = makeData(16);',
    `const trainer = makeTrainer(model);
    await trainer.step(data);
    await trainer.fit(data, { ...quiet, batchSize: 8 });
    await trainer.evaluate(data);
    await trainer.close();`,
  );
});

test.serial('models with a trainer, never closed', async (t) => {
  await keepsSize(t, 'const data = makeData(16);', 'await makeTrainer(build()).step(data);');
});

test.serial('errors', async (t) => {
  await keepsSize(
    t,
    `const trainer = makeTrainer();
    const predictor = await Predictor.load(build());
    const x = makeX(16);
    const out = new Float32Array(64);
    const fails = async (promise) => {
      try { await promise; } catch (error) { if (error.name === 'TandemError') return; }
      throw new Error('no error');
    };`,
    `await fails(trainer.step({ x, y: new Int32Array(16).fill(9) }));
    await fails(trainer.fit({ x, y: new Int32Array(3) }, quiet));
    await fails(Predictor.load(build(), { threads: -1 }));
    const { signal } = new AbortController(); // so that it does not run at once
    const first = predictor.predict(x, { out, signal });
    await fails(predictor.predict(x, { out }));
    await first;
    const controller = new AbortController();
    const aborted = predictor.predict(x, { out, signal: controller.signal });
    controller.abort();
    await fails(aborted);`,
  );
});

test.serial('worker threads with a model of 4 MB each', async (t) => {
  const { stdout } = await ends(
    t,
    `
    import { once } from 'node:events';
    import { Worker } from 'node:worker_threads';
    const body = \`
      import('tandem-ml').then(async ({ dense, Predictor, sequential }) => {
        const model = sequential([dense(1024)], { input: [1024] });
        const predictor = await Predictor.load(model);
        predictor.bind(16).runSync();
        require('node:worker_threads').parentPort.postMessage('made');
        if (process.env.STAY) setInterval(() => {}, 1000);
      });\`;
    const run = async (terminate) => {
      const env = { ...process.env, ...(terminate && { STAY: '1' }) };
      const worker = new Worker(body, { eval: true, execArgv: [], env });
      const exit = once(worker, 'exit');
      await once(worker, 'message');
      if (terminate) worker.terminate();
      await exit;
    };
    for (let i = 0; i < 6; i++) await run(i % 2 === 0);
    const before = process.memoryUsage.rss();
    for (let i = 0; i < 30; i++) await run(i % 2 === 0);
    console.log((process.memoryUsage.rss() - before) / 2 ** 20);`,
  );
  const growth = Number.parseFloat(stdout);
  t.log(`${growth.toFixed(2)} MB`);
  // Of the 240 MB and more that they had together.
  t.true(growth < 60, `${growth} MB`);
});
