// Quantized models with data: files, the gate, calibration data of every kind.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { dense, input, Model, Predictor, QuantizedModel, quantize, sequential } from 'tandem-ml';
import { fromArrays, fromBatches } from 'tandem-ml/data';
import { makeFolder } from './helpers/folder.mjs';
import { relativeError } from './helpers/numbers.mjs';
import { error } from './helpers/outcomes.mjs';
import { loadPredictor } from './helpers/predictors.mjs';
import { images, noise, perceptron, transformer } from './helpers/quantized.mjs';

const temporary = async (t) => {
  const folder = await makeFolder(t);
  return (name) => join(folder, name);
};

test('quantized models are saved with their calibration, and loaded', async (t) => {
  const path = await temporary(t);
  const cases = [
    [perceptron(), noise(64 * 20)],
    [images(), noise(32 * 3 * 144)],
    [transformer(), Int32Array.from({ length: 32 * 12 }, (_, i) => (i * 7) % 30)],
  ];
  for (const [i, [model, x]] of cases.entries()) {
    const quantized = await quantize(model, { calibration: { x } });
    const wanted = (await loadPredictor(t, quantized)).predictSync(x);
    const file = path(`${i}.safetensors`);
    await quantized.save(file);
    const again = await loadPredictor(t, file);
    t.deepEqual(again.predictSync(x), wanted);
    t.deepEqual(again.quantization, quantized.report);
    t.deepEqual((await loadPredictor(t, file, { precision: 'int8' })).predictSync(x), wanted);
    const read = await QuantizedModel.load(file);
    t.deepEqual(read.report, quantized.report);
    await read.save(path('again.safetensors'));
    t.deepEqual((await loadPredictor(t, path('again.safetensors'))).predictSync(x), wanted);
    await t.throwsAsync(Model.load(file), error('ERR_FILE_FORMAT', /Predictor\.load reads/));
    await t.throwsAsync(
      loadPredictor(t, file, { precision: 'float32' }),
      error('ERR_ARGUMENT', /"int8"/),
    );
    await t.throwsAsync(loadPredictor(t, file, { calibration: { x } }), error('ERR_ARGUMENT'));
  }
  await perceptron().save(path('plain.safetensors'));
  await t.throwsAsync(QuantizedModel.load(path('plain.safetensors')), error('ERR_FILE_FORMAT'));
  const options = { precision: 'int8', calibration: { x: cases[0][1] } };
  t.is((await loadPredictor(t, path('plain.safetensors'), options)).quantization.layers.length, 3);
});

/** The file with other metadata or tensors, as `change` makes them of its header. */
function rewrite(file, change) {
  const bytes = readFileSync(file);
  const length = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.toString('utf8', 8, 8 + length));
  const quantization = JSON.parse(header.__metadata__.quantization);
  const dropped = change(quantization, header) === 'drop';
  header.__metadata__.quantization = JSON.stringify(quantization);
  if (dropped) delete header.__metadata__.quantization;
  const json = Buffer.from(JSON.stringify(header));
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(json.length));
  writeFileSync(`${file}.changed`, Buffer.concat([size, json, bytes.subarray(8 + length)]));
  return `${file}.changed`;
}

test('quantized files are not believed', async (t) => {
  const file = (await temporary(t))('small.safetensors');
  await (await quantize(perceptron(), { calibration: { x: noise(64 * 20) } })).save(file);
  t.deepEqual((await QuantizedModel.load(rewrite(file, () => {}))).report.layers.length, 3);
  const refuses = (change, message) =>
    t.throwsAsync(Predictor.load(rewrite(file, change)), error('ERR_FILE_FORMAT', message));
  const mark = (field, value) => (quantization) => {
    quantization.nodes[0][field] = value;
  };
  await refuses(mark('zero', 256), /zero/);
  await refuses(mark('zero', 1.5), /zero/);
  for (const scale of [0, -1, null, 'x', 1e300]) await refuses(mark('scale', scale), /scale/);
  await refuses(mark('mode', 'fast'), /mode/);
  for (const index of [-1, 1e9, 1]) await refuses(mark('index', index), /index|node/);
  await refuses((quantization) => {
    quantization.nodes = {};
  }, /nodes/);
  await refuses((quantization) => {
    quantization.nodes.pop();
  }, /`dense_2\.weight`/);
  await refuses((quantization) => {
    quantization.report.layers = 7;
  }, /report\.layers/);
  await refuses((_, header) => {
    header['dense.weight'].dtype = 'U8';
  }, /F32 or I8/);
  await refuses((_, header) => {
    header['dense.scales'] = header['dense.weight.scale'];
    delete header['dense.weight.scale'];
  }, /`dense\.weight\.scale`/);
  await refuses(() => 'drop', /F32 \[48, 20\] for tensor `dense\.weight`/);
});

