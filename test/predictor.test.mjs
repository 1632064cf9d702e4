// Prediction: forms of arrays, checks, bindings, closing.
import test from 'ava';
import {
  add,
  dense,
  flatten,
  input,
  Model,
  mul,
  Predictor,
  relu,
  reshape,
  sequential,
  slice,
  sub,
} from 'tandem-ml';
import { error } from './helpers/outcomes.mjs';
import { loadPredictor } from './helpers/predictors.mjs';

const build = () => sequential([dense(3)], { input: [2], seed: 1 });
const x = Float32Array.from({ length: 10 }, (_, i) => Math.sin(i));

const load = (t, model = build(), options = undefined) => loadPredictor(t, model, options);

/** What dense(3) on [2] gives, by hand. */
function expected({ parameters }, inputs) {
  const weight = parameters.get('dense.weight')?.data ?? [];
  const bias = parameters.get('dense.bias')?.data ?? [];
  return Array.from({ length: (inputs.length / 2) * 3 }, (_, i) => {
    const [row, unit] = [Math.floor(i / 3), i % 3];
    return (
      inputs[2 * row] * weight[2 * unit] + inputs[2 * row + 1] * weight[2 * unit + 1] + bias[unit]
    );
  });
}

const close = (t, actual, wanted) => {
  t.is(actual.length, wanted.length);
  t.true(wanted.every((value, i) => Math.abs(value - actual[i]) < 1e-5));
};

test('predict and predictSync agree, with and without `out`', async (t) => {
  const model = build();
  const predictor = await load(t, model);
  const result = predictor.predictSync(x);
  close(t, result, expected(model, x));
  t.deepEqual(await predictor.predict(x), result);
  const out = new Float32Array(15);
  t.is(predictor.predictSync(x, out), out);
  t.deepEqual(out, result);
  const other = new Float32Array(15);
  t.is(await predictor.predict(x, { out: other }), other);
  t.deepEqual(other, result);
  t.deepEqual(predictor.predictSync({ x }), result);
  t.deepEqual(predictor.predictSync(x, { y: new Float32Array(15) }), result);
});

test('`out` alone among the options is as `out` among others', async (t) => {
  const predictor = await load(t);
  const wanted = predictor.predictSync(x);
  const out = new Float32Array(15);
  const forms = [
    { out },
    { out, signal: undefined, priority: null },
    Object.assign(Object.create(null), { out }),
  ];
  for (const options of forms) {
    out.fill(0);
    t.is(await predictor.predict(x, options), out);
    t.deepEqual(out, wanted);
  }
  const inherited = Object.defineProperty({}, 'out', { value: out });
  t.not(await predictor.predict(x, inherited), out);
  t.not(await predictor.predict(x, { out: undefined }), out);
  out.fill(0);
  const refused = [
    { out, output: out },
    Object.assign(Object.create({ out }), { out }),
    Object.assign([], { out }),
  ];
  for (const options of refused)
    await t.throwsAsync(predictor.predict(x, options), error('ERR_ARGUMENT', /options of predict/));
  t.deepEqual(out, new Float32Array(15));
  const failing = {
    get out() {
      throw new Error('no array');
    },
  };
  await t.throwsAsync(predictor.predict(x, failing), { message: 'no array' });
});

test('`out` may overlap the rows, which are read before it is written', async (t) => {
  const predictor = await load(t);
  const wanted = predictor.predictSync(x);
  for (let i = 0; i < 10; i++) {
    const memory = new Float32Array(20);
    memory.set(x);
    const out = memory.subarray(1, 16);
    t.is(await predictor.predict(memory.subarray(0, 10), { out }), out);
    t.deepEqual(out, wanted);
  }
  for (const rows of [1, 2, 5]) {
    const memory = new Float32Array(20);
    memory.set(x);
    const out = memory.subarray(1, 1 + 3 * rows);
    t.is(predictor.predictSync(memory.subarray(0, 2 * rows), out), out);
    t.deepEqual(out, wanted.subarray(0, 3 * rows));
  }
});

