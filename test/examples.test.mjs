// The examples that take seconds run to their end; what is as good as said, serving.mjs checks itself.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import test from 'ava';

for (const name of ['serving', 'bike-rows', 'two-tower', 'overfitting']) {
  test.serial(name, async (t) => {
    const path = fileURLToPath(new URL(`../examples/${name}.mjs`, import.meta.url));
    const child = spawn(process.execPath, [path], { stdio: ['ignore', 'ignore', 'pipe'] });
    const [[status, signal], errors] = await Promise.all([once(child, 'exit'), text(child.stderr)]);
    t.is(status, 0, `${signal} ${errors}`);
  });
}
