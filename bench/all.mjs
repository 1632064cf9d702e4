// All benchmarks, one after the other, each in a process of its own; options are passed on.

import { setup } from '../scripts/setup.mjs';
import { run, script } from '../scripts/tools/run.mjs';

await script(() => {
  setup();
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
});
