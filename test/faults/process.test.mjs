// How a process ends while the library is at work.
import test from 'ava';
import { ends, runScript } from './support.mjs';

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

test('process.exit in the middle of everything keeps its code', async (t) => {
  await ends(t, `${prepare} await busy(); process.exit(3);`, 3);
  await ends(t, `${prepare} await busy(); setTimeout(() => process.exit(3), 20);`, 3);
  await ends(t, `${prepare} await busy(); process.exitCode = 3; process.exit();`, 3);
  await ends(t, `${prepare} trainer.fit(makeData(64), forever); process.exit(3);`, 3);
  const callback = '{ ...forever, callbacks: [{ onBatchEnd: () => process.exit(3) }] }';
  await ends(t, `${prepare} await trainer.fit(makeData(64), ${callback});`, 3);
  await ends(t, "process.on('exit', () => { process.exitCode = 3; }); await work(1);", 3);
});

test('process.exit beside worker threads at work keeps its code', async (t) => {
  const workers = `
    import { once } from 'node:events';
    import { Worker } from 'node:worker_threads';
    const file = new URL('worker.mjs', ${JSON.stringify(import.meta.url)});
    const options = { execArgv: [], workerData: { task: 'busy' } };
    const start = () => once(new Worker(file, options), 'message');
    await Promise.all([start(), start(), start()]);`;
  await ends(t, `${workers} process.exit(3);`, 3);
  await ends(t, `${prepare} ${workers} await busy(); process.exit(3);`, 3);
});

test('an uncaught exception in the middle of everything ends with 1', async (t) => {
  const boom = "throw new Error('boom');";
  for (const body of [
    `await busy(); ${boom}`,
    `await busy(); setTimeout(() => { ${boom} }, 20);`,
    `await busy(); Promise.reject(new Error('boom'));`,
    `await trainer.fit(makeData(64), { ...forever, callbacks: [{ onEpochEnd() { ${boom} } }] });`,
  ]) {
    const { status, signal, stderr } = await runScript(`${prepare} ${body}`);
    t.deepEqual({ status, signal }, { status: 1, signal: null }, stderr);
    t.regex(stderr, /Error: boom/);
    t.notRegex(stderr, /terminate called|what\(\):|FATAL|double free|corrupt|Segmentation|Abort/);
  }
});

test('SIGTERM in the middle of everything ends by that signal', async (t) => {
  const body = `${prepare} await busy(); process.kill(process.pid, 'SIGTERM');
    await new Promise((resolve) => setTimeout(resolve, 60_000));`;
  const { status, signal, stderr } = await runScript(body);
  if (process.platform === 'win32') t.is(status, 1);
  else t.deepEqual({ status, signal, stderr }, { status: null, signal: 'SIGTERM', stderr: '' });
});

test('a process ends by itself, without any close', async (t) => {
  await ends(t, '');
  await ends(t, `${prepare} await trainer.fit(makeData(64), quiet);`);
  await ends(
    t,
    `${prepare} const io = predictor.bind(4); io.runSync(); await predictor.predict(x);`,
  );
});

test('pending calls keep a process alive until they are done', async (t) => {
  const { stdout } = await ends(
    t,
    `${prepare}
    trainer.fit(makeData(64), { ...quiet, epochs: 20 }).then(() => console.log('fit'));
    predictor.predict(x).then(() => console.log('predict'));
    predictor.bind(4).run().then(() => console.log('run'));`,
  );
  t.deepEqual(stdout.trim().split('\n').sort(), ['fit', 'predict', 'run']);
});
