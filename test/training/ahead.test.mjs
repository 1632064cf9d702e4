// Epochs of files are read ahead, which nobody notices but by the time that it saves.
import { execFileSync } from 'node:child_process';
import { readdirSync, readlinkSync } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import test from 'ava';
import { dense, dropout, sequential, sgd, Trainer } from 'tandem-ml';
import { csv, fitEncoder, fromRows } from 'tandem-ml/data';
import { file, makeFolder, readRows } from '../helpers/folder.mjs';

const text = (rows, sign = 1) =>
  `a,b,y\n${Array.from({ length: rows }, (_, i) => `${(i % 7) / 7},${(i % 5) / 5},${(sign * (i % 3)) / 3}\n`).join('')}`;
const encoding = { x: { a: 'number', b: 'number' }, y: { y: 'number' } };
const makeTrainer = () =>
  new Trainer(
    sequential([dense(8, { activation: 'relu' }), dropout(0.2), dense(1)], { input: [2], seed: 3 }),
    {
      loss: 'mse',
      optimizer: sgd({ learningRate: 0.05 }),
    },
  );

/** What a fit of these data gives. */
async function fitted(data, options) {
  const trainer = makeTrainer();
  try {
    const { loss, valLoss } = await trainer.fit(data, { batchSize: 64, verbose: 0, ...options });
    return {
      loss,
      valLoss,
      weights: [...trainer.model.parameters.values()].map((p) => [...p.data]),
    };
  } finally {
    await trainer.close();
  }
}

test('the same bits as of rows that are not', async (t) => {
  const path = await file(t, 'file.csv', text(6000));
  const encoder = await fitEncoder(csv(path), encoding);
  const rows = await readRows(csv(path));
  const here = fromRows(() => rows);
  for (const options of [{ epochs: 4 }, { epochs: 3, retry: {} }]) {
    const both = await Promise.all(
      [csv(path), here].map((dataset) =>
        fitted(encoder.encode(dataset.skip(1000)), {
          ...options,
          validationData: encoder.encode(dataset.take(1000)),
          callbacks: [{ onEpochEnd() {} }],
        }),
      ),
    );
    t.is(both[0].loss.length, options.epochs);
    t.deepEqual(both[0], both[1]);
  }
});

const linux = process.platform === 'linux' ? test : test.skip;
linux('while the last steps, validation and callbacks run', async (t) => {
  const path = await file(t, 'file.csv', text(200_000));
  const encoder = await fitEncoder(csv(path).take(100), encoding);
  const open = () =>
    readdirSync('/proc/self/fd').filter((name) => {
      try {
        return readlinkSync(`/proc/self/fd/${name}`) === path;
      } catch {
        return false;
      }
    }).length;
  const found = [];
  await fitted(encoder.encode(csv(path)), {
    epochs: 3,
    batchSize: 8192,
    callbacks: [
      {
        async onEpochEnd(epoch) {
          for (let i = 0; i < 6000 && epoch < 2 && open() === 0; i++) await sleep(10);
          found.push(open());
        },
      },
    ],
  });
  t.deepEqual(found, [1, 1, 0]);
  // Whoever stops leaves nothing open.
  await fitted(encoder.encode(csv(path)), { epochs: 3, callbacks: [{ onEpochEnd: () => false }] });
  // Its thread ends by itself, which nobody has to wait for; on a busy machine that takes its time.
  for (let i = 0; i < 6000 && open() > 0; i++) await sleep(10);
  t.is(open(), 0);
});

const writers = {
  'as an epoch ends': [
    (path) => ({ onEpochEnd: (epoch) => writeFile(path, text(300 * (epoch + 2))) }),
    [5, 10, 15],
  ],
  'as an epoch begins': [
    (path) => ({ onEpochBegin: (epoch) => writeFile(path, text(300 * (epoch + 2))) }),
    [10, 15, 19],
  ],
};
for (const [when, [writer, expected]] of Object.entries(writers)) {
  test(`a file that a callback writes ${when} is read anew`, async (t) => {
    const path = await file(t, 'file.csv', text(300));
    const encoder = await fitEncoder(csv(path), encoding);
    const steps = [0, 0, 0];
    let epoch = 0;
    const counter = { onBatchEnd: () => void steps[epoch]++, onEpochEnd: () => void epoch++ };
    await fitted(encoder.encode(csv(path)), { epochs: 3, callbacks: [writer(path), counter] });
    t.deepEqual(steps, expected);
  });
}

linux('a pipe is read once', async (t) => {
  const path = join(await makeFolder(t), 'pipe');
  execFileSync('mkfifo', [path]);
  const encoder = await fitEncoder(csv(await file(t, 'file.csv', text(300))), encoding);
  let steps = 0;
  const training = fitted(encoder.encode(csv(path)), {
    callbacks: [{ onTrainBegin: () => sleep(50), onBatchEnd: () => void steps++ }],
  });
  await writeFile(path, text(640));
  await training;
  t.is(steps, 10);
});

test('a file that is gone, or no longer good, ends the fit in the epoch that needs it', async (t) => {
  const path = await file(t, 'file.csv', text(300));
  const encoder = await fitEncoder(csv(path), encoding);
  const trainer = makeTrainer();
  const ended = [];
  const train = (change) =>
    trainer.fit(encoder.encode(csv(path)), {
      epochs: 3,
      verbose: 0,
      callbacks: [{ onEpochEnd: (number) => void ended.push(number) }, { onEpochEnd: change }],
    });
  const spoil = () => writeFile(path, `${text(300)}1,warm,1\n`);
  await t.throwsAsync(train(spoil), {
    code: 'ERR_FILE_FORMAT',
    message: /row 302, column `b`/,
  });
  await writeFile(path, text(300));
  await t.throwsAsync(
    train(() => rm(path)),
    { code: 'ENOENT' },
  );
  t.deepEqual(ended, [0, 1]);
  await trainer.close();
});
