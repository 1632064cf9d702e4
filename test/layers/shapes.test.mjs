// Layers infer shapes and types when they are applied; an error names the layer, what it expects and
// what it got.
import { readdir, readFile } from 'node:fs/promises';
import test from 'ava';
import * as tandem from 'tandem-ml';

const { dense, dropout, embedding, gru, input, lstm, relu, reshape, sequential } = tandem;

/** The layers whose parameters or ops ask for a shape. */
const layers = {
  dense: {
    make: (name) => dense(3, name),
    good: () => input([5, 4]),
    shape: [null, 5, 3],
    bad: () => input([5, 6]),
    message: /expected x \[\.\.\., in\] and w \[out, in\].*received x \[batch, 5, 6\], w \[3, 4\]/,
  },
  embedding: {
    make: (name) => embedding(7, 2, { positions: 5, ...name }),
    good: () => input([5], { dtype: 'int32' }),
    shape: [null, 5, 2],
    bad: () => input([6], { dtype: 'int32' }),
    message:
      /expected index \[\.\.\., time\] .* at most 5 .*received index \[batch, 6\], positions \[5, 2\]/,
  },
  lstm: {
    make: (name) => lstm(3, { sequence: true, ...name }),
    good: () => input([5, 4]),
    shape: [null, 5, 3],
    bad: () => input([5, 6]),
    message: /expected .*wIh \[4 \* units, in\].*received x \[batch, 5, 6\], wIh \[12, 4\]/,
  },
  gru: {
    make: (name) => gru(3, name),
    good: () => input([5, 4]),
    shape: [null, 3],
    bad: () => input([5, 6]),
    message: /expected .*wIh \[3 \* units, in\].*received x \[batch, 5, 6\], wIh \[9, 4\]/,
  },
  reshape: {
    make: () => reshape([-1, 2, 2]),
    good: () => input([4]),
    shape: [null, 2, 2],
    bad: () => input([3]),
    message: /expected .* \[-1, 2, 2\].*received x \[batch, 3\]/,
  },
};

for (const [type, { make, good, shape, bad, message }] of Object.entries(layers)) {
  test(`the layer ${type}`, (t) => {
    const layer = make();
    t.is(layer.type, type);
    const y = layer(good());
    t.deepEqual(y.shape, shape);
    t.is(y.dtype, 'float32');
    const start = (name) => new RegExp(`^in layer \`${name}\`: ${message.source}`, 's');
    t.throws(() => layer(bad()), { code: 'ERR_SHAPE', message: start(type) });
    // With a layer of its type before it, it will be the second one.
    const wrong = bad();
    if (wrong.dtype === 'float32' && type !== 'reshape') {
      const before = dense(wrong.shape.at(-1))(wrong);
      const again = make();
      again(good());
      const name = type === 'dense' ? 'dense_1' : type;
      t.throws(() => again(before), { code: 'ERR_SHAPE', message: start(name) });
    }
    if (type === 'reshape') return;
    const named = make({ name: 'mine' });
    named(good());
    t.throws(() => named(bad()), { code: 'ERR_SHAPE', message: start('mine') });
  });

  test(`the layer ${type} and the wrong type`, (t) => {
    if (type === 'reshape') {
      t.is(make()(input([4], { dtype: 'int32' })).dtype, 'int32');
      return;
    }
    const row = good().shape.slice(1);
    const other = good().dtype === 'float32' ? 'int32' : 'float32';
    const message = new RegExp(`^in layer \`${type}\`: expected ${good().dtype} .*${other}`);
    t.throws(() => make()(input(row, { dtype: other })), { code: 'ERR_DTYPE', message });
    t.throws(() => make()(3), { code: 'ERR_ARGUMENT', message: /a Value for `x`/ });
  });
}

test('layers that take any shape', (t) => {
  for (const layer of [dropout(0.5), relu()]) {
    t.deepEqual(layer(input([5, 4, 3])).shape, [null, 5, 4, 3]);
    const x = input([4], { dtype: 'int32' });
    const message = new RegExp(`^in layer \`${layer.type}\`: expected float32 .*int32`);
    t.throws(() => layer(x), { code: 'ERR_DTYPE', message });
  }
});

