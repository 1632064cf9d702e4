// Parameters that no layer owns: names, first values, training, files, and the bits of a layer's own.
import { join } from 'node:path';
import test from 'ava';
import {
  adamw,
  add,
  concat,
  dense,
  functional,
  input,
  Model,
  matmul,
  mul,
  parameter,
  sequential,
  Trainer,
} from 'tandem-ml';
import { evaluate } from 'tandem-ml/autodiff';
import { makeFolder } from '../helpers/folder.mjs';
import { generator, relativeError, uniform } from '../helpers/numbers.mjs';
import { loadPredictor } from '../helpers/predictors.mjs';

const random = generator(7);
const data = { x: uniform(24 * 4, random), y: uniform(24 * 3, random) };
const names = (model) => [...model.parameters.keys()];
const numbers = (model) => [...model.parameters.values()].map(({ data: own }) => Array.from(own));

async function trained(t, model) {
  const trainer = new Trainer(model, { loss: 'mse', optimizer: adamw({ learningRate: 0.02 }) });
  t.teardown(() => trainer.close());
  await trainer.fit(data, { epochs: 3, batchSize: 8, verbose: 0 });
  return numbers(model);
}

test('a weight and a bias train to the bits of dense', async (t) => {
  const x = input([4]);
  const w = parameter([3, 4], { name: 'dense' });
  const b = parameter([3], { initializer: 'zeros', name: 'bias' });
  const model = new Model({ inputs: x, outputs: functional.linear(x, w, b), seed: 5 });
  const layer = sequential([dense(3)], { input: [4], seed: 5 });
  const bias = layer.parameters.get('dense.bias');
  bias?.data.fill(0);
  t.deepEqual(names(model), ['dense.weight', 'bias.weight']);
  t.deepEqual(numbers(model), numbers(layer));
  t.deepEqual(await trained(t, model), await trained(t, layer));
});

test('one that is not to be trained stays so', (t) => {
  const x = input([4]);
  const fixed = parameter([4, 3], { trainable: false, name: 'of' });
  const model = new Model({ inputs: x, outputs: matmul(x, fixed) });
  const message =
    'expected false for `of.weight.trainable`, received true for one that is never trained';
  t.throws(() => (model.parameters.get('of.weight').trainable = true), {
    code: 'ERR_ARGUMENT',
    message,
  });
});

test('names, shapes and first values', async (t) => {
  const x = input([4]);
  const scale = parameter([], { initializer: 'ones' });
  const frozen = parameter([4, 3], { trainable: false, initializer: 'heUniform', name: 'of' });
  const shared = parameter([3], { initializer: 'zeros' });
  const y = add(add(mul(matmul(x, frozen), scale), shared), shared);
  const model = new Model({ inputs: x, outputs: y, seed: 2 });
  t.deepEqual(names(model).sort(), ['of.weight', 'parameter.weight', 'parameter_1.weight']);
  const found = [...model.parameters.values()].map(({ shape, trainable }) => [shape, trainable]);
  t.deepEqual(found.map(String).sort(), [',true', '3,true', '4,3,false']);
  const weights = model.parameters.get('of.weight')?.data ?? new Float32Array();
  const before = Array.from(weights);
  const limit = Math.sqrt(6 / 3);
  t.true(before.every((value) => Math.abs(value) <= limit) && new Set(before).size === 12);
  await trained(t, model);
  t.deepEqual(Array.from(weights), before);
  const path = join(await makeFolder(t), 'm.safetensors');
  await model.save(path);
  const loaded = await Model.load(path);
  t.deepEqual(names(loaded), names(model));
  t.deepEqual(numbers(loaded), numbers(model));
});

/** Whether a Predictor gives what the graph does, on five rows. */
async function predictsAsEvaluated(t, x, y) {
  const rows = uniform(5 * x.shape.slice(1).reduce((n, length) => n * length, 1), generator(3));
  const predictor = await loadPredictor(t, new Model({ inputs: x, outputs: y, seed: 4 }));
  const [wanted] = evaluate(y, new Map([[x, rows]]));
  return relativeError(predictor.predictSync(rows), wanted) < 1e-6;
}

test('weights that are multiplied in two ways predict in both', async (t) => {
  const shapes = [
    [8, 1],
    [1, 8],
    [1, 1],
    [3, 5],
  ];
  for (const [units, width] of shapes) {
    const x = input([width]);
    const w = parameter([units, width]);
    const back = matmul(functional.linear(x, w), w);
    t.true(await predictsAsEvaluated(t, x, back), `linear, then matmul by ${units} x ${width}`);
    const z = input([units]);
    const forth = functional.linear(matmul(z, w), w);
    t.true(await predictsAsEvaluated(t, z, forth), `matmul, then linear by ${units} x ${width}`);
  }
});

test('weights of two transposed convolutions in other groups predict in both', async (t) => {
  const x = input([4, 5, 5]);
  const w = parameter([4, 2, 3, 3]);
  const [one, two] = [1, 2].map((groups) => functional.convTranspose2d(x, w, null, { groups }));
  t.true(await predictsAsEvaluated(t, x, concat([one, two], { axis: 1 })));
});

test('what is no shape and no option is refused', (t) => {
  const refused = { code: 'ERR_ARGUMENT' };
  for (const shape of [3, [0], [2.5], new Array(9).fill(1)]) {
    t.throws(() => parameter(/** @type {any} */ (shape)), refused);
  }
  for (const options of [{ initializer: 'he' }, { name: 3 }, { trainable: 1 }, { shape: [1] }]) {
    t.throws(() => parameter([1], /** @type {any} */ (options)), refused);
  }
});
