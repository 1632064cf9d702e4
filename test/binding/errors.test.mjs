// Wrong use of the addon: every mistake is a typed error, never a crash.
import test from 'ava';
import {
  addon,
  linear,
  makePredictor,
  makeTrainer,
  NativeError,
  parameters,
  ramp,
  trainerOptions,
  work,
} from './support.mjs';

const fails = (t, code, pattern, run) => {
  const error = t.throws(run, { instanceOf: NativeError, code });
  t.regex(error.message, pattern);
  return error;
};

const rejects = async (t, code, pattern, run) => {
  const error = await t.throwsAsync(async () => run(), { instanceOf: NativeError, code });
  t.regex(error.message, pattern);
};

const classes = ['Parameters', 'Trainer', 'Predictor', 'Binding'];

test('constructors need new and their arguments', (t) => {
  for (const name of classes) {
    fails(t, 'ERR_ARGUMENT', /expected/, () => addon[name]());
    fails(t, 'ERR_ARGUMENT', /expected/, () => new addon[name]());
    fails(t, 'ERR_ARGUMENT', /expected/, () => new addon[name](null, undefined, 1));
  }
});

test('every member refuses a receiver that is not its own', async (t) => {
  const foreign = [{}, null, undefined, 1, new Map(), await makePredictor(), makeTrainer().store];
  for (const name of classes) {
    const { prototype } = addon[name];
    const inherits = Object.create(prototype);
    for (const member of Object.getOwnPropertyNames(prototype)) {
      if (member === 'constructor') continue;
      const descriptor = Object.getOwnPropertyDescriptor(prototype, member);
      const call = descriptor.value ?? descriptor.get;
      for (const receiver of [...foreign, inherits, prototype]) {
        if (receiver instanceof addon[name] && receiver !== inherits && receiver !== prototype) {
          continue;
        }
        fails(t, 'ERR_ARGUMENT', new RegExp(`expected a ${name} for .this.`), () =>
          call.call(receiver),
        );
      }
    }
  }
});

test('brief calls refuse a key that is not of their class', async (t) => {
  const [predictor, other] = [await makePredictor(), await makePredictor()];
  const binding = predictor.bind(1);
  const arrays = [1, ramp(3), new Float32Array(2)];
  const odd = [undefined, null, 1, {}, predictor, addon.Predictor, ramp(3)];
  for (const key of [...odd, binding, binding.key]) {
    fails(t, 'ERR_ARGUMENT', /expected the key of a Predictor/, () =>
      addon.predictSync(key, ...arrays),
    );
  }
  for (const key of [...odd, predictor.key, other.key]) {
    fails(t, 'ERR_ARGUMENT', /expected the key of a Binding/, () => addon.runSync(key));
  }
  addon.predictSync(predictor.key, ...arrays);
  addon.predictSync(other.key, ...arrays);
  t.false(addon.runSync(binding.key));
});

test('functions name the argument that is wrong', (t) => {
  fails(t, 'ERR_ARGUMENT', /`op`, received undefined/, () => addon.infer());
  fails(t, 'ERR_ARGUMENT', /a known op/, () => addon.infer('nothing', {}, []));
  fails(t, 'ERR_ARGUMENT', /`attributes.a`/, () => addon.infer('relu', { a: 'x' }, []));
  fails(t, 'ERR_ARGUMENT', /inputs/, () => addon.infer('relu', {}, 5));
  fails(t, 'ERR_DTYPE', /inputs\[0\].dtype/, () =>
    addon.infer('relu', {}, [{ shape: [2], dtype: 'float16' }]),
  );
  fails(t, 'ERR_SHAPE', /overflow|2\^59/, () =>
    addon.infer('relu', {}, [{ shape: [2 ** 50, 2 ** 50], dtype: 'float32' }]),
  );
  fails(t, 'ERR_ARGUMENT', /seed/, () => new addon.Parameters([], -1));
  fails(t, 'ERR_ARGUMENT', /seed/, () => new addon.Parameters([], 1.5));
  fails(t, 'ERR_ARGUMENT', /typed array for `values`/, () => addon.findOutside([1], 0, 1, 0));
  fails(t, 'ERR_ARGUMENT', /a class/, () => addon.setErrorClass(1));
});

test('sizes that no memory holds are errors', (t) => {
  const huge = parameters(2 ** 30, 2 ** 20);
  fails(t, 'ERR_OUT_OF_MEMORY', /memory|bytes/, () => new addon.Parameters(huge, 1));
});

test('what a getter throws becomes the cause', (t) => {
  const store = makeTrainer().store;
  const boom = new RangeError('boom');
  const graph = {
    get inputs() {
      throw boom;
    },
  };
  const error = fails(t, 'ERR_ARGUMENT', /boom/, () =>
    addon.loadPredictor(store, graph, { maxBatch: 1, threads: 0, precision: 'float32' }),
  );
  t.is(error.cause, boom);
  const proxy = new Proxy(linear(3, 2), {
    get() {
      throw boom;
    },
  });
  fails(t, 'ERR_ARGUMENT', /boom/, () => new addon.Trainer(store, proxy, trainerOptions));
});

