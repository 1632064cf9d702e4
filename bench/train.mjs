// Training steps beside PyTorch's when /usr/bin/python3 (or the Python that TANDEM_BENCH_PYTHON
// names) has it. In fit ours counts gathering rows; PyTorch's steps all get the same batch. Steps in
// bf16-mixed stand beside our own in float32 and, in full runs, beside PyTorch's under autocast.
import { Trainer } from 'tandem-ml';
import { beside, inTurns, median, summary, timeOf } from './lib/measure.mjs';
import { eager, quick, roundsOr, threadCounts, threads, wanted } from './lib/options.mjs';
import { openSuite } from './lib/suite.mjs';
import { workloads } from './lib/workloads.mjs';
import { startTorch } from './peers/torch.mjs';

const rounds = roundsOr(quick ? 2 : 11);
const seconds = quick ? 0.1 : 1;
/** Steps of an epoch of fit, at most, and epochs, at least. */
const [steps, epochs] = quick ? [16, 1] : [256, 3];
const modes = eager ? ['eager'] : ['eager', 'compile'];

// What a quick run leaves out: steps of most of a second, and sizes between those of others.
const long = /x384|feed-forward|50x64-128 b64/;

const torch = await startTorch();
const suite = openSuite('train', { PyTorch: torch?.version });

for (const work of workloads) {
  for (const batch of work.trained) {
    const name = `${work.name} b${batch}`;
    if (!wanted(name) || (quick && long.test(name))) continue;
    const make = (precision) =>
      new Trainer(work.model(), { loss: work.loss, optimizer: work.optimizer(), precision });
    const [trainer, mixed] = [make('float32'), make('bf16-mixed')];
    const rows = Math.min(work.rows, steps * batch);
    const data = { x: work.input(rows), y: work.target(rows) };
    const one = { x: work.input(batch), y: work.target(batch) };
    const ours = {
      fit: () => fitTime(trainer, data, batch, rows / batch),
      step: () => timeOf(() => trainer.step(one), seconds),
      mixed: () => timeOf(() => mixed.step(one), seconds),
    };
    for (const side of Object.values(ours)) await side(); // warm
    const [plain, autocast] = [
      await peerSides(work, batch, 'float32'),
      quick ? {} : await peerSides(work, batch, 'bf16-mixed'),
    ];
    const times = await inTurns({ ...ours, ...plain, ...autocast }, rounds);
    const pick = (sides) => Object.fromEntries(Object.keys(sides).map((key) => [key, times[key]]));
    const cases = { fit: plain, step: plain, mixed: autocast };
    for (const [call, sides] of Object.entries(cases)) {
      const side = times[call];
      const found = beside(side, pick(sides));
      const title = call === 'mixed' ? '`step` in bf16-mixed' : `\`${call}\``;
      suite.add({
        ...{ name: `${name}, ${title}`, workload: work.name, batch, call, threads },
        ...{ ...summary(side), unit: 'ms', peers: found ? { PyTorch: found } : {} },
        ...(call === 'mixed' && { byFloat32: beside(side, { step: times.step })?.ratio }),
      });
    }
    await trainer.close();
    await mixed.close();
  }
}
torch?.close();
suite.finish();

/** PyTorch's modes with each number of threads, built and warm. */
async function peerSides({ torch: model }, batch, precision) {
  /** @type {Record<string, () => Promise<import('./lib/measure.mjs').Time>>} */
  const sides = {};
  if (torch === undefined) return sides;
  for (const mode of modes) {
    for (const count of threadCounts) {
      const request = { model, batch, precision, mode, threads: count };
      const failure = await torch.prepare(request);
      const name = precision === 'float32' ? `${mode} ${count}t` : `autocast ${mode} ${count}t`;
      if (failure) suite.note(`PyTorch, ${name}: ${failure}`);
      else sides[name] = () => torch.measure(request, seconds);
    }
  }
  return sides;
}

/** A step inside fit: the median over its epochs. */
async function fitTime(trainer, data, batchSize, steps) {
  const times = [];
  let start = 0;
  const end = performance.now() + seconds * 1000;
  const clock = {
    onEpochBegin() {
      start = performance.now();
    },
    onEpochEnd() {
      times.push((performance.now() - start) / steps);
      return times.length < epochs || performance.now() < end;
    },
  };
  await trainer.fit(data, { epochs: 1e6, batchSize, verbose: 0, callbacks: [clock] });
  return { p50: median(times), p99: null };
}
