// Metrics, matrices and callbacks of a fit that goes on from a checkpoint within an epoch.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { dense, detectOverfitting, htmlReport, metrics, sequential, Trainer } from 'tandem-ml';
import { loadDigits } from '../../examples/lib/digits.mjs';
import { makeFolder } from '../helpers/folder.mjs';

const [data, validation] = await loadDigits({ sizes: [200, 100], seed: 2 });

test('they are those of a fit that was never stopped', async (t) => {
  const dir = await makeFolder(t);
  const run = async (name, more = {}, callbacks = []) => {
    const trainer = new Trainer(sequential([dense(10)], { input: [64], seed: 1 }), {
      loss: 'crossEntropy',
      metrics: {
        accuracy: 'accuracy',
        f1: 'f1',
        rocAuc: 'rocAuc',
        perplexity: 'perplexity',
        confusionMatrix: 'confusionMatrix',
        top2: metrics.topKAccuracy({ k: 2 }),
      },
    });
    const path = join(dir, `${name}.html`);
    const detector = detectOverfitting();
    const history = await trainer.fit(data, {
      epochs: 3,
      batchSize: 20,
      validationData: validation,
      verbose: 0,
      callbacks: [htmlReport({ path }), detector, ...callbacks],
      ...more,
    });
    await trainer.close();
    const { matrices } = history;
    return { numbers: { ...history }, matrices, found: detector.found, report: await text(path) };
  };
  const text = (path) => readFile(path, 'utf8');
  const whole = await run('whole');
  const checkpoint = { dir: join(dir, 'checkpoints'), everySteps: 5 };
  // Ten steps an epoch: the last checkpoint is in the middle of the second.
  const fail = { onBatchEnd: (step) => (step === 16 ? Promise.reject(new Error('mine')) : true) };
  await t.throwsAsync(run('part', { checkpoint }, [fail]), { message: 'mine' });
  const rest = await run('part', { checkpoint, resumeFrom: 'latest' });
  t.deepEqual(rest, whole);
  t.is(rest.numbers.f1.length, 3);
  const counted = rest.matrices.confusionMatrix.flat().reduce((sum, count) => sum + count, 0);
  t.is(counted, 200);
});
