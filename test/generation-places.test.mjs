// Generations in company: places of the cache, readers that wait, leave or never come back.
import test from 'ava';
import { dense, embedding, input, Predictor, sequential } from 'tandem-ml';
import { languageModel } from './helpers/language.mjs';
import { collect } from './helpers/outcomes.mjs';
import { loadPredictor } from './helpers/predictors.mjs';
import { listenerWarnings } from './helpers/warnings.mjs';

const [vocabulary, time] = [13, 96];

const gpt = () => languageModel({ vocabulary, time, spread: 4 });

const load = (t, generation, options = {}) => loadPredictor(t, gpt(), { generation, ...options });

test('a reader that waits loses its place to others and no token', async (t) => {
  const predictor = await load(t, { sequences: 1 });
  const wanted = await collect(predictor.generate([3, 1]));
  const slow = predictor.generate([3, 1]);
  const found = [(await slow.next()).value];
  t.is((await collect(predictor.generate([2]))).length, time - 1);
  const other = predictor.generate([5]);
  await other.next();
  for await (const token of slow) found.push(token);
  t.deepEqual(found, wanted);
  await other.return();
});

test('a sequence that is done frees its place before it is read', async (t) => {
  const predictor = await load(t, { sequences: 1 });
  const unread = predictor.generate([1], { maxTokens: 4 });
  await unread.next();
  t.is((await collect(predictor.generate([2], { maxTokens: 3 }))).length, 3);
  t.is((await collect(unread)).length, 3);
});

test('more sequences than rows of a step take turns', async (t) => {
  const predictor = await load(t, { sequences: 4 }, { maxBatch: 2 });
  const counts = [0, 0, 0, 0];
  let least = 0;
  const read = async (_, i) => {
    for await (const _token of predictor.generate([i])) {
      counts[i]++;
      if (i === 0 && counts[0] === 60) least = Math.min(...counts);
    }
  };
  await Promise.all(counts.map(read));
  t.true(least > 40, `${least} tokens`);
  t.deepEqual(counts, [time - 1, time - 1, time - 1, time - 1]);
});

test('return ends a wait, and frees the place in the line', async (t) => {
  const predictor = await load(t, { sequences: 1 });
  const active = predictor.generate([1]);
  await active.next();
  const waiting = predictor.generate([2]);
  const next = waiting.next();
  t.deepEqual(await waiting.return(), { value: undefined, done: true });
  t.deepEqual(await next, { value: undefined, done: true });
  t.true((await collect(active)).length > 0);
  const failed = predictor.generate([3]);
  const first = failed.next();
  const thrown = failed.throw(new Error('of the reader'));
  await t.throwsAsync(thrown, { message: 'of the reader' });
  await first;
});

test('no more generations than maxQueue are under way', async (t) => {
  const predictor = await load(t, { sequences: 1 }, { maxQueue: 2 });
  const two = [predictor.generate([1]), predictor.generate([2])];
  const first = two.map((tokens) => tokens.next());
  await t.throwsAsync(predictor.generate([3]).next(), { code: 'ERR_BUSY' });
  await Promise.all(first);
  await two[0]?.return();
  t.is((await predictor.generate([3]).next()).done, false);
});

test('maxQueue bounds predictions and generations together', async (t) => {
  const predictor = await load(t, { sequences: 2 }, { maxQueue: 3 });
  const row = new Int32Array(time);
  const controller = new AbortController();
  const { signal } = controller;
  const all = [
    predictor.generate([1]),
    predictor.generate([2]),
    predictor.generate([3], { signal }),
  ];
  for (const tokens of all) await tokens.next();
  await t.throwsAsync(predictor.predict(row), { code: 'ERR_BUSY' });
  const streamed = predictor.stream([row]).next(); // waits
  await all[0]?.return();
  t.false((await streamed).done);
  const pending = predictor.predict(row);
  await t.throwsAsync(predictor.generate([4]).next(), { code: 'ERR_BUSY' });
  await pending;
  await t.notThrowsAsync(predictor.generate([4]).next());
  await t.throwsAsync(predictor.predict(row), { code: 'ERR_BUSY' });
  controller.abort(); // frees the place of a reader that does nothing
  await t.notThrowsAsync(predictor.predict(row));
});

