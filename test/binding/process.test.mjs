// How a process with the addon ends, and what it gives back on the way.
import test from 'ava';
import { runModule } from '../helpers/process.mjs';

/** Runs a script with the addon in a process of its own; `gc` is at hand. */
const runScript = async (body) => {
  const support = JSON.stringify(new URL('support.mjs', import.meta.url).href);
  const script = `
    const SUPPORT_URL = ${support};
    const support = await import(SUPPORT_URL);
    const { addon, makePredictor, makeTrainer, ramp, work } = support;
    const longWork = work(20000, 1, 256, 256);
    const makeLong = () => makeTrainer(256, 256);
    const long = (trainer) => trainer.train(...longWork);
    ${body}`;
  return await runModule(script, { flags: ['--expose-gc'] });
};

const ends = async (t, body, status, output = '') => {
  const result = await runScript(body);
  t.is(result.signal, null, result.stderr);
  t.is(result.status, status, result.stderr);
  t.is(result.stdout, output);
};

test.serial('process.exit() in the middle of a fit keeps its code', async (t) => {
  await ends(t, 'long(makeLong().trainer); process.exit(7);', 7);
  await ends(t, 'long(makeLong().trainer); setTimeout(() => process.exit(8), 50);', 8);
  await ends(
    t,
    '(await makePredictor()).predict(1, null, ramp(3), new Float32Array(2)); process.exit(9);',
    9,
  );
});

test.serial('an uncaught exception in the middle of a fit ends as usual', async (t) => {
  await ends(t, 'long(makeLong().trainer); setTimeout(() => { throw new Error(); }, 20);', 1);
});

test.serial('pending calls keep the process alive, and nothing else does', async (t) => {
  await ends(
    t,
    'const { trainer } = makeLong(); trainer.train(...work(50, 1, 256, 256)).then(() => console.log("done"));',
    0,
    'done\n',
  );
  await ends(
    t,
    '(await makePredictor()).bind(1).run().then(() => console.log("done"));',
    0,
    'done\n',
  );
  await ends(t, 'makeLong(); (await makePredictor()).bind(1);', 0);
});

test.serial('views outlive everything else', async (t) => {
  await ends(
    t,
    `const views = [];
    for (let i = 0; i < 50; i++) {
      const { store, trainer } = makeLong();
      views.push(new Float32Array(store.buffer));
      trainer.close();
      const predictor = await makePredictor();
      const binding = predictor.bind(2);
      views.push(...binding.inputs, ...binding.outputs);
      if (i % 2) binding.close();
      predictor.close();
    }
    for (let i = 0; i < 5; i++) { gc(); await new Promise(setImmediate); }
    let sum = 0;
    for (const view of views) { view.fill(1, 0, 3); sum += view[2] ?? 1; }
    console.log(sum === views.length);`,
    0,
    'true\n',
  );
});

test.serial('memory is given back, by close() or by collection', async (t) => {
  await ends(
    t,
    `const turn = async (closes) => {
      for (let i = 0; i < 60; i++) {
        const { trainer } = makeTrainer(1024, 512);
        const predictor = await makePredictor(1024, 512);
        addon.predictSync(predictor.key, 1, ramp(1024), new Float32Array(512));
        await predictor.bind(1).run();
        await trainer.train(...work(1, 2, 1024, 512));
        if (closes) { trainer.close(); predictor.close(); }
      }
      gc();
      await new Promise((resolve) => setTimeout(resolve, 20));
      gc();
      return process.memoryUsage().rss / 2 ** 20;
    };
    await turn(true);
    const before = await turn(false);
    await turn(true);
    const after = await turn(false);
    console.log(after - before < 100 ? 'flat' : [before, after]);`,
    0,
    'flat\n',
  );
});

test.serial('a trainer collected in the middle of a call finishes it', async (t) => {
  await ends(
    t,
    `let pending = makeLong().trainer.train(...work(300, 1, 256, 256));
    for (let i = 0; i < 5; i++) { gc(); await new Promise(setImmediate); }
    console.log((await pending).length);`,
    0,
    '900\n',
  );
});

test.serial('the addon survives its last worker thread', async (t) => {
  await ends(
    t,
    `const { Worker } = await import('node:worker_threads');
    const { setTimeout: sleep } = await import('node:timers/promises');
    for (let i = 0; i < 3; i++) {
      const worker = new Worker(
        \`import(process.env.SUPPORT).then(async ({ makeTrainer, work }) => {
          await makeTrainer(256, 256, { threads: 0 }).trainer.train(...work(5, 256, 256, 256));
        });\`, { eval: true, env: { ...process.env, SUPPORT: ${JSON.stringify(new URL('support.mjs', import.meta.url).href)} } });
      await new Promise((resolve) => worker.once('exit', resolve));
      await sleep(20);
    }
    console.log('alive');`,
    0,
    'alive\n',
  );
});

test.serial('worker threads may be terminated while their calls settle', async (t) => {
  await ends(
    t,
    `const { Worker } = await import('node:worker_threads');
    const body = \`import(process.env.SUPPORT).then(async ({ makePredictor, ramp }) => {
      const predictor = await makePredictor();
      const caller = async (...out) => { for (;;) await predictor.predict(1, null, ramp(3), ...out); };
      for (let i = 0; i < 50; i++) { caller(); caller(new Float32Array(2)); }
      require('node:worker_threads').parentPort.postMessage(0);
    });\`;
    const env = { ...process.env, SUPPORT: SUPPORT_URL };
    const run = async (delay) => {
      const worker = new Worker(body, { eval: true, execArgv: [], env });
      await new Promise((resolve) => worker.once('message', resolve));
      await new Promise((resolve) => setTimeout(resolve, delay));
      await worker.terminate();
    };
    for (let i = 0; i < 20; i++) await Promise.all([0, 1, 2, 5, 9].map((base) => run(base + i % 4)));`,
    0,
  );
});
