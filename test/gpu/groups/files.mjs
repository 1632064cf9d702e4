// What goes through files and between devices: models, checkpoints, parameters that are read while training.
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Model } from 'tandem-ml';
import { makeFolder } from '../../helpers/folder.mjs';
import { images, noise } from '../../helpers/quantized.mjs';
import { kinds } from '../../training/support.mjs';
import {
  check,
  device,
  end,
  ensure,
  near,
  onDevice,
  predictorOn,
  same,
  trainerOn,
} from '../support.mjs';

const quiet = { verbose: 0 };
const labels = (rows) => Int32Array.from({ length: rows }, (_, i) => (i * 7) % 10);
const rowsOf = (rows) => ({ x: noise(rows * 3 * 12 * 12), y: labels(rows) });
const options = { loss: 'crossEntropy', seed: 2 };
const values = ({ parameters }) => [...parameters].map(([name, { data }]) => [name, data.slice()]);

/** Throws unless all parameters are the same, bit for bit. */
function sameValues(got, want) {
  for (const [i, [name, data]] of want.entries()) near(got[i][1], data, 0, name);
}

for (const [from, to] of [
  [device, 'cpu'],
  ['cpu', device],
]) {
  await check(`trained and saved on ${from}, served and trained on ${to}`, async (t) => {
    const path = join(await makeFolder(t), 'm.safetensors');
    const model = images();
    const before = values(model);
    const trainer = trainerOn(t, model, { ...options, device: from });
    await trainer.fit(rowsOf(50), { ...quiet, epochs: 2 });
    await model.save(path);
    const learned = values(model).some(([, data], i) => data.some((v, k) => v !== before[i][1][k]));
    ensure(learned, 'nothing was learned');
    const { x } = rowsOf(11);
    const want = (await predictorOn(t, model, { device: from })).predictSync(x);
    const served = await predictorOn(t, path, { device: to });
    near(served.predictSync(x), want, 1e-5, 'predictions');
    const loaded = await Model.load(path);
    sameValues(values(loaded), values(model));
    const next = trainerOn(t, loaded, { ...options, device: to });
    const losses = [await trainer.evaluate(rowsOf(50)), await next.evaluate(rowsOf(50))];
    near([losses[1].loss], [losses[0].loss], 1e-5, 'evaluated loss');
    const steps = [await trainer.step(rowsOf(20)), await next.step(rowsOf(20))];
    near([steps[1].loss], [steps[0].loss], 1e-5, 'loss of a step');
  });
}

/** Some steps of a model, on its own or in two parts with a checkpoint between them. */
async function run(t, kind, last, more = {}) {
  const { model, options: set, data, fit } = kinds[kind]();
  const trainer = trainerOn(t, model, set);
  const callbacks = [{ onBatchEnd: (step) => step < last - 1 }];
  const { loss } = await trainer.fit(data, { ...fit, epochs: 1000, callbacks, ...more });
  onDevice(trainer.profile());
  await trainer.close();
  return { parameters: values(model), loss };
}

for (const kind of Object.keys(kinds)) {
  await check(`${kind}: the same bits in every run`, async (t) => {
    const [first, second] = [await run(t, kind, 30), await run(t, kind, 30)];
    same(second.loss, first.loss, 'losses');
    sameValues(second.parameters, first.parameters);
  });

  await check(`${kind}: 60 steps are 30, a checkpoint, and the rest`, async (t) => {
    const dir = await makeFolder(t);
    const whole = await run(t, kind, 60);
    await run(t, kind, 45, { checkpoint: { dir, everySteps: 30 } });
    const resumeFrom = join(dir, 'step-000000030.safetensors');
    same((await readdir(dir)).includes('step-000000030.safetensors'), true, 'checkpoint');
    const rest = await run(t, kind, 60, { resumeFrom });
    sameValues(rest.parameters, whole.parameters);
  });
}

await check('a checkpoint of the device goes on on the CPU', async (t) => {
  const path = join(await makeFolder(t), 'c.safetensors');
  const [here, there] = [images(), images()];
  const first = trainerOn(t, here, options);
  for (let i = 0; i < 5; i++) await first.step(rowsOf(20));
  await first.saveCheckpoint(path);
  const second = trainerOn(t, there, { ...options, device: 'cpu' });
  await second.loadCheckpoint(path);
  for (let i = 0; i < 3; i++) {
    const [a, b] = [await first.step(rowsOf(20)), await second.step(rowsOf(20))];
    near([b.loss], [a.loss], 1e-4, `loss of step ${i}`);
  }
});

await check('sync() brings parameters to the host, upload() sends them', async (t) => {
  const model = images();
  const trainer = trainerOn(t, model, options);
  await trainer.step(rowsOf(20));
  await trainer.sync();
  const [name, { data }] = [...model.parameters][0];
  const trained = data.slice();
  data.fill(0);
  await trainer.upload();
  const off = await trainer.evaluate(rowsOf(30));
  data.set(trained);
  await trainer.upload();
  const on = await trainer.evaluate(rowsOf(30));
  ensure(off.loss !== on.loss, `${name} set to zero changes nothing: loss ${on.loss}`);
  await trainer.sync();
  near(data, trained, 0, name);
});
end();
