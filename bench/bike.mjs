// The forecasts of examples/bike-demand.mjs beside those of the same models in PyTorch: trained from
// the same initial values, on the same batches: mean absolute errors in rentals an hour, of each start
// and on average of each model. Only the rounding of sums differs, which training amplifies.
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { adam, Predictor, Trainer } from 'tandem-ml';
import { fromArrays } from 'tandem-ml/data';
import { loadBike, meanError, models } from '../examples/lib/bike.mjs';
import { quick, wanted } from './lib/options.mjs';
import { openSuite } from './lib/suite.mjs';
import { startTorch } from './peers/torch.mjs';

const seeds = quick ? [1, 2] : [1, 2, 3, 4, 5, 6];
const { train, test, mean, deviation, width } = await loadBike();
const folder = await mkdtemp(join(tmpdir(), 'tandem-bike-'));
const python = process.env.TANDEM_BENCH_PYTHON ?? '/usr/bin/python3';
const script = fileURLToPath(new URL('peers/torch_bike.py', import.meta.url));

/** The rows to train on, and the numbers of those that came, for PyTorch to take the same. */
function recorded(name) {
  const { y } = train;
  const order = [];
  const numbers = Int32Array.from(y, (_, i) => i);
  const rows = fromArrays({ x: { rows: train[name], numbers }, y }).map((batch) => {
    const x = /** @type {Record<string, Float32Array | Int32Array>} */ (batch.x);
    order.push(...x.numbers);
    return { ...batch, x: x.rows };
  });
  return { rows, order };
}

/** Trains one model, from a start and in an order of rows that files keep for PyTorch. */
async function errorOf(name, seed, file) {
  const { build, fit, learningRate } = models[name];
  const model = build(width, seed);
  await model.save(file);
  const trainer = new Trainer(model, { loss: 'mse', optimizer: adam({ learningRate }), seed });
  const { rows, order } = recorded(name);
  await trainer.fit(rows, { ...fit, verbose: 0 });
  await writeFile(join(folder, 'order'), Int32Array.from(order));
  const predictor = await Predictor.load(model);
  const forecasts = await predictor.predict(test[name]);
  await predictor.close();
  await trainer.close();
  const rentals = Array.from(forecasts, (value) => Math.max(0, mean + deviation * value));
  return meanError(rentals, test.counts);
}

/** The same by PyTorch, in the order of the training before. */
async function torchErrorOf(name, seed, file) {
  const { fit, learningRate, build } = models[name];
  const shape = build(width, seed).inputs[0].shape.slice(1);
  const work = { name, fit, learningRate, shape, mean, deviation, counts: test.counts };
  const files = { x: train[name], y: train.y, test: test[name], work: JSON.stringify(work) };
  for (const [key, data] of Object.entries(files)) await writeFile(join(folder, key), data);
  const { stdout } = await promisify(execFile)(python, [script, folder, file]);
  return Number(stdout);
}

const round = (value) => Number(value.toFixed(3));
const torch = await startTorch();
await torch?.close();
const suite = openSuite('bike', { PyTorch: torch?.version });
const add = (name, value, peer) =>
  suite.add({
    ...{ name, value: round(value), unit: 'rentals an hour' },
    peers: { PyTorch: { value: round(peer), ratio: round(peer / value) } },
  });

for (const name of /** @type {const} */ (['mlp', 'gru'])) {
  const errors = [];
  for (const seed of seeds.filter((one) => wanted(`bike ${name} ${one}`))) {
    const file = join(folder, `${name}-${seed}.safetensors`);
    const pair = [await errorOf(name, seed, file), await torchErrorOf(name, seed, file)];
    add(`${name}, seed ${seed}`, pair[0], pair[1]);
    errors.push(pair);
  }
  const average = (side) => errors.reduce((sum, pair) => sum + pair[side], 0) / errors.length;
  if (errors.length > 1) add(`${name}, mean of ${errors.length}`, average(0), average(1));
}
await rm(folder, { recursive: true });
suite.finish();
