// The gate of quantization: what it counts, what it refuses, and options that would do nothing.
import vm from 'node:vm';
import test from 'ava';
import { dense, input, Predictor, quantize, sequential } from 'tandem-ml';
import { error } from './helpers/outcomes.mjs';
import { loadPredictor } from './helpers/predictors.mjs';
import { noise, perceptron, transformer } from './helpers/quantized.mjs';

const rows = 64;
const x = noise(rows * 20);
const argmax = (row) => row.indexOf(Math.max(...row));

async function classesOf(t, model) {
  const y = (await loadPredictor(t, model)).predictSync(x);
  return Int32Array.from({ length: rows }, (_, i) => argmax(y.subarray(i * 5, (i + 1) * 5)));
}

test('what is not finite is refused, not passed', async (t) => {
  const model = perceptron();
  const y = (await loadPredictor(t, model)).predictSync(x).map((value) => value + 0.01);
  const strict = { calibration: { x }, maxAccuracyLoss: 0.0001 };
  await t.throwsAsync(
    quantize(model, { ...strict, validation: { x, y } }),
    error('ERR_NUMERIC', /loss of at most/),
  );
  y[3] = Number.NaN;
  await t.throwsAsync(
    quantize(model, { ...strict, validation: { x, y } }),
    error('ERR_NUMERIC', /finite numbers for `validation\.y`, received NaN at position 3/),
  );
  y[3] = 0;
  const bad = x.slice();
  bad[7] = Number.NaN;
  await t.throwsAsync(
    quantize(model, { ...strict, validation: { x: bad, y } }),
    error('ERR_NUMERIC', /`validation`, received a rootMeanSquaredError of NaN/),
  );
  const classes = { x: bad, y: new Int32Array(rows) };
  await t.throwsAsync(
    quantize(model, { ...strict, validation: classes }),
    error('ERR_NUMERIC', /received a accuracy of NaN|accuracy of NaN/),
  );
});

test('weights that are not finite are named', async (t) => {
  for (const value of [Number.NaN, Number.POSITIVE_INFINITY]) {
    const model = perceptron();
    model.parameters.get('dense_1.weight').data[5] = value;
    for (const precision of ['int8', 'int8-weights']) {
      await t.throwsAsync(
        loadPredictor(t, model, { precision }),
        error('ERR_NUMERIC', new RegExp(`\`dense_1\\.weight\`, received ${value} at position 5`)),
      );
    }
  }
});

test('class numbers: below 0 there is no class, and others have to be of the model', async (t) => {
  const model = perceptron();
  const y = await classesOf(t, model);
  const report = async (validation) =>
    (await quantize(model, { calibration: { x }, validation })).report.validation;
  t.is((await report({ x, y })).float32, 1);
  // Half of them have no class: the share of the others is 1.
  const some = y.map((value, i) => (i % 2 === 0 ? -100 : value));
  t.is((await report({ x, y: some })).float32, 1);
  y[9] = 5;
  await t.throwsAsync(report({ x, y }), error('ERR_ARGUMENT', /up to 4, .* received 5/));
  await t.throwsAsync(report({ x, y: y.fill(-1) }), error('ERR_ARGUMENT', /received none/));
});

test('the metric is chosen', async (t) => {
  const model = perceptron();
  const y = await classesOf(t, model);
  const report = async (metric, targets) => {
    const options = { calibration: { x }, validation: { x, y: targets }, quantization: { metric } };
    return (await quantize(model, options)).report.validation;
  };
  t.is((await report('accuracy', Float32Array.from(y))).float32, 1);
  const { float32, int8, loss } = await report('perplexity', y);
  const logits = (await loadPredictor(t, model)).predictSync(x);
  let sum = 0;
  y.forEach((wanted, i) => {
    const row = logits.subarray(i * 5, (i + 1) * 5);
    sum += Math.log(row.reduce((a, v) => a + Math.exp(v), 0)) - row[wanted];
  });
  t.true(Math.abs(float32 / Math.exp(sum / rows) - 1) < 1e-6);
  t.is(loss, int8 / float32 - 1);
  const binary = sequential([dense(1)], { input: [20], seed: 1 });
  const scores = (await loadPredictor(t, binary)).predictSync(x);
  const validation = { x, y: scores.map((score) => (score > 0 ? 1 : 0)) };
  const made = async (metric) =>
    (await quantize(binary, { calibration: { x }, validation, quantization: { metric } })).report
      .validation.float32;
  t.is(await made('accuracy'), 1);
  const entropy = scores.reduce((a, v) => a + Math.log1p(Math.exp(-Math.abs(v))), 0) / rows;
  t.true(Math.abs((await made('perplexity')) / Math.exp(entropy) - 1) < 1e-5);
  await t.throwsAsync(report('mae', y), error('ERR_ARGUMENT', /quantization\.metric/));
});

