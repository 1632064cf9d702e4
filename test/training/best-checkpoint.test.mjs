// The best checkpoint of a folder: of which run it is, and by which number.
import { mkdir, readdir, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { makeFolder } from '../helpers/folder.mjs';
import { bits, quiet, start } from './support.mjs';

const epochs = (count, more) => ({ ...quiet, epochs: count, ...more });
const make = (t, kind, more) => {
  const made = start(kind, more);
  t.teardown(() => made.trainer.close());
  return made;
};

function counter() {
  let epoch = 0;
  return {
    values: (output) => [output],
    accumulate: () => ({ add() {}, result: () => epoch++, state: () => ({}) }),
  };
}

test('a best epoch that could not be written is written by the run that goes on', async (t) => {
  const dir = await makeFolder(t);
  const path = join(dir, 'best.safetensors');
  const checkpoint = { dir, keepBest: 'rising' };
  const more = epochs(3, { checkpoint, resumeFrom: 'latest' });
  await mkdir(path);
  const first = make(t, 'mlp', { metrics: { rising: counter() } });
  await t.throwsAsync(first.trainer.fit(first.data, more));
  await rmdir(path);
  const second = make(t, 'mlp', { metrics: { rising: counter() } });
  await second.trainer.fit(second.data, more);
  const best = make(t, 'mlp', { metrics: { rising: counter() } });
  await best.trainer.loadCheckpoint(path);
  const plain = make(t, 'mlp');
  await plain.trainer.fit(plain.data, epochs(1));
  t.deepEqual(bits(best.model), bits(plain.model));
});

test('the best is of the run that is kept, not of epochs that it went back behind', async (t) => {
  const dir = await makeFolder(t);
  const scripted = (numbers) => {
    const left = [...numbers];
    const accumulate = () => ({ add() {}, result: () => left.shift(), state: () => ({}) });
    return { metrics: { error: { values: (output) => [output], accumulate } } };
  };
  const run = async (numbers, count, more) => {
    const { data, model, trainer } = make(t, 'mlp', scripted(numbers));
    const checkpoint = { dir, keep: 9, keepBest: 'error' };
    await trainer.fit(data, epochs(count, { checkpoint, ...more }));
    return bits(model);
  };
  const best = async () => {
    const { model, trainer } = make(t, 'mlp', scripted([]));
    await trainer.loadCheckpoint(join(dir, 'best.safetensors'));
    return bits(model);
  };
  const second = await run([5, 4], 2);
  const files = (await readdir(dir)).filter((name) => name.startsWith('step')).sort();
  const third = await run([1], 3, { resumeFrom: 'latest' });
  t.deepEqual(await best(), third);
  // Back to the second epoch: it is the best there is, until one is better.
  await run([4.5], 3, { resumeFrom: join(dir, files[1] ?? '') });
  t.deepEqual(await best(), second);
  await run([6], 4, { resumeFrom: 'latest' });
  t.deepEqual(await best(), second);
  const fifth = await run([3], 5, { resumeFrom: 'latest' });
  t.deepEqual(await best(), fifth);
});

test('the best of a run that goes on with another number, or with its first one, is by that', async (t) => {
  const dir = await makeFolder(t);
  const scripted = (first, second) => {
    const of = (numbers) => ({
      values: (output) => [output],
      accumulate: () => ({ add() {}, result: () => numbers.shift(), state: () => ({}) }),
    });
    return { metrics: { first: of([...first]), second: of([...second]) } };
  };
  const run = async (numbers, count, keepBest, resumeFrom) => {
    const { data, model, trainer } = make(t, 'mlp', scripted(...numbers));
    const checkpoint = { dir, keep: 9, keepBest };
    await trainer.fit(data, epochs(count, { checkpoint, resumeFrom }));
    return bits(model);
  };
  const best = async () => {
    const { model, trainer } = make(t, 'mlp', scripted([], []));
    await trainer.loadCheckpoint(join(dir, 'best.safetensors'));
    return bits(model);
  };
  const first = await run([[1], [9]], 1);
  // The epoch behind the checkpoint is worse than that of the checkpoint.
  await run([[2], [9]], 2, 'first', 'latest');
  t.deepEqual(await best(), first);
  const third = await run([[3], [7]], 3, 'second', 'latest');
  t.deepEqual(await best(), third);
  await run([[4], [8]], 4, 'second', 'latest');
  t.deepEqual(await best(), third);
  await run([[5], [8]], 5, undefined, 'latest');
  await run([[6], [7.5]], 6, 'second', 'latest');
  t.deepEqual(await best(), third);
});

test('the best may be an epoch whose callback aborts', async (t) => {
  const dir = await makeFolder(t);
  const rising = counter();
  const checkpoint = { dir, keepBest: 'rising' };
  const controller = new AbortController();
  const first = make(t, 'mlp', { metrics: { rising } });
  const run = first.trainer.fit(
    first.data,
    epochs(3, {
      checkpoint,
      callbacks: [{ onEpochEnd: () => controller.abort() }],
      signal: controller.signal,
    }),
  );
  await t.throwsAsync(run, { code: 'ERR_ABORTED' });
  const second = make(t, 'mlp', { metrics: { rising } });
  await second.trainer.fit(second.data, epochs(3, { checkpoint, resumeFrom: 'latest' }));
  const best = make(t, 'mlp', { metrics: { rising } });
  await best.trainer.loadCheckpoint(join(dir, 'best.safetensors'));
  t.deepEqual(bits(best.model), bits(first.model));
});
