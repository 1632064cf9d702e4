// @ts-check
// Steps of generation that fail: who hears of it, and who goes on.
import test from 'ava';
import { GenerationEngine, Sequence } from '../dist/internals.js';
import { collect } from './helpers/outcomes.mjs';

const [vocabulary, length] = [5, 8];

/** An engine whose every step foretells token 1, but for the steps that `fails` picks by their number. */
function engineOf(sequences, fails) {
  let steps = 0;
  const bind = (rows) => ({
    inputs: Array.from({ length: 3 }, () => new Int32Array(rows)),
    outputs: [new Float32Array(rows * vocabulary).map((_, i) => Number(i % vocabulary === 1))],
    run: () => (fails(steps++) ? Promise.reject(new Error('broken')) : Promise.resolve()),
  });
  const plan = { sequences, length, vocabulary, cacheBytes: 0, graph: {} };
  const sizes = { maxBatch: 8, maxQueue: 3 };
  return new GenerationEngine(/** @type {any} */ ({ bind }), /** @type {any} */ (plan), sizes);
}

const begin = (engine) => engine.run(new Sequence(Int32Array.of(2), undefined, length));
const turn = () => new Promise((resolve) => setImmediate(resolve));

test('a failed step frees the places of readers that do not notice', async (t) => {
  const engine = engineOf(1, (step) => step === 1);
  const paused = begin(engine);
  await paused.next();
  await turn(); // its second step has failed
  const rest = await collect(begin(engine));
  t.deepEqual(rest, Array(length - 1).fill(1));
  t.is(engine.places.taken, 0);
  await t.throwsAsync(paused.next(), { message: 'broken' });
  t.is((await collect(begin(engine))).length, length - 1);
});

test('sequences that waited beside a failed step go on', async (t) => {
  const engine = engineOf(1, (step) => step === 1);
  const [first, second] = [begin(engine), begin(engine)];
  const waiting = [first.next(), collect(second)];
  await waiting[0];
  t.is((await waiting[1])?.length, length - 1);
  await t.throwsAsync(first.next(), { message: 'broken' });
});

test('a sequence that is done is under way no more, read or not', async (t) => {
  const engine = engineOf(1, () => false);
  const unread = begin(engine);
  await unread.next();
  for (let i = 0; i < length; i++) await turn();
  t.is(engine.places.taken, 0);
  t.is((await collect(unread)).length, length - 2);
  t.is(engine.places.taken, 0);
});

test('steps that all fail reach every reader', async (t) => {
  const engine = engineOf(2, () => true);
  const all = await Promise.allSettled([1, 2, 3].map(() => collect(begin(engine))));
  t.deepEqual(
    all.map((result) => result.status === 'rejected' && result.reason.message),
    ['broken', 'broken', 'broken'],
  );
  t.is(engine.places.taken, 0);
});
