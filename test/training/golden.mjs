// Writes the checkpoint that the tests read as one of version 1: node test/training/golden.mjs PATH
import { adam, dense, sequential, Trainer } from 'tandem-ml';

const model = sequential([dense(3, { activation: 'tanh' }), dense(1)], { input: [2], seed: 5 });
const optimizer = adam({ learningRate: 0.01 });
const trainer = new Trainer(model, { loss: 'mse', optimizer, ema: { decay: 0.5 }, seed: 3 });
const x = Float32Array.from({ length: 20 }, (_, i) => Math.sin(i));
// In the middle of the second epoch.
const save = {
  onBatchEnd: (step) => (step === 4 ? trainer.saveCheckpoint(process.argv[2] ?? '') : undefined),
};
const data = { x, y: x.subarray(0, 10) };
await trainer.fit(data, { verbose: 0, batchSize: 4, epochs: 4, callbacks: [save] });
await trainer.close();
