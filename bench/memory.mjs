// The memory of training in the examples: what the process holds for a Trainer (resident, Linux only)
// and what the engine counts of its own allocations, beside what profile() says. Of small models only
// the count says something: they are below what a page more or less makes. And the memory of attention,
// forward and backward, by the length of the sequence.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import { input, Model, mean, multiHeadAttention, sgd, Trainer } from 'tandem-ml';
import { quick, wanted } from './lib/options.mjs';
import { openSuite } from './lib/suite.mjs';

const examples = ['digits', 'mnist-cnn', 'bike-demand', 'two-tower', 'shakespeare-gpt'];

const suite = openSuite('memory');
const supported = existsSync('/proc/self/status');
if (!supported) suite.note('resident memory is read from /proc, which this system does not have');
for (const example of supported && !quick ? examples : []) {
  if (!wanted(example)) continue;
  for (const [i, { measured, counted, memory }] of (await trainersOf(example)).entries()) {
    suite.add({
      ...{
        name: i === 0 ? example : `${example} (${i + 1})`,
        value: measured / 2 ** 20,
        unit: 'MB',
      },
      ...{ profiled: memory.total / 2 ** 20, ratio: measured / memory.total, memory, peers: {} },
      ...{ counted: counted / 2 ** 20, countedRatio: counted / memory.total },
    });
  }
}
for (const length of [512, 1024, 2048, 4096]) {
  const name = `attention over ${length} steps`;
  if (!wanted(name)) continue;
  const { activations, workspace } = await attentionMemory(length);
  const value = (activations + workspace) / 2 ** 20;
  suite.add({
    name,
    length,
    value,
    unit: 'MB',
    square: (4 * 4 * length ** 2) / 2 ** 20,
    peers: {},
  });
}
suite.finish();

/**
 * What a step of training through 4 heads of 32 takes besides parameters and their gradients.
 * @param {number} length
 */
async function attentionMemory(length) {
  const x = input([length, 128]);
  const y = mean(multiHeadAttention({ heads: 4, causal: true })(x), { axes: [1, 2] });
  const model = new Model({ inputs: [x], outputs: [y], seed: 1 });
  const trainer = new Trainer(model, { loss: 'mse', optimizer: sgd({ learningRate: 0.1 }) });
  await trainer.step({ x: new Float32Array(length * 128).fill(0.1), y: Float32Array.of(1) });
  const { memory } = trainer.profile();
  await trainer.close();
  return memory;
}

/**
 * Runs an example to its end.
 * @param {string} example
 */
async function trainersOf(example) {
  const watch = new URL('./lib/watch-memory.mjs', import.meta.url).href;
  const file = new URL(`../examples/${example}.mjs`, import.meta.url).pathname;
  const flags = ['--expose-gc', '--max-semi-space-size=1', '--import', watch];
  const child = spawn(process.execPath, [...flags, file], {
    stdio: ['ignore', 'ignore', 'inherit', 'pipe'],
  });
  const output = /** @type {import('node:stream').Readable} */ (child.stdio[3]);
  const [lines, [code]] = await Promise.all([text(output), once(child, 'close')]);
  if (code !== 0) throw new Error(`${example} ended with ${code}`);
  return lines
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
}