test('auto says how much of a model stays bytes', async (t) => {
  const model = perceptron();
  const y = (await loadPredictor(t, model)).predictSync(x).map((value) => value + 1e-4);
  const report = async (maxAccuracyLoss) => {
    const options = { calibration: { x }, validation: { x, y }, quantization: { auto: true } };
    return (await quantize(model, { ...options, maxAccuracyLoss })).report;
  };
  t.is((await report(0)).quantizedShare, 0);
  t.is((await report(1e9)).quantizedShare, 1);
});

test('options that would do nothing are refused', async (t) => {
  const model = perceptron();
  const validation = { x, y: await classesOf(t, model) };
  const cases = [
    [{ quantization: { auto: true } }, /maxAccuracyLoss/],
    [{ validation, quantization: { auto: true } }, /maxAccuracyLoss/],
    [{ quantization: { metric: 'accuracy' } }, /`validation`/],
    [{ precision: 'int8-weights', calibration: { x } }, /"int8" with `calibration`/],
    [{ quantization: { observer: 'entropy' } }, /rows with `quantization\.observer`/],
    [{ precision: 'int8-weights', quantization: { smoothQuant: 0.3 } }, /smoothQuant/],
    [{ calibration: { x }, quantization: { percentile: 99 } }, /"percentile" with `percentile`/],
    [{ validation, maxAccuracyLoss: 5 }, /from 0 to 1 for `maxAccuracyLoss`, received 5/],
    [{ calibration: { y: x } }, /in `calibration`: .*`x`|calibration/],
  ];
  for (const [options, message] of cases) {
    await t.throwsAsync(
      loadPredictor(t, model, { precision: 'int8', ...options }),
      error('ERR_ARGUMENT', message),
    );
  }
  const short = { x: x.subarray(0, 19) };
  await t.throwsAsync(
    quantize(model, { calibration: short }),
    error('ERR_SHAPE', /^in `calibration`/),
  );
  for (const [precision, hint] of [
    ['INT8', /"int8-weights" for `precision`, received "INT8"; did you mean `int8`/],
    ['bf16', /"float32" or "bfloat16" or "int8" or "int8-weights"/],
  ]) {
    await t.throwsAsync(loadPredictor(t, model, { precision }), error('ERR_ARGUMENT', hint));
  }
});

test('a model with a fixed batch is calibrated by many of them', async (t) => {
  const given = input([8], { batch: 2 });
  const model = sequential([dense(4, { activation: 'relu' }), dense(3)], { input: given });
  const batches = [1, 2, 3].map((seed) => ({ x: noise(16, seed).map((value) => value * seed) }));
  const { report } = await quantize(model, {
    calibration: batches,
    quantization: { observer: 'minMax' },
  });
  t.is(report.calibrationRows, 6);
  const all = batches.flatMap(({ x: values }) => [...values]);
  t.is(report.layers[0].input.seen.high, Math.max(...all));
});

test('a signal ends quantization between two batches', async (t) => {
  const model = transformer();
  const tokens = Int32Array.from({ length: 400 * 12 }, (_, i) => (i * 7) % 30);
  const controller = new AbortController();
  const pending = quantize(model, { calibration: { x: tokens }, signal: controller.signal });
  controller.abort();
  await t.throwsAsync(pending, error('ERR_ABORTED'));
  const options = { precision: 'int8', signal: AbortSignal.abort() };
  await t.throwsAsync(Predictor.load(model, options), error('ERR_ABORTED'));
});

test('options and arrays of another realm are what they are', async (t) => {
  const options = vm.runInNewContext('({ maxBatch: 4 })');
  const predictor = await loadPredictor(t, perceptron(), options);
  const wanted = predictor.predictSync(x);
  const [foreign, empty] = vm.runInNewContext('[Float32Array.from(x), new Float64Array(20)]', {
    x,
  });
  t.false(foreign instanceof Float32Array);
  t.deepEqual(predictor.predictSync(foreign), wanted);
  t.deepEqual(await predictor.predict(foreign), wanted);
  t.throws(() => predictor.predictSync(empty), error('ERR_DTYPE', /received Float64Array/));
});
