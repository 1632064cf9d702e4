// Generation: the same tokens as from computing the whole sequence each time, sampling, ends.
import test from 'ava';
import {
  abs,
  add,
  clamp,
  cos,
  dense,
  elu,
  embedding,
  erf,
  exp,
  flatten,
  functional,
  gelu,
  hardSigmoid,
  hardSwish,
  input,
  leakyRelu,
  log,
  lstm,
  Model,
  mish,
  mul,
  multiHeadAttention,
  neg,
  Predictor,
  reciprocal,
  relu,
  reshape,
  rmsNorm,
  rsqrt,
  sequential,
  sigmoid,
  silu,
  sin,
  softplus,
  sqrt,
  square,
  tanh,
  transformerBlock,
} from 'tandem-ml';
import { languageModel } from './helpers/language.mjs';
import { collect } from './helpers/outcomes.mjs';
import { loadPredictor } from './helpers/predictors.mjs';

const vocabulary = 13;
const time = 24;

/** A small causal model; its weights are spread, so that no two logits are nearly the same. */
const gpt = ({ length = time, positions = time, block = {}, seed = 1 } = {}) =>
  languageModel({ vocabulary, time: length, positions, blocks: 2, block, seed, spread: 4 });

const argmax = (values) => values.indexOf(Math.max(...values));

/** Greedy tokens by the whole sequence each time; later positions do not matter to earlier ones. */
function recompute(predictor, prompt, count, { length = time, change = (y) => y } = {}) {
  const tokens = [...prompt];
  for (let i = 0; i < count; i++) {
    const x = new Int32Array(length);
    x.set(tokens);
    const at = (tokens.length - 1) * vocabulary;
    const logits = predictor.predictSync(x).subarray(at, at + vocabulary);
    tokens.push(argmax(change(logits, tokens)));
  }
  return tokens.slice(prompt.length);
}

const load = (t, model, generation = {}, options = {}) =>
  loadPredictor(t, model, { generation, ...options });

const prompts = [[1], [2, 3, 4], [5, 1, 0, 7, 12, 3, 3, 8], [9, 9, 2], [0, 4]];

for (const [name, block, positions] of [
  ['learned positions', {}, time],
  ['a longer table of positions', {}, time + 8],
  ['rotary positions', { rotary: true }, 0],
  ['rms norms and swiglu', { norm: 'rms', activation: 'swiglu', dropout: 0.5 }, time],
]) {
  test(`tokens are those of the whole sequence, with ${name}`, async (t) => {
    const predictor = await load(t, gpt({ block, positions }));
    const wanted = prompts.map((prompt) => recompute(predictor, prompt, 12));
    t.true(new Set(wanted.flat()).size > 3);
    for (const [i, prompt] of prompts.entries()) {
      t.deepEqual(await collect(predictor.generate(prompt, { maxTokens: 12 })), wanted[i]);
    }
    const together = prompts.map((prompt) =>
      collect(predictor.generate(Int32Array.from(prompt), { maxTokens: 12 })),
    );
    t.deepEqual(await Promise.all(together), wanted);
  });
}

test('sequences join and leave between steps, and more than fit wait', async (t) => {
  const predictor = await load(t, gpt(), { sequences: 2, length: 20 });
  const wanted = prompts.map((prompt) => recompute(predictor, prompt, 10));
  const first = predictor.generate(prompts[0], { maxTokens: 10 });
  const begun = [(await first.next()).value, (await first.next()).value];
  const rest = prompts
    .slice(1)
    .map((prompt, i) => collect(predictor.generate(prompt, { maxTokens: 4 + i })));
  t.deepEqual([...begun, ...(await collect(first))], wanted[0]);
  for (const [i, tokens] of (await Promise.all(rest)).entries()) {
    t.deepEqual(tokens, wanted[i + 1].slice(0, 4 + i));
  }
  // One that is left alone gives its place away.
  for (let i = 0; i < 5; i++) {
    for await (const token of predictor.generate(prompts[1])) {
      t.is(token, wanted[1][0]);
      break;
    }
  }
  t.deepEqual(await collect(predictor.generate(prompts[2], { maxTokens: 10 })), wanted[2]);
});

test('a prompt longer than a step takes several', async (t) => {
  const length = 150;
  const predictor = await load(t, gpt({ length, positions: length }), {}, { maxBatch: 16 });
  const prompt = Array.from({ length: 140 }, (_, i) => (i * i) % vocabulary);
  const wanted = recompute(predictor, prompt, 10, { length });
  const [long, short] = await Promise.all([
    collect(predictor.generate(prompt)),
    collect(predictor.generate([1, 2], { maxTokens: 30 })),
  ]);
  t.deepEqual(long, wanted);
  t.deepEqual(short, recompute(predictor, [1, 2], 30, { length }));
});