/** A model that is right about the largest of its numbers, and loses that in few steps. */
function fragile() {
  const model = sequential([dense(8, { bias: false }), dense(4, { bias: false })], { input: [4] });
  const [first, second] = [...model.parameters.values()].map(({ data }) => data);
  for (let i = 0; i < 4; i++) {
    first[i * 4 + i] = 1;
    for (let j = 0; j < 4; j++) first[(4 + i) * 4 + j] = 0;
  }
  for (const [i, data] of [first, second].entries()) {
    const width = i === 0 ? 4 : 8;
    data.fill(0);
    for (let row = 0; row < 4; row++) data[row * width + row] = 1;
  }
  const x = noise(256 * 4).map((value) => 1 + 0.001 * value);
  const y = Int32Array.from({ length: 256 }, (_, row) => {
    const four = [...x.subarray(4 * row, 4 * row + 4)];
    return four.indexOf(Math.max(...four));
  });
  return { model, x, y };
}

test('a model that loses too much is refused, or keeps its worst layers', async (t) => {
  const { model, x, y } = fragile();
  const options = { precision: 'int8', calibration: { x }, validation: { x, y } };
  const refused = await t.throwsAsync(
    Predictor.load(model, { ...options, maxAccuracyLoss: 0.01 }),
    error('ERR_NUMERIC', /at most 0\.01 of accuracy for `maxAccuracyLoss`.*dense/),
  );
  t.is(refused.report.validation.float32, 1);
  t.true(refused.report.validation.loss > 0.1);
  t.is(refused.report.layers.length, 2);
  const shown = await loadPredictor(t, model, options);
  t.true(shown.quantization.validation.loss > 0.1);
  const quantization = { auto: true };
  const safe = await loadPredictor(t, model, { ...options, maxAccuracyLoss: 0.01, quantization });
  t.true(safe.quantization.validation.loss <= 0.01);
  t.true(safe.quantization.layers.some(({ reason }) => /noise/.test(reason)));
});

test('numbers as targets: the growth of the error counts', async (t) => {
  const model = perceptron();
  const x = noise(64 * 20);
  const y = (await loadPredictor(t, model))
    .predictSync(x)
    .map((value, i) => value + 0.5 * (i % 2) - 0.25);
  const options = { calibration: { x }, validation: { x, y }, maxAccuracyLoss: 0.01 };
  const { validation } = (await quantize(model, options)).report;
  t.is(validation.metric, 'rootMeanSquaredError');
  t.true(Math.abs(validation.float32 - 0.25) < 1e-4 && validation.loss < 0.01);
});

test('calibration data are checked', async (t) => {
  const refuses = (options, code, message) =>
    t.throwsAsync(quantize(perceptron(), options), error(code, message));
  const x = noise(64 * 20);
  await refuses({ calibration: { x: new Float32Array(0) } }, 'ERR_SHAPE', /`x`/);
  await refuses({ calibration: [] }, 'ERR_SHAPE', /no batches/);
  await refuses({ calibration: { x: noise(30) } }, 'ERR_SHAPE', /a multiple of 20/);
  await refuses({ calibration: { x: new Float64Array(20) } }, 'ERR_DTYPE');
  await refuses({ calibration: 7 }, 'ERR_ARGUMENT', /`calibration`/);
  await refuses({ calibration: { x: x.map(() => Number.NaN) } }, 'ERR_NUMERIC', /dense/);
  await refuses({ calibration: { x }, maxAccuracyLoss: 0.1 }, 'ERR_ARGUMENT', /`validation`/);
  const y = new Int32Array(63);
  await refuses({ calibration: { x }, validation: { x, y } }, 'ERR_SHAPE', /validation\.y/);
  await refuses({ calibration: { x }, validation: { x } }, 'ERR_ARGUMENT', /\{ x, y \}/);
  await refuses({ quantization: { observer: 'mean' } }, 'ERR_ARGUMENT', /observer/);
  await refuses({ quantization: { percentile: 10 } }, 'ERR_ARGUMENT', /percentile/);
  await refuses({ precision: 'int4' }, 'ERR_ARGUMENT', /precision/);
  await refuses({ quantisation: {} }, 'ERR_ARGUMENT', /did you mean `quantization`/);
});

