// Usage: gpu.mjs PART... with the parts test, js, sanitize and bench
// Runs parts of scripts/gpu/check.sh, which works without Node; results go to out/.
import { join } from 'node:path';
import { CommandError, root, run, script } from './tools/run.mjs';

await script(() => {
  const parts = process.argv.slice(2);
  const unknown = parts.filter((part) => !['test', 'js', 'sanitize', 'bench'].includes(part));
  if (parts.length === 0 || unknown.length > 0) {
    throw new CommandError(`expected test, js, sanitize or bench, received ${parts.join(' ')}`);
  }
  run('bash', [join(root, 'scripts', 'gpu', 'check.sh'), join(root, 'out'), ...parts]);
});