test('weights that are computed and shared serve, too', async (t) => {
  const one = reshape(exp(0), [1, 1]);
  const weight = (...shape) => {
    const layer = dense(shape[0] * shape[1], { bias: false, initializer: 'glorotUniform' });
    return mul(reshape(layer(one), shape), 4);
  };
  const [table, inProj, outProj] = [weight(vocabulary, 16), weight(48, 16), weight(16, 16)];
  const weights = { inProj: { weight: inProj }, outProj: { weight: outProj } };
  const options = { heads: 4, causal: true, rotary: true };
  const x = input([time], { dtype: 'int32' });
  let y = functional.embedding(x, table);
  for (let i = 0; i < 2; i++) y = add(y, functional.multiHeadAttention(y, weights, options));
  const model = new Model({ inputs: x, outputs: functional.linear(y, table), seed: 3 });
  const predictor = await load(t, model);
  const all = [];
  for (const prompt of prompts) {
    const tokens = await collect(predictor.generate(prompt, { maxTokens: 9 }));
    t.deepEqual(tokens, recompute(predictor, prompt, 9));
    all.push(...tokens);
  }
  t.true(new Set(all).size > 3);
});

test('every function of a single element serves, too', async (t) => {
  const functions = {
    ...{ abs, clamp, cos, elu, erf, exp, gelu, hardSigmoid, hardSwish, leakyRelu, log, mish, neg },
    ...{ reciprocal, relu, rsqrt, sigmoid, silu, sin, softplus, sqrt, square, tanh },
    geluTanh: (x) => gelu(x, { approximate: 'tanh' }),
  };
  for (const [name, f] of Object.entries(functions)) {
    const x = input([time], { dtype: 'int32' });
    const y = f(add(abs(embedding(vocabulary, 16)(x)), 0.5)); // above 0, for logarithms and roots
    const seen = add(y, multiHeadAttention({ heads: 4, causal: true })(y));
    const model = new Model({ inputs: x, outputs: dense(vocabulary)(mul(seen, 3)), seed: 3 });
    const predictor = await load(t, model);
    const tokens = await collect(predictor.generate([1, 2, 3], { maxTokens: 8 }));
    t.deepEqual(tokens, recompute(predictor, [1, 2, 3], 8), name);
  }
});

test('the layers alone serve, too', async (t) => {
  const x = input([time], { dtype: 'int32' });
  const y = embedding(vocabulary, 16)(x);
  const middle = add(mul(y, 3), multiHeadAttention({ heads: 4, causal: true })(rmsNorm()(y)));
  const model = new Model({ inputs: x, outputs: dense(vocabulary)(middle), seed: 3 });
  const predictor = await load(t, model);
  t.deepEqual(
    await collect(predictor.generate([1, 2, 3], { maxTokens: 8 })),
    recompute(predictor, [1, 2, 3], 8),
  );
});

test('draws follow the seed and its distribution', async (t) => {
  const predictor = await load(t, gpt());
  const drawn = (options) =>
    collect(predictor.generate([1, 2], { maxTokens: 20, temperature: 1, ...options }));
  t.deepEqual(await drawn({ seed: 5 }), await drawn({ seed: 5 }));
  t.notDeepEqual(await drawn({ seed: 5 }), await drawn({ seed: 6 }));
  t.deepEqual(await drawn({ topK: 1 }), recompute(predictor, [1, 2], 20));
  t.deepEqual(await drawn({ topP: 1e-6 }), recompute(predictor, [1, 2], 20));
  const logits = predictor
    .predictSync(Int32Array.from({ length: time }, (_, i) => [1, 2][i] ?? 0))
    .slice(vocabulary, 2 * vocabulary);
  const counts = new Map();
  for (let seed = 0; seed < 600; seed++) {
    const [token] = await collect(
      predictor.generate([1, 2], { maxTokens: 1, temperature: 2, topK: 3, seed }),
    );
    counts.set(token, (counts.get(token) ?? 0) + 1);
  }
  const best = [...logits.keys()].sort((a, b) => logits[b] - logits[a]).slice(0, 3);
  const weights = best.map((token) => Math.exp(logits[token] / 2));
  const total = weights.reduce((a, b) => a + b);
  t.deepEqual(
    [...counts.keys()].filter((token) => !best.includes(token)),
    [],
  );
  for (const [i, token] of best.entries()) {
    const share = (counts.get(token) ?? 0) / 600;
    t.true(Math.abs(share - weights[i] / total) < 0.1, `${share} of ${weights[i] / total}`);
  }
});