test('constant calibration data are no obstacle, and are reported', async (t) => {
  const model = perceptron();
  for (const value of [0, 3, -2]) {
    const x = new Float32Array(20 * 4).fill(value);
    const int8 = await loadPredictor(t, model, { precision: 'int8', calibration: { x } });
    const [first] = int8.quantization.layers;
    t.is(first.input.constant, value === 0);
    const exact = (await loadPredictor(t, model)).predictSync(x);
    t.true(relativeError(int8.predictSync(x), exact) < 0.05);
  }
});

test('calibration comes in batches and datasets, too', async (t) => {
  const model = perceptron();
  const x = noise(64 * 20);
  const whole = await quantize(model, { calibration: { x } });
  async function* batches() {
    for (let i = 0; i < 4; i++)
      yield await Promise.resolve({ x: x.subarray(i * 320, i * 320 + 320) });
  }
  t.deepEqual((await quantize(model, { calibration: batches() })).report, whole.report);
  const y = Int32Array.from({ length: 64 }, (_, i) => i % 5);
  const arrays = await quantize(model, { calibration: { x }, validation: { x, y } });
  const dataset = fromArrays({ x, y });
  const found = await quantize(model, { calibration: dataset, validation: dataset });
  t.deepEqual(found.report, arrays.report);
  t.is(found.report.validation?.rows, 64);
  // Batches of a dataset say their rows.
  const calibration = dataset.batches({ batchSize: 16 });
  const said = await quantize(model, { calibration, validation: { x, y, rows: 64 } });
  t.deepEqual(said.report, arrays.report);
  await t.throwsAsync(
    quantize(model, { calibration: { x, rows: 63 } }),
    error('ERR_SHAPE', /64 for `rows` for `calibration`, received 63/),
  );
});

test('batches of a model with a fixed batch may say their rows', async (t) => {
  const x = input([3], { batch: 4 });
  const model = new Model({ inputs: x, outputs: dense(2)(x), seed: 1 });
  const batch = { x: noise(12), y: new Float32Array(8), rows: 4 };
  const { report } = await quantize(model, { calibration: [batch, batch] });
  t.is(report.calibrationRows, 8);
});

test('a dataset comes to a model with a fixed batch in batches of it', async (t) => {
  const make = (batch) => {
    const x = input([20], { ...(batch && { batch }) });
    return new Model({ inputs: x, outputs: dense(3)(dense(8)(x)), seed: 1 });
  };
  const rows = fromArrays({
    x: noise(24 * 20),
    y: Int32Array.from({ length: 24 }, (_, i) => i % 3),
  });
  const reportOf = async (model, data) =>
    (await quantize(model, { calibration: data, validation: data })).report;
  const free = await reportOf(make(), rows);
  t.deepEqual([free.calibrationRows, free.validation.rows], [24, 24]);
  t.true(free.validation.float32 > 0 && free.validation.float32 < 1);
  const fixed = await reportOf(make(4), rows);
  t.deepEqual(fixed.validation, free.validation);
  t.is(fixed.calibrationRows, 24);
  t.deepEqual(fixed.layers[0].input, free.layers[0].input);
  await t.throwsAsync(reportOf(make(5), rows), error('ERR_SHAPE', /`calibration`.*100 elements/));
  await t.throwsAsync(
    quantize(make(4), { validation: fromBatches(async function* () {}) }),
    error('ERR_SHAPE', /`validation`/),
  );
});

test('a signal ends the wait for data that never come', async (t) => {
  const model = perceptron();
  const batch = { x: noise(20), y: Int32Array.of(1) };
  async function* hanging() {
    yield batch;
    await new Promise(() => {});
  }
  const dataset = fromBatches(hanging);
  const data = { x: noise(64 * 20), y: new Int32Array(64) };
  for (const given of [
    { calibration: hanging() },
    { calibration: dataset },
    { calibration: data, validation: dataset },
  ]) {
    const controller = new AbortController();
    setTimeout(() => controller.abort('enough'), 20);
    const quantizing = quantize(model, { ...given, signal: controller.signal });
    const { cause } = await t.throwsAsync(quantizing, error('ERR_ABORTED'));
    t.is(cause, 'enough');
  }
});
