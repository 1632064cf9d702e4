// What goes in and comes out: conversion, gathering, scanning, buffers.
import test from 'ava';
import {
  addon,
  close,
  linear,
  makeTrainer,
  parameters,
  ramp,
  reference,
  regression,
  trainerOptions,
  work,
} from './support.mjs';

test('all ways to predict agree', async (t) => {
  const store = new addon.Parameters(parameters(5, 3), 7);
  const predictor = await addon.loadPredictor(store, linear(5, 3), {
    maxBatch: 4,
    threads: 1,
    precision: 'float32',
  });
  const x = ramp(5 * 10);
  const expected = reference(store, x, 5, 3);
  const sync = new Float32Array(30);
  const later = new Float32Array(30);
  addon.predictSync(predictor.key, 10, x, sync);
  await predictor.predict(10, null, x, later);
  close(t, sync, expected);
  t.deepEqual(later, sync);
  t.deepEqual(await predictor.predict(10, null, x), sync);
  const binding = predictor.bind(2);
  t.is(binding.inputs, binding.inputs);
  t.true(Object.isFrozen(binding.outputs));
  binding.inputs[0].set(x.subarray(0, 10));
  addon.runSync(binding.key);
  close(t, binding.outputs[0], expected.slice(0, 6));
  binding.outputs[0].fill(0);
  await binding.run();
  close(t, binding.outputs[0], expected.slice(0, 6));
});

test('calls that are cut use inputs of a fixed shape again', async (t) => {
  const graph = {
    inputs: [
      { name: 'x', shape: [-1, 4], dtype: 'float32' },
      { name: 'offset', shape: [4], dtype: 'float32' },
    ],
    parameters: [],
    constants: [],
    nodes: [{ op: 'add', inputs: [0, 1], attributes: {} }],
    outputs: [2],
  };
  const store = new addon.Parameters([], 1);
  const predictor = await addon.loadPredictor(store, graph, {
    maxBatch: 1,
    threads: 1,
    precision: 'float32',
  });
  const y = new Float32Array(12);
  addon.predictSync(predictor.key, 3, new Float32Array(12), Float32Array.of(1, 2, 3, 4), y);
  t.deepEqual(Array.from(y), [1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4]);
});

test('a predictor keeps the parameters of its time', async (t) => {
  const store = new addon.Parameters(parameters(2, 1), 1);
  const predictor = await addon.loadPredictor(store, linear(2, 1), {
    maxBatch: 1,
    threads: 1,
    precision: 'float32',
  });
  const x = ramp(2);
  const before = reference(store, x, 2, 1);
  new Float32Array(store.buffer).fill(3);
  const y = new Float32Array(1);
  addon.predictSync(predictor.key, 1, x, y);
  close(t, y, before);
});

test('steps see the rows they ask for', async (t) => {
  const { store, trainer } = makeTrainer(3, 2);
  const x = ramp(3 * 8);
  const target = ramp(2 * 8).reverse();
  const rows = Uint32Array.of(7, 0, 1, 2, 5, 5);
  const loss = (picked) => {
    const y = reference(store, x, 3, 2);
    let sum = 0;
    for (const row of picked) {
      for (let k = 0; k < 2; k++) sum += (y[row * 2 + k] - target[row * 2 + k]) ** 2;
    }
    return sum / (picked.length * 2);
  };
  const expected = [loss([7, 0, 1, 2]), loss([5, 5])];
  close(t, await trainer.evaluate([x, target], rows, Uint32Array.of(4, 2)), expected);
  const results = await trainer.train([x, target], rows, Uint32Array.of(4, 2), new Float64Array(2));
  t.is(results.length, 6);
  close(t, [results[0], results[3]], expected);
  t.is(trainer.step, 2);
});

