// A model that is too large for its data learns it by heart. How that is seen, and what helps: training
// on 150 images of digits, a quarter of them with wrong labels, with and without a watch.
import { mkdir } from 'node:fs/promises';
import {
  adamw,
  dense,
  detectOverfitting,
  earlyStopping,
  htmlReport,
  sequential,
  Trainer,
} from 'tandem-ml';
import { classes, loadDigits, pixels } from './lib/digits.mjs';
import { chart, table } from './lib/terminal.mjs';

const out = new URL('../out/', import.meta.url);
await mkdir(out, { recursive: true });
const [train, validation, test] = await loadDigits({ sizes: [150, 400], seed: 3 });
for (let i = 0; i < train.y.length; i += 4) train.y[i] = (train.y[i] + 1 + (i % 9)) % classes;

/**
 * Trains the same model, watched by `callbacks`, and tests it on images without wrong labels.
 * @param {import('tandem-ml').Callback[]} callbacks
 */
async function run(callbacks) {
  const layers = [dense(256, { activation: 'relu' }), dense(classes)];
  const trainer = new Trainer(sequential(layers, { input: [pixels], seed: 1 }), {
    loss: 'crossEntropy',
    optimizer: adamw({ learningRate: 3e-3 }),
    metrics: ['accuracy', 'confusionMatrix'],
    seed: 1,
  });
  const history = await trainer.fit(train, {
    epochs: 60,
    validationData: validation,
    verbose: 0,
    callbacks,
  });
  const scores = await trainer.evaluate(test);
  await trainer.close();
  return { history, scores };
}

const path = new URL('overfitting-report.html', out);
const detector = detectOverfitting();
const unwatched = await run([detector, htmlReport({ path, title: 'Digits, by heart' })]);
const { loss, valLoss = [] } = unwatched.history;
console.log(`Loss by epoch\n\n${chart({ training: loss, validation: valLoss })}\n`);
console.log(unwatched.history.overfitting().message);
console.log(`\nSeen after epoch ${detector.detectedEpoch + 1} already.\n`);

const watched = await run([
  detectOverfitting({ stop: true }),
  earlyStopping({ patience: 60, restoreBestWeights: true }),
]);
const row = (name, { history, scores }) => [
  name,
  String(history.epochs.length),
  scores.loss.toFixed(3),
  `${(100 * scores.accuracy).toFixed(1)} %`,
];
console.log(
  table(
    ['on held-out images', 'epochs', 'loss', 'accuracy'],
    [row('to the end', unwatched), row('stopped, best weights', watched)],
  ),
);
console.log('\nWrote out/overfitting-report.html');