test('a penalty makes tokens that are there less likely', async (t) => {
  const predictor = await load(t, gpt());
  const change = (logits, tokens) =>
    logits.map((y, i) => (tokens.includes(i) ? (y > 0 ? y / 1.7 : y * 1.7) : y));
  const wanted = recompute(predictor, [1, 2], 15, { change });
  t.notDeepEqual(wanted, recompute(predictor, [1, 2], 15));
  const options = { maxTokens: 15, repetitionPenalty: 1.7 };
  t.deepEqual(await collect(predictor.generate([1, 2], options)), wanted);
});

test('stop strings and tokens end a generation before themselves', async (t) => {
  const predictor = await load(t, gpt());
  const letters = 'abcdefghijklm';
  const decode = (tokens) => tokens.map((token) => letters[token]).join('');
  const all = recompute(predictor, [1], 16);
  const text = decode(all);
  for (const [stop, end] of [
    [text.slice(5, 8), text.indexOf(text.slice(5, 8))],
    [[text[3]], text.indexOf(text[3])],
    [['zz', text.slice(4, 9)], text.indexOf(text.slice(4, 9))],
    [`${text.slice(12, 16)}z`, 16],
  ]) {
    const options = { maxTokens: 16, stop, decode };
    t.deepEqual(await collect(predictor.generate([1], options)), all.slice(0, end));
  }
  const stopTokens = [all[6]];
  t.deepEqual(
    await collect(predictor.generate([1], { stopTokens })),
    all.slice(0, all.indexOf(all[6])),
  );
});

test('an abort and a close end generations', async (t) => {
  const predictor = await load(t, gpt(), { sequences: 1 });
  const controller = new AbortController();
  const one = predictor.generate([1], { signal: controller.signal });
  const two = predictor.generate([2]);
  await one.next();
  const waiting = two.next();
  controller.abort('enough');
  const error = await t.throwsAsync(collect(one), { code: 'ERR_ABORTED' });
  t.is(error.cause, 'enough');
  t.is((await waiting).value, recompute(predictor, [2], 1)[0]);
  const gone = predictor.generate([1], { signal: AbortSignal.abort() });
  await t.throwsAsync(gone.next(), { code: 'ERR_ABORTED' });
  const three = predictor.generate([3]);
  const pending = three.next();
  await predictor.close();
  await t.throwsAsync(pending, { code: 'ERR_CLOSED' });
  await t.throwsAsync(collect(two), { code: 'ERR_CLOSED' });
  t.throws(() => predictor.generate([1]), { code: 'ERR_CLOSED' });
});

test('bad prompts and options are refused', async (t) => {
  const predictor = await load(t, gpt());
  const bad = [
    [[]],
    [[1, vocabulary]],
    [[-1]],
    [[0.5]],
    [undefined],
    ['text'],
    [new Array(time).fill(1)],
    [[1], { maxTokens: time }],
    [[1], { maxTokens: 0 }],
    [[1], { temperature: -1 }],
    [[1], { topK: 0 }],
    [[1], { topP: 0 }],
    [[1], { topP: 1.5 }],
    [[1], { repetitionPenalty: 0 }],
    [[1], { seed: -1 }],
    [[1], { stop: 'a' }],
    [[1], { stop: [''], decode: () => '' }],
    [[1], { stopTokens: [0.5] }],
    [[1], { decode: 3 }],
    [[1], { signal: 3 }],
    [[1], { temprature: 1 }],
  ];
  for (const [prompt, options] of bad) {
    t.throws(() => predictor.generate(prompt, options), { code: 'ERR_ARGUMENT' });
  }
  t.throws(() => predictor.generate(new Float32Array(2)), { code: 'ERR_DTYPE' });
  const without = await Predictor.load(gpt());
  t.throws(() => without.generate([1]), { code: 'ERR_ARGUMENT' });
  await without.close();
});

test('a cache beyond the positions and models that mix tokens are refused', async (t) => {
  const refused = { code: 'ERR_ARGUMENT' };
  await t.throwsAsync(Predictor.load(gpt(), { generation: { length: time + 1 } }), {
    ...refused,
    message: /at most 24 tokens/,
  });
  await t.throwsAsync(Predictor.load(gpt(), { generation: { sequences: 0 } }), refused);
  const tokens = () => input([time], { dtype: 'int32' });
  const of = (...layers) =>
    sequential([embedding(vocabulary, 16), ...layers, dense(vocabulary)], { input: tokens() });
  const others = [
    of(transformerBlock({ heads: 2 })),
    of(lstm(16, { sequence: true })),
    of(flatten()),
    sequential([dense(3)], { input: [2] }),
  ];
  for (const model of others) {
    await t.throwsAsync(Predictor.load(model, { generation: {} }), refused);
  }
});
