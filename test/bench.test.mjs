// The suites of bench/ and what they measure: each entry is a model that trains.
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import test from 'ava';
import { Trainer } from 'tandem-ml';
import { workloads } from '../bench/lib/workloads.mjs';

for (const work of workloads.filter(({ name }) => !name.includes('6x384'))) {
  test(work.name, async (t) => {
    const { loss } = work;
    const trainer = new Trainer(work.model(), { loss, optimizer: work.optimizer() });
    const { loss: found } = await trainer.step({ x: work.input(2), y: work.target(2) });
    t.true(Number.isFinite(found));
    await trainer.close();
  });
}

test('suites say what is wrong with their options', async (t) => {
  for (const suite of [
    'train',
    'predict',
    'load',
    'serving',
    'quantized',
    'generate',
    'eventloop',
    'native',
    'metrics',
    'accuracy',
    'bike',
    'precision',
    'gpu',
    'cuda',
  ]) {
    const path = fileURLToPath(new URL(`../bench/${suite}.mjs`, import.meta.url));
    const run = promisify(execFile)(process.execPath, [path, '--rounds', 'many']);
    const { code, stderr } = await t.throwsAsync(run);
    t.is(code, 2, `${suite}: ${stderr}`);
    t.regex(stderr, /expected a number for --rounds/);
  }
});

test('suites do not save short runs', async (t) => {
  for (const suite of ['eventloop', 'native', 'serving']) {
    const path = fileURLToPath(new URL(`../bench/${suite}.mjs`, import.meta.url));
    const run = promisify(execFile)(process.execPath, [path, '--quick', '--save']);
    const { code, stderr } = await t.throwsAsync(run);
    t.is(code, 2, `${suite}: ${stderr}`);
    t.regex(stderr, /expected --save without --quick/);
  }
});

test('suites measure the cases that are asked for', async (t) => {
  const wanted = {
    eventloop: ['fit of MLP 784-512-256-10 b128, by timer'],
    generate: ['gpt, context 256, one'],
    metrics: ['none', 'f1'],
  };
  for (const [suite, names] of Object.entries(wanted)) {
    const path = fileURLToPath(new URL(`../bench/${suite}.mjs`, import.meta.url));
    const args = ['--quick', '--rounds', '1', '--filter', names.at(-1)];
    const { stdout } = await promisify(execFile)(process.execPath, [path, ...args]);
    const lines = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    t.deepEqual(
      lines.slice(1).map((line) => line.name),
      names,
    );
  }
});
