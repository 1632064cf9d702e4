// How long the event loop is held up while the engine works: by perf_hooks' histogram, which fires
// a timer every millisecond (so 1 ms is no delay), and by the rounds of a loop that never sleeps.
// The same without work stands beside it: what the machine adds by itself.
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { Predictor, Trainer } from 'tandem-ml';
import { inTurns, median } from './lib/measure.mjs';
import { quick, roundsOr, threads, wanted } from './lib/options.mjs';
import { openSuite } from './lib/suite.mjs';
import { workload } from './lib/workloads.mjs';

const seconds = quick ? 1 : 10;
const rounds = roundsOr(1);
const work = workload('MLP 784-512-256-10');
const batchSize = 128;
const inFlight = 1000;

const loads = {
  [`fit of ${work.name} b128`]: fit,
  [`1,000 predict calls of ${work.name} in flight`]: predict,
};

const suite = openSuite('eventloop');
for (const [method, watch] of Object.entries({ timer: watchTimer, rounds: watchRounds })) {
  const nameOf = (/** @type {string} */ load) => `${load}, by ${method}`;
  const chosen = Object.keys(loads).filter((load) => wanted(nameOf(load)));
  if (chosen.length === 0) continue;
  const idle = () => watch(() => sleep(seconds * 1000));
  const busy = Object.fromEntries(chosen.map((load) => [load, () => underLoad(load, watch)]));
  const found = await inTurns({ idle, ...busy }, rounds);
  for (const load of chosen) {
    const [mine, without] = [overRounds(found[load]), overRounds(found.idle)];
    suite.add({
      ...{ name: nameOf(load), load, method, threads, value: mine.p50, p99: mine.p99 },
      ...{ unit: 'ms', busy: mine, idle: without, peers: {} },
    });
  }
}
suite.finish();

/** Delays while a load runs. */
async function underLoad(load, watch) {
  const { run, close } = await loads[load]();
  const delays = await watch(run);
  await close();
  return delays;
}

/** The medians of all rounds, and the longest of any. */
function overRounds(list) {
  const [p50, p99] = ['p50', 'p99'].map((key) => median(list.map((one) => one[key])));
  return { p50, p99, max: Math.max(...list.map(({ max }) => max)) };
}

/** Milliseconds between two firings of a timer of 1 ms. */
async function watchTimer(run) {
  const histogram = monitorEventLoopDelay({ resolution: 1 });
  histogram.enable();
  await run();
  histogram.disable();
  const ms = (nanoseconds) => nanoseconds / 1e6;
  return {
    p50: ms(histogram.percentile(50)),
    p99: ms(histogram.percentile(99)),
    max: ms(histogram.max),
  };
}

/**
 * Milliseconds of the round of a never sleeping loop that something falls into which happens at a
 * random moment. Counting rounds would say nothing: nearly all are empty and take a microsecond.
 */
async function watchRounds(run) {
  const long = [];
  const began = performance.now();
  let last = began;
  let immediate = setImmediate(function round() {
    const now = performance.now();
    if (now - last > 0.01) long.push(now - last);
    last = now;
    immediate = setImmediate(round);
  });
  await run();
  clearImmediate(immediate);

  long.sort((a, b) => b - a);
  const at = (share) => {
    let left = (1 - share) * (last - began);
    const found = long.find((time) => {
      left -= time;
      return left <= 0;
    });
    return found ?? 0; // shorter than 0.01
  };
  return { p50: at(0.5), p99: at(0.99), max: long[0] ?? 0 };
}

function fit() {
  const trainer = new Trainer(work.model(), { loss: work.loss, optimizer: work.optimizer() });
  const rows = 32 * batchSize;
  const data = { x: work.input(rows), y: work.target(rows) };
  const end = performance.now() + seconds * 1000;
  const clock = { onEpochEnd: () => performance.now() < end };
  return {
    run: () => trainer.fit(data, { epochs: 1e6, batchSize, verbose: 0, callbacks: [clock] }),
    close: () => trainer.close(),
  };
}

async function predict() {
  const predictor = await Predictor.load(work.model());
  const x = work.input(1);
  return {
    async run() {
      const end = performance.now() + seconds * 1000;
      const caller = async () => {
        while (performance.now() < end) await predictor.predict(x);
      };
      await Promise.all(Array.from({ length: inFlight }, caller));
    },
    close: () => predictor.close(),
  };
}
