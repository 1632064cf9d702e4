// Objects that say that they are typed arrays and have no elements: of them, `length` itself throws.
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
import { fromArrays } from 'tandem-ml/data';

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
