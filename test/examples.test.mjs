// The examples run to their end, those that take longer with little training, and find what they are to
// find, a little less than docs/examples.md says: other processors round otherwise. serving.mjs checks
// its answers itself.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import test from 'ava';

/** What each command line prints that is a number, and the range in which it has to be. */
const findings = {
  digits: [[/held-out images: accuracy ([\d.]+)%/, 96, 100]],
  // Without its convolutions the network gets to 93 %.
  'mnist-cnn --quick': [
    [/^epoch 1\/2 .* loss ([\d.]+)/m, 0.4, 1],
    [/^epoch 2\/2 .* loss ([\d.]+)/m, 0, 0.2],
    [/held-out images: accuracy ([\d.]+)%/, 97, 100],
    [/validation loss ([\d.]+)/, 0, 0.1],
  ],
  // Who knows the last character alone gets to 2.48, who sees the next one to 0.1.
  'shakespeare-gpt --quick': [
    [/^epoch 1\/1 .* loss ([\d.]+)/m, 2.5, 4],
    [/^epoch 2\/2 .* loss ([\d.]+)/m, 2, 2.45],
    [/validation loss ([\d.]+)/, 2, 2.4],
  ],
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
  'search --quick': [
    [/^trial (\d+)\/27 +27 epochs/m, 1, 27],
    [/^mean +[\d.]+ +([\d.]+)/m, 0.955, 1],
  ],
  overfitting: [
    [/to the end .* ([\d.]+) %/, 0, 72],
    [/stopped, best weights .* ([\d.]+) %/, 74, 100],
  ],
};

for (const [command, expected] of Object.entries(findings)) {
  test.serial(command, async (t) => {
    const [name, ...options] = command.split(' ');
    const path = fileURLToPath(new URL(`../examples/${name}.mjs`, import.meta.url));
    const child = spawn(process.execPath, [path, ...options], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
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
