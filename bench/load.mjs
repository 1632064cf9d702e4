// Latency of predictions under load. Calls arrive at random moments (a Poisson process) whether or
// not earlier ones are done, and the time of each counts from the moment it was to arrive: a server
// that falls behind cannot make its queue disappear by asking later.
//
// The loop that makes the calls never sleeps, for timers are too coarse; like that of a busy server
// it competes with the engine's threads for the processor.
import { Predictor } from 'tandem-ml';
import { inTurns, median, quantile } from './lib/measure.mjs';
import { quick, roundsOr, threads, wanted } from './lib/options.mjs';
import { openSuite } from './lib/suite.mjs';
import { workloads } from './lib/workloads.mjs';
import { findOnnxRuntime, openSessions, rowOf } from './peers/onnx.mjs';

const rounds = roundsOr(quick ? 2 : 7);
const seconds = quick ? 0.25 : 1.5;
const shares = quick ? [0.5, 0.9] : [0.25, 0.5, 0.75, 0.9];
/** Above this share of its capacity a side has no latency: it grows for as long as the load lasts. */
const saturated = 0.95;

const peer = findOnnxRuntime();
const suite = openSuite('load', { 'onnxruntime-node': peer?.version });

for (const work of workloads) {
  if (!work.served.includes(1)) continue;
  const cases = casesOf(work.name).filter(({ name }) => wanted(name));
  if (cases.length === 0) continue;
  const model = work.model();
  const x = work.input(1);
  const predictor = await Predictor.load(model);
  const sessions = await openSessions(peer, work.onnx?.(model), x, rowOf(model));
  /** @type {Record<string, () => Promise<unknown>>} */
  const calls = { ours: () => predictor.predict(x) };
  for (const [mode, session] of Object.entries(sessions)) calls[mode] = session.run;
  const capacities = await measureCapacities(calls);
  const mode = Object.keys(sessions).sort((a, b) => capacities[b] - capacities[a])[0];
  for (const { name, side: whose, part } of cases) {
    const limit = capacities[whose === 'peer' ? mode : 'ours'];
    if (limit === undefined) continue;
    const rate = part * limit;
    const fits = Object.keys(calls).filter(
      (side) => (side === 'ours' || side === mode) && rate <= saturated * capacities[side],
    );
    const sides = Object.fromEntries(
      fits.map((side) => [side, () => underLoad(calls[side], rate)]),
    );
    const found = await inTurns(sides, rounds);
    const [ours, theirs] = [overRounds(found.ours), overRounds(found[mode])];
    const ratio = ours.value && theirs.value ? theirs.value / ours.value : null;
    suite.add({
      ...{ name, workload: work.name, rate, share: rate / capacities.ours, threads },
      ...{ unit: 'us', ...ours, capacity: capacities.ours },
      peers: mode
        ? { 'onnxruntime-node': { mode, ...theirs, ratio, capacity: capacities[mode] } }
        : {},
    });
  }
  await predictor.close();
  for (const session of Object.values(sessions)) await session.release();
}
suite.finish();

/** Calls a second of each side when some are always waiting. */
async function measureCapacities(calls) {
  const sides = Object.fromEntries(
    Object.entries(calls).map(([side, call]) => [side, () => capacity(call)]),
  );
  const found = await inTurns(sides, rounds);
  return Object.fromEntries(Object.entries(found).map(([side, list]) => [side, median(list)]));
}

async function capacity(call) {
  const { issue, late } = recorder(call);
  const start = performance.now();
  const end = start + seconds * 1000;
  while (performance.now() < end) {
    await Promise.all(Array.from({ length: 16 }, () => issue(start)));
  }
  return (1000 * late.length) / (performance.now() - start);
}

/** Makes calls, and notes how late each is done, in microseconds after its time. */
function recorder(call) {
  const late = [];
  const issue = async (/** @type {number} */ scheduled) => {
    await call();
    late.push(1000 * (performance.now() - scheduled));
  };
  return { issue, late };
}

/** The loads of a model, by names that say nothing of what is measured: parts of a side's capacity. */
function casesOf(/** @type {string} */ model) {
  const whose = { peer: "onnxruntime-node's", ours: 'our' };
  return Object.entries(whose).flatMap(([side, whom]) =>
    shares.map((part) => {
      const name = `${model} x1, ${Math.round(100 * part)} % of ${whom} capacity`;
      return { name, side, part };
    }),
  );
}

/** Microseconds of the calls of one open loop. */
async function underLoad(call, rate) {
  const { issue, late } = recorder(call);
  const next = () => (-Math.log(1 - Math.random()) * 1000) / rate;
  const start = performance.now();
  const end = start + seconds * 1000;
  let due = start + next();
  let issued = 0;
  await new Promise((resolve, reject) => {
    const turn = () => {
      const now = performance.now();
      for (; due <= now && due < end; due += next()) {
        issued++;
        issue(due).catch(reject);
      }
      if (due < end || late.length < issued) setImmediate(turn);
      else resolve(undefined);
    };
    turn();
  });
  const at = (share) => quantile(late, share);
  return { value: at(0.5), p99: at(0.99), p999: at(0.999) };
}

/** Nulls for a side that was not measured. */
function overRounds(list) {
  const of = (key) => (list === undefined ? null : median(list.map((one) => one[key])));
  return { value: of('value'), p99: of('p99'), p999: of('p999') };
}
