// A convolutional network on MNIST's 10,000 images: 8,000 to train on, 2,000 held out.
//   npm run build && node examples/mnist-cnn.mjs [--device cpu] [--precision bf16-mixed] [--seed 1] [--quick]
import { mkdir } from 'node:fs/promises';
import {
  adamw,
  batchNorm,
  conv2d,
  cosine,
  dense,
  dropout,
  flatten,
  maxPool2d,
  Predictor,
  relu,
  sequential,
  Trainer,
} from 'tandem-ml';
import { compare, timeRuns } from './lib/measure.mjs';
import { loadMnist, size } from './lib/mnist.mjs';
import { device, out, precision, quick, seed } from './lib/options.mjs';

const [epochs, wantedAccuracy] = quick ? [2, 0.97] : [12, 0.985];
const batchSize = 64;

const [train, test] = await loadMnist(8000);

const block = (filters) => [
  conv2d(filters, { kernel: 3, padding: 1, bias: false }),
  batchNorm(),
  relu(),
  maxPool2d({ kernel: 2 }),
];
const model = sequential(
  [...block(16), ...block(32), ...block(64), flatten(), dropout(0.5), dense(10)],
  { input: [1, size, size], seed },
);
console.log(model.summary());

const totalSteps = epochs * Math.ceil(train.y.length / batchSize);
const trainer = new Trainer(model, {
  loss: 'crossEntropy',
  optimizer: adamw({ learningRate: 4e-3, weightDecay: 0.05 }),
  lrScheduler: cosine({ warmupSteps: totalSteps / 10, totalSteps }),
  metrics: ['accuracy'],
  device,
  precision,
  seed,
});
const start = performance.now();
await trainer.fit(train, { epochs, batchSize, validationData: test });
const seconds = (performance.now() - start) / 1000;

const { accuracy, loss } = await trainer.evaluate(test);
const found = `${(100 * accuracy).toFixed(2)}%`;
console.log(
  `\nOn ${test.y.length} held-out images: accuracy ${found}, validation loss ${loss.toFixed(4)}, after ${seconds.toFixed(1)} s of training`,
);

// Served from a file.
await mkdir(out, { recursive: true });
await model.save(new URL('mnist-cnn.safetensors', out));
const predictor = await Predictor.load(new URL('mnist-cnn.safetensors', out), { device });
const io = predictor.bind(1);
io.inputs.x.set(test.x.subarray(0, size * size));
const latencyMs = timeRuns(() => io.runSync(), 1000);
console.log(`\n${compare(trainer.profile(), { ...predictor.profile(), latencyMs })}`);
await trainer.close();
await predictor.close();

if (!(accuracy >= wantedAccuracy)) {
  console.error(`expected an accuracy of ${100 * wantedAccuracy}% or more, received ${found}`);
  process.exitCode = 1;
}
