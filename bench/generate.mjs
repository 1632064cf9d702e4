// Generation beside computing the whole sequence for each token, and of many sequences at one time.
import { Predictor } from 'tandem-ml';
import { inTurns, median } from './lib/measure.mjs';
import { quick, roundsOr, threads, wanted } from './lib/options.mjs';
import { openSuite } from './lib/suite.mjs';
import { gptModel } from './lib/workloads.mjs';

const context = 256;
const rounds = roundsOr(quick ? 2 : 5);

const model = gptModel({ layers: 4, width: 128, heads: 4, time: context });
const suite = openSuite('generate', {});
const predictor = await Predictor.load(model, { generation: {} });
const io = predictor.bind(1);
const nameOf = (/** @type {string} */ side) => `gpt, context ${context}, ${side}`;

async function count(tokens) {
  let found = 0;
  for await (const _ of tokens) found++;
  return found;
}

/** Tokens a second of so many sequences, each up to the end of the context. */
async function decode(sequences) {
  const start = performance.now();
  const counts = await Promise.all(
    Array.from({ length: sequences }, (_, i) => count(predictor.generate([i]))),
  );
  return (1000 * counts.reduce((a, b) => a + b)) / (performance.now() - start);
}

/** The same where each token takes a run of the whole sequence. */
function recompute() {
  const runs = quick ? 16 : 64;
  const start = performance.now();
  for (let i = 0; i < runs; i++) io.runSync();
  return (1000 * runs) / (performance.now() - start);
}

const all = {
  recompute: async () => recompute(),
  one: () => decode(1),
  four: () => decode(4),
  sixteen: () => decode(16),
};
const chosen = Object.keys(all).filter((side) => wanted(nameOf(side)));
if (chosen.length > 0) {
  // Those that the others are compared with run whatever is wanted.
  const sides = Object.fromEntries(
    Object.entries(all).filter(([side]) => [...chosen, 'recompute', 'one'].includes(side)),
  );
  const found = await inTurns(sides, rounds);
  const of = (side) => median(found[side]);
  for (const side of chosen) {
    suite.add({
      ...{ name: nameOf(side), workload: 'gpt', threads },
      ...{ value: of(side), unit: 'tokens/s', peers: {} },
      ...{ overRecompute: of(side) / of('recompute'), overOne: of(side) / of('one') },
    });
  }
}
await predictor.close();
suite.finish();