test('a trainer runs further graphs of its parameters', async (t) => {
  const { store, trainer } = makeTrainer();
  // Two positions in a row.
  const graph = regression(3, 2);
  graph.inputs[0].shape = [-1, 2, 3];
  graph.inputs[1].shape = [-1, 2, 2];
  const other = makeTrainer();
  const [inputs, rows, sizes, rates] = work(3, 4);
  const halves = [Uint32Array.of(0, 1, 0, 1, 0, 1), Uint32Array.of(2, 2, 2)];
  const further = trainer.addGraph(graph, []);
  t.is(further, 1);
  const results = await trainer.train(inputs, ...halves, rates, ...Array(3), further);
  close(t, results, [...(await other.trainer.train(inputs, rows, sizes, rates))]);
  close(t, new Float32Array(store.buffer), new Float32Array(other.store.buffer));
  const expected = await other.trainer.evaluate(inputs, rows, sizes);
  close(t, await trainer.evaluate(inputs, ...halves, false, further), expected);
  const staged = new addon.StagedRows(trainer, ...halves, further);
  t.true(staged.copy(inputs, 2 ** 20));
  close(t, await staged.evaluate(), expected);
  const refused = { code: 'ERR_ARGUMENT' };
  t.throws(() => trainer.evaluate(inputs, ...halves, false, 2), { ...refused, message: /`graph`/ });
  t.throws(() => trainer.addGraph(regression(4, 2), []), refused);
  t.throws(() => trainer.addGraph(linear(3, 2), []), { ...refused, message: /2 inputs/ });
  await t.throwsAsync(trainer.evaluate(inputs, rows, sizes, true), refused);
  trainer.close();
  t.throws(() => trainer.addGraph(graph, []), { code: 'ERR_CLOSED' });
});

test('training changes what the buffer shows', async (t) => {
  const { store, trainer } = makeTrainer();
  const view = new Float32Array(store.buffer);
  const before = view.slice();
  const results = await trainer.train(...work(20, 4));
  t.notDeepEqual(view, before);
  t.true(results.at(-3) < results[0]);
});

test('inputs are copied when a call is made', async (t) => {
  const losses = [];
  for (const spoil of [false, true]) {
    const { trainer } = makeTrainer();
    const given = work(3, 4);
    const pending = trainer.train(...given);
    if (spoil) for (const array of [...given[0], ...given.slice(1)]) array.fill(0);
    losses.push(await pending);
  }
  t.deepEqual(losses[1], losses[0]);
});

test('integer inputs take any integers that fit', (t) => {
  const graph = {
    inputs: [
      { name: 'x', shape: [-1, 4], dtype: 'float32' },
      { name: 'label', shape: [-1], dtype: 'int32' },
    ],
    parameters: [],
    constants: [],
    nodes: [
      { op: 'countTargets', inputs: [1], attributes: {} },
      { op: 'crossEntropy', inputs: [0, 1, -1, -1, 2], attributes: {} },
    ],
    outputs: [3],
  };
  const options = { training: false, seed: 0, threads: 1 };
  const x = ramp(12);
  const run = (labels) => Array.from(addon.evaluate(graph, 3, [x, labels], options)[0]);
  const expected = run(Int32Array.of(0, 3, 1));
  t.true(expected.every(Number.isFinite));
  for (const type of [
    Int8Array,
    Uint8Array,
    Uint8ClampedArray,
    Int16Array,
    Uint16Array,
    Uint32Array,
  ]) {
    t.deepEqual(run(type.of(0, 3, 1)), expected);
  }
  t.throws(() => run(Uint32Array.of(0, 2 ** 31, 1)), { code: 'ERR_DTYPE' });
  t.throws(() => run(Float32Array.of(0, 3, 1)), { code: 'ERR_DTYPE' });
  t.throws(() => run(BigInt64Array.of(0n, 3n, 1n)), { code: 'ERR_DTYPE' });
});

test('vjp gives gradients of what is asked for', (t) => {
  const options = { training: false, seed: 0, threads: 1 };
  const graph = { ...regression(2, 1), parameters: [], outputs: [6] };
  graph.inputs = [
    { name: 'x', shape: [-1, 2], dtype: 'float32' },
    { name: 't', shape: [-1, 1], dtype: 'float32' },
    { name: 'w', shape: [1, 2], dtype: 'float32' },
    { name: 'b', shape: [1], dtype: 'float32' },
  ];
  const feeds = [[1, 2], [3], [0.5, -1], [0.25]].map((list) => Float32Array.from(list));
  const result = addon.vjp(graph, 1, feeds, [Float32Array.of(1)], [2, 3], options);
  const error = 0.5 - 2 + 0.25 - 3;
  close(t, result.outputs[0], [error ** 2]);
  close(t, result.gradients[0], [2 * error, 4 * error]);
  close(t, result.gradients[1], [2 * error]);
  t.throws(() => addon.vjp(graph, 1, feeds, [Float32Array.of(1, 2)], [2], options), {
    code: 'ERR_SHAPE',
  });
  t.throws(() => addon.vjp(graph, 1, feeds, [], [2], options), { code: 'ERR_ARGUMENT' });
  t.throws(() => addon.vjp(graph, 1, feeds, [null], [99], options), { code: 'ERR_ARGUMENT' });
});

