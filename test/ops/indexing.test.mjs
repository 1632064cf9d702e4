// gather, pad, cumsum, flip and where: gradients, broadcasting, edges and bad arguments.
import { join } from 'node:path';
import test from 'ava';
import {
  cumsum,
  flip,
  gather,
  input,
  Model,
  maxPool2d,
  mul,
  Predictor,
  pad,
  relu,
  square,
  where,
} from 'tandem-ml';
import { evaluate, vjp } from 'tandem-ml/autodiff';
import { check, count, numbers } from '../helpers/differences.mjs';
import { makeFolder } from '../helpers/folder.mjs';
import { fixed } from '../helpers/numbers.mjs';

const argument = (message) => ({ code: 'ERR_ARGUMENT', message });
const shape = (message) => ({ code: 'ERR_SHAPE', message });
const nan = Number.NaN;

test('gradients of gather along every axis', (t) => {
  for (const [dims, axis, length] of [
    [[5, 7, 3], 0, 9],
    [[5, 7, 3], 1, 4],
    [[5, 7, 3], -1, 11],
    [[13], 0, 5],
  ]) {
    const rows = dims.with(axis, length);
    const data = Int32Array.from({ length: count(rows) }, (_, i) => (i * i + i) % dims.at(axis));
    check(t, {
      graph: (v) => square(gather(v.x, v.i, { axis })),
      floats: { x: numbers(dims, 51) },
      integers: { i: { shape: rows, data } },
    });
  }
});

test('an index may be shorter than x in other dimensions', (t) => {
  const graph = (v) => square(gather(v.x, v.i, { axis: 1 }));
  check(t, {
    graph,
    floats: { x: numbers([5, 3, 7], 52) },
    integers: { i: { shape: [2, 4, 6], data: Int32Array.from({ length: 48 }, (_, i) => i % 3) } },
  });
  const [x, i] = [input([3, 7]), input([2, 5], { dtype: 'int32' })];
  t.deepEqual(gather(x, i, { axis: -2 }).shape, [null, 2, 5]);
});

test('gather keeps types and refuses numbers out of range', (t) => {
  const [x, i] = [fixed([2, 3], 'int32'), fixed([2, 2], 'int32')];
  const run = (data) =>
    evaluate(
      gather(x, i, { axis: 1 }),
      new Map([
        [x, Int32Array.of(1, 2, 3, 4, 5, 6)],
        [i, Int32Array.from(data)],
      ]),
    )[0];
  t.deepEqual(run([2, 0, 1, 1]), Int32Array.of(3, 1, 5, 5));
  t.throws(() => run([2, 3, 1, 1]), argument(/indices from 0 to 2 .*received 3 at position 1/));
  t.throws(() => run([2, -1, 1, 1]), argument(/-1 at position 1/));
  const computed = gather(x, gather(i, i, { axis: 0 }), { axis: 1 });
  t.deepEqual(
    evaluate(
      computed,
      new Map([
        [x, Int32Array.of(1, 2, 3, 4, 5, 6)],
        [i, Int32Array.of(0, 1, 0, 1)],
      ]),
    )[0],
    Int32Array.of(1, 2, 4, 5),
  );
});

test('arguments of gather', (t) => {
  const [x, i] = [input([3]), input([2], { dtype: 'int32' })];
  t.throws(() => gather(x, x), { code: 'ERR_DTYPE' });
  t.throws(() => gather(x, input([2, 2], { dtype: 'int32' })), shape(/one rank/));
  t.throws(() => gather(x, i, { axis: 2 }), argument(/`axis`/));
  t.throws(() => gather(x, input([4], { dtype: 'int32' })), shape(/all dimensions but the axis/));
  t.throws(() => gather(x, 1), argument(/`index`/));
});

test('gradients of pad', (t) => {
  for (const pads of [
    [
      [0, 0],
      [0, 1],
      [1, 2],
    ],
    [
      [2, 1],
      [0, 3],
      [0, 0],
    ],
    [
      [0, 0],
      [0, 0],
      [0, 0],
    ],
  ]) {
    const graph = (v) => square(pad(v.x, { pads, value: 0.25 }));
    check(t, { graph, floats: { x: numbers([3, 5, 7], 53) } });
  }
});