test('many generations and streams with one signal warn of nothing', async (t) => {
  const warnings = listenerWarnings(t);
  const predictor = await load(t, {});
  const { signal } = new AbortController();
  const row = new Int32Array(time);
  await Promise.all([
    ...Array.from({ length: 12 }, (_, i) =>
      collect(predictor.generate([i % vocabulary], { signal, maxTokens: 3 })),
    ),
    ...Array.from({ length: 12 }, () => collect(predictor.stream([row, row], { signal }))),
  ]);
  await new Promise((resolve) => setImmediate(resolve));
  t.deepEqual(warnings, []);
});

test('topK, topP and seed draw without a temperature, too', async (t) => {
  const predictor = await load(t, {});
  const greedy = await collect(predictor.generate([1]));
  const draws = (options) => collect(predictor.generate([1], options));
  t.notDeepEqual(await draws({ seed: 1 }), greedy);
  t.deepEqual(await draws({ seed: 1 }), await draws({ seed: 1, temperature: 1 }));
  t.notDeepEqual(await draws({ topK: 5 }), greedy);
  t.notDeepEqual(await draws({ topP: 0.9 }), greedy);
  t.deepEqual(await draws({ seed: 1, temperature: 0 }), greedy);
});

test('infinite logits are no probabilities', async (t) => {
  for (const [values, message] of /** @type {const} */ ([
    [[Number.POSITIVE_INFINITY], /received Infinity for token 0/],
    [Array(vocabulary).fill(Number.NEGATIVE_INFINITY), /received -Infinity for every token/],
  ])) {
    const model = gpt();
    const bias = [...model.parameters.entries()].filter(([name]) => name.endsWith('bias')).at(-1);
    bias?.[1].data.set(values);
    const predictor = await Predictor.load(model, { generation: {} });
    for (const temperature of [0, 1]) {
      const error = await t.throwsAsync(predictor.generate([1], { temperature }).next());
      t.is(/** @type {any} */ (error).code, 'ERR_NUMERIC');
      t.regex(/** @type {any} */ (error).message, message);
    }
    await predictor.close();
  }
});

test('a token that the model has a logit for and no embedding ends a generation that goes on', async (t) => {
  const tokens = input([8], { dtype: 'int32' });
  const model = sequential([embedding(4, 8), dense(6)], { input: tokens, seed: 1 });
  model.parameters.get('dense.bias')?.data.set([0, 0, 0, 0, 0, 100]);
  const predictor = await Predictor.load(model, { generation: {} });
  t.teardown(() => predictor.close());
  t.deepEqual(await collect(predictor.generate([1], { maxTokens: 1 })), [5]);
  t.deepEqual(await collect(predictor.generate([1], { stopTokens: [5] })), []);
  await t.throwsAsync(collect(predictor.generate([1])), {
    code: 'ERR_NUMERIC',
    message: /a token below 4, .* received 5 by its logits/,
  });
});

test('load takes the cache, says so in profile, and refuses what has no room', async (t) => {
  const predictor = await load(t, { sequences: 3, length: 32 }, { warmup: [1, 3] });
  const { memory, kernels } = predictor.profile();
  t.is(memory.cache, 3 * 32 * 2 * 16 * 4);
  const parts = memory.parameters + memory.activations + memory.workspace + memory.cache;
  t.is(memory.total, parts);
  t.true(kernels.length > 0);
  await t.throwsAsync(Predictor.load(gpt(), { generation: { sequences: 2 ** 40 } }), {
    code: 'ERR_ARGUMENT',
  });
});

test('memoryLimit counts the cache', async (t) => {
  const limits = { device: /** @type {const} */ ('cpu'), memoryLimit: 2e6 };
  const generation = { sequences: 1024, length: 32 }; // 4 MB
  await t.throwsAsync(Predictor.load(gpt(), { ...limits, generation }), {
    code: 'ERR_OUT_OF_MEMORY',
    message: /`generation`.*4194304 bytes/,
  });
  const few = { sequences: 3, length: 32 };
  const predictor = await Predictor.load(gpt(), { ...limits, generation: few });
  t.is(typeof (await predictor.generate([1]).next()).value, 'number');
  await predictor.close();
});

test('profile lists the kernels of steps where nothing else has run', async (t) => {
  const predictor = await load(t, {});
  await predictor.generate([1]).next();
  t.true(predictor.profile().kernels.includes('cachedAttention'));
  t.true(predictor.profile().latencyMs.p50 > 0);
});