test('values outside a range are found in arrays of every type', (t) => {
  const types = [
    Int8Array,
    Uint8Array,
    Int16Array,
    Uint16Array,
    Int32Array,
    Uint32Array,
    Float32Array,
    Float64Array,
  ];
  for (const type of types) {
    const values = new type(2000).fill(3);
    t.is(addon.findOutside(values, 0, 10, -1), -1);
    t.is(addon.findOutside(values, 0, 3, -1), 0);
    t.is(addon.findOutside(values, 0, 3, 3), -1);
    t.is(addon.findOutside(values, 4, 10, -1), 0);
    t.is(addon.findOutside(values, 5, 5, -1), 0);
    t.is(addon.findOutside(values, Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY, -1), -1);
    values[1700] = 10;
    t.is(addon.findOutside(values, 0, 10, -1), 1700);
    t.is(addon.findOutside(values, 0, 10, 10), -1);
    t.is(addon.findOutside(new type(0), 0, 10, 10), -1);
  }
  t.is(addon.findOutside(Int32Array.of(0, -1, 2), 0, 10, -1), -1);
  t.is(addon.findOutside(Int32Array.of(0, -2, 2), 0, 10, -1), 1);
  t.is(addon.findOutside(Float32Array.of(0, 0.5, 2), 0, 10, -1), 1);
  t.is(addon.findOutside(Float32Array.of(0, 1, Number.NaN), 0, 10, -1), 2);
});

test('numbers that are not finite are found', (t) => {
  const values = new Float32Array(3000).fill(3.4e38);
  t.is(addon.findNonFinite(values), -1);
  for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
    values[2345] = bad;
    t.is(addon.findNonFinite(values), 2345);
  }
});

test('a loss that is not finite rejects and leaves the model alone', async (t) => {
  const { store, trainer } = makeTrainer(3, 2, { checkNumerics: true });
  const given = work(2, 4);
  given[0][0][0] = Number.NaN;
  const before = new Float32Array(store.buffer).slice();
  await t.throwsAsync(trainer.train(...given), { code: 'ERR_NUMERIC' });
  t.deepEqual(new Float32Array(store.buffer), before);
  t.is(trainer.step, 0);
  const results = await trainer.train(...work(1, 4));
  t.true(Number.isFinite(results[0]));
});

test('rows with integers outside their range are refused as they are copied', async (t) => {
  const graph = {
    inputs: [
      { name: 'x', shape: [-1, 3], dtype: 'float32' },
      { name: 't', shape: [-1], dtype: 'int32' },
    ],
    parameters: parameters(3, 2),
    constants: [],
    nodes: [
      { op: 'linear', inputs: [0, 2, 3], attributes: {} },
      { op: 'countTargets', inputs: [1], attributes: {} },
      { op: 'crossEntropy', inputs: [4, 1, -1, -1, 5], attributes: {} },
      { op: 'mean', inputs: [6], attributes: {} },
    ],
    outputs: [7],
  };
  const make = (ranges) => {
    const store = new addon.Parameters(parameters(3, 2), 1);
    return new addon.Trainer(store, graph, { ...trainerOptions, ranges });
  };
  const range = { low: 0, high: 1, ignored: -100 };
  const trainer = make([null, range]);
  const y = Int32Array.of(0, 1, -100, 1);
  const rows = Uint32Array.of(3, 2, 1, 0);
  const sizes = Uint32Array.of(2, 2);
  const run = () => trainer.train([ramp(12), y], rows, sizes, Float64Array.of(0.1, 0.1));
  t.is((await run()).length, 6);
  for (const bad of [2, -1, -99, 2 ** 31 - 1, -(2 ** 31)]) {
    y[1] = bad;
    const message = `expected integers from 0 to 1 for \`t\`, received ${bad} in row 1`;
    t.throws(run, { code: 'ERR_ARGUMENT', message });
    const evaluate = () => trainer.evaluate([ramp(12), y], rows, sizes);
    t.throws(evaluate, { code: 'ERR_ARGUMENT', message });
  }
  t.is(trainer.step, 2);
  y[1] = 0;
  t.is((await run()).length, 6);

  t.notThrows(() => make(undefined));
  t.throws(() => make([range]), { code: 'ERR_ARGUMENT', message: /ranges/ });
  t.throws(() => make([range, null]), { code: 'ERR_DTYPE', message: /integer inputs/ });
  t.throws(() => make([null, { ...range, low: 0.5 }]), { code: 'ERR_ARGUMENT', message: /low/ });
});