test('sequential names the layer that does not fit', (t) => {
  const layers = [dense(4), lstm(3, { sequence: true }), lstm(2), lstm(2)];
  const message = /^in layer `lstm_2`: expected x \[batch, time, in\] .*received .*\[batch, 2\]/;
  t.throws(() => sequential(layers, { input: [5, 6] }), { code: 'ERR_SHAPE', message });
});

/** Layers that mind shapes: how each is made, rows that fit, and rows that do not, by rank or by size. */
const minding = {
  dense: [(name) => tandem.dense(3, name), [5, 4], [[5, 6]]],
  conv1d: [(name) => tandem.conv1d(3, { kernel: 3, ...name }), [4, 9], [[4], [5, 9], [4, 2]]],
  conv2d: [
    (name) => tandem.conv2d(3, { kernel: 3, ...name }),
    [4, 9, 9],
    [
      [4, 9],
      [5, 9, 9],
      [4, 2, 9],
    ],
  ],
  convTranspose2d: [
    (name) => tandem.convTranspose2d(3, { kernel: 3, padding: 2, ...name }),
    [4, 9, 9],
    [
      [4, 9],
      [5, 9, 9],
      [4, 1, 1],
    ],
  ],
  embedding: [
    (name) => tandem.embedding(7, 2, { positions: 5, ...name }),
    [5],
    [[], [6], [4, 6]],
    'int32',
  ],
  batchNorm: [(name) => tandem.batchNorm(name), [4, 3], [[], [5, 3]]],
  layerNorm: [(name) => tandem.layerNorm(name), [3, 4], [[], [3, 5]]],
  rmsNorm: [(name) => tandem.rmsNorm(name), [3, 4], [[], [3, 5]]],
  groupNorm: [(name) => tandem.groupNorm({ groups: 2, ...name }), [4, 3], [[], [6, 3]]],
  lstm: [(name) => tandem.lstm(3, name), [5, 4], [[5], [5, 6], [2, 5, 4]]],
  gru: [(name) => tandem.gru(3, { sequence: true, ...name }), [5, 4], [[5], [5, 6]]],
  multiHeadAttention: [
    (name) => tandem.multiHeadAttention({ heads: 2, ...name }),
    [5, 4],
    [[4], [5, 6], [5, 5], [2, 5, 4]],
  ],
  transformerBlock: [
    (name) => tandem.transformerBlock({ heads: 2, ...name }),
    [5, 4],
    [[4], [5, 6], [5, 5], [2, 5, 4]],
  ],
  maxPool2d: [
    () => tandem.maxPool2d({ kernel: 3 }),
    [4, 9, 9],
    [
      [9, 9],
      [4, 2, 9],
    ],
  ],
  avgPool2d: [
    () => tandem.avgPool2d({ kernel: 3 }),
    [4, 9, 9],
    [
      [9, 9],
      [4, 2, 9],
    ],
  ],
  globalAvgPool2d: [() => tandem.globalAvgPool2d(), [4, 9, 9], [[9, 9]]],
  reshape: [() => tandem.reshape([-1, 2, 2]), [4], [[3]]],
  transpose: [() => tandem.transpose({ perm: [0, 2, 1] }), [4, 3], [[3], [2, 4, 3]]],
};

for (const [type, [make, good, bads, dtype = 'float32']] of Object.entries(minding)) {
  test(`errors of the layer ${type} name it and both shapes`, (t) => {
    const name = make.length === 0 ? type : 'mine';
    for (const bad of bads) {
      // What it is called with first makes its parameters.
      const layer = make({ name });
      layer(input(good, { dtype }));
      const error = t.throws(() => layer(input(bad, { dtype })));
      t.is(error.code, 'ERR_SHAPE');
      t.true(error.message.startsWith(`in layer \`${name}\`: expected `), error.message);
      const received = `[${['batch', ...bad].join(', ')}]`;
      const shapes = new Set(error.message.match(/\[[^[\]]*\]/g));
      t.true(shapes.has(received), error.message);
      t.true(shapes.size > 1, error.message);
    }
  });
}

