// Training steps of two perceptrons, beside PyTorch's when /usr/bin/python3 (or the Python that
// TANDEM_BENCH_PYTHON names) has it. In fit ours counts gathering rows; PyTorch's steps all get the
// same batch.
import { adam, Trainer } from 'tandem-ml';
import { best, inTurns, median, pairedRatio, timeOf } from './lib/measure.mjs';
import { labels, mlp, noise } from './lib/models.mjs';
import { columns, compile, header, note, quick, report, short, threads } from './lib/report.mjs';
import { startTorch } from './peers/torch.mjs';

const cases = [
  { sizes: [784, 512, 256, 10], batch: 128, steps: 32 },
  { sizes: [30, 64, 32, 2], batch: 32, steps: 1024 },
];
const rounds = quick ? 3 : 11;
const seconds = quick ? 0.4 : 1.5;

header('training');
const torch = await startTorch();
if (torch === undefined) note('PyTorch cannot be imported: no peer');
else note(`peer: PyTorch ${torch.version}, fused Adam, the best of its modes`);
columns('MLP, batch, call', 'tandem-ml, ms a step', 'PyTorch, ms a step', 'its mode', 'ratio');

for (const { sizes, batch, steps } of cases) {
  const name = `${sizes.join('-')} b${batch}`;
  const trainer = new Trainer(mlp(sizes), {
    loss: 'crossEntropy',
    optimizer: adam({ learningRate: 1e-3 }),
  });
  const classes = sizes[sizes.length - 1];
  const data = { x: noise(steps * batch * sizes[0]), y: labels(steps * batch, classes) };
  const one = { x: data.x.subarray(0, batch * sizes[0]), y: data.y.subarray(0, batch) };

  /** @type {Record<string, () => Promise<number>>} */
  const sides = {
    fit: () => fitTime(trainer, data, batch, steps),
    step: () => timeOf(() => trainer.step(one), seconds),
  };
  const counts = threads === 1 ? [1] : [1, threads];
  for (const mode of compile ? ['eager', 'compile'] : ['eager']) {
    for (const count of counts) {
      const request = { sizes, batch, mode, threads: count };
      const failure = await torch?.prepare(request);
      if (failure) note(`PyTorch, ${mode}: ${failure}`);
      else if (torch) sides[`${mode} ${count}t`] = () => torch.measure(request, seconds);
    }
  }

  for (const side of [sides.fit, sides.step]) await side(); // warm
  const { fit, step, ...peers } = await inTurns(sides, rounds);
  const mode = best(peers, () => true);
  for (const [call, ours] of Object.entries({ fit, step })) {
    const peer = mode === undefined ? null : median(peers[mode]);
    const ratio = mode === undefined ? null : pairedRatio(peers[mode], ours);
    const result = {
      name: `train ${name} ${call}`,
      ours: median(ours),
      peer,
      ratio,
      unit: 'ms/step',
      threads,
      peerMode: mode ?? null,
      fastest: { ours: Math.min(...ours), peer: mode ? Math.min(...peers[mode]) : null },
      peers: Object.fromEntries(Object.entries(peers).map(([key, times]) => [key, median(times)])),
    };
    report(result, [
      `${name}, \`${call}\``,
      short(result.ours),
      short(peer),
      mode ?? '-',
      short(ratio),
    ]);
  }
  await trainer.close();
}
torch?.close();

/** Milliseconds a step inside fit: the median over its epochs. */
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
      return times.length < 3 || performance.now() < end;
    },
  };
  await trainer.fit(data, { epochs: 1e6, batchSize, verbose: 0, callbacks: [clock] });
  return median(times);
}
