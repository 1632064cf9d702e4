// Files that are cut short or written to while they are served: an error, never the end of the
// process, and never a result of other weights. Each case is a process of its own, which a signal
// that nobody handles would end.
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import test from 'ava';
import { dense, embedding, flatten, input, sequential } from 'tandem-ml';
import { sharedFolder } from '../helpers/folder.mjs';

const folder = sharedFolder(test);

/** Its table, of 5 MB, is read where the file is mapped. */
const model = sequential([embedding(20_000, 64), flatten(), dense(3)], {
  input: input([2], { dtype: 'int32' }),
  seed: 1,
});

const library = new URL('../../dist/index.js', import.meta.url).href;

/** What a process that serves a file of its own prints, as JSON. */
async function served(name, body) {
  const file = join(folder, name);
  await model.save(file);
  const script = `
    import { openSync, ftruncateSync, readFileSync, statSync, utimesSync, writeFileSync } from 'node:fs';
    import { Worker } from 'node:worker_threads';
    import { Predictor } from ${JSON.stringify(library)};
    const file = ${JSON.stringify(file)};
    const x = (i) => Int32Array.of((i * 7919) % 20000, (i * 104729) % 20000);
    const cut = (bytes) => ftruncateSync(openSync(file, 'r+'), bytes);
    const codeOf = (run) => { try { run(); return 'none'; } catch (error) { return error.code; } };
    const predictor = await Predictor.load(file);
    const result = await (async () => { ${body} })();
    console.log(JSON.stringify(result));
  `;
  const { stdout } = await promisify(execFile)(process.execPath, [
    ...['--input-type=module', '-e', script, file],
  ]);
  return JSON.parse(stdout);
}

const mapped = process.platform === 'win32' ? test.skip : test;

mapped('a file cut to nothing fails every call after it, in every form', async (t) => {
  const codes = await served(
    'forms',
    `const io = predictor.bind(2);
    const before = codeOf(() => predictor.predictSync(x(1)));
    cut(0);
    return [
      before,
      codeOf(() => predictor.predictSync(x(1))),
      codeOf(() => predictor.predictSync(x(2), new Float32Array(3))),
      await predictor.predict(x(3)).then(() => 'none', (error) => error.code),
      codeOf(() => io.runSync()),
      await io.run().then(() => 'none', (error) => error.code),
    ];`,
  );
  t.deepEqual(codes, ['none', ...Array.from({ length: 5 }, () => 'ERR_FILE_FORMAT')]);
});

mapped('the last bytes are missed as well, which no signal tells of', async (t) => {
  const codes = await served(
    'end',
    `cut(statSync(file).size - 1);
    return [codeOf(() => predictor.predictSync(x(1)))];`,
  );
  t.deepEqual(codes, ['ERR_FILE_FORMAT']);
});

mapped('a file that is written anew in place is another file', async (t) => {
  const [code, again] = await served(
    'anew',
    `const bytes = readFileSync(file);
    utimesSync(file, 1, 1);
    const other = await Predictor.load(file);
    const wanted = other.predictSync(x(1));
    writeFileSync(file, bytes);
    const code = codeOf(() => other.predictSync(x(1)));
    const again = await Predictor.load(file);
    const same = Buffer.compare(Buffer.from(wanted.buffer), Buffer.from(again.predictSync(x(1)).buffer)) === 0;
    return [code, same];`,
  );
  t.deepEqual([code, again], ['ERR_FILE_FORMAT', true]);
});

mapped('under load of several threads, every result is right or an error', async (t) => {
  const counts = await served(
    'load',
    `const work = \`
      import { parentPort, workerData } from 'node:worker_threads';
      const { Predictor } = await import(workerData.library);
      const predictor = await Predictor.load(workerData.file);
      const x = Int32Array.from({ length: 400 }, (_, i) => (i * 7919) % 20000);
      const wanted = Array.from(predictor.predictSync(x));
      let [right, wrong, code] = [0, 0];
      let told = false;
      while (code === undefined) {
        const results = await Promise.allSettled([1, 2, 3].map(() => predictor.predict(x)));
        for (const { status, value, reason } of results) {
          if (status === 'rejected') code = reason.code;
          else if (value.every((y, i) => y === wanted[i])) right++;
          else wrong++;
        }
        if (!told && right > 0) parentPort.postMessage('ready');
        told = right > 0;
      }
      parentPort.postMessage({ right, wrong, code });\`;
    const workers = Array.from({ length: 3 }, () =>
      new Worker(work, { eval: true, workerData: { file, library: ${JSON.stringify(library)} } }));
    const next = (worker) => new Promise((resolve) => worker.once('message', resolve));
    await Promise.all(workers.map(next));
    const ends = workers.map(next);
    await new Promise((resolve) => setTimeout(resolve, 50));
    cut(4096);
    const found = await Promise.all(ends);
    await Promise.all(workers.map((worker) => worker.terminate()));
    return [...found, { right: 1, wrong: 0, code: codeOf(() => predictor.predictSync(x(1))) }];`,
  );
  for (const { right, wrong, code } of counts) {
    t.true(right > 0);
    t.is(wrong, 0);
    t.is(code, 'ERR_FILE_FORMAT');
  }
});

mapped('files are cut and loaded in turns', async (t) => {
  const codes = await served(
    'turns',
    `const bytes = readFileSync(file);
    const codes = new Set();
    for (let turn = 0; turn < 20; turn++) {
      writeFileSync(file, bytes);
      const loaded = await Promise.all([Predictor.load(file), Predictor.load(file)]);
      for (const one of loaded) codes.add(codeOf(() => one.predictSync(x(turn))));
      cut(turn * 1000);
      for (const one of loaded) codes.add(codeOf(() => one.predictSync(x(turn))));
      await Promise.all(loaded.map((one) => one.close()));
    }
    return [...codes].sort();`,
  );
  t.deepEqual(codes, ['ERR_FILE_FORMAT', 'none']);
});

mapped('a file that shrinks while it is loaded is refused or served as it was', async (t) => {
  const codes = await served(
    'loading',
    `const bytes = readFileSync(file);
    const codes = new Set();
    for (let turn = 0; turn < 20; turn++) {
      writeFileSync(file, bytes);
      const loading = Predictor.load(file).then((one) => codeOf(() => one.predictSync(x(1))), (error) => error.code);
      for (let i = 0; i < turn; i++) await new Promise((resolve) => setImmediate(resolve));
      cut(100);
      codes.add(await loading);
    }
    return [...codes].filter((code) => code !== 'ERR_FILE_FORMAT' && code !== 'none');`,
  );
  t.deepEqual(codes, []);
});

mapped('other bus errors end the process as they always did', async (t) => {
  const ended = served('sent', `process.kill(process.pid, 'SIGBUS'); await new Promise(() => {});`);
  const error = await t.throwsAsync(ended);
  t.is(/** @type {any} */ (error).signal, 'SIGBUS');
});
