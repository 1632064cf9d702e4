// What metrics cost a step: fits of the same steps of a perceptron without metrics, with one and with
// all of those for classes, in turns on one thread: milliseconds of a step, and by how many percent it is
// slower than without, the median of the rounds. Where threads share a machine
// with others, they differ by more than that.
// Usage: metrics.mjs [--rounds 15] [--filter f1] [--quick] [--markdown] [--save]
import { adam, dense, sequential, Trainer } from 'tandem-ml';
import { inTurns, median } from './lib/measure.mjs';
import { quick, roundsOr, wanted } from './lib/options.mjs';
import { openSuite } from './lib/suite.mjs';

const suite = openSuite('metrics');

const [features, classes, batchSize] = [784, 10, 64];
const rows = batchSize * (quick ? 20 : 200);
const x = Float32Array.from({ length: rows * features }, (_, i) => Math.sin(i * i));
const y = Int32Array.from({ length: rows }, (_, i) => i % classes);

/** @type {import('tandem-ml').MetricName[]} */
const most = [
  'accuracy',
  'topKAccuracy',
  'precision',
  'recall',
  'f1',
  'confusionMatrix',
  'perplexity',
];
/** @type {Record<string, import('tandem-ml').MetricName[]>} */
const sets = {
  none: [],
  accuracy: ['accuracy'],
  f1: ['f1'],
  'all but rocAuc': most,
  all: [...most, 'rocAuc'],
};

/** Milliseconds of a step, those of an epoch's end included. */
function timed(metrics) {
  const layers = [dense(128, { activation: 'relu' }), dense(classes)];
  const model = sequential(layers, { input: [features], seed: 1 });
  const options = { metrics, optimizer: adam(), threads: 1 };
  const trainer = new Trainer(model, { loss: 'crossEntropy', ...options });
  return async () => {
    const start = performance.now();
    await trainer.fit({ x, y }, { batchSize, shuffle: false, verbose: 0 });
    return ((performance.now() - start) * batchSize) / rows;
  };
}

const chosen = Object.entries(sets).filter(([name]) => name === 'none' || wanted(name));
const sides = Object.fromEntries(chosen.map(([name, metrics]) => [name, timed(metrics)]));
for (const run of Object.values(sides)) await run();
const times = await inTurns(sides, quick ? 3 : roundsOr(15));
for (const [name, list] of Object.entries(times)) {
  const costs = list.map((time, i) => 100 * (time / times.none[i] - 1));
  const costPercent = Number(median(costs).toFixed(2));
  suite.add({ name, value: median(list), unit: 'ms a step', costPercent, peers: {} });
}
suite.finish();
