// The memory of training in the examples: what the process holds for a Trainer (resident, Linux only)
// beside what profile() says. Small models are below what a page more or less makes.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import { quick, wanted } from './lib/options.mjs';
import { openSuite } from './lib/suite.mjs';

const examples = ['digits', 'mnist-cnn', 'bike-demand', 'two-tower', 'shakespeare-gpt'];
const brief = ['mnist-cnn'];

const suite = openSuite('memory');
const supported = existsSync('/proc/self/status');
if (!supported) suite.note('resident memory is read from /proc, which this system does not have');
for (const example of supported ? (quick ? brief : examples) : []) {
  if (!wanted(example)) continue;
  for (const [i, { measured, memory }] of (await trainersOf(example)).entries()) {
    suite.add({
      ...{
        name: i === 0 ? example : `${example} (${i + 1})`,
        value: measured / 2 ** 20,
        unit: 'MB',
      },
      ...{ profiled: memory.total / 2 ** 20, ratio: measured / memory.total, memory, peers: {} },
    });
  }
}
suite.finish();

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