test('a predictor keeps the parameters that it was loaded with', async (t) => {
  const model = build();
  const predictor = await load(t, model);
  const before = predictor.predictSync(x);
  model.parameters.get('dense.weight')?.data.fill(0);
  t.deepEqual(predictor.predictSync(x), before);
});

test('single rows give what they give among others', async (t) => {
  const predictor = await load(t);
  const rows = [x.subarray(0, 2), x.slice(2, 4), Float32Array.of(x[4], x[5])];
  const wanted = predictor.predictSync(x);
  const results = rows.map((row) => predictor.predictSync(row));
  for (const i of [0, 1, 2]) t.deepEqual(results[i], wanted.slice(3 * i, 3 * i + 3));
  const memory = new Float32Array(5).fill(7);
  const out = memory.subarray(1, 4);
  t.is(predictor.predictSync(rows[1], out), out);
  t.deepEqual(memory, Float32Array.of(7, ...wanted.slice(3, 6), 7));
  t.deepEqual(results[0], wanted.slice(0, 3));
  t.throws(() => predictor.predictSync(rows[0], new Float32Array(4)), error('ERR_SHAPE'));
  t.throws(() => predictor.predictSync(rows[0], new Int32Array(3)), error('ERR_DTYPE'));
  structuredClone(memory.buffer, { transfer: [memory.buffer] });
  t.throws(() => predictor.predictSync(rows[0], out), error('ERR_SHAPE', /`out`/));
  await predictor.close();
  t.throws(() => predictor.predictSync(rows[0]), error('ERR_CLOSED'));
});

test('calls over maxBatch are cut', async (t) => {
  const model = build();
  const many = Float32Array.from({ length: 2 * 100 }, (_, i) => Math.cos(i));
  const [small, large] = [await load(t, model, { maxBatch: 7 }), await load(t, model)];
  close(t, small.predictSync(many), expected(model, many));
  close(t, await small.predict(many), expected(model, many));
  close(t, large.predictSync(many), expected(model, many));
});

test('inputs may change as soon as predict returns', async (t) => {
  const model = build();
  const predictor = await load(t, model);
  const mine = x.slice();
  const pending = predictor.predict(mine);
  mine.fill(0);
  close(t, await pending, expected(model, x));
});

test('arrays are checked', async (t) => {
  const predictor = await load(t);
  const refuses = async (array, out, code, message) => {
    t.throws(() => predictor.predictSync(array, out), error(code, message));
    await t.throwsAsync(predictor.predict(array, out && { out }), error(code, message));
  };
  await refuses(x.subarray(1), undefined, 'ERR_SHAPE', /a multiple of 2 elements.*`x`/);
  await refuses(new Float32Array(0), undefined, 'ERR_SHAPE');
  await refuses(Float64Array.from(x), undefined, 'ERR_DTYPE', /Float32Array\.from/);
  await refuses([1, 2], undefined, 'ERR_ARGUMENT', /a Float32Array for `x`, received \[1, 2\]/);
  await refuses(undefined, undefined, 'ERR_ARGUMENT');
  await refuses({ y: x }, undefined, 'ERR_ARGUMENT', /`y`/);
  await refuses({}, undefined, 'ERR_ARGUMENT', /`x\.x`, received undefined/);
  await refuses(x, new Float32Array(14), 'ERR_SHAPE', /15 elements for `out`/);
  await refuses(x, new Float64Array(15), 'ERR_DTYPE', /`out`/);
  await refuses(x, { z: new Float32Array(15) }, 'ERR_ARGUMENT', /`z`/);
  await t.throwsAsync(predictor.predict(x, { output: x }), error('ERR_ARGUMENT'));
});

test('several inputs and outputs have names', async (t) => {
  const [a, b] = [input([2], { name: 'a' }), input([1, 2], { name: 'b' })];
  const outputs = { sum: add(a, flatten(b)), twice: mul(a, 2) };
  const predictor = await load(t, new Model({ inputs: [a, b], outputs }));
  const result = predictor.predictSync({ a: Float32Array.of(1, 2), b: Float32Array.of(10, 20) });
  t.deepEqual(result, { sum: Float32Array.of(11, 22), twice: Float32Array.of(2, 4) });
  const again = await predictor.predict({ a: Float32Array.of(1, 2), b: Float32Array.of(10, 20) });
  t.deepEqual(again, result);
  t.throws(() => predictor.predictSync(x), error('ERR_ARGUMENT', /a record of a, b/));
  t.throws(
    () => predictor.predictSync({ a: new Float32Array(4), b: new Float32Array(2) }),
    error('ERR_SHAPE', /2 rows.*`x\.b`, received 1 rows/),
  );
});

