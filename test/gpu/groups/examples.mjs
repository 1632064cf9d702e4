// The examples reach what they want on the device, which is what they reach on a CPU; and for a short run a
// GPT and a recurrent network have the CPU's losses.
import { fileURLToPath } from 'node:url';
import {
  adam,
  adamw,
  dense,
  embedding,
  input,
  layerNorm,
  sequential,
  transformerBlock,
} from 'tandem-ml';
import { loadBike, models } from '../../../examples/lib/bike.mjs';
import { loadPlays, randomWindows } from '../../../examples/lib/text.mjs';
import { runNode } from '../../helpers/process.mjs';
import { check, device, end, ensure, near, onDevice, trainerOn } from '../support.mjs';

/** The accuracy that an example prints in the end; it fails by itself when that is too low. */
async function accuracyOf(name, on) {
  const path = fileURLToPath(new URL(`../../../examples/${name}.mjs`, import.meta.url));
  const { status, signal, stdout: printed, stderr: errors } = await runNode([path, '--device', on]);
  const about = `${name} on ${on}: ${signal ?? status}\n${errors.slice(-3000)}`;
  ensure(status === 0, `${about}\n${printed.slice(-1500)}`);
  const [, percent] = /held-out images: accuracy ([\d.]+)%/.exec(printed) ?? [];
  return {
    percent: Number(percent),
    time: /after ([\d.]+ s) of training/.exec(printed)?.[1] ?? '',
  };
}

for (const name of ['digits', 'mnist-cnn']) {
  await check(name, async () => {
    const [here, cpu] = await Promise.all([accuracyOf(name, device), accuracyOf(name, 'cpu')]);
    const told = `${here.percent}% ${here.time}, on the CPU ${cpu.percent}% ${cpu.time}`;
    // held-out images are so few that two runs of one device with other seeds differ by half of this
    ensure(here.percent >= cpu.percent - 1, told);
    return told;
  });
}

/** The losses of the same epochs on the device and on the CPU. */
async function losses(t, make) {
  const curves = [];
  for (const on of [device, 'cpu']) {
    const { model, options, fit, data } = make();
    const trainer = trainerOn(t, model, { ...options, device: on });
    const start = performance.now();
    const { loss } = await trainer.fit(data, { ...fit, verbose: 0 });
    if (on === device) onDevice(trainer.profile());
    curves.push({ loss, seconds: (performance.now() - start) / 1000 });
  }
  const [here, cpu] = curves;
  const error = near(here.loss, cpu.loss, 0.02, 'losses');
  ensure(here.loss.at(-1) < 0.8 * here.loss[0], `does not learn: ${here.loss}`);
  const [a, b] = curves.map(({ seconds }) => `${seconds.toFixed(1)} s`);
  return `${error.toExponential(1)}, to ${here.loss.at(-1).toFixed(3)} in ${a}, on the CPU in ${b}`;
}

await check('a GPT, 200 steps', async (t) => {
  const { characters, train } = await loadPlays();
  const rounds = randomWindows(train, { count: 4 * 50 * 12, length: 64, seed: 1 });
  return await losses(t, () => ({
    model: sequential(
      [
        embedding(characters.length, 128, { positions: 64 }),
        ...Array.from({ length: 2 }, () => transformerBlock({ heads: 4, causal: true })),
        layerNorm(),
        dense(characters.length, { bias: false }),
      ],
      { input: input([64], { dtype: 'int32' }), seed: 1 },
    ),
    options: {
      loss: 'crossEntropy',
      optimizer: adamw({ learningRate: 1e-3 }),
      maxGradNorm: 1,
      seed: 1,
    },
    data: { x: rounds.x.subarray(0, 50 * 12 * 64), y: rounds.y.subarray(0, 50 * 12 * 64) },
    fit: { batchSize: 12, epochs: 4 },
  }));
});

await check('a GRU over 24 hours of bicycle rentals', async (t) => {
  const { train, width } = await loadBike();
  return await losses(t, () => ({
    model: models.gru.build(width, 1),
    options: { loss: 'mse', optimizer: adam({ learningRate: models.gru.learningRate }), seed: 1 },
    data: { x: train.gru, y: train.y },
    fit: { batchSize: models.gru.fit.batchSize, epochs: 3 },
  }));
});
end();
