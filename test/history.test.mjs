// What a history has beside its numbers, and what fit prints.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import test from 'ava';
import { dense, sequential, Trainer } from 'tandem-ml';
import { toCSV } from '../dist/internals.js';

const data = { x: Float32Array.from({ length: 40 }, (_, i) => i / 40), y: new Float32Array(40) };

test('toCSV has a line an epoch, numbers in full', async (t) => {
  const trainer = new Trainer(sequential([dense(1)], { input: [1], seed: 1 }), {
    loss: 'mse',
    metrics: ['mae'],
  });
  t.teardown(() => trainer.close());
  await trainer.fit(data, { verbose: 0 });
  const history = await trainer.fit(data, { verbose: 0, epochs: 3, validationSplit: 0.25 });
  const [head, ...lines] = history.toCSV().split('\r\n');
  t.is(head, 'epoch,loss,learningRate,mae,valLoss,valMae');
  t.is(lines.pop(), '');
  t.is(lines.length, 3);
  for (const [i, line] of lines.entries()) {
    const expected = head.split(',').map((name) => history[name === 'epoch' ? 'epochs' : name][i]);
    t.deepEqual(line.split(',').map(Number), expected);
  }
  t.deepEqual(Object.keys(history), ['epochs', 'loss', 'learningRate', 'mae', 'valLoss', 'valMae']);
});

test('toCSV quotes names and leaves out what is not there', (t) => {
  const csv = toCSV({ epochs: [0, 1], 'a,"b"': [1.5], nan: [Number.NaN, -0] });
  t.is(csv, 'epoch,"a,""b""",nan\r\n0,1.5,\r\n1,,0\r\n');
});

const program = (verbose, terminal, streamed, batchesOfStep) => `
  import { dense, sequential, Trainer } from 'tandem-ml';
  import { fromBatches } from 'tandem-ml/data';
  if (${terminal}) Object.assign(process.stdout, { isTTY: true, columns: 200, cursorTo: () => {} });
  const trainer = new Trainer(sequential([dense(1)], { input: [1] }), {
    loss: 'mse', gradientAccumulationSteps: ${batchesOfStep},
  });
  const count = ${streamed} ? 20000 : 200000;
  const data = { x: new Float32Array(count), y: new Float32Array(count) };
  if (${streamed}) {
    const batch = { x: new Float32Array(200), y: new Float32Array(200), rows: 200 };
    const stream = fromBatches(async function* () {
      for (let i = 0; i < 100; i++) {
        // The bar is drawn by a timer.
        if (i % 20 === 10) await new Promise((resolve) => setTimeout(resolve, 150));
        yield batch;
      }
    });
    await trainer.fit(stream, { epochs: 2, batchSize: 8, verbose: ${verbose}, shuffle: false });
  } else {
    await trainer.fit(data, { epochs: 3, batchSize: 8, verbose: ${verbose}, validationSplit: 0.1 });
  }
  await trainer.close();
`;

async function run(verbose, terminal, streamed = false, batchesOfStep = 1) {
  const options = { cwd: new URL('..', import.meta.url) };
  const code = program(verbose, terminal, streamed, batchesOfStep);
  const args = ['--input-type=module', '--eval', code];
  const { stdout, stderr } = await promisify(execFile)(process.execPath, args, options);
  return { stdout, stderr };
}

/** "12 s" or "3:05". */
const time = '(\\d+ s|[\\d:]+)';

const line = (epoch, left) =>
  new RegExp(
    `^epoch ${epoch}/3 {2}[\\d.]+ s {2}loss \\S+ {2}valLoss \\S+ {2}learningRate \\S+ {2}\\d\\S* steps/s${left ? ` {2}${time} left` : ''}$`,
  );

test('without a terminal there is a line an epoch, with rate and time left', async (t) => {
  for (const verbose of [1, 2]) {
    const { stdout } = await run(verbose, false);
    const lines = stdout.trimEnd().split('\n');
    t.is(lines.length, 3);
    t.regex(lines[0], line(1, true));
    t.regex(lines[2], line(3, false));
    // biome-ignore lint/suspicious/noControlCharactersInRegex: a terminal's control sequences
    t.notRegex(stdout, /\u001b|\r/);
  }
});

test('verbose 0 prints nothing', async (t) => {
  for (const terminal of [false, true]) {
    t.deepEqual(await run(0, terminal), { stdout: '', stderr: '' });
  }
});

test('on a terminal there is a bar with loss, rate and time left', async (t) => {
  const { stdout } = await run(1, true);
  t.regex(
    stdout,
    /epoch 1\/3 \S+ \d+\/22500 {2}loss [\d.e-]+ {2}[\d.e+]+ steps\/s {2}(\d+ s|[\d:]+) left/,
  );
  t.regex(stdout, /epoch 3\/3 {2}[\d.]+ s {2}loss/);
});

test('the bar counts steps where they have several batches, of which the last may have fewer', async (t) => {
  const { stdout } = await run(1, true, false, 7);
  const counts = [...stdout.matchAll(/epoch \d\/3 \S+ (\d+)\/(\d+) {2}loss/g)];
  t.true(counts.length > 0);
  for (const [, steps, all] of counts) {
    t.is(all, '3215');
    t.true(Number(steps) <= 3215);
  }
});

test('of a stream of unknown length the bar counts steps, and from the second epoch on has a total', async (t) => {
  const { stdout } = await run(1, true, true);
  const [first, second] = stdout.split(/epoch 1\/2 {2}[\d.]+ s {2}loss/);
  t.regex(first, /epoch 1\/2 {2}\d+ steps {2}loss [\d.e-]+ {2}[\d.e+]+ steps\/s/);
  t.notRegex(first, /\/0|left|[\u2588\u2591=]/);
  t.regex(
    second,
    /epoch 2\/2 \S+ \d+\/2500 {2}loss [\d.e-]+ {2}[\d.e+]+ steps\/s {2}(\d+ s|[\d:]+) left/,
  );
});
