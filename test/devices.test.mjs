// @ts-check
// The option `device` on machines without a GPU; what a GPU computes is for `npm run test:gpu`.
import test from 'ava';
import {
  adam,
  dense,
  devices,
  input,
  Predictor,
  quantize,
  relu,
  sequential,
  Trainer,
} from 'tandem-ml';
import { evaluate } from 'tandem-ml/autodiff';

const model = () => sequential([dense(4, { activation: 'relu' }), dense(2)], { input: [3] });
const data = { x: new Float32Array(6).fill(0.5), y: Int32Array.of(0, 1) };
const [, gpu] = devices();
const withoutGpu = gpu?.reason === undefined ? test.skip : test;

test('devices() names the CPU first, and says why others cannot be had', (t) => {
  const [cpu, ...others] = devices();
  t.is(cpu?.name, 'cpu');
  t.is(cpu?.reason, undefined);
  t.regex(cpu?.description ?? '', /threads$/);
  t.true(others.length > 0);
  for (const { name, reason } of others) {
    t.regex(name, /^cuda/);
    if (reason !== undefined) t.regex(reason, /^expected .+, received .+/);
  }
});

withoutGpu('auto is the CPU, and profile() says why', async (t) => {
  const trainer = new Trainer(model(), { loss: 'crossEntropy', optimizer: adam(), device: 'auto' });
  await trainer.step(data);
  t.is(trainer.profile().device, 'cpu');
  t.is(trainer.profile().deviceReason, gpu?.reason);
  await trainer.close();
  const predictor = await Predictor.load(model());
  t.is(predictor.profile().device, 'cpu');
  t.is(predictor.profile().deviceReason, gpu?.reason);
  await predictor.close();
});

withoutGpu('cuda is an error with the reason', async (t) => {
  const expected = { code: 'ERR_DEVICE', ...(gpu?.reason && { message: gpu.reason }) };
  t.throws(() => new Trainer(model(), { loss: 'crossEntropy', device: 'cuda' }), expected);
  await t.throwsAsync(Predictor.load(model(), { device: 'cuda:0' }), expected);
  const x = input([2], { name: 'x' });
  const feeds = new Map([[x, new Float32Array(2)]]);
  t.throws(() => evaluate(relu(x), feeds, { device: 'cuda' }), expected);
  t.deepEqual(evaluate(relu(x), feeds, { device: 'auto' }), [new Float32Array(2)]);
});

withoutGpu('models of 8-bit integers ask for devices as others do', async (t) => {
  const expected = { code: 'ERR_DEVICE', ...(gpu?.reason && { message: gpu.reason }) };
  const quantized = await quantize(model());
  for (const [source, options] of [
    /** @type {const} */ ([quantized, {}]),
    /** @type {const} */ ([model(), { precision: 'int8' }]),
  ]) {
    await t.throwsAsync(Predictor.load(source, { ...options, device: 'cuda' }), expected);
    const predictor = await Predictor.load(source, { ...options, device: 'auto' });
    t.is(predictor.profile().device, 'cpu');
    t.is(predictor.profile().deviceReason, gpu?.reason);
    await predictor.close();
  }
});

test('cpu has no reason, and sync() and upload() have nothing to do', async (t) => {
  const trainer = new Trainer(model(), { loss: 'crossEntropy', device: 'cpu' });
  await trainer.step(data);
  await trainer.sync();
  await trainer.upload();
  t.is(trainer.profile().device, 'cpu');
  t.is(trainer.profile().deviceReason, undefined);
  await trainer.close();
  await t.throwsAsync(trainer.sync(), { code: 'ERR_CLOSED' });
  await t.throwsAsync(trainer.upload(), { code: 'ERR_CLOSED' });
});

test('memoryLimit refuses steps and predictions that take more, and smaller ones go on', async (t) => {
  const out = { code: 'ERR_OUT_OF_MEMORY', message: /on cpu, which has \d+ of `memoryLimit`/ };
  const options = { loss: /** @type {const} */ ('crossEntropy'), optimizer: adam() };
  const free = new Trainer(model(), { ...options, device: 'cpu' });
  const { loss } = await free.step(data);
  const memoryLimit = free.profile().memory.total;
  await free.close();
  const trainer = new Trainer(model(), { ...options, device: 'cpu', memoryLimit });
  const many = { x: new Float32Array(30000), y: new Int32Array(10000) };
  await t.throwsAsync(trainer.step(many), out);
  t.is((await trainer.step(data)).loss, loss);
  t.is(trainer.profile().memory.total, memoryLimit);
  await trainer.close();
  t.throws(() => new Trainer(model(), { ...options, device: 'cpu', memoryLimit: 64 }), out);

  const limits = { device: /** @type {const} */ ('cpu'), maxBatch: 20000, memoryLimit: 100000 };
  const predictor = await Predictor.load(model(), limits);
  await t.throwsAsync(predictor.predict(many.x), out);
  t.throws(() => predictor.predictSync(many.x), out);
  t.is((await predictor.predict(data.x)).length, 4);
  await predictor.close();
  const asked = /expected [1-9]\d* bytes of memory on cpu, which has 16 of `memoryLimit` 16 free/;
  const load = Predictor.load(model(), { ...limits, memoryLimit: 16 });
  await t.throwsAsync(load, { ...out, message: asked });
  for (const wrong of [0, 2.5, '1 GB']) {
    const load = Predictor.load(model(), { memoryLimit: /** @type {number} */ (wrong) });
    await t.throwsAsync(load, { code: 'ERR_ARGUMENT', message: /`memoryLimit`/ });
  }
});

test('memoryLimit counts the buffers of bindings while they are open', async (t) => {
  const wide = sequential([dense(2)], { input: [3000] });
  const free = await Predictor.load(wide, { device: 'cpu' });
  const memoryLimit = free.profile().memory.total + 70000;
  await free.close();
  const predictor = await Predictor.load(wide, { device: 'cpu', memoryLimit });
  const out = { code: 'ERR_OUT_OF_MEMORY', message: /`batch`/ };
  const before = predictor.profile().memory.total;
  t.throws(() => predictor.bind(10), out);
  t.is(predictor.profile().memory.total, before);
  const binding = predictor.bind(4);
  t.true(predictor.profile().memory.total >= before + 4 * 3002 * 4);
  t.throws(() => predictor.bind(4), out);
  binding.close();
  t.is(predictor.profile().memory.total, before);
  predictor.bind(4).runSync();
  await predictor.close();
});

test('names of devices are checked', (t) => {
  for (const device of ['gpu', 'cuda:', 'cuda:x', 'cuda:-1', 'cuda:99999', 'CPU', 1]) {
    const options = { loss: 'crossEntropy', device };
    // @ts-expect-error: not a device
    t.throws(() => new Trainer(model(), options), { code: 'ERR_ARGUMENT', message: /`device`/ });
  }
});
