// Predictions in every way, 8-bit models and generation: on the device against the CPU.
import { dense, embedding, gru, input, lstm, sequential, transformerBlock } from 'tandem-ml';
import { languageModel } from '../../helpers/language.mjs';
import { images, noise, perceptron, transformer } from '../../helpers/quantized.mjs';
import { check, end, ensure, near, onDevice, predictorOn, same } from '../support.mjs';

const tolerance = 1e-5;
const onCpu = { device: 'cpu' };

const integers = (length, below) => Int32Array.from({ length }, (_, i) => (i * i + 3 * i) % below);

/** A model of each kind, and rows for it. */
const kinds = {
  perceptron: () => ({ model: perceptron(), x: noise(37 * 20) }),
  images: () => ({ model: images(), x: noise(9 * 3 * 12 * 12) }),
  transformer: () => ({ model: transformer(), x: integers(5 * 12, 30) }),
  swiglu: () => {
    const block = { heads: 2, causal: true, norm: 'rms', activation: 'swiglu', rotary: true };
    const layers = [embedding(19, 32), transformerBlock(block), dense(19)];
    const shape = input([10], { dtype: 'int32' });
    return { model: sequential(layers, { input: shape, seed: 3 }), x: integers(4 * 10, 19) };
  },
  recurrent: () => ({
    model: sequential([lstm(24, { sequence: true }), gru(17), dense(3)], {
      ...{ input: [11, 5], seed: 8 },
    }),
    x: noise(6 * 11 * 5),
  }),
};

for (const [kind, make] of Object.entries(kinds)) {
  await check(`${kind}: predict, predictSync and bind`, async (t) => {
    const { model, x } = make();
    const predictor = await predictorOn(t, model);
    onDevice(predictor.profile());
    const want = (await predictorOn(t, model, onCpu)).predictSync(x);
    const errors = [near(predictor.predictSync(x), want, tolerance, 'predictSync')];
    errors.push(near(await predictor.predict(x), want, tolerance, 'predict'));
    const row = predictor.inputs[0].shape.slice(1).reduce((size, n) => size * n, 1);
    const rows = x.length / row;
    const io = predictor.bind(rows);
    io.inputs[predictor.inputs[0].name].set(x);
    const y = io.outputs[predictor.outputs[0].name];
    io.runSync();
    errors.push(near(y, want, tolerance, 'runSync'));
    y.fill(0);
    await io.run();
    errors.push(near(y, want, tolerance, 'run'));
    const one = want.subarray(0, want.length / rows);
    errors.push(near(predictor.predictSync(x.subarray(0, row)), one, tolerance, 'one row'));
    return Math.max(...errors).toExponential(1);
  });

  for (const precision of ['bfloat16', 'int8', 'int8-weights']) {
    for (const calibrated of precision === 'int8' ? [true, false] : [false]) {
      const how = precision === 'int8' ? (calibrated ? ', calibrated' : ', dynamic') : '';
      await check(`${kind} in ${precision}${how}`, async (t) => {
        const { model, x } = make();
        const options = { precision, ...(calibrated && { calibration: { x } }) };
        const exact = (await predictorOn(t, model, onCpu)).predictSync(x);
        const cpu = (await predictorOn(t, model, { ...options, ...onCpu })).predictSync(x);
        const predictor = await predictorOn(t, model, options);
        const { kernels } = predictor.profile();
        const got = predictor.predictSync(x);
        try {
          onDevice(predictor.profile());
          const own = near(cpu, exact, 0.2, 'the CPU against float32');
          // one rounding more or less of a byte is what both may differ in
          const error = near(got, cpu, Math.max(0.02, own), 'the device against the CPU');
          return `${error.toExponential(1)}; the CPU is ${own.toExponential(1)} from float32`;
        } catch (failure) {
          failure.message += `\nkernels: ${kernels.join(' ')}`;
          throw failure;
        }
      });
    }
  }
}

