// Predictions of two perceptrons, beside onnxruntime-node when it is installed: in the project
// (`npm i --no-save onnxruntime-node`) or in the folder that TANDEM_BENCH_PEERS names.
import { Predictor } from 'tandem-ml';
import { best, inTurns, median, pairedRatio, timeOf } from './lib/measure.mjs';
import { mlp, noise } from './lib/models.mjs';
import { columns, header, note, quick, report, short, threads } from './lib/report.mjs';
import { findOnnxRuntime, perceptronToOnnx } from './peers/onnx.mjs';

const cases = [
  { sizes: [30, 64, 32, 2], rows: 1 },
  { sizes: [784, 512, 256, 10], rows: 1 },
  { sizes: [784, 512, 256, 10], rows: 256 },
];
const rounds = quick ? 3 : 11;
const seconds = quick ? 0.2 : 0.6;

header('prediction');
const peer = findOnnxRuntime();
if (peer === undefined) note('onnxruntime-node is not installed: no peer');
else
  note(`peer: onnxruntime-node ${peer.version}, \`await session.run\`, the best number of threads`);
columns('MLP, rows, call', 'tandem-ml, µs', 'onnxruntime-node, µs', 'its mode', 'ratio');

for (const { sizes, rows } of cases) {
  const name = `${sizes.join('-')} x${rows}`;
  const model = mlp(sizes);
  const predictor = await Predictor.load(model);
  const x = noise(rows * sizes[0]);
  const out = new Float32Array(rows * sizes[sizes.length - 1]);
  const io = predictor.bind(rows);
  io.inputs.x.set(x);

  /** @type {Record<string, () => Promise<number>>} */
  const sides = {
    runSync: () => timeOf(() => io.runSync(), seconds),
    predictSync: () => timeOf(() => predictor.predictSync(x, out), seconds),
    predict: () => timeOf(() => predictor.predict(x, { out }), seconds),
  };
  const sessions = [];
  if (peer) {
    const { InferenceSession, Tensor } = peer.ort;
    const feeds = { x: new Tensor('float32', x, [rows, sizes[0]]) };
    for (const count of threads === 1 ? [1] : [1, threads]) {
      const session = await InferenceSession.create(perceptronToOnnx(model), {
        intraOpNumThreads: count,
        interOpNumThreads: 1,
      });
      sessions.push(session);
      const { y } = await session.run(feeds);
      assertClose(y.data, predictor.predictSync(x));
      sides[`onnxruntime ${count}t`] = () => timeOf(() => session.run(feeds), seconds);
    }
  }

  const times = await inTurns(sides, rounds);
  const mode = best(times, (side) => side.startsWith('onnxruntime'));
  for (const call of ['runSync', 'predictSync', 'predict']) {
    const ours = median(times[call]) * 1000;
    const theirs = mode === undefined ? null : median(times[mode]) * 1000;
    const ratio = mode === undefined ? null : pairedRatio(times[mode], times[call]);
    const result = {
      name: `predict ${name} ${call}`,
      ours,
      peer: theirs,
      ratio,
      unit: 'us',
      threads,
      peerMode: mode ?? null,
      fastest: {
        ours: Math.min(...times[call]) * 1000,
        peer: mode ? Math.min(...times[mode]) * 1000 : null,
      },
    };
    report(result, [
      `${name}, \`${call}\``,
      short(ours),
      short(theirs),
      mode?.split(' ')[1] ?? '-',
      short(ratio),
    ]);
  }
  io.close();
  await predictor.close();
  await Promise.all(sessions.map((session) => session.release()));
}

/** Throws when two sides do not compute the same. */
function assertClose(actual, expected) {
  const bad = expected.findIndex((value, i) => !(Math.abs(value - actual[i]) <= 1e-4));
  if (actual.length !== expected.length || bad !== -1) {
    throw new Error(`outputs differ at ${bad}: ${expected[bad]} and ${actual[bad]}`);
  }
}
