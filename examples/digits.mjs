// Trains a classifier of handwritten digits, tests it on images it has never seen, saves it, and
// serves it. `npm start` runs this.
//   node examples/digits.mjs [--device cpu]
import { mkdir, writeFile } from 'node:fs/promises';
import {
  adamw,
  dense,
  dropout,
  earlyStopping,
  htmlReport,
  Predictor,
  sequential,
  Trainer,
} from 'tandem-ml';
import { classes, drawDigit, loadDigits, pixels } from './lib/digits.mjs';
import { compare, timeRuns } from './lib/measure.mjs';
import { device } from './lib/options.mjs';
import { svgCharts } from './lib/svg-chart.mjs';
import { beside, chart } from './lib/terminal.mjs';

const wantedAccuracy = 0.97;
const out = new URL('../out/', import.meta.url);
await mkdir(out, { recursive: true });

// Data: 1,797 images, of which 1,280 to train on, 240 to know when to stop, and the rest to test.
const [train, validation, test] = await loadDigits({ sizes: [1280, 240], seed: 1 });

// Model.
const model = sequential(
  [
    dense(128, { activation: 'relu' }),
    dropout(0.3),
    dense(64, { activation: 'relu' }),
    dropout(0.3),
    dense(classes),
  ],
  { input: [pixels], seed: 1 },
);
console.log(model.summary());

// Training.
const trainer = new Trainer(model, {
  loss: 'crossEntropy', // of logits and class numbers
  optimizer: adamw({ learningRate: 3e-3 }),
  metrics: ['accuracy', 'confusionMatrix'],
  device,
  seed: 1,
});
const stopping = earlyStopping({ patience: 12, restoreBestWeights: true });
const history = await trainer.fit(train, {
  epochs: 60,
  batchSize: 32,
  validationData: validation,
  callbacks: [stopping, htmlReport({ path: new URL('digits-report.html', out), title: 'Digits' })],
});
const { loss, valLoss = [], accuracy = [], valAccuracy = [] } = history;

console.log(`\nLoss by epoch\n\n${chart({ training: loss, validation: valLoss })}\n`);
console.log(`${history.overfitting().message}\n`);
const mark = { at: stopping.bestEpoch + 1, label: 'best epoch' };
await writeFile(
  new URL('digits-loss.svg', out),
  svgCharts([
    { title: 'Loss', xLabel: 'epoch', series: { training: loss, validation: valLoss }, mark },
    {
      title: 'Accuracy',
      xLabel: 'epoch',
      series: { training: accuracy, validation: valAccuracy },
      mark,
    },
  ]),
);

// Test, on images that had no part in training.
const scores = await trainer.evaluate(test);
console.log(`On ${test.y.length} held-out images: accuracy ${percent(scores.accuracy)}`);

// The trained model in a file, and the file served.
const file = new URL('digits.safetensors', out);
await model.save(file);
const predictor = await Predictor.load(file, { device });

const cards = [];
for (let i = 0; i < 5; i++) {
  const image = test.x.subarray(i * pixels, (i + 1) * pixels);
  const { best, probability } = decide(await predictor.predict(image));
  const label = `${best} at ${percent(probability)}`;
  cards.push([...drawDigit(image), '', label, `label ${test.y[i]}`]);
}
console.log(`\nThe first of them, as the file's model sees them\n\n${beside(cards)}\n`);

// Training beside inference.
const io = predictor.bind(1); // buffers for one row
io.inputs.x.set(test.x.subarray(0, pixels));
const latency = timeRuns(() => io.runSync(), 5000);
console.log(compare(trainer.profile(), { ...predictor.profile(), latencyMs: latency }));
console.log('\nWrote out/digits.safetensors, out/digits-loss.svg and out/digits-report.html');
await trainer.close();
await predictor.close();

if (!(scores.accuracy >= wantedAccuracy)) {
  const found = percent(scores.accuracy);
  console.error(`expected an accuracy of ${percent(wantedAccuracy)} or more, received ${found}`);
  process.exitCode = 1;
}

/** The class with the largest logit, and its probability by softmax. */
function decide(logits) {
  const largest = Math.max(...logits);
  const sum = logits.reduce((total, logit) => total + Math.exp(logit - largest), 0);
  return { best: logits.indexOf(largest), probability: 1 / sum };
}

function percent(share) {
  return `${(100 * share).toFixed(1)}%`;
}
