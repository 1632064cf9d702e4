// What a model's ops become at another length: what they are in the model that is built for it, or
// the model is refused.
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import {
  add,
  dense,
  gru,
  input,
  lstm,
  Model,
  matmul,
  mean,
  Predictor,
  reshape,
  slice,
  sum,
  Trainer,
  transpose,
} from 'tandem-ml';
import { makeFolder } from './helpers/folder.mjs';

const [time, width, rows] = [8, 3, 2];

/** The same parameters at every length. */
function build(body, length = time) {
  const x = input([length, width], { name: 'x' });
  return new Model({ inputs: [x], outputs: dense(2)(body(x, length)), seed: 1 });
}

const sample = (length) =>
  Float32Array.from({ length: rows * length * width }, (_, i) => Math.sin(i * i));

async function predict(t, model, length, options) {
  const predictor = await Predictor.load(model, options);
  t.teardown(() => predictor.close());
  return await predictor.predict(sample(length), options && { length });
}

/** What a body gives at these lengths is what it gives in a model of that length. */
async function carries(t, body, lengths = [1, 4, 7], name = '') {
  for (const length of lengths) {
    const found = await predict(t, build(body), length, { lengths: [length] });
    t.deepEqual(found, await predict(t, build(body, length), length), `${name} at ${length}`);
  }
}

async function refuses(t, body, op, lengths = [1, 4, 7]) {
  const model = build(body);
  const message = new RegExp(`whose \`${op}\` belongs to a length of 8`);
  for (const length of lengths) {
    const loading = Predictor.load(model, { lengths: [length] });
    await t.throwsAsync(loading, { code: 'ERR_ARGUMENT', message }, `${op} at ${length}`);
  }
}

const averaged = (options) => (x) => mean(slice(x, { axis: 1, ...options }), { axes: 1 });

test('slices that mean the same at every length are computed there', async (t) => {
  await carries(t, averaged({}));
  await carries(t, averaged({ start: 0, end: time }));
  await carries(t, averaged({ start: -time, end: 100 }));
  await carries(t, averaged({ step: 2 }));
  await carries(t, averaged({ end: 1 }));
  await carries(t, averaged({ start: -1 }));
  await carries(t, averaged({ start: 1 }), [2, 4, 7]);
  await carries(t, averaged({ start: 1, end: -1 }), [3, 4, 7]);
  await carries(t, averaged({ start: -3, end: -1 }), [3, 4, 7]);
  await carries(t, averaged({ start: 2, end: 4 }), [4, 7]);
});

test('slices that do not fit, or may mean another part, are refused', async (t) => {
  await refuses(t, averaged({ start: 7 }), 'slice');
  await refuses(t, averaged({ start: 6, end: 8 }), 'slice');
  await refuses(t, averaged({ start: 2, end: 7 }), 'slice', [1, 4, 6]);
  await refuses(t, averaged({ end: 5 }), 'slice', [1, 4]);
  await refuses(t, averaged({ start: -4 }), 'slice', [1, 3]);
  await refuses(t, averaged({ start: -4, end: 6 }), 'slice');
  await refuses(t, averaged({ end: -4 }), 'slice', [1, 4]);
  const states = (x) => slice(gru(4, { sequence: true })(x), { axis: 1, start: time - 1 });
  await refuses(t, (x) => sum(states(x), { axes: 1 }), 'slice');
});

test('a Trainer does not train at a length that a slice does not fit', async (t) => {
  const model = build(averaged({ start: 2, end: 7 }));
  const trainer = new Trainer(model, { loss: 'mse' });
  t.teardown(() => trainer.close());
  const before = [...model.parameters.values()].map(({ data }) => data.slice());
  const batch = (length) => ({ x: sample(length), y: new Float32Array(4), rows });
  await t.throwsAsync(trainer.step(batch(4)), { code: 'ERR_SHAPE' });
  t.deepEqual(
    [...model.parameters.values()].map(({ data }) => data),
    before,
  );
  t.true((await trainer.step(batch(7))).loss > 0);
});

for (const layer of [gru, lstm]) {
  test(`the last state of ${layer.name} is that at every length`, async (t) => {
    await carries(t, layer(4));
    await carries(t, (x) => layer(4)(layer(3, { sequence: true })(x)));
    const losses = [];
    for (const model of [build(layer(4)), build(layer(4), 5)]) {
      const trainer = new Trainer(model, { loss: 'mse' });
      t.teardown(() => trainer.close());
      const batch = { x: sample(5), y: new Float32Array(4), rows };
      losses.push((await trainer.step(batch)).loss, (await trainer.step(batch)).loss);
    }
    t.deepEqual(losses.slice(0, 2), losses.slice(2));
  });

  test(`the last state of ${layer.name} as earlier versions wrote it, too`, async (t) => {
    const path = join(await makeFolder(t), 'old.safetensors');
    await build(layer(4)).save(path);
    const bytes = (await readFile(path)).toString('latin1');
    const old = bytes.replace('\\"start\\":-1', `\\"start\\": ${time - 1}`);
    t.not(old, bytes);
    await writeFile(path, Buffer.from(old, 'latin1'));
    for (const length of [1, 5]) {
      const wanted = await predict(t, build(layer(4), length), length);
      t.deepEqual(await predict(t, path, length, { lengths: [length] }), wanted);
    }
    t.deepEqual(await predict(t, path, time), await predict(t, build(layer(4)), time));
  });
}

test('reshapes keep rows and positions apart', async (t) => {
  const pooled = (x) => mean(x, { axes: 1 });
  await carries(t, (x, length) => pooled(reshape(reshape(x, [-1, width]), [-1, length, width])));
  await carries(t, (x, length) =>
    pooled(reshape(reshape(x, [-1, length * width]), [-1, length, width])),
  );
  await carries(t, (x, length) => {
    const heads = transpose(reshape(x, [-1, length, 1, width]), { perm: [0, 2, 1, 3] });
    return pooled(reshape(heads, [-1, length, width]));
  });
  // Pairs of positions, and parts that would be of several rows.
  await refuses(t, (x) => pooled(reshape(x, [-1, 4, 6])), 'reshape');
  await refuses(t, (x) => pooled(reshape(x, [-1, width, time])), 'reshape');
  await refuses(t, (x) => pooled(reshape(reshape(x, [-1, width]), [-1, 4, width])), 'reshape');
});

test('an operand of length 1 is not repeated beside one that keeps its length', async (t) => {
  const x = input([time, width], { name: 'x' });
  const other = input([4, width], { name: 'other' });
  const half = slice(x, { axis: 1, step: 2 });
  const row = matmul(reshape(half, [-1, 4, 1, width]), reshape(other, [-1, 4, width, 1]));
  for (const [value, op] of [
    [add(half, other), 'add'],
    [row, 'matmul'],
  ]) {
    const model = new Model({ inputs: [x, other], outputs: sum(value, { axes: [1] }) });
    const message = new RegExp(`whose \`${op}\` belongs to a length of 8`);
    const loading = Predictor.load(model, { lengths: [2] });
    await t.throwsAsync(loading, { code: 'ERR_ARGUMENT', message });
  }
});