test('pad puts infinities around x, and gradients reach x alone', (t) => {
  const x = fixed([2, 3]);
  const pads = [
    [0, 0],
    [1, 2],
  ];
  const data = Float32Array.of(1, 0, nan, -4, 5, Infinity);
  for (const value of [Infinity, -Infinity]) {
    const y = pad(x, { pads, value });
    const { outputs, gradients } = vjp(
      y,
      new Map([[x, data]]),
      Float32Array.from({ length: 12 }, (_, i) => i),
    );
    const row = (...numbers) => [value, ...numbers, value, value];
    t.deepEqual([...outputs[0]], [...row(1, 0, nan), ...row(-4, 5, Infinity)]);
    t.deepEqual([...gradients[0]], [1, 2, 3, 7, 8, 9]);
    t.throws(() => pad(fixed([2, 3], 'int32'), { pads, value }), argument(/`value`/));
  }
  t.throws(() => pad(x, { pads, value: nan }), argument(/`value`, received NaN/));
});

test('maxima do not look at the infinities around a plane, also after a file', async (t) => {
  const planes = input([1, 3, 4]);
  const wide = pad(planes, {
    pads: [
      [0, 0],
      [0, 0],
      [0, 1],
      [1, 2],
    ],
    value: -Infinity,
  });
  const model = new Model({ inputs: planes, outputs: maxPool2d(wide, { kernel: 2, stride: 2 }) });
  const file = join(await makeFolder(t), 'model.safetensors');
  await model.save(file);
  const rows = Float32Array.from({ length: 12 }, (_, i) => -1 - i);
  const expected = Float32Array.of(-1, -2, -4, -9, -10, -12);
  for (const from of [model, file]) {
    const predictor = await Predictor.load(from);
    t.teardown(() => predictor.close());
    t.deepEqual((await predictor.predict(rows)).slice(0, 6), expected);
  }
});

test('pad of integers, of a batch and its arguments', (t) => {
  const x = fixed([2, 2], 'int32');
  for (const value of [-7, -(2 ** 31), 2 ** 31 - 1]) {
    const padded = pad(x, {
      pads: [
        [0, 1],
        [1, 0],
      ],
      value,
    });
    const [y] = evaluate(padded, new Map([[x, Int32Array.of(1, 2, 3, 4)]]));
    t.deepEqual(y, Int32Array.of(value, 1, 2, value, 3, 4, value, value, value));
  }
  const pads = [
    [0, 0],
    [1, 1],
  ];
  t.deepEqual(pad(input([3]), { pads }).shape, [null, 5]);
  t.throws(() => pad(x, { pads, value: 0.5 }), argument(/`value` that is an int32/));
  t.throws(() => pad(x, { pads, value: 2 ** 31 }), argument(/int32/));
  t.throws(() => pad(x, { pads, value: -(2 ** 31) - 1 }), argument(/int32/));
  t.throws(() => pad(x, { pads: [[1, 1]] }), argument(/`pads` for each of 2 axes/));
  t.throws(() => pad(x, { pads: [[1], [1]] }), argument(/`pads\[0\]`/));
  t.throws(
    () =>
      pad(x, {
        pads: [
          [0, 0],
          [-1, 0],
        ],
      }),
    argument(/`pads\[1\]\[0\]`/),
  );
  t.throws(() => pad(x, {}), argument(/`pads`/));
  const huge = [
    [0, 2 ** 52],
    [0, 2 ** 52],
  ];
  t.throws(() => pad(x, { pads: huge }), { code: 'ERR_SHAPE' });
});

test('gradients of cumsum', (t) => {
  for (const axis of [0, 1, -1, undefined]) {
    const graph = (v) => square(cumsum(v.x, axis === undefined ? {} : { axis }));
    check(t, { graph, floats: { x: numbers([5, 7, 3], 54, { low: -1, high: 1 }) } });
  }
  check(t, {
    graph: (v) => square(cumsum(v.x)),
    floats: { x: numbers([131], 55, { low: -0.2, high: 0.2 }) },
  });
});

test('cumsum of many numbers keeps their digits', (t) => {
  const x = fixed([200000]);
  const [y] = evaluate(cumsum(x), new Map([[x, new Float32Array(200000).fill(0.1)]]));
  t.true(Math.abs(y[199999] - 20000) < 0.002);
  t.throws(() => cumsum(x, { axis: 1 }), argument(/`axis`/));
  t.throws(() => cumsum(input([2], { dtype: 'int32' })), { code: 'ERR_DTYPE' });
});

test('flip, as torch.flip, is its own gradient', (t) => {
  const x = fixed([2, 3, 2], 'int32');
  const feeds = new Map([[x, Int32Array.from({ length: 12 }, (_, i) => i)]]);
  const flipped = {
    0: [6, 7, 8, 9, 10, 11, 0, 1, 2, 3, 4, 5],
    1: [4, 5, 2, 3, 0, 1, 10, 11, 8, 9, 6, 7],
    '-1': [1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10],
  };
  for (const [axis, expected] of Object.entries(flipped)) {
    t.deepEqual([...evaluate(flip(x, { axis: Number(axis) }), feeds)[0]], expected);
    const graph = (v) => square(cumsum(flip(v.x, { axis: Number(axis) })));
    check(t, { graph, floats: { x: numbers([5, 7, 3], 56, { low: -1, high: 1 }) } });
  }
  t.deepEqual(evaluate(flip(x), feeds), evaluate(flip(x, { axis: 2 }), feeds));
  t.throws(() => flip(x, { axis: 3 }), argument(/`axis`/));
  t.throws(() => flip(1), { code: 'ERR_SHAPE', message: /at least one dimension for `flip`/ });
});

