// Training steps beside PyTorch's when /usr/bin/python3 (or the Python that TANDEM_BENCH_PYTHON
// names) has it. In fit ours counts gathering rows; PyTorch's steps all get the same batch.
import { Trainer } from 'tandem-ml';
import { beside, inTurns, median, summary, timeOf } from './lib/measure.mjs';
import { quick, threadCounts, threads, wanted } from './lib/options.mjs';
import { openSuite } from './lib/suite.mjs';
import { workloads } from './lib/workloads.mjs';
import { startTorch } from './peers/torch.mjs';

const rounds = quick ? 3 : 11;
const seconds = quick ? 0.2 : 1;
// Compiling takes half a minute a case.
const modes = quick ? ['eager'] : ['eager', 'compile'];

const torch = await startTorch();
const suite = openSuite('train', { PyTorch: torch?.version });

for (const work of workloads) {
  for (const batch of work.trained) {
    const name = `${work.name} b${batch}`;
    if (!wanted(name)) continue;
    const trainer = new Trainer(work.model(), { loss: work.loss, optimizer: work.optimizer() });
    const rows = Math.min(work.rows, 256 * batch);
    const data = { x: work.input(rows), y: work.target(rows) };
    const one = { x: work.input(batch), y: work.target(batch) };
    const ours = {
      fit: () => fitTime(trainer, data, batch),
      step: () => timeOf(() => trainer.step(one), seconds),
    };
    for (const side of Object.values(ours)) await side(); // warm
    const times = await inTurns({ ...ours, ...(await peerSides(work, batch)) }, rounds);
    const { fit, step, ...peer } = times;
    for (const [call, side] of Object.entries({ fit, step })) {
      const found = beside(side, peer);
      suite.add({
        ...{ name: `${name}, \`${call}\``, workload: work.name, batch, call, threads },
        ...{ ...summary(side), unit: 'ms', peers: found ? { PyTorch: found } : {} },
      });
    }
    await trainer.close();
  }
}
torch?.close();
suite.finish();

/** PyTorch's modes with each number of threads, built and warm. */
async function peerSides({ torch: model }, batch) {
  /** @type {Record<string, () => Promise<import('./lib/measure.mjs').Time>>} */
  const sides = {};
  if (torch === undefined) return sides;
  for (const mode of modes) {
    for (const count of threadCounts) {
      const request = { model, batch, mode, threads: count };
      const failure = await torch.prepare(request);
      if (failure) suite.note(`PyTorch, ${mode}: ${failure}`);
      else sides[`${mode} ${count}t`] = () => torch.measure(request, seconds);
    }
  }
  return sides;
}

/** A step inside fit: the median over its epochs. */
async function fitTime(trainer, data, batchSize) {
  const steps = data.y.length / batchSize;
  const times = [];
  let start = 0;
  const end = performance.now() + seconds * 1000;
  const clock = {
    onEpochBegin() {
      start = performance.now();
    },
    onEpochEnd() {
      times.push((performance.now() - start) / steps);
      return times.length < 3 || performance.now() < end;
    },
  };
  await trainer.fit(data, { epochs: 1e6, batchSize, verbose: 0, callbacks: [clock] });
  return { p50: median(times), p99: null };
}