test('integer inputs take any integer array', async (t) => {
  const ids = input([4], { dtype: 'int32' });
  const predictor = await load(
    t,
    new Model({ inputs: ids, outputs: slice(ids, { axis: 1, end: 2 }) }),
  );
  t.deepEqual(predictor.predictSync(Uint8Array.of(1, 2, 3, 4)), Int32Array.of(1, 2));
  t.throws(() => predictor.predictSync(new Float32Array(4)), error('ERR_DTYPE'));
});

test('a binding runs on fixed buffers', async (t) => {
  const model = build();
  const predictor = await load(t, model);
  const io = predictor.bind(2);
  t.is(io.inputs.x.length, 4);
  io.inputs.x.set(x.subarray(0, 4));
  io.runSync();
  close(t, io.outputs.y, expected(model, x.subarray(0, 4)));
  io.inputs.x.set(x.subarray(4, 8));
  await io.run();
  close(t, io.outputs.y, expected(model, x.subarray(4, 8)));
  io.close();
  io.close();
  t.is(io.outputs.y.length, 6);
  t.throws(() => io.runSync(), error('ERR_CLOSED'));
  t.throws(() => predictor.bind(0), error('ERR_ARGUMENT', /`batch`/));
});

test('an abort rejects and leaves `out` alone', async (t) => {
  const predictor = await load(t);
  const out = new Float32Array(15).fill(7);
  await t.throwsAsync(
    predictor.predict(x, { out, signal: AbortSignal.abort() }),
    error('ERR_ABORTED'),
  );
  const controller = new AbortController();
  const pending = predictor.predict(x, { out, signal: controller.signal });
  controller.abort();
  await t.throwsAsync(pending, error('ERR_ABORTED'));
  t.true(out.every((value) => value === 7));
});

test('a closed predictor says so, and closes twice', async (t) => {
  const predictor = await Predictor.load(build());
  await predictor.close();
  await predictor.close();
  t.throws(() => predictor.predictSync(x), error('ERR_CLOSED'));
  await t.throwsAsync(predictor.predict(x), error('ERR_CLOSED'));
  await t.throwsAsync(predictor.predict(x, { out: new Float32Array(15) }), error('ERR_CLOSED'));
  t.throws(() => predictor.bind(1), error('ERR_CLOSED'));
  t.throws(() => predictor.profile(), error('ERR_CLOSED'));
});

test('options are checked', async (t) => {
  const refuses = (options, code, message) =>
    t.throwsAsync(Predictor.load(build(), options), error(code, message));
  await refuses({ precison: 'float32' }, 'ERR_ARGUMENT', /did you mean `precision`\?/);
  await refuses({ precision: 'int4' }, 'ERR_ARGUMENT', /`precision`/);
  await refuses({ maxAccuracyLoss: 0.1 }, 'ERR_ARGUMENT', /"int8" with `maxAccuracyLoss`/);
  await refuses({ maxBatch: 0 }, 'ERR_ARGUMENT', /`maxBatch`/);
  await refuses({ device: 'cuda:99' }, 'ERR_DEVICE');
  await t.throwsAsync(Predictor.load(7), error('ERR_ARGUMENT', /`source`, received 7/));
});

test('inputs and outputs are described', async (t) => {
  const model = sequential([relu(), dense(3)], { input: [2] });
  const predictor = await load(t, model);
  t.deepEqual(predictor.inputs, [{ name: 'x', shape: [null, 2], dtype: 'float32' }]);
  t.deepEqual(predictor.outputs, [{ name: 'y', shape: [null, 3], dtype: 'float32' }]);
});