test('graphs are checked', async (t) => {
  const store = makeTrainer().store;
  const options = { maxBatch: 4, threads: 1, precision: 'float32' };
  const make = (changes) => () =>
    addon.loadPredictor(store, { ...linear(3, 2), ...changes }, options);
  await rejects(t, 'ERR_ARGUMENT', /graph.outputs/, make({ outputs: [-1] }));
  await rejects(t, 'ERR_ARGUMENT', /./, make({ outputs: [99] }));
  await rejects(t, 'ERR_ARGUMENT', /./, make({ outputs: [] }));
  await rejects(
    t,
    'ERR_ARGUMENT',
    /no cycles/,
    make({ nodes: [{ op: 'relu', inputs: [3], attributes: {} }] }),
  );
  await rejects(
    t,
    'ERR_ARGUMENT',
    /graph.nodes\[0\].op/,
    make({ nodes: [{ inputs: [0], attributes: {} }] }),
  );
  await rejects(
    t,
    'ERR_SHAPE',
    /graph.constants\[0\].data/,
    make({ constants: [{ shape: [4], data: new Float32Array(3) }] }),
  );
  await rejects(t, 'ERR_ARGUMENT', /maxBatch/, () =>
    addon.loadPredictor(store, linear(3, 2), { maxBatch: 0, threads: 0, precision: 'float32' }),
  );
});

test('arrays of a prediction are checked', async (t) => {
  const predictor = await makePredictor();
  const x = new Float32Array(6);
  const y = new Float32Array(4);
  for (const call of [
    (...a) => addon.predictSync(predictor.key, ...a),
    (rows, ...a) => predictor.predict(rows, null, ...a),
  ]) {
    fails(t, 'ERR_SHAPE', /rows/, () => call(0, x, y));
    fails(t, 'ERR_ARGUMENT', /rows/, () => call('2', x, y));
    fails(t, 'ERR_ARGUMENT', /rows/, () => call(1.5, x, y));
    fails(t, 'ERR_ARGUMENT', /2 arrays/, () => call(2));
    fails(t, 'ERR_ARGUMENT', /2 arrays/, () => call(2, x, y, y));
    fails(t, 'ERR_SHAPE', /6 elements for `x`, received 5/, () => call(2, x.subarray(1), y));
    fails(t, 'ERR_SHAPE', /4 elements for `outputs\[0\]`/, () => call(2, x, y.subarray(1)));
    fails(t, 'ERR_DTYPE', /`x`, received Float64Array/, () => call(2, new Float64Array(6), y));
    fails(t, 'ERR_DTYPE', /outputs\[0\]/, () => call(2, x, new Int32Array(4)));
    fails(t, 'ERR_ARGUMENT', /typed array for `x`/, () => call(2, [1, 2, 3, 4, 5, 6], y));
    fails(t, 'ERR_ARGUMENT', /typed array/, () => call(2, new DataView(x.buffer), y));
  }
});

test('arrays of a training call are checked before anything runs', (t) => {
  const { trainer } = makeTrainer();
  const [inputs, rows, sizes, rates] = work(2, 4);
  const train = (...changed) => {
    const given = [inputs, rows, sizes, rates];
    for (const [i, value] of changed.entries()) if (value !== undefined) given[i] = value;
    return () => trainer.train(...given);
  };
  fails(t, 'ERR_ARGUMENT', /2 arrays for `inputs`/, train([inputs[0]]));
  fails(t, 'ERR_ARGUMENT', /inputs\[1\]/, train([inputs[0], {}]));
  fails(t, 'ERR_SHAPE', /multiple of 3 elements for `x`/, train([ramp(10), inputs[1]]));
  fails(t, 'ERR_SHAPE', /`x`/, train([new Float32Array(0), inputs[1]]));
  fails(t, 'ERR_DTYPE', /`t`/, train([inputs[0], new Int32Array(8)]));
  fails(
    t,
    'ERR_ARGUMENT',
    /row index out of range: .* below 4 for `x`, received 4/,
    train(
      undefined,
      rows.map((r) => r + 1),
    ),
  );
  fails(t, 'ERR_SHAPE', /rows/, train(undefined, rows.subarray(1)));
  fails(t, 'ERR_DTYPE', /Uint32Array for `rows`/, train(undefined, Int32Array.from(rows)));
  fails(t, 'ERR_SHAPE', /1 row or more/, train(undefined, rows, new Uint32Array([8, 0])));
  fails(t, 'ERR_SHAPE', /1 step or more/, train(undefined, new Uint32Array(0), new Uint32Array(0)));
  fails(
    t,
    'ERR_SHAPE',
    /2 elements for `learningRates`/,
    train(undefined, rows, sizes, rates.subarray(1)),
  );
  fails(
    t,
    'ERR_ARGUMENT',
    /finite/,
    train(undefined, rows, sizes, new Float64Array([1, Number.NaN])),
  );
  t.is(trainer.step, 0);
});

test('after close every method throws ERR_CLOSED', async (t) => {
  const { trainer } = makeTrainer();
  const predictor = await makePredictor();
  const binding = predictor.bind(1);
  for (const object of [binding, predictor, trainer]) {
    object.close();
    object.close();
    const { prototype } = object.constructor;
    for (const member of Object.getOwnPropertyNames(prototype)) {
      const { value } = Object.getOwnPropertyDescriptor(prototype, member);
      if (member === 'constructor' || member === 'close' || value === undefined) continue;
      fails(t, 'ERR_CLOSED', /closed/, () => object[member](1));
    }
  }
  fails(t, 'ERR_CLOSED', /closed/, () => addon.runSync(binding.key));
  fails(t, 'ERR_CLOSED', /closed/, () =>
    addon.predictSync(predictor.key, 1, ramp(3), new Float32Array(2)),
  );
  t.is(trainer.step, 0);
});
