// transformerBlock against the same written with plain layers and ops, its parameters, files of it.
import { join } from 'node:path';
import test from 'ava';
import {
  add,
  dense,
  gelu,
  input,
  layerNorm,
  Model,
  mul,
  multiHeadAttention,
  Predictor,
  rmsNorm,
  sequential,
  silu,
  Trainer,
  transformerBlock,
} from 'tandem-ml';
import { makeFolder } from '../helpers/folder.mjs';
import { generator, relativeError, uniform } from '../helpers/numbers.mjs';

const [batch, time, dim, heads] = [2, 9, 16, 4];

/** The block by layers of its parts, in the order of its parameters. */
function parts({ norm = 'layer', activation = 'gelu', mlpRatio = 4, bias = true, ...attention }) {
  const normal = () => (norm === 'layer' ? layerNorm() : rmsNorm());
  const hidden = () => dense(mlpRatio * dim, { bias });
  return (x, call) => {
    const seen = multiHeadAttention({ heads, bias, ...attention })(normal()(x), undefined, call);
    const middle = add(x, seen);
    const normed = normal()(middle);
    const up = hidden()(normed);
    const inner = activation === 'gelu' ? gelu(up) : mul(silu(hidden()(normed)), up);
    return add(middle, dense(dim, { bias })(inner));
  };
}

const forms = {
  plain: {},
  causal: { causal: true },
  'with rms and swiglu': { norm: 'rms', activation: 'swiglu', causal: true, bias: false },
  'with rotary positions': { rotary: true, causal: true, mlpRatio: 2 },
  'with a mask': { masked: true },
};

for (const [form, { masked, ...options }] of Object.entries(forms)) {
  test(`transformerBlock ${form}`, async (t) => {
    const random = generator(71);
    const x = input([time, dim], { name: 'x' });
    const mask = masked ? input([1, 1, time], { name: 'mask' }) : undefined;
    const inputs = mask ? [x, mask] : [x];
    const call = mask && { mask };
    const models = [transformerBlock({ heads, ...options })(x, call), parts(options)(x, call)].map(
      (y) => new Model({ inputs, outputs: [y], seed: 1 }),
    );
    const [block, plain] = models.map(({ parameters }) => [...parameters.values()]);
    t.deepEqual(
      block.map(({ shape }) => shape),
      plain.map(({ shape }) => shape),
    );
    block.forEach(({ data }, i) => {
      data.set(uniform(data.length, random, -0.5, 0.5));
      plain[i].data.set(data);
    });
    const arrays = {
      x: uniform(batch * time * dim, random),
      ...(mask && { mask: uniform(batch * time, random) }),
    };
    const results = [];
    for (const model of models) {
      const predictor = await Predictor.load(model);
      results.push(await predictor.predict(arrays));
      await predictor.close();
    }
    const [got, wanted] = results.map((result) =>
      ArrayBuffer.isView(result) ? result : result[0],
    );
    const error = relativeError(got, wanted);
    t.true(error < 1e-6, `relative error ${error}`);
  });
}

test('names of its parameters', (t) => {
  const names = (options) => {
    const model = sequential([transformerBlock({ heads, ...options })], { input: [time, dim] });
    return [...model.parameters.keys()].map((name) => name.replace('transformerBlock.', ''));
  };
  t.deepEqual(names({}), [
    ...['norm1.weight', 'norm1.bias'],
    ...['attention.inProj.weight', 'attention.inProj.bias'],
    ...['attention.outProj.weight', 'attention.outProj.bias'],
    ...['norm2.weight', 'norm2.bias'],
    ...['mlp.up.weight', 'mlp.up.bias', 'mlp.down.weight', 'mlp.down.bias'],
  ]);
  t.deepEqual(names({ norm: 'rms', activation: 'swiglu', bias: false }), [
    ...['norm1.weight', 'attention.inProj.weight', 'attention.outProj.weight', 'norm2.weight'],
    ...['mlp.up.weight', 'mlp.gate.weight', 'mlp.down.weight'],
  ]);
});

test('trains with dropout, is saved, and predicts without dropout', async (t) => {
  const folder = await makeFolder(t);
  const model = sequential([transformerBlock({ heads, causal: true, dropout: 0.2 })], {
    input: [time, dim],
    seed: 1,
  });
  const trainer = new Trainer(model, { loss: 'mse', seed: 1 });
  t.teardown(() => trainer.close());
  const random = generator(72);
  const data = {
    x: uniform(4 * time * dim, random),
    y: uniform(4 * time * dim, random),
  };
  const before = (await trainer.evaluate(data)).loss;
  for (let i = 0; i < 40; i++) await trainer.step(data);
  const after = (await trainer.evaluate(data)).loss;
  t.true(after < 0.9 * before, `${before} to ${after}`);

  const file = join(folder, 'model.safetensors');
  await model.save(file);
  const predictor = await Predictor.load(file);
  t.teardown(() => predictor.close());
  const y = await predictor.predict(data.x);
  const loss = y.reduce((sum, item, i) => sum + (item - data.y[i]) ** 2, 0) / y.length;
  t.true(Math.abs(loss - after) < 1e-5 * after);
});

test('what it refuses', (t) => {
  const refuses = (options, message) => {
    const error = t.throws(() => transformerBlock(options));
    t.is(error.code, 'ERR_ARGUMENT');
    t.regex(error.message, message);
  };
  refuses(undefined, /`heads`/);
  refuses({ heads: 2, norm: 'batch' }, /`norm`/);
  refuses({ heads: 2, activation: 'relu' }, /`activation`/);
  refuses({ heads: 2, mlpRatio: 0 }, /`mlpRatio`/);
  refuses({ heads: 2, dropout: 1 }, /`dropout`/);
  refuses({ heads: 2, ratio: 4 }, /options of transformerBlock/);
  for (const mlpRatio of [1e9, 1e15, 1e300]) {
    const error = t.throws(() => transformerBlock({ heads: 2, mlpRatio })(input([time, dim])));
    t.is(error.code, 'ERR_ARGUMENT');
    t.regex(error.message, /units.* for `mlpRatio`, received 1/);
  }
  const error = t.throws(() => transformerBlock({ heads: 3 })(input([time, dim])));
  t.is(error.code, 'ERR_SHAPE');
  t.regex(
    error.message,
    /in layer `transformerBlock`: expected x \[batch, time, dim\] of a width that 3 heads divide .*received x \[batch, 9, 16\]$/,
  );
});
