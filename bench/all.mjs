// All benchmarks, one after the other, each in a process of its own; options are passed on. The last
// line says how long that took, without what had to be built.
import { setup } from '../scripts/setup.mjs';
import { run, script } from '../scripts/tools/run.mjs';
import { quick } from './lib/options.mjs';

await script(() => {
  setup();
  /** @type {Record<string, number>} */
  const seconds = {};
  const start = performance.now();
  const since = (/** @type {number} */ then) => Math.round((performance.now() - then) / 1000);
  for (const name of [
    'train',
    'predict',
    'quantized',
    'load',
    'eventloop',
    'memory',
    'serving',
    'generate',
    'native',
  ]) {
    const begin = performance.now();
    run(process.execPath, [`bench/${name}.mjs`, ...process.argv.slice(2)]);
    seconds[name] = since(begin);
  }
  console.log(JSON.stringify({ suite: 'all', quick, seconds: since(start), suites: seconds }));
});
