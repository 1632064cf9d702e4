// Usage: gpu.mjs test | js | sanitize | bench
// Runs a part of scripts/gpu/check.sh, which works without Node; results go to out/.
import { join } from 'node:path';
import { CommandError, root, run, script } from './tools/run.mjs';

await script(() => {
  const [part = ''] = process.argv.slice(2);
  if (!['test', 'js', 'sanitize', 'bench'].includes(part)) {
    throw new CommandError(`expected test, js, sanitize or bench, received ${part}`);
  }
  run('bash', [join(root, 'scripts', 'gpu', 'check.sh'), join(root, 'out'), part]);
});
