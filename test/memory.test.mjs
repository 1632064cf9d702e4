// What profile() says of memory, by what the engine has allocated: the resident memory of a process
// says nothing of less than a megabyte.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import test from 'ava';

const script = new URL('./helpers/held-memory.mjs', import.meta.url).pathname;

/** In a process of its own, with options of the Trainer. */
async function run(t, name, phase, options = {}) {
  const args = [script, name, phase, JSON.stringify(options)];
  const { stdout } = await promisify(execFile)(process.execPath, args);
  const { held, profiled, before, left } = JSON.parse(stdout);
  const counted = held.blocks + held.scratch;
  const ratio = profiled.total / counted;
  t.true(counted > 0 && Math.abs(ratio - 1) < 0.1, `${ratio} of ${counted} bytes`);
  // Closed, it leaves the model's parameters.
  t.is(left.blocks, before.blocks);
}

for (const [name, options] of [
  ['digits'],
  ['bike'],
  ['two-tower'],
  ['gru'],
  ['cnn'],
  ['gpt'],
  ['digits', { gradientAccumulationSteps: 3, ema: { decay: 0.9 } }],
  ['two-tower', { gradientAccumulationSteps: 2, gradientCheckpointing: true }],
]) {
  test(`profile() of a Trainer of ${name} ${JSON.stringify(options ?? {})}`, (t) =>
    run(t, name, 'training', options));
}
for (const name of ['digits', 'bike', 'two-tower', 'gru', 'cnn', 'gpt']) {
  test(`profile() of a Predictor of ${name}`, (t) => run(t, name, 'prediction'));
}
