// Objects that say that they are typed arrays and have no elements, of which `length` itself throws, and views
// with the prototype of another class.
import test from 'ava';
import {
  bceWithLogits,
  crossEntropy,
  dense,
  input,
  Predictor,
  relu,
  sequential,
  Trainer,
} from 'tandem-ml';
import { evaluate, vjp } from 'tandem-ml/autodiff';
import { fitEncoder, fromArrays, fromBatches, fromSequences, fromTable } from 'tandem-ml/data';

const x = new Float32Array(3);
const y = new Float32Array(2);
const fakes = {
  proxy: new Proxy(new Float32Array(3), {}),
  heir: Object.create(Float32Array.prototype),
  'proxy of doubles': new Proxy(new Float64Array(3), {}),
  'heir of doubles': Object.create(Float64Array.prototype),
};

for (const [name, fake] of Object.entries(fakes)) {
  test(`${name}: refused with a typed error wherever arrays are taken`, async (t) => {
    const model = sequential([dense(2)], { input: [3], seed: 1 });
    const predictor = await Predictor.load(model);
    const queued = await Predictor.load(model, { maxQueue: 4 });
    const trainer = new Trainer(model, { loss: 'mse' });
    t.teardown(() => Promise.all([predictor.close(), queued.close(), trainer.close()]));
    const a = input([3]);
    const b = relu(a);
    const calls = {
      predictSync: () => predictor.predictSync(fake),
      predict: () => predictor.predict(fake),
      queued: () => queued.predict(fake),
      out: () => predictor.predictSync(x, fake),
      outLater: () => predictor.predict(x, { out: fake }),
      outQueued: () => queued.predict(x, { out: fake }),
      step: () => trainer.step({ x: fake, y }),
      fit: () => trainer.fit({ x, y: fake }, { verbose: 0 }),
      dataset: () => fromArrays({ x: fake, y }),
      evaluate: () => evaluate([b], new Map([[a, fake]])),
      classWeights: () => crossEntropy(a, input([], { dtype: 'int32' }), { classWeights: fake }),
      posWeight: () => bceWithLogits(a, input([3]), { posWeight: fake }),
      vjp: () => vjp([b], new Map([[a, x]]), [fake]),
    };
    const refusal = { code: 'ERR_ARGUMENT', message: /, received an object that inherits from/ };
    for (const [of, call] of Object.entries(calls)) {
      await t.throwsAsync(async () => await call(), refusal, of);
    }
    t.is((await predictor.predict(x)).length, 2);
  });
}

const swapped = {
  'floats as bytes': [Float32Array, Uint8Array.prototype],
  'floats as no class': [Float32Array, null],
  'floats as an object': [Float32Array, {}],
  'floats as the class of all arrays': [
    Float32Array,
    Object.getPrototypeOf(Float32Array.prototype),
  ],
  'integers as no class': [Int32Array, null],
  'bytes as floats': [Uint8Array, Float32Array.prototype],
  'big integers as floats': [BigInt64Array, Float32Array.prototype],
  'a DataView as floats': [DataView, Float32Array.prototype],
  'a DataView as no class': [DataView, null],
};