await check('thousands of concurrent predictions, each its own rows', async (t) => {
  const predictor = await predictorOn(t, perceptron());
  const x = noise(300 * 20);
  const want = (await predictorOn(t, perceptron(), onCpu)).predictSync(x);
  const call = (_, i) => {
    const first = (i * 7) % 290;
    const rows = 1 + (i % 9);
    return predictor
      .predict(x.subarray(first * 20, (first + rows) * 20))
      .then((y) =>
        near(y, want.subarray(first * 5, (first + rows) * 5), tolerance, `call ${i}, row ${first}`),
      );
  };
  const start = performance.now();
  await Promise.all(Array.from({ length: 2000 }, call));
  return `${Math.round(2000 / ((performance.now() - start) / 1000))} a second`;
});

await check('batching', async (t) => {
  const batching = { maxBatch: 16, maxDelayUs: 500 };
  const predictor = await predictorOn(t, perceptron(), { batching });
  const x = noise(100 * 20);
  const want = (await predictorOn(t, perceptron(), onCpu)).predictSync(x);
  const rows = await Promise.all(
    Array.from({ length: 100 }, (_, i) => predictor.predict(x.subarray(i * 20, (i + 1) * 20))),
  );
  for (const [i, y] of rows.entries())
    near(y, want.subarray(i * 5, (i + 1) * 5), tolerance, `row ${i}`);
});

await check('stream', async (t) => {
  const predictor = await predictorOn(t, perceptron(), { maxQueue: 8 });
  const x = noise(100 * 20);
  const want = (await predictorOn(t, perceptron(), onCpu)).predictSync(x);
  const rows = Array.from({ length: 100 }, (_, i) => x.subarray(i * 20, (i + 1) * 20));
  let i = 0;
  for await (const y of predictor.stream(rows)) {
    near(y, want.subarray(i * 5, (i + 1) * 5), tolerance, `row ${i}`);
    i++;
  }
  same(i, 100, 'rows');
});

await check('two models at once, each with calls pending', async (t) => {
  const models = [kinds.perceptron(), kinds.images()];
  const loaded = await Promise.all(models.map(({ model }) => predictorOn(t, model)));
  const wanted = await Promise.all(
    models.map(async ({ model, x }) => (await predictorOn(t, model, onCpu)).predictSync(x)),
  );
  const calls = Array.from({ length: 60 }, (_, i) => i % 2);
  const results = await Promise.all(calls.map((k) => loaded[k].predict(models[k].x)));
  for (const [i, y] of results.entries()) near(y, wanted[calls[i]], tolerance, `call ${i}`);
});

const collect = async (tokens) => {
  const all = [];
  for await (const token of tokens) all.push(token);
  return all;
};
const prompts = [[1], [2, 3, 4], [5, 1, 0, 7, 12, 3, 3, 8], [9, 9, 2], [0, 4]];

for (const [name, block, positions] of [
  ['learned positions', {}, 24],
  ['rotary positions', { rotary: true }, 0],
  ['rms norms and swiglu', { norm: 'rms', activation: 'swiglu' }, 24],
]) {
  await check(`generation, ${name}`, async (t) => {
    const set = { vocabulary: 13, time: 24, positions, blocks: 2, block, spread: 4 };
    const options = { generation: { sequences: 3 } };
    const predictor = await predictorOn(t, languageModel(set), options);
    onDevice(predictor.profile());
    const cpu = await predictorOn(t, languageModel(set), { ...options, ...onCpu });
    const write = (from) => (prompt) => collect(from.generate(prompt, { maxTokens: 12 }));
    const want = await Promise.all(prompts.map(write(cpu)));
    for (const [i, prompt] of prompts.entries())
      same(await write(predictor)(prompt), want[i], `prompt ${prompt}, alone`);
    same(await Promise.all(prompts.map(write(predictor))), want, 'together');
    ensure(new Set(want.flat()).size > 3, 'all tokens are the same');
  });
}
end();