test('divisors are computed alone, and scales are an input without rows', async (t) => {
  const graph = {
    inputs: [
      { name: 'x', shape: [-1, 3], dtype: 'float32' },
      { name: 't', shape: [-1], dtype: 'int32' },
      { name: 'scales', shape: [1], dtype: 'float32' },
    ],
    parameters: parameters(3, 2),
    constants: [],
    nodes: [
      { op: 'linear', inputs: [0, 3, 4], attributes: {} },
      { op: 'countTargets', inputs: [1], attributes: {} },
      { op: 'crossEntropy', inputs: [5, 1, -1, -1, 2], attributes: {} },
    ],
    outputs: [7, 6],
  };
  const make = (more) => {
    const store = new addon.Parameters(parameters(3, 2), 1);
    const options = { ...trainerOptions, accumulates: true, divisors: [1], scales: 1, ...more };
    return new addon.Trainer(store, graph, options);
  };
  const trainer = make({});
  const x = ramp(15);
  const y = Int32Array.of(0, 1, -100, 1, 0);
  const rows = Uint32Array.of(4, 2, 1, 0, 3);
  const sizes = Uint32Array.of(3, 2);
  t.deepEqual(await trainer.divisors([x, y], rows, sizes), Float64Array.of(2, 2));
  // Nothing but the targets is read.
  x.fill(Number.NaN);
  const staged = new addon.StagedRows(trainer, rows, sizes);
  t.true(staged.copy([x, y], 1000));
  t.deepEqual(await staged.divisors(), Float64Array.of(2, 2));

  x.set(ramp(15));
  const weights = Float64Array.of(1, 0.5);
  const marks = Uint32Array.of(1, 2);
  const train = (...scales) =>
    trainer.train([x, y], rows, sizes, Float64Array.of(0, 0), weights, marks, ...scales);
  const [whole] = await train();
  const halves = await train(Float64Array.of(2, 4));
  t.true(Math.abs(halves[0] - whole / 2) < 1e-6 * whole);
  t.throws(() => train(Float64Array.of(2)), { code: 'ERR_SHAPE', message: /scales/ });
  t.throws(() => train([2, 4]), { code: 'ERR_ARGUMENT', message: /scales/ });
  t.throws(() => train(Float32Array.of(2, 4)), { code: 'ERR_DTYPE', message: /scales/ });
  t.throws(() => make({ divisors: [2] }), { code: 'ERR_ARGUMENT', message: /divisors/ });
  t.throws(() => make({ divisors: [-1] }), { code: 'ERR_ARGUMENT', message: /divisors/ });
  t.throws(() => make({ scales: 2 }), { code: 'ERR_SHAPE', message: /scales/ });
  trainer.close();
});

test('a state is loaded that was copied in pieces, and no other', async (t) => {
  const { store, trainer } = makeTrainer();
  const bits = () => [...new Uint32Array(store.buffer)];
  const before = bits();
  const state = new Float32Array(await trainer.saveState());
  const { progress } = trainer;
  await trainer.train(...work(2, 4));
  t.notDeepEqual(bits(), before);
  const load = () => trainer.loadState(progress);
  const cut = state.length - 3;
  t.throws(load, { code: 'ERR_ARGUMENT', message: /expected all of \d+ floats for `state`/ });
  trainer.stageState(state.subarray(0, cut), 0);
  for (const [piece, begin] of [
    [state.subarray(cut), cut - 1],
    [state.subarray(cut), cut + 1],
    [new Float32Array(4), cut],
    [state.subarray(cut), 2 ** 53 - 1],
  ]) {
    const call = () => trainer.stageState(piece, begin);
    t.throws(call, { code: 'ERR_ARGUMENT', message: /expected at most 3 floats from/ });
  }
  const integers = () => trainer.stageState(new Int32Array(3), cut);
  t.throws(integers, { code: 'ERR_DTYPE' });
  t.throws(load, { code: 'ERR_ARGUMENT', message: /received/ });
  trainer.stageState(state.subarray(0, cut), 0);
  trainer.stageState(state.subarray(cut), cut);
  await load();
  t.deepEqual(bits(), before);
  trainer.close();
  t.throws(() => trainer.stageState(state, 0), { code: 'ERR_CLOSED' });
});