test('several inputs may come in order', async (t) => {
  const [a, b] = [input([2], { name: 'a' }), input([2], { name: 'b' })];
  const predictor = await load(t, new Model({ inputs: [a, b], outputs: sub(a, b) }));
  const [left, right] = [Float32Array.of(5, 6), Float32Array.of(1, 3)];
  const wanted = Float32Array.of(4, 3);
  t.deepEqual(predictor.predictSync([left, right]), wanted);
  t.deepEqual(await predictor.predict([left, right]), wanted);
  t.deepEqual((await load(t)).predictSync([x]).length, 15);
  t.throws(
    () => predictor.predictSync([left]),
    error('ERR_ARGUMENT', /2 arrays or a record of a, b/),
  );
  t.throws(() => predictor.predictSync([left, [1]]), error('ERR_ARGUMENT', /`x\[1\]`/));
});

test('integers that int32 lacks are refused', async (t) => {
  const ids = input([2], { dtype: 'int32' });
  const predictor = await load(t, new Model({ inputs: ids, outputs: slice(ids, { axis: 1 }) }));
  const large = Uint32Array.of(1, 2 ** 31);
  const wanted = error('ERR_ARGUMENT', /below 2\^31 for `x`, received 2147483648 at position 1/);
  t.throws(() => predictor.predictSync(large), wanted);
  await t.throwsAsync(predictor.predict(large), wanted);
  t.deepEqual(predictor.predictSync(Uint32Array.of(1, 2 ** 31 - 1))[1], 2 ** 31 - 1);
});

test('an output that no typed array holds is a lack of memory', async (t) => {
  const wide = input([98304]);
  const [a, b] = [reshape(wide, [-1, 98304, 1]), slice(wide, { axis: 1, end: 65536 })];
  const outputs = add(a, reshape(b, [-1, 1, 65536]));
  const predictor = await load(t, new Model({ inputs: wide, outputs }), { maxBatch: 1 });
  const rows = new Float32Array(98304 * 64);
  const wanted = error('ERR_OUT_OF_MEMORY', /`y`.*412316860416 elements \(1649267441664 bytes\)/);
  t.throws(() => predictor.predictSync(rows), wanted);
  t.throws(() => predictor.predictSync({ x: rows }), wanted);
  await t.throwsAsync(predictor.predict(rows), wanted);
});

test('more rows than memory has room for are refused in words that say so', async (t) => {
  const model = sequential([dense(1)], { input: [2 ** 20] });
  const predictor = await Predictor.load(model);
  const error = t.throws(() => predictor.bind(2 ** 31 - 1));
  t.is(/** @type {any} */ (error).code, 'ERR_OUT_OF_MEMORY');
  t.regex(/** @type {any} */ (error).message, /^expected .* for `(x|batch)`, received /);
  await predictor.close();
  const wide = await load(t, sequential([dense(2 ** 12), dense(1)], { input: [1] }));
  const message = 'expected rows that fit into memory for `batch`, received 536870912 rows';
  t.throws(() => wide.bind(2 ** 29), { code: 'ERR_OUT_OF_MEMORY', message });
  const failed = await t.throwsAsync(Predictor.load(model, { warmup: [2 ** 40] }));
  t.is(/** @type {any} */ (failed).code, 'ERR_OUT_OF_MEMORY');
  t.regex(/** @type {any} */ (failed).message, /for `(x|warmup)`, received /);
});

test('bind keeps to the batch that inputs fix', async (t) => {
  const model = sequential([dense(3)], { input: input([8], { batch: 2 }), seed: 1 });
  const predictor = await Predictor.load(model);
  t.is(predictor.bind(2).inputs.x.length, 16);
  const message = /expected 2, which the inputs fix, for `batch`/;
  t.throws(() => predictor.bind(5), { code: 'ERR_ARGUMENT', message });
  await predictor.close();
});

test('outputs are there by any name', async (t) => {
  const inside = input([2]);
  const outputs = { ['__proto__']: dense(3)(inside), b: relu(inside) };
  const predictor = await load(t, new Model({ inputs: inside, outputs, seed: 1 }));
  for (const y of [await predictor.predict(x), predictor.predictSync(x)]) {
    t.deepEqual(Object.keys(y), ['__proto__', 'b']);
    t.is(Object.getOwnPropertyDescriptor(y, '__proto__')?.value.length, 15);
  }
});
