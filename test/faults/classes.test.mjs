// Typed arrays of classes of users, whose constructors do not take what `subarray` and `slice` call them with.
import test from 'ava';
import { crossValidate, dense, Predictor, sequential } from 'tandem-ml';
import { fromArrays } from 'tandem-ml/data';
import { bits, makeTrainer, quiet } from './support.mjs';

/** Over all of a buffer, wherever the view is to begin and to end. */
const whole = (Type) =>
  class extends Type {
    // biome-ignore lint/complexity/noUselessConstructor: it leaves out the arguments behind the first
    constructor(elements) {
      super(elements);
    }
  };
const none = (Type) =>
  class extends Type {
    static get [Symbol.species]() {
      throw new Error('there is no species');
    }
  };

/** Labels that are converted and checked in turns of the event loop. */
const rows = 2 ** 19 + 3;
const x = Float32Array.from({ length: rows }, (_, i) => Math.sin(i));
const label = (i) => (Math.sin(i) > 0.3 ? 1 : 0);
const makeModel = () => sequential([dense(2)], { input: [1], seed: 1 });

async function fitted(data) {
  const trainer = makeTrainer(makeModel());
  const { loss } = await trainer.fit(data, { ...quiet, batchSize: 2 ** 14 });
  const found = await trainer.evaluate(data, { batchSize: 2 ** 14 });
  await trainer.close();
  return { loss, found, parameters: bits(trainer.model) };
}

for (const [kind, make] of Object.entries({ whole, none })) {
  for (const Type of [Uint8Array, Int32Array, Uint32Array]) {
    test(`long labels of a class of one's own: ${kind} ${Type.name}`, async (t) => {
      const y = new (make(Type))(rows);
      for (let i = 0; i < rows; i++) y[i] = label(i);
      const expected = await fitted({ x, y: Int32Array.from(y) });
      t.deepEqual(await fitted({ x, y }), expected);
      t.deepEqual(await fitted(fromArrays({ x, y })), expected);
      y[rows - 1] = 2;
      const refusal = { code: 'ERR_ARGUMENT', message: new RegExp(`2 at position ${rows - 1}$`) };
      await t.throwsAsync(fitted({ x, y }), refusal);
    });
  }

  test(`rows without numbers of a class of one's own: ${kind}`, async (t) => {
    const floats = new (make(Float32Array))(rows);
    floats[rows - 1] = Number.NaN;
    const trainer = makeTrainer(makeModel(), { checkNumerics: true });
    const refusal = { code: 'ERR_NUMERIC', message: new RegExp(`in row ${rows - 1}$`) };
    await t.throwsAsync(trainer.evaluate({ x: floats, y: new Uint8Array(rows) }), refusal);
    await trainer.close();
  });

  test(`folds of arrays of a class of one's own: ${kind}`, async (t) => {
    const count = 40;
    const scores = async (data) => {
      const build = () => makeTrainer(makeModel());
      return (await crossValidate({ build, data, folds: 4 })).mean;
    };
    const [floats, labels] = [new (make(Float32Array))(count), new (make(Uint8Array))(count)];
    for (let i = 0; i < count; i++) [floats[i], labels[i]] = [Math.sin(i), label(i)];
    const expected = await scores({ x: x.slice(0, count), y: Uint8Array.from(labels) });
    t.deepEqual(await scores({ x: floats, y: labels }), expected);
  });

  test(`calibration and validation by arrays of a class of one's own: ${kind}`, async (t) => {
    const count = 300;
    const model = sequential([dense(16, { activation: 'relu' }), dense(2)], {
      input: [8],
      seed: 1,
    });
    const predicted = async (floats, labels) => {
      const data = { calibration: { x: floats }, validation: { x: floats, y: labels } };
      const predictor = await Predictor.load(model, { precision: 'int8', ...data });
      const results = predictor.predictSync(x.slice(0, 8));
      await predictor.close();
      return results;
    };
    const floats = new (make(Float32Array))(count * 8);
    const labels = new (make(Int32Array))(count);
    for (let i = 0; i < floats.length; i++) floats[i] = Math.sin(i);
    for (let i = 0; i < count; i++) labels[i] = label(i);
    const expected = await predicted(Float32Array.from(floats), Int32Array.from(labels));
    t.deepEqual(await predicted(floats, labels), expected);
  });
}