test('every layer with parameters is among them', async (t) => {
  const folder = new URL('../../lib/layers/', import.meta.url);
  const files = await readdir(folder);
  const texts = await Promise.all(files.map((file) => readFile(new URL(file, folder), 'utf8')));
  const makers = /^export function (\w+)\([^)]*\): \w*Layer \{/gm;
  const names = texts.flatMap((text) => [...text.matchAll(makers)].map(([, name]) => name));
  t.true(names.length > 10);
  t.deepEqual(
    names.filter((name) => !(name in minding)),
    [],
  );
});

test('a mask that does not fit is named beside x, and not beside its projection', (t) => {
  const mask = input([1, 5, 6]);
  const [x, context] = [input([5, 8]), input([7, 8])];
  const attend = tandem.multiHeadAttention({ heads: 2 });
  const calls = [
    () => attend(x, null, { mask }),
    () => tandem.transformerBlock({ heads: 2 })(x, { mask }),
  ];
  for (const call of calls) {
    t.throws(call, {
      code: 'ERR_SHAPE',
      message:
        /broadcasts to \[batch, 2, time, keys\].*received mask \[batch, 1, 5, 6\], x \[batch, 5, 8\]$/,
    });
  }
  t.throws(() => attend(x, context, { mask }), {
    code: 'ERR_SHAPE',
    message: /received mask \[batch, 1, 5, 6\], x \[batch, 5, 8\], context \[batch, 7, 8\]$/,
  });
});

test('a width that rotary positions do not take is that of x, and not that of its projection', (t) => {
  const options = { heads: 2, rotary: true };
  for (const make of [tandem.multiHeadAttention, tandem.transformerBlock]) {
    const { type } = make(options);
    t.deepEqual(make(options)(input([5, 4])).shape, [null, 5, 4]);
    t.throws(() => make(options)(input([5, 6])), {
      code: 'ERR_SHAPE',
      message: new RegExp(
        `^in layer \`${type}\`: expected x .* an even width for each of 2 heads, .*received x \\[batch, 5, 6\\]$`,
      ),
    });
  }
});

test('an activation has to return a value', (t) => {
  const image = [2, 4, 4];
  for (const [type, make, row] of [
    ['dense', (activation) => dense(3, { activation }), [4]],
    ['conv2d', (activation) => tandem.conv2d(3, { kernel: 3, activation }), image],
    [
      'convTranspose2d',
      (activation) => tandem.convTranspose2d(3, { kernel: 3, activation }),
      image,
    ],
  ]) {
    t.is(make((x) => relu(x))(input(row)).dtype, 'float32');
    for (const activation of [() => undefined, () => 3, (x) => [x]]) {
      t.throws(() => make(activation)(input(row)), {
        code: 'ERR_ARGUMENT',
        message: new RegExp(
          `^in layer \`${type}\`: expected a function that returns a Value for \`activation\``,
        ),
      });
    }
  }
});

test('sizes that no tensor has are told of the op and of what it was applied to', (t) => {
  const [column, line] = [input([1], { batch: 2 ** 30 }), input([2 ** 30], { batch: 1 })];
  const apply = {
    matmul: () => tandem.matmul(column, line),
    add: () => tandem.add(column, line),
    pad: () =>
      tandem.pad(column, {
        pads: [
          [0, 2 ** 50],
          [0, 2 ** 50],
        ],
      }),
    reshape: () => reshape(column, [2 ** 40, 2 ** 40]),
  };
  for (const [op, call] of Object.entries(apply)) {
    t.throws(call, {
      code: 'ERR_SHAPE',
      message: new RegExp(`^expected .*2\\^59 for \`${op}\`, received .*\\[1073741824, 1\\]`),
    });
  }
  const deep = input([1, 1, 1, 1, 1, 1, 1], { dtype: 'int32' });
  t.throws(() => embedding(7, 2)(deep), {
    code: 'ERR_SHAPE',
    message:
      /^in layer `embedding`: expected at most 8 dimensions for `embedding`, received index \[batch, 1,/,
  });
  t.throws(
    () => tandem.convTranspose2d(3, { kernel: 3, stride: 2 ** 24 })(input([1, 2 ** 12, 2 ** 12])),
    {
      code: 'ERR_SHAPE',
      message: /^in layer `convTranspose2d`: expected sizes below 2\^59 for .*4096\], w/,
    },
  );
});
