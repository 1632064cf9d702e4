// Attention: gradients against differences, what it refuses, and that threads do not change a bit.
import test from 'ava';
import { attention } from 'tandem-ml';
import { evaluate, vjp } from 'tandem-ml/autodiff';
import { check, numbers } from '../helpers/differences.mjs';
import { fixed, generator, uniform } from '../helpers/numbers.mjs';

const scores = { low: -1, high: 1 };

for (const causal of [false, true]) {
  const kind = causal ? 'causal attention' : 'attention';

  test(`gradients of ${kind}`, (t) => {
    for (const [time, keys, depth, valueDepth] of [
      [1, 1, 1, 1],
      [7, 7, 5, 5],
      [17, 33, 6, 3],
      [33, 5, 8, 19],
    ]) {
      const floats = {
        q: numbers([2, 3, time, depth], 41, scores),
        k: numbers([2, 3, keys, depth], 42, scores),
        v: numbers([2, 3, keys, valueDepth], 43, scores),
      };
      check(t, { graph: ({ q, k, v }) => attention(q, k, v, { causal }), floats });
    }
  });

  test(`gradients of ${kind} with a mask`, (t) => {
    for (const shape of [[5, 7], [7], [2, 1, 5, 7], [3, 1, 7], [2, 3, 5, 7]]) {
      const floats = {
        q: numbers([2, 3, 5, 4], 44, scores),
        k: numbers([2, 3, 7, 4], 45, scores),
        v: numbers([2, 3, 7, 4], 46, scores),
        mask: numbers(shape, 47, scores),
      };
      check(t, { graph: ({ q, k, v, mask }) => attention(q, k, v, { causal, mask }), floats });
    }
  });
}

test('one value as queries, keys and values', (t) => {
  const graph = ({ x }) => attention(x, x, x, { causal: true });
  check(t, { graph, floats: { x: numbers([1, 2, 11, 7], 48, scores) } });
});

test('a query that sees no key gets zeros', (t) => {
  const [q, k, v] = [1, 3, 3].map((time) => fixed([1, 1, time, 2]));
  const mask = fixed([3]);
  const ones = (length) => new Float32Array(length).fill(1);
  const feeds = new Map([
    [q, ones(2)],
    [k, ones(6)],
    [v, ones(6)],
    [mask, new Float32Array(3).fill(Number.NEGATIVE_INFINITY)],
  ]);
  const y = attention(q, k, v, { mask });
  t.deepEqual([...evaluate(y, feeds)[0]], [0, 0]);
  const { gradients } = vjp(y, feeds, ones(2), { wrt: [q, k, v, mask] });
  for (const gradient of gradients) t.true(gradient.every((item) => item === 0));
});

test('the same bits for every number of threads', (t) => {
  const random = generator(49);
  for (const shape of [
    [1, 2, 200, 16],
    [5, 4, 70, 32],
  ]) {
    const [q, k, v] = ['q', 'k', 'v'].map((name) => fixed(shape, 'float32', name));
    const length = shape.reduce((a, b) => a * b);
    const feeds = new Map([q, k, v].map((value) => [value, uniform(length, random)]));
    const y = attention(q, k, v, { causal: true });
    const cotangent = uniform(length, random);
    const run = (threads) => vjp(y, feeds, cotangent, { wrt: [q, k, v], threads });
    const one = run(1);
    for (const threads of [2, 3, 8]) t.deepEqual(run(threads), one);
  }
});

test('what it refuses', (t) => {
  const [q, k] = [fixed([2, 3, 5, 4]), fixed([2, 3, 7, 4])];
  const refuses = (body, code, message) => {
    const error = t.throws(body);
    t.is(error.code, code);
    t.regex(error.message, message);
  };
  refuses(() => attention(q, k), 'ERR_ARGUMENT', /expected a Value for `v`/);
  refuses(
    () => attention(q, k, q),
    'ERR_SHAPE',
    /expected q .* for `attention`, received q \[2, 3, 5, 4\], k /,
  );
  refuses(() => attention(q, k, k, { mask: 3 }), 'ERR_ARGUMENT', /`mask`/);
  refuses(() => attention(q, k, k, { causal: 1 }), 'ERR_ARGUMENT', /`causal`/);
  refuses(() => attention(q, k, k, { scale: 1 }), 'ERR_ARGUMENT', /only causal, mask/);
  refuses(
    () => attention(q, k, k, { mask: fixed([7, 5]) }),
    'ERR_SHAPE',
    /broadcasts to \[2, 3, 5, 7\]/,
  );
  refuses(() => attention(q, k, fixed([2, 3, 7, 4], 'int32')), 'ERR_DTYPE', /float32/);
  refuses(() => attention(fixed([5, 4]), k, k), 'ERR_SHAPE', /batch, heads, time, depth/);
});