for (const [name, [Type, prototype]] of Object.entries(swapped)) {
  const make = (rows) => {
    const view = new Type(Type === DataView ? new ArrayBuffer(4 * rows) : rows);
    return Object.setPrototypeOf(view, prototype);
  };
  test(`${name}: refused with a typed error wherever arrays are taken`, async (t) => {
    const model = sequential([dense(2)], { input: [3], seed: 1 });
    const predictor = await Predictor.load(model);
    const queued = await Predictor.load(model, { maxQueue: 4 });
    const trainer = new Trainer(model, { loss: 'mse' });
    const one = sequential([dense(2)], { input: [3], seed: 1 });
    const classifier = new Trainer(one, { loss: 'crossEntropy' });
    const closing = [predictor, queued, trainer, classifier];
    t.teardown(() => Promise.all(closing.map((each) => each.close())));
    const a = input([3]);
    const b = relu(a);
    const [fake, target] = [make(3), make(2)];
    const rows = fromTable({ a: x, b: x });
    const calls = {
      predictSync: () => predictor.predictSync(fake),
      predict: () => predictor.predict(fake),
      named: () => predictor.predict({ x: fake }),
      queued: () => queued.predict(fake),
      out: () => predictor.predictSync(x, target),
      outLater: () => predictor.predict(x, { out: target }),
      outQueued: () => queued.predict(x, { out: target }),
      step: () => trainer.step({ x: fake, y }),
      fit: () => trainer.fit({ x, y: target }, { verbose: 0 }),
      classes: () => classifier.fit({ x, y: make(1) }, { verbose: 0 }),
      inputs: () => fromArrays({ x: fake, y }),
      targets: () => fromArrays({ x, y: fake }),
      targetsOfRows: () => fromArrays({ x, y: target }, { rows: 1 }),
      batches: () =>
        trainer.fit(
          fromBatches(() => [{ x: fake, y, rows: 1 }]),
          { verbose: 0 },
        ),
      map: () =>
        trainer.fit(
          fromArrays({ x, y: y }, { rows: 1 }).map(() => ({ x: fake, y })),
          { verbose: 0 },
        ),
      table: () => fromTable({ a: fake, b: x }),
      encoder: () => fitEncoder(rows, fake),
      sequences: () => fromSequences({ x: [x, fake], y }),
      targetSequences: () => fromSequences({ x: [x, x], y: [x, fake] }),
      evaluate: () => evaluate([b], new Map([[a, fake]])),
      vjp: () => vjp([b], new Map([[a, x]]), [fake]),
      classWeights: () => crossEntropy(a, input([], { dtype: 'int32' }), { classWeights: fake }),
      posWeight: () => bceWithLogits(a, input([3]), { posWeight: fake }),
      options: () => new Trainer(model, fake),
      loss: () => new Trainer(model, { loss: fake }),
    };
    const message = new RegExp(`received a ${Type.name} with the prototype of another class`);
    for (const [of, call] of Object.entries(calls)) {
      const error = await t.throwsAsync(async () => await call(), { name: 'TandemError' }, of);
      t.regex(error?.code ?? '', /^ERR_(ARGUMENT|DTYPE)$/, of);
      t.regex(error?.message ?? '', message, of);
    }
    t.is((await predictor.predict(x)).length, 2);
  });
}

test('an array whose class does not say what it is called', async (t) => {
  const nameless = Object.create(Float64Array.prototype, { constructor: { value: undefined } });
  const predictor = await Predictor.load(sequential([dense(2)], { input: [3], seed: 1 }));
  t.teardown(() => predictor.close());
  const view = Object.setPrototypeOf(new Float64Array(3), nameless);
  const refusal = {
    code: 'ERR_DTYPE',
    message: /for `x`, received Float64Array; Float32Array\.from/,
  };
  t.throws(() => predictor.predictSync(view), refusal);
  const of = { code: 'ERR_ARGUMENT', message: /received Float64Array of length 3$/ };
  t.throws(() => new Trainer(sequential([dense(2)], { input: [3] }), view), of);
});

// Not every version of Node has it.
const { Float16Array: Halves } = globalThis;
(Halves ? test : test.skip)('an array of a type that nothing takes', async (t) => {
  const predictor = await Predictor.load(sequential([dense(2)], { input: [3], seed: 1 }));
  t.teardown(() => predictor.close());
  const halves = new Halves(3);
  const refusal = { code: 'ERR_DTYPE', message: /for `x`, received Float16Array of length 3$/ };
  t.throws(() => predictor.predictSync(halves), refusal);
  const swapped = Object.setPrototypeOf(new Halves(3), Float32Array.prototype);
  const other = {
    code: 'ERR_DTYPE',
    message: /a Float16Array with the prototype of another class/,
  };
  t.throws(() => predictor.predictSync(swapped), other);
});
