// All benchmarks, one after the other, each in a process of its own; options are passed on. The last
// line says how long that took, without what had to be built.
import { setup } from '../scripts/setup.mjs';
import { run, script } from '../scripts/tools/run.mjs';
import { quick } from './lib/options.mjs';

await script(() => {
  setup();
  const start = performance.now();
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
    run(process.execPath, [`bench/${name}.mjs`, ...process.argv.slice(2)]);
  }
  const seconds = Math.round((performance.now() - start) / 1000);
  console.log(JSON.stringify({ suite: 'all', quick, seconds }));
});
