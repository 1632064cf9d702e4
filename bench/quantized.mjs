// Predictions in float32, bfloat16 and 8-bit integers beside onnxruntime-node, whose floats are float32
// beside both of ours, and which quantizes the inputs of
// its products as it runs. Ours are calibrated; of a CNN, theirs keeps the convolutions in float32.
import { Predictor } from 'tandem-ml';
import { beside, inTurns, summary, timeOf } from './lib/measure.mjs';
import { quick, roundsOr, threads, wanted } from './lib/options.mjs';
import { served } from './lib/served.mjs';
import { openSuite } from './lib/suite.mjs';
import { assertClose, findOnnxRuntime, openSessions, rowOf } from './peers/onnx.mjs';

const rounds = roundsOr(quick ? 2 : 11);
const seconds = quick ? 0.05 : 0.6;
const peer = findOnnxRuntime();
const suite = openSuite('quantized', { 'onnxruntime-node': peer?.version });
/** Of outputs, by norm. */
const tolerances = { float32: 1e-3, bfloat16: 0.05, int8: 0.1 };
const noise = (length) => Float32Array.from({ length }, () => 2 * Math.random() - 1);

for (const work of served) {
  for (const { rows, precision } of work.cases) {
    const name = `${work.name} x${rows}, ${precision}`;
    if (!wanted(name)) continue;
    const model = work.model();
    const row = rowOf(model);
    const each = row.reduce((product, size) => product * size, 1);
    const x = noise(rows * each);
    const int8 = precision === 'int8';
    const calibration = { x: noise((quick ? 4 : 32) * each) };
    const options = int8 ? { precision, calibration } : { precision };
    const predictor = await Predictor.load(model, options);
    const io = predictor.bind(rows);
    io.inputs.x.set(x);
    const sessions = await openSessions(peer, work.onnx(model, int8), x, row);
    io.runSync();
    const sides = { ours: () => timeOf(() => io.runSync(), seconds) };
    for (const [mode, session] of Object.entries(sessions)) {
      assertClose(await session.run(), io.outputs.y, tolerances[precision]);
      sides[mode] = () => timeOf(session.run, seconds);
    }
    const { ours, ...modes } = inMicroseconds(await inTurns(sides, rounds));
    const found = beside(ours, modes);
    suite.add({
      ...{ name, workload: work.name, rows, precision, threads, ...summary(ours), unit: 'us' },
      peers: found ? { 'onnxruntime-node': found } : {},
    });
    await predictor.close();
    for (const session of Object.values(sessions)) await session.release();
  }
}
suite.finish();

/** @param {Record<string, import('./lib/measure.mjs').Time[]>} times in milliseconds */
function inMicroseconds(times) {
  const scaled = ({ p50, p99 }) => ({ p50: 1000 * p50, p99: 1000 * (p99 ?? 0) });
  return /** @type {typeof times} */ (
    Object.fromEntries(Object.entries(times).map(([side, list]) => [side, list.map(scaled)]))
  );
}
