// Graphs by hand: what can be fed, and checks.
import test from 'ava';
import {
  add,
  crossEntropy,
  dense,
  dropout,
  input,
  mul,
  sequential,
  slice,
  square,
  sum,
} from 'tandem-ml';
import { evaluate, vjp } from 'tandem-ml/autodiff';
import { error } from './helpers/outcomes.mjs';

test('evaluate gives an array an output', (t) => {
  const x = input([2]);
  const feeds = new Map([[x, Float32Array.of(1, 2, 3, 4)]]);
  t.deepEqual(evaluate(add(x, 1), feeds), [Float32Array.of(2, 3, 4, 5)]);
  t.deepEqual(evaluate([x, sum(x)], feeds), [Float32Array.of(1, 2, 3, 4), Float32Array.of(10)]);
});

test('any value can be fed', (t) => {
  const x = input([2]);
  const middle = square(x);
  const y = mul(middle, 3);
  t.deepEqual(evaluate(y, new Map([[middle, Float32Array.of(1, 2)]])), [Float32Array.of(3, 6)]);
});

test('parameters have the values of the model built last', (t) => {
  const layer = dense(1, { bias: false });
  const x = input([2]);
  const y = layer(x);
  const feeds = new Map([[x, Float32Array.of(1, 2)]]);
  t.throws(() => evaluate(y, feeds), error('ERR_ARGUMENT', /a feed for parameter `dense\.weight`/));
  sequential([layer], { input: [2] })
    .parameters.get('dense.weight')
    ?.data.set([10, 20]);
  t.deepEqual(evaluate(y, feeds), [Float32Array.of(50)]);
});

test('vjp gives gradients in the order of `wrt`, or of the feeds', (t) => {
  const [a, b] = [input([2], { name: 'a' }), input([2], { name: 'b' })];
  const y = mul(square(a), b);
  const feeds = new Map([
    [a, Float32Array.of(1, 2)],
    [b, Float32Array.of(3, 5)],
  ]);
  const ones = Float32Array.of(1, 1);
  const all = vjp(y, feeds, ones);
  t.deepEqual(all.outputs, [Float32Array.of(3, 20)]);
  t.deepEqual(all.gradients, [Float32Array.of(6, 20), Float32Array.of(1, 4)]);
  t.deepEqual(vjp(y, feeds, [ones], { wrt: [b] }).gradients, [Float32Array.of(1, 4)]);
  t.deepEqual(vjp([y, a], feeds, [null, ones], { wrt: [a] }).gradients, [ones]);
});

test('dropout only acts in training', (t) => {
  const x = input([100]);
  const feeds = new Map([[x, new Float32Array(100).fill(1)]]);
  t.true(evaluate(dropout(x, { rate: 0.5 }), feeds)[0]?.every((value) => value === 1));
  const [dropped] = evaluate(dropout(x, { rate: 0.5 }), feeds, { training: true, seed: 1 });
  t.true(dropped?.some((value) => value === 0));
  t.true(dropped?.every((value) => value === 0 || value === 2));
});

test('feeds are checked', (t) => {
  const [a, b] = [input([2], { name: 'a' }), input([3], { name: 'b' })];
  const y = [sum(a), sum(b)];
  const run = (pairs) => () => evaluate(y, new Map(pairs));
  t.throws(run([[a, new Float32Array(2)]]), error('ERR_ARGUMENT', /`feeds`.*input `b`/));
  t.throws(
    run([
      [a, new Float32Array(3)],
      [b, new Float32Array(3)],
    ]),
    error('ERR_SHAPE', /\(a\)/),
  );
  t.throws(
    run([
      [a, new Float32Array(4)],
      [b, new Float32Array(3)],
    ]),
    error('ERR_SHAPE', /\(b\)/),
  );
  t.throws(
    run([
      [a, new Int32Array(2)],
      [b, new Float32Array(3)],
    ]),
    error('ERR_DTYPE', /\(a\)/),
  );
  t.throws(
    run([
      [a, [1, 2]],
      [b, new Float32Array(3)],
    ]),
    error('ERR_ARGUMENT'),
  );
  t.throws(run([['a', new Float32Array(2)]]), error('ERR_ARGUMENT', /a Value/));
  t.throws(() => evaluate(a, { a: 1 }), error('ERR_ARGUMENT', /a Map/));
  t.throws(() => evaluate([], new Map()), error('ERR_ARGUMENT', /`outputs`/));
});

test('cotangents and options are checked', (t) => {
  const x = input([2]);
  const feeds = new Map([[x, Float32Array.of(1, 2)]]);
  const run = (cotangents, options) => () => vjp(square(x), feeds, cotangents, options);
  t.throws(run([]), error('ERR_ARGUMENT', /`cotangents`/));
  t.throws(run(new Float32Array(3)), error('ERR_SHAPE', /`cotangents\[0\]`/));
  t.throws(run([new Float64Array(2)]), error('ERR_DTYPE'));
  t.throws(run(new Float32Array(2), { wrt: [input([2])] }), error('ERR_ARGUMENT', /`wrt\[0\]`/));
  t.throws(run(new Float32Array(2), { device: 'cuda:99' }), error('ERR_DEVICE'));
  t.throws(run(new Float32Array(2), { with: [x] }), error('ERR_ARGUMENT'));
});

test('class numbers out of range are refused', (t) => {
  const x = input([3], { batch: 2 });
  const target = input([], { batch: 2, dtype: 'int32' });
  const feed = (classes) =>
    evaluate(
      [crossEntropy(x, target)],
      new Map([
        [x, new Float32Array(6)],
        [target, Int32Array.from(classes)],
      ]),
    );
  t.notThrows(() => feed([2, -100]));
  for (const bad of [3, -1, 2 ** 30]) {
    t.throws(() => feed([0, bad]), { code: 'ERR_ARGUMENT', message: /from 0 to 2.*position 1/ });
  }
});

test('integers that int32 lacks are refused', (t) => {
  const ids = input([2], { dtype: 'int32', name: 'ids' });
  const feeds = new Map([[ids, Uint32Array.of(0, 2 ** 32 - 1)]]);
  const message = /below 2\^31 for `feeds \(ids\)`, received 4294967295 at position 1/;
  t.throws(() => evaluate(slice(ids, { axis: 1 }), feeds), { code: 'ERR_ARGUMENT', message });
});
