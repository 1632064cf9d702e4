// What the tests of faults share: small models, bits to compare, and processes of their own.
import { fileURLToPath } from 'node:url';
import { dense, dropout, Predictor, sequential, Trainer } from 'tandem-ml';
import { runModule } from '../helpers/process.mjs';

export const quiet = { verbose: 0 };
/** More epochs than any test waits for. */
export const forever = { verbose: 0, epochs: 1_000_000 };

export const build = (seed = 1) =>
  sequential([dense(32, { activation: 'relu' }), dropout(0.1), dense(4)], { input: [8], seed });

export const makeX = (rows) => Float32Array.from({ length: rows * 8 }, (_, i) => Math.sin(i * 1.7));
export const makeData = (rows) => ({
  x: makeX(rows),
  y: Int32Array.from({ length: rows }, (_, i) => (i * 7) % 4),
});

export const makeTrainer = (model = build(), options = {}) =>
  new Trainer(model, { loss: 'crossEntropy', metrics: ['accuracy'], ...options });

const hex = (array) =>
  Buffer.from(array.buffer, array.byteOffset, array.byteLength).toString('hex');

/** All parameters, bit for bit. */
export const bits = (model) =>
  Object.fromEntries([...model.parameters].map(([name, { data }]) => [name, hex(data)]));

/** A fit and predictions in every way, as bits: the same in every thread of every process. */
export async function work(seed) {
  const model = build(seed);
  const trainer = makeTrainer(model, { seed });
  const { loss } = await trainer.fit(makeData(100), { ...quiet, epochs: 5, batchSize: 16 });
  await trainer.close();
  const predictor = await Predictor.load(model);
  const x = makeX(10);
  const io = predictor.bind(10);
  io.inputs.x.set(x);
  await io.run();
  const results = [predictor.predictSync(x), io.outputs.y];
  results.push(...(await Promise.all(Array.from({ length: 20 }, () => predictor.predict(x)))));
  await predictor.close();
  return { loss, parameters: bits(model), results: results.map(hex) };
}

/** Starts a fit without end; resolves in the middle of its second epoch. */
export async function startFit(trainer, data = makeData(64), options = {}) {
  const running = {};
  await new Promise((resolve, reject) => {
    const callbacks = [{ onEpochEnd: () => resolve(undefined) }];
    running.done = trainer.fit(data, { ...forever, callbacks, ...options });
    running.done.catch(reject);
  });
  // Past the callback: the next epoch's steps are under way.
  await new Promise((resolve) => setImmediate(resolve));
  return running;
}

const root = fileURLToPath(new URL('../..', import.meta.url));
const own = JSON.stringify(new URL('support.mjs', import.meta.url).href);

/** What scripts of runScript() begin with; without it the main thread does not load the library. */
const imports = `
  import * as tandem from 'tandem-ml';
  import * as support from ${own};
  const { Model, Predictor, Trainer } = tandem;
  const { bits, build, forever, makeData, makeTrainer, makeX, quiet, startFit, work } = support;`;

/** Runs a module in a process of its own, with everything above and the library at hand. */
export async function runScript(body, { flags = [], bare = false } = {}) {
  const script = bare ? body : `${imports} ${body}`;
  return await runModule(script, { flags, cwd: root });
}

/** The script ends with this status, on its own and in silence. */
export async function ends(t, body, status = 0, options = {}) {
  const result = await runScript(body, options);
  t.deepEqual(
    { status: result.status, signal: result.signal, stderr: result.stderr },
    { status, signal: null, stderr: '' },
  );
  return result;
}

/** The same numbers in every run, in [0, 1): mulberry32. */
export function generator(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
