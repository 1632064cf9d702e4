// What the first calls cost, and how free the event loop stays: told, and held to what is far too much.
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { dense, devices, Predictor, sequential } from 'tandem-ml';
import { runScript } from '../../faults/support.mjs';
import { check, device, end, ensure, onGpu, predictorOn, trainerOn } from '../support.mjs';

const ms = (value) => `${value.toFixed(1)} ms`;
const print = (items) => items.join(', ');

await check('the first calls', async (t) => {
  const start = performance.now();
  const found = devices();
  const probed = performance.now();
  const net = sequential([dense(16, { activation: 'relu' }), dense(4)], { input: [8] });
  const predictor = await predictorOn(t, net);
  const loaded = performance.now();
  predictor.predictSync(new Float32Array(8));
  const first = performance.now();
  for (let i = 0; i < 1000; i++) predictor.predictSync(new Float32Array(8));
  const each = performance.now();
  const again = await Predictor.load(net, { device });
  await again.close();
  const told = print([
    `devices() ${ms(probed - start)} (300 ms are allowed)`,
    `Predictor ${ms(loaded - probed)}`,
    `first prediction ${ms(first - loaded)}`,
    `a prediction ${((each - first) / 1000).toFixed(4)} ms`,
    `second Predictor ${ms(performance.now() - each)}`,
  ]);
  ensure(!onGpu || found.some(({ name, reason }) => name === 'cuda:0' && !reason), 'no cuda:0');
  ensure(probed - start < 300, told);
  return `${told}; ${found.map(({ name, description }) => `${name} ${description}`).join('; ')}`;
});

await check('devices() in a fresh process', async () => {
  const script = `
    import { devices } from 'tandem-ml';
    const start = performance.now();
    devices();
    console.log((performance.now() - start).toFixed(1));`;
  const times = [];
  for (let i = 0; i < 3; i++) times.push(Number((await runScript(script, { bare: true })).stdout));
  const told = `${times.join(', ')} ms`;
  ensure(Math.min(...times) < 300, told);
  return told;
});

/** Quantiles of how late a timer of 1 ms is while `run` runs. */
async function delays(run) {
  const monitor = monitorEventLoopDelay({ resolution: 1 });
  monitor.enable();
  await run();
  monitor.disable();
  const at = (share) => ms(Math.max(0, monitor.percentile(share) / 1e6 - 1));
  return {
    told: `late by p50 ${at(50)}, p99 ${at(99)}, at most ${at(100)}`,
    p99: monitor.percentile(99) / 1e6,
  };
}

const model = () =>
  sequential([dense(512, { activation: 'relu' }), dense(512, { activation: 'relu' }), dense(10)], {
    ...{ input: [256], seed: 1 },
  });
const x = Float32Array.from({ length: 256 * 8192 }, (_, i) => Math.sin(i));
const y = Int32Array.from({ length: 8192 }, (_, i) => i % 10);
/** What would mean that the loop waits for whole epochs or runs, in milliseconds. */
const blocked = 50;

await check('the event loop during fit', async (t) => {
  const trainer = trainerOn(t, model(), { loss: 'crossEntropy' });
  await trainer.fit({ x, y }, { verbose: 0, batchSize: 128 });
  let epochs = 0;
  const callbacks = [{ onEpochEnd: () => void epochs++ }];
  const { told, p99 } = await delays(async () => {
    const options = { verbose: 0, batchSize: 128, epochs: 1_000_000, callbacks };
    const fit = trainer.fit({ x, y }, options);
    await sleep(2000);
    trainer.stop();
    await fit;
  });
  ensure(p99 < blocked, told);
  return `${told}; ${(epochs * 64) / 2} steps a second`;
});

await check('the event loop during predict', async (t) => {
  const predictor = await predictorOn(t, model(), { maxBatch: 8192 });
  await predictor.predict(x);
  let calls = 0;
  const { told, p99 } = await delays(async () => {
    const until = performance.now() + 2000;
    const caller = async () => {
      while (performance.now() < until) {
        await predictor.predict(x.subarray(0, 256 * 1024));
        calls++;
      }
    };
    await Promise.all([caller(), caller()]);
  });
  ensure(p99 < blocked, told);
  return `${told}; ${Math.round((calls * 1024) / 2)} rows a second`;
});
end();
