// Worker threads, and ends of processes in the middle of everything. The scripts of test/faults take the
// device that there is: on a machine with a GPU their 'auto' is the GPU, which the first check makes sure of.
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { Predictor } from 'tandem-ml';
import { build, makeData, makeTrainer, runScript, work } from '../../faults/support.mjs';
import { check, end, ensure, onDevice, same } from '../support.mjs';

const file = new URL('../../faults/worker.mjs', import.meta.url);
const start = (workerData) => new Worker(file, { workerData });

await check('auto is the device', async (t) => {
  const trainer = makeTrainer(build());
  t.teardown(() => trainer.close());
  await trainer.step(makeData(16));
  onDevice(trainer.profile());
  const predictor = await Predictor.load(build());
  t.teardown(() => predictor.close());
  onDevice(predictor.profile());
});

await check('worker threads have the bits of the main thread', async () => {
  const want = await work(1);
  const results = await Promise.all(
    Array.from({ length: 4 }, async () => {
      const worker = start({ task: 'work', seed: 1 });
      const [[result], [code]] = await Promise.all([once(worker, 'message'), once(worker, 'exit')]);
      same(code, 0, 'exit code of a worker');
      return result;
    }),
  );
  for (const [i, result] of results.entries()) same(result, want, `worker ${i}`);
});

await check('terminate() in mid-run', async () => {
  const before = await work(1);
  for (const delay of [0, 5, 40]) {
    const workers = Array.from({ length: 3 }, () => start({ task: 'busy' }));
    await Promise.all(
      workers.map(async (worker) => {
        await once(worker, 'message');
        await sleep(delay);
        same(await worker.terminate(), 1, `terminate() after ${delay} ms`);
      }),
    );
  }
  same(await work(1), before, 'the main thread afterwards');
});

await check('worker threads that exit in the middle of everything', async () => {
  const workers = Array.from({ length: 3 }, () => start({ task: 'leave' }));
  const codes = await Promise.all(workers.map(async (worker) => (await once(worker, 'exit'))[0]));
  same(codes, [5, 5, 5], 'exit codes');
});

const prepare = `
  const trainer = makeTrainer();
  const predictor = await Predictor.load(build());
  const x = makeX(4096);
  const busy = async () => {
    const fit = await startFit(trainer);
    fit.done.catch(() => {});
    for (let i = 0; i < 100; i++) predictor.predict(x);
    predictor.bind(64).run();
  };`;
const atBatch = '{ ...forever, callbacks: [{ onBatchEnd: () => process.exit(3) }] }';
const wait = 'await new Promise((resolve) => setTimeout(resolve, 60_000));';

for (const [name, body, want] of [
  ['process.exit while busy', 'await busy(); process.exit(3);', 3],
  ['process.exit 20 ms later', 'await busy(); setTimeout(() => process.exit(3), 20);', 3],
  ['process.exit as fit starts', 'trainer.fit(makeData(64), forever); process.exit(3);', 3],
  ['process.exit in a callback', `await trainer.fit(makeData(64), ${atBatch});`, 3],
  ['an uncaught error', "await busy(); throw new Error('boom');", 1],
  ['SIGTERM', `await busy(); process.kill(process.pid, 'SIGTERM'); ${wait}`, 'SIGTERM'],
  [
    'an end without any close',
    'await trainer.fit(makeData(64), quiet); predictor.predictSync(x);',
    0,
  ],
  ['an end with predictions pending', 'for (let i = 0; i < 50; i++) predictor.predict(x);', 0],
]) {
  await check(name, async () => {
    const { status, signal, stderr, stdout } = await runScript(`${prepare} ${body}`);
    const told = `${signal ?? status}, not ${want}\n${stderr.slice(-3000)}\n${stdout.slice(-500)}`;
    ensure((signal ?? status) === want, told);
    const crashed = /terminate called|what\(\):|FATAL|double free|corrupt|Segmentation|Abort/;
    ensure(!crashed.test(stderr), told);
    ensure(want === 1 || stderr === '', told);
  });
}
end();
