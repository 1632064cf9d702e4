// Chains of elementwise ops are computed in one pass, in predictions and in training; a profile
// lists them.
import test from 'ava';
import * as tandem from 'tandem-ml';
import { evaluate } from 'tandem-ml/autodiff';
import { generator, uniform } from '../helpers/numbers.mjs';

const {
  add,
  dense,
  div,
  Model,
  input,
  mean,
  mul,
  Predictor,
  sgd,
  sigmoid,
  sqrt,
  square,
  sub,
  Trainer,
} = tandem;

const chainsOf = (kernels) => kernels.filter((name) => name.startsWith('chain('));
const random = generator(5);

/** A gate and a normalisation of its result, by hand: what reads `z` and `v` [rows, 64]. */
function normalisedGate(z, v) {
  const gated = mul(mul(z, sigmoid(z)), v);
  const centred = sub(gated, mean(gated, { axes: [-1], keepDims: true }));
  const variance = mean(square(centred), { axes: [-1], keepDims: true });
  return div(centred, sqrt(add(variance, 1e-5)));
}

test('predictions compute chains in one pass, with the bits of single ops', async (t) => {
  const [z, v] = ['z', 'v'].map((name) => input([64], { name }));
  const y = normalisedGate(z, v);
  const predictor = await Predictor.load(new Model({ inputs: [z, v], outputs: y }));
  t.teardown(() => predictor.close());
  const rows = { z: uniform(50 * 64, random), v: uniform(50 * 64, random) };
  const found = predictor.predictSync(rows);
  const [expected] = evaluate(
    y,
    new Map([
      [z, rows.z],
      [v, rows.v],
    ]),
  );
  t.deepEqual(found, expected);
  t.deepEqual(chainsOf(predictor.profile().kernels), [
    'chain(sigmoid mul mul)',
    'chain(sub square)',
    'chain(add sqrt)',
  ]);
});

test('training computes chains forwards and backwards', async (t) => {
  const x = input([37], { name: 'x' });
  const y = dense(3)(normalisedGate(dense(64)(x), dense(64)(x)));
  const model = new Model({ inputs: x, outputs: y, seed: 3 });
  const trainer = new Trainer(model, { optimizer: sgd({ learningRate: 0.05 }), loss: 'mse' });
  t.teardown(() => trainer.close());
  const batch = { x: uniform(32 * 37, random), y: uniform(32 * 3, random) };
  const first = (await trainer.step(batch)).loss;
  let last = first;
  for (let step = 0; step < 30; step++) last = (await trainer.step(batch)).loss;
  t.true(last < 0.9 * first, `${first} ${last}`);
  const chains = chainsOf(trainer.profile().kernels);
  t.log(chains.join(', '));
  t.true(chains.includes('chain(sub square)'));
  t.true(chains.some((name) => name.includes('Grad')));
});
