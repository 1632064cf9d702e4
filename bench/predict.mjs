// Predictions beside onnxruntime-node, and what a call costs beyond the kernels it runs.
import { Predictor } from 'tandem-ml';
import { beside, inTurns, summary, timeOf } from './lib/measure.mjs';
import { quick, roundsOr, threads, wanted } from './lib/options.mjs';
import { openSuite } from './lib/suite.mjs';
import { workloads } from './lib/workloads.mjs';
import { assertClose, findOnnxRuntime, openSessions, rowOf } from './peers/onnx.mjs';

const rounds = roundsOr(quick ? 3 : 11);
const seconds = quick ? 0.1 : 0.6;

/** @param {Record<string, import('./lib/measure.mjs').Time[]>} times in milliseconds */
const inMicroseconds = (times) =>
  Object.fromEntries(
    Object.entries(times).map(([side, list]) => [
      side,
      list.map(({ p50, p99 }) => ({ p50: 1000 * p50, p99: 1000 * (p99 ?? 0) })),
    ]),
  );

const peer = findOnnxRuntime();
const suite = openSuite('predict', { 'onnxruntime-node': peer?.version });

for (const work of workloads) {
  for (const rows of work.served) {
    const name = `${work.name} x${rows}`;
    if (!wanted(name)) continue;
    const model = work.model();
    const x = work.input(rows);
    const calls = await openCalls(model, x, rows);
    const sessions = await openSessions(peer, work.onnx?.(model), x, rowOf(model));
    const sides = Object.fromEntries(
      Object.entries(calls).map(([call, { run }]) => [call, () => timeOf(run, seconds)]),
    );
    for (const [mode, session] of Object.entries(sessions)) {
      assertClose(await session.run(), calls.predictSync.run(), 1e-4);
      sides[mode] = () => timeOf(session.run, seconds);
    }
    const times = inMicroseconds(await inTurns(sides, rounds));
    const peerTimes = Object.fromEntries(Object.keys(sessions).map((mode) => [mode, times[mode]]));
    for (const [call, { predictor }] of Object.entries(calls)) {
      const found = beside(times[call], peerTimes);
      const kernels = 1000 * predictor.profile().latencyMs.p50;
      suite.add({
        ...{ name: `${name}, \`${call}\``, workload: work.name, rows, call, threads },
        ...{
          ...summary(times[call]),
          unit: 'us',
          peers: found ? { 'onnxruntime-node': found } : {},
        },
        ...(call === 'predict' ? {} : { kernels }),
      });
      await predictor.close();
    }
    for (const session of Object.values(sessions)) await session.release();
  }
}
suite.finish();

/** A predictor for each call, so that each has a profile of its own. */
async function openCalls(model, x, rows) {
  const load = () => Predictor.load(model);
  const [bound, sync, async] = [await load(), await load(), await load()];
  const io = bound.bind(rows);
  io.inputs.x.set(x);
  const out = sync.predictSync(x).slice();
  const own = out.slice();
  return {
    runSync: { predictor: bound, run: () => io.runSync() },
    predictSync: { predictor: sync, run: () => sync.predictSync(x, out) },
    predict: { predictor: async, run: () => async.predict(x, { out: own }) },
  };
}
