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
