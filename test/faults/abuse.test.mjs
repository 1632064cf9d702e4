// The addon's own functions and classes under random calls: see abuse.mjs.
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import test from 'ava';

const file = fileURLToPath(new URL('abuse.mjs', import.meta.url));
const run = promisify(execFile);

for (const seed of [1, 2, 3]) {
  test.serial(`calls with anything return or throw, seed ${seed}`, async (t) => {
    const { stdout, stderr } = await run(process.execPath, [file, String(seed), '500']);
    t.is(stderr, '');
    const { calls, foreign } = JSON.parse(stdout);
    t.true(calls > 5000);
    // V8 itself may refuse a receiver.
    t.deepEqual(
      foreign.filter((error) => !error.endsWith('TypeError: Illegal invocation')),
      [],
    );
  });
}
