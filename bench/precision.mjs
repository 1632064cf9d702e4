// The examples that train a convolutional network and a GPT, in float32 and in bf16-mixed from the same
// seeds: validation losses, of each run and on average of an example.
// Rounding changes a run as another order of its data would, so that single runs differ by more than
// precisions do.
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { quick, wanted } from './lib/options.mjs';
import { openSuite } from './lib/suite.mjs';

const examples = { 'mnist-cnn': quick ? 2 : 40, 'shakespeare-gpt': quick ? 1 : 5 };
const precisions = /** @type {const} */ (['float32', 'bf16-mixed']);

/** The validation loss that an example ends with. */
async function lossOf(example, precision, seed) {
  const file = fileURLToPath(new URL(`../examples/${example}.mjs`, import.meta.url));
  const options = ['--precision', precision, '--seed', `${seed}`];
  const { stdout } = await promisify(execFile)(process.execPath, [file, ...options]);
  return Number(/validation loss ([\d.]+)/.exec(stdout)?.[1]);
}

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
const round = (value) => Number(value.toFixed(4));
const suite = openSuite('precision');
const add = (name, precision, loss, more = {}) =>
  suite.add({ name, precision, value: round(loss), unit: 'validation loss', ...more, peers: {} });

for (const [example, seeds] of Object.entries(examples)) {
  if (!wanted(`precision ${example}`)) continue;
  /** @type {Record<string, number[]>} */
  const losses = { float32: [], 'bf16-mixed': [] };
  for (let seed = 1; seed <= seeds; seed++) {
    for (const precision of precisions) {
      losses[precision].push(await lossOf(example, precision, seed));
      add(`${example}, seed ${seed}`, precision, losses[precision].at(-1));
    }
  }
  const [float32, mixed] = precisions.map((precision) => mean(losses[precision]));
  add(`${example}, mean of ${seeds}`, 'float32', float32);
  add(`${example}, mean of ${seeds}`, 'bf16-mixed', mixed, { byFloat32: round(mixed / float32) });
}
suite.finish();
