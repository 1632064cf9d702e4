// Every golden training run on the device, in float32 and with 16-bit products, against PyTorch's; and the
// steps that fp16-mixed leaves out.
import { adam, dense, sequential } from 'tandem-ml';
import { openRun, runs } from '../../helpers/golden-runs.mjs';
import { generator, uniform } from '../../helpers/numbers.mjs';
import { check, end, ensure, near, onDevice, same, trainerOn } from '../support.mjs';

/** Of each parameter after the last step, by norm. */
const parameterTolerance = 1e-4;
const mixedTolerance = 0.01;

/** What was measured of the steps before one that is off. */
const history = (losses, golden) =>
  `losses ${losses.slice(-4).join(' ')}, want ${[...golden.slice(Math.max(0, losses.length - 4), losses.length)].join(' ')}`;

for (const precision of ['float32', 'bf16-mixed', 'fp16-mixed']) {
  for (const [name, run] of Object.entries(runs)) {
    await check(`${name} in ${precision}`, async (t) => {
      const { options, names = (key) => key, compared = (_, all) => all } = run;
      const { spec, tensors, model, batch } = openRun(name);
      const tolerance = precision === 'float32' ? run.tolerance : mixedTolerance;
      const trainer = trainerOn(t, model, { loss: 'crossEntropy', ...options(spec), precision });
      const golden = tensors.get('loss').data;
      const losses = [];
      let worst = 0;
      for (let step = 0; step < spec.steps; step++) {
        const { loss, gradNorm } = await trainer.step(batch(step));
        losses.push(loss);
        const error = Math.abs(loss - golden[step]) / golden[step];
        worst = Math.max(worst, error);
        const where = `step ${step}: relative error ${error} of the loss, gradNorm ${gradNorm}`;
        ensure(error <= tolerance, `${where}, ${history(losses, golden)}`);
      }
      onDevice(trainer.profile());
      await trainer.close();
      if (precision !== 'float32') return `worst loss ${worst.toExponential(1)}`;
      let far = 0;
      for (const [key, { data, shape }] of model.parameters) {
        const part = compared(key, data);
        if (part === undefined) continue;
        const want = compared(key, tensors.get(`param.${names(key)}`).data);
        far = Math.max(far, near(part, want, parameterTolerance, `${key} [${shape}]`));
      }
      return `worst loss ${worst.toExponential(1)}, parameter ${far.toExponential(1)}`;
    });
  }
}

await check('fp16-mixed leaves steps out and counts them', async (t) => {
  const [rows, features] = [64, 5];
  const layers = [dense(12, { activation: 'tanh' }), dense(2)];
  const model = sequential(layers, { input: [features], seed: 4 });
  const optimizer = adam({ learningRate: 0.01 });
  const trainer = trainerOn(t, model, { loss: 'mse', optimizer, precision: 'fp16-mixed' });
  const x = uniform(rows * features, generator(5));
  // errors that overflow float16 until the loss is scaled by 1024
  const y = uniform(rows * 2, generator(6)).map((value) => value + 1000);
  const values = () => [...model.parameters].map(([, { data }]) => [...data]);
  const before = values();
  const fit = { batchSize: 16, verbose: 0, shuffle: false };
  const first = await trainer.fit({ x, y }, fit);
  same(first.skippedSteps, [4], 'skipped steps of the first epoch');
  same(values(), before, 'parameters after steps that were all left out');
  const { skippedSteps, loss } = await trainer.fit({ x, y }, { ...fit, epochs: 2 });
  ensure(skippedSteps[0] >= 1 && skippedSteps[0] < 4, `second epoch: skipped ${skippedSteps}`);
  ensure(skippedSteps[1] === 0, `third epoch: skipped ${skippedSteps}`);
  ensure(loss.every(Number.isFinite), `losses ${loss}`);
  ensure(JSON.stringify(values()) !== JSON.stringify(before), 'nothing was learned');
  return `skipped ${first.skippedSteps}, ${skippedSteps}`;
});
end();
