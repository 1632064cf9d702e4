// What a server pays: the start of a Predictor from a file, memory, 10,000 calls in flight, and one
// copy of the weights for eight worker threads. Each case is a process of its own.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { dense, quantize, sequential } from 'tandem-ml';
import { median } from './lib/measure.mjs';
import { quick, roundsOr, threads, wanted } from './lib/options.mjs';
import { openSuite } from './lib/suite.mjs';
import { workload } from './lib/workloads.mjs';

const rounds = roundsOr(quick ? 1 : 5);
/** Of what takes a few milliseconds, and so other things that the machine does. */
const briefRounds = roundsOr(quick ? 3 : 31);
const folder = mkdtempSync(join(tmpdir(), 'tandem-serving-'));
const program = fileURLToPath(new URL('lib/serving-process.mjs', import.meta.url));
const names = ['large', 'small', 'mlp', 'bytes'];
const [large, small, mlp, bytes] = names.map((name) => join(folder, name));

/** @param {number} layers of 17 MB in float32 */
const wide = (layers) =>
  sequential(
    [...Array.from({ length: layers }, () => dense(2048, { activation: 'relu' })), dense(10)],
    { input: [2048], seed: 1 },
  );
await wide(18).save(large);
const ofBytes = ['300 MB of bytes to the first prediction', 'RSS of 300 MB of bytes'];
if (ofBytes.some(wanted)) await (await quantize(wide(quick ? 8 : 72))).save(bytes);
await sequential(
  [dense(64, { activation: 'relu' }), dense(32, { activation: 'relu' }), dense(10)],
  {
    input: [64],
    seed: 1,
  },
).save(small);
await workload('MLP 784-512-256-10').model().save(mlp);

const suite = openSuite('serving');
const measure = (task, file, times = rounds) =>
  Array.from({ length: times }, () =>
    JSON.parse(execFileSync(process.execPath, [program, task, file], { encoding: 'utf8' })),
  );
function add(name, unit, list, pick) {
  if (!wanted(name)) return;
  const found = list();
  const value = median(found.map(pick));
  suite.add({ name, value, unit, threads, rounds: found, peers: {} });
}

const start = ({ load, first }) => load + first;
add('300 MB from the cache to the first prediction', 'ms', () => measure('start', large), start);
add(
  'digits model to the first prediction',
  'ms',
  () => measure('start', small, briefRounds),
  start,
);
add(
  'the package imported',
  'ms',
  () => measure('import', small, briefRounds),
  ({ imported }) => imported,
);
add(
  'RSS of 300 MB by its weights',
  'times',
  () => measure('memory', large),
  ({ grown }) => grown,
);
add(ofBytes[0], 'ms', () => measure('start', bytes), start);
add(
  ofBytes[1],
  'times',
  () => measure('memory', bytes),
  ({ grown }) => grown,
);
add(
  'RSS of 8 workers by that of one',
  'times',
  () => measure('workers', large),
  ({ by }) => by,
);
add(
  'event loop with 10,000 calls, p99',
  'ms',
  () => measure('calls', mlp),
  ({ p99 }) => p99,
);
add(
  'the same with a queue, p99',
  'ms',
  () => measure('queue', mlp),
  ({ p99 }) => p99,
);
suite.finish();
rmSync(folder, { recursive: true });
