// The library in worker threads: the same results, and an end at any time.
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import test from 'ava';
import { ends, work } from './support.mjs';

const file = new URL('worker.mjs', import.meta.url);
const start = (workerData) => new Worker(file, { workerData });

test.serial('10 worker threads at once have the bits of the main thread', async (t) => {
  const workers = Array.from({ length: 10 }, (_, i) => start({ task: 'work', seed: i % 2 }));
  const [even, odd, ...results] = await Promise.all([
    work(0),
    work(1),
    ...workers.map(async (worker) => {
      const [[result], [code]] = await Promise.all([once(worker, 'message'), once(worker, 'exit')]);
      t.is(code, 0);
      return result;
    }),
  ]);
  results.forEach((result, i) => {
    t.deepEqual(result, i % 2 === 0 ? even : odd);
  });
});

test.serial('the main thread of a process has the bits of its workers', async (t) => {
  const { stdout } = await ends(t, 'console.log(JSON.stringify(await work(3)));');
  t.deepEqual(JSON.parse(stdout), await work(3));
});

test.serial('worker threads are terminated in the middle of everything', async (t) => {
  const before = await work(1);
  for (const delay of [0, 1, 7, 30]) {
    const workers = Array.from({ length: 4 }, () => start({ task: 'busy' }));
    await Promise.all(
      workers.map(async (worker) => {
        t.deepEqual(await once(worker, 'message'), ['busy']);
        await sleep(delay);
        t.is(await worker.terminate(), 1);
      }),
    );
  }
  t.deepEqual(await work(1), before);
});

test.serial('worker threads exit in the middle of everything', async (t) => {
  const workers = Array.from({ length: 4 }, () => start({ task: 'leave' }));
  const codes = await Promise.all(workers.map(async (worker) => (await once(worker, 'exit'))[0]));
  t.deepEqual(codes, [5, 5, 5, 5]);
});

/** A process whose main thread never loads the library itself. */
const alone = (worker, then) => `
  import { once } from 'node:events';
  import { readFileSync } from 'node:fs';
  import { Worker } from 'node:worker_threads';
  const run = async (task, terminate) => {
    const worker = new Worker(new URL(${JSON.stringify(file.href)}), {
      execArgv: [],
      workerData: { task, seed: 1 },
    });
    const exit = once(worker, 'exit');
    const [result] = await once(worker, 'message');
    if (terminate) await worker.terminate();
    await exit;
    return JSON.stringify(result);
  };
  ${worker}
  ${then}`;

test.serial('threads of the library outlive the worker that loaded it', async (t) => {
  const pinned =
    process.platform === 'linux'
      ? "if (!readFileSync('/proc/self/maps', 'utf8').includes('tandem_ml.node')) throw new Error('unloaded');"
      : '';
  const pause = 'await new Promise((resolve) => setTimeout(resolve, 100));';
  const again = "if ((await run('work', false)) !== first) throw new Error('other bits');";
  for (const body of [
    alone("const first = await run('work', false);", `${pause} ${pinned} ${again}`),
    alone("const first = await run('work', false);", pinned),
    alone("await run('busy', true);", `${pause} ${pinned}`),
  ]) {
    await ends(t, body, 0, { bare: true });
  }
});