const triples = [
  [
    [5, 7, 3],
    [5, 7, 3],
    [5, 7, 3],
  ],
  [[5, 7], [7], [5, 1]],
  [[7, 1], [5, 1, 13], [1]],
  [[1], [5, 7], [5, 7]],
];

test('gradients of where, broadcast', (t) => {
  for (const [c, a, b] of triples) {
    const data = Int32Array.from({ length: count(c) }, (_, i) => ((i * 7) % 5 < 2 ? 0 : i - 3));
    check(t, {
      graph: (v) => mul(where(v.c, v.a, v.b), where(v.c, v.b, 0.5)),
      floats: { a: numbers(a, 56), b: numbers(b, 57) },
      integers: { c: { shape: c, data } },
    });
  }
});

test('where takes conditions of both types, and numbers', (t) => {
  const [c, n] = [fixed([5]), fixed([5], 'int32')];
  const feeds = new Map([
    [c, Float32Array.of(0, -0, nan, 1e-45, -2)],
    [n, Int32Array.of(0, 1, -1, 2 ** 30, 0)],
  ]);
  const [byFloat, byInteger] = evaluate([where(c, 1, c), where(n, 1, 0)], feeds);
  t.deepEqual(byFloat, Float32Array.of(0, -0, 1, 1, 1));
  t.deepEqual(byInteger, Float32Array.of(0, 1, 1, 1, 0));
});

test('where passes integers through as they are', (t) => {
  // As floats some are NaN, with and without a signal, and some too small to be normal.
  const all = Int32Array.of(0x7f800001, -1, 1, 2 ** 24 + 1, -(2 ** 31), 2 ** 31 - 1, 0, 0x7fc00000);
  const numbers = Int32Array.from({ length: 1003 }, (_, i) => all[i % all.length]);
  const others = numbers.map((n) => n ^ 0x5555);
  const c = Int32Array.from(numbers, (_, i) => i % 3);
  const [vc, va, vb, vr] = [
    fixed([17, 59], 'int32'),
    fixed([17, 59], 'int32'),
    fixed([17, 59], 'int32'),
    fixed([17, 1], 'int32'),
  ];
  const feeds = new Map([
    [vc, c],
    [va, numbers],
    [vb, others],
    [vr, Int32Array.from({ length: 17 }, (_, i) => all[i % all.length])],
  ]);
  const outputs = [where(vc, va, vb), where(vc, vr, 7), where(vc, -3, va)];
  t.true(outputs.every(({ dtype }) => dtype === 'int32'));
  const [picked, rows, number] = evaluate(outputs, feeds);
  const by = (a, b) => Int32Array.from(c, (on, i) => (on === 0 ? b(i) : a(i)));
  const of = (array) => (i) => array[i];
  t.deepEqual(picked, by(of(numbers), of(others)));
  const row = (i) => all[Math.floor(i / 59) % all.length];
  t.deepEqual(
    rows,
    by(row, () => 7),
  );
  t.deepEqual(
    number,
    by(() => -3, of(numbers)),
  );
});

test('where lets no NaN of the other side through', (t) => {
  const [c, x] = [fixed([3]), fixed([3])];
  const feeds = new Map([
    [c, Float32Array.of(1, 0, 1)],
    [x, Float32Array.of(1, nan, 2)],
  ]);
  const { outputs, gradients } = vjp(where(c, x, 0), feeds, Float32Array.of(1, nan, 3), {
    wrt: [x],
  });
  t.deepEqual(outputs[0], Float32Array.of(1, 0, 2));
  t.deepEqual(gradients[0], Float32Array.of(1, 0, 3));
  t.throws(() => where(input([3]), input([4]), 1), shape(/\[batch, 3\].*\[batch, 4\]/));
  t.throws(() => where(c, fixed([3], 'int32'), fixed([3])), { code: 'ERR_DTYPE' });
  t.throws(() => where(c, c, fixed([3], 'int32')), { code: 'ERR_DTYPE' });
  t.throws(() => where(c, fixed([3], 'int32'), 0.5), argument(/`b`/));
  t.throws(() => where(c, '1', 1), argument(/`a`/));
  t.deepEqual(relu(where(input([3]), 1, 0)).shape, [null, 3]);
});
