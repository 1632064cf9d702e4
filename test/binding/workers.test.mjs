// The addon in worker threads: an environment each, one process.
import { Worker } from 'node:worker_threads';
import test from 'ava';

const inWorker = (body) =>
  new Worker(
    `import(process.env.SUPPORT).then(async ({ addon, makePredictor, makeTrainer, ramp, work }) => {
      const { parentPort } = require('node:worker_threads');
      const { store, trainer } = makeTrainer(64, 64);
      ${body}
    });`,
    { eval: true, env: { ...process.env, SUPPORT: new URL('support.mjs', import.meta.url).href } },
  );

const exit = (worker) =>
  new Promise((resolve, reject) => worker.once('error', reject).once('exit', resolve));

test.serial('ten worker threads use the addon at once', async (t) => {
  const workers = Array.from({ length: 10 }, () =>
    inWorker('const r = await trainer.train(...work(50, 64, 64, 64)); parentPort.postMessage(r);'),
  );
  const results = await Promise.all(
    workers.map(async (worker) => {
      const message = new Promise((resolve) => worker.once('message', resolve));
      t.is(await exit(worker), 0);
      return message;
    }),
  );
  for (const result of results) t.deepEqual(result, results[0]);
});

test.serial('terminated worker threads take their work along', async (t) => {
  for (const delay of [0, 2, 10]) {
    const workers = Array.from({ length: 5 }, () =>
      inWorker(`
        const long = work(20000, 1, 64, 64);
        trainer.train(...long);
        trainer.train(...long);
        const predictor = await makePredictor();
        predictor.bind(1).run();
        parentPort.postMessage(0);
        for (;;) await predictor.predict(1, null, ramp(3), new Float32Array(2));`),
    );
    await Promise.all(
      workers.map(async (worker) => {
        await new Promise((resolve) => worker.once('message', resolve));
        await new Promise((resolve) => setTimeout(resolve, delay));
        await worker.terminate();
      }),
    );
  }
  t.pass();
});
