// Where files are named, `file:` URLs are taken, and others are refused with a typed error.
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import test from 'ava';
import {
  adam,
  crossValidate,
  dense,
  htmlReport,
  Model,
  Predictor,
  QuantizedModel,
  quantize,
  sequential,
  Trainer,
  tensorBoard,
} from 'tandem-ml';
import { makeFolder } from './helpers/folder.mjs';

const x = Float32Array.from({ length: 12 }, (_, i) => Math.sin(i));
const data = { x, y: new Float32Array(12) };
const quiet = { verbose: 0 };
const build = () => sequential([dense(1)], { input: [1], seed: 1 });
const make = (t) => {
  const trainer = new Trainer(build(), { loss: 'mse', optimizer: adam() });
  t.teardown(() => trainer.close());
  return trainer;
};

test('URLs that name no file', async (t) => {
  const url = new URL('https://example.org/m.safetensors');
  const refusal = { code: 'ERR_ARGUMENT', message: /a path or a file: URL.*example\.org/ };
  const host = new URL('file://example.org/model.safetensors');
  await t.throwsAsync(Predictor.load(host), refusal);
  const trainer = make(t);
  const quantized = await quantize(build(), { precision: 'int8-weights' });
  t.teardown(() => quantized.close());
  const calls = {
    save: () => build().save(url),
    load: () => Model.load(url),
    predictor: () => Predictor.load(url),
    saveQuantized: () => quantized.save(url),
    loadQuantized: () => QuantizedModel.load(url),
    serveQuantized: () => Predictor.load(url, { precision: 'int8' }),
    saveCheckpoint: () => trainer.saveCheckpoint(url),
    loadCheckpoint: () => trainer.loadCheckpoint(url),
    dir: () => trainer.fit(data, { ...quiet, checkpoint: { dir: url } }),
    resume: () => trainer.fit(data, { ...quiet, resumeFrom: url }),
    journal: () => crossValidate({ build: () => make(t), data, folds: 2, file: url }),
    report: async () => htmlReport({ path: url }),
    events: async () => tensorBoard({ dir: url }),
  };
  for (const [name, call] of Object.entries(calls)) await t.throwsAsync(call(), refusal, name);
});

test('file: URLs of models and checkpoints', async (t) => {
  const dir = await makeFolder(t);
  const url = (name) => pathToFileURL(join(dir, name));
  const trainer = make(t);
  await trainer.fit(data, { ...quiet, checkpoint: { dir: url('run') } });
  await trainer.model.save(url('m.safetensors'));
  await trainer.saveCheckpoint(url('c.safetensors'));
  const kernel = (model) => model.parameters.get('dense.weight')?.data;
  t.deepEqual(kernel(await Model.load(url('m.safetensors'))), kernel(trainer.model));
  const checkpoint = { dir: url('run') };
  // A fit that has ended is not done again; what saveCheckpoint wrote is gone on from.
  for (const [resumeFrom, epochs] of [
    [url('run'), [0]],
    ['latest', [0]],
    [url('c.safetensors'), [1]],
  ]) {
    const history = await make(t).fit(data, { ...quiet, checkpoint, resumeFrom });
    t.deepEqual(history.epochs, epochs);
  }
});
