// The examples that take seconds run to their end and find what they are to find, a little less than
// docs/examples.md says: other processors round otherwise. serving.mjs checks its answers itself.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import test from 'ava';

/** What each prints that is a number, and the range in which it has to be. */
const findings = {
  serving: [[/By HTTP: accuracy ([\d.]+)%/, 96, 100]],
  'bike-rows': [[/mean error ([\d.]+) rentals/, 0, 55]],
  'bike-demand': [
    [/perceptron .* ([\d.]+)$/m, 0, 43],
    [/GRU over 24 hours .* ([\d.]+)$/m, 0, 22],
  ],
  'two-tower': [
    [/the same digit or not +([\d.]+) %/, 96, 100],
    [/the digit on the left +([\d.]+) %/, 98, 100],
    [/the digit on the right +([\d.]+) %/, 98, 100],
  ],
  overfitting: [
    [/to the end .* ([\d.]+) %/, 0, 72],
    [/stopped, best weights .* ([\d.]+) %/, 74, 100],
  ],
};

for (const [name, expected] of Object.entries(findings)) {
  test.serial(name, async (t) => {
    const path = fileURLToPath(new URL(`../examples/${name}.mjs`, import.meta.url));
    const child = spawn(process.execPath, [path], { stdio: ['ignore', 'pipe', 'pipe'] });
    const [[status, signal], printed, errors] = await Promise.all([
      once(child, 'exit'),
      text(child.stdout),
      text(child.stderr),
    ]);
    t.is(status, 0, `${signal} ${errors}`);
    for (const [pattern, low, high] of expected) {
      const found = Number(pattern.exec(printed)?.[1] ?? 'nothing');
      t.true(found >= low && found <= high, `${pattern}: ${found}, [${low}, ${high}]\n${printed}`);
    }
  });
}
