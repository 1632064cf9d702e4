// Whole training runs against the same runs by PyTorch: losses, learning rates, parameters.
import test from 'ava';
import { Trainer } from 'tandem-ml';
import { openRun, runs } from '../helpers/golden-runs.mjs';
import { relativeError } from '../helpers/numbers.mjs';
import { goldenNames } from '../helpers/safetensors.mjs';

/** Of each parameter after the last step, by norm. */
const parameterTolerance = 1e-4;

test('every run is compared', (t) => {
  t.deepEqual(goldenNames('train'), Object.keys(runs).sort());
});

for (const [name, run] of Object.entries(runs)) {
  const { options, tolerance, names = (key) => key, compared = (_, all) => all } = run;
  test(`${name} is PyTorch's run`, async (t) => {
    const { spec, tensors, model, batch, unmatched } = openRun(name);
    const [losses, rates] = [tensors.get('loss'), tensors.get('lr')];
    t.deepEqual(unmatched, []);

    const trainer = new Trainer(model, { loss: 'crossEntropy', ...options(spec) });
    t.teardown(() => trainer.close());
    const { steps } = spec;
    t.is(steps, 40);
    for (let step = 0; step < steps; step++) {
      const { loss, learningRate } = await trainer.step(batch(step));
      const error = Math.abs(loss - losses.data[step]) / losses.data[step];
      t.true(error <= tolerance, `step ${step}: loss ${loss}, relative error ${error}`);
      const rate = rates.data[step];
      // The file's rates are float32.
      t.true(Math.abs(learningRate - rate) <= 1e-7 * rate + 1e-12, `step ${step}: ${learningRate}`);
    }
    await trainer.close();
    for (const [key, { data }] of model.parameters) {
      const part = compared(key, data);
      if (part === undefined) continue;
      const error = relativeError(part, compared(key, tensors.get(`param.${names(key)}`).data));
      t.true(error <= parameterTolerance, `${key}: relative error ${error}`);
    }
  });
}
