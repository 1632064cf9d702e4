// The processors that suites ran on, each with its results, and its page among the documents.
import { nameOf, slugOf } from './results.mjs';
import { describeProcessor, tables } from './tables.mjs';

/**
 * @typedef {import('./results.mjs').Results} Results
 * @typedef {object} Machine
 * @property {string} name
 * @property {string} description
 * @property {string} page its file in docs/
 * @property {(suite: string) => Results | undefined} resultsOf
 */

/** The suites of a page, in order; those of GPUs stand elsewhere. */
const headings = {
  train: 'Training',
  predict: 'Prediction',
  quantized: 'Prediction in 8-bit integers',
  load: 'Prediction under load',
  eventloop: 'Event loop',
  serving: 'Serving',
  generate: 'Generation',
  memory: 'Memory',
  'data-csv': 'Data: CSV',
  'data-parquet': 'Data: Parquet',
  pipeline: 'Preparing batches',
  metrics: 'Metrics',
  accuracy: 'What 8-bit integers cost on held-out data',
  bike: 'Forecasts of bicycle rentals beside PyTorch',
  precision: 'bf16-mixed beside float32',
  native: 'Kernels',
  'native-avx2': 'Kernels with AVX2',
};

/**
 * @param {Results[]} all
 * @returns {Machine[]}
 */
export function machinesOf(all) {
  /** @type {Map<string, Map<string, Results>>} by what stands for the machine, and suite */
  const machines = new Map();
  for (const results of all) {
    if (!(results.suite in headings)) continue;
    const slug = slugOf(results.machine);
    if (!machines.has(slug)) machines.set(slug, new Map());
    machines.get(slug)?.set(results.suite, results);
  }
  return [...machines]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([slug, suites]) => {
      // The instruction set of native-avx2 is not the machine's own.
      const [{ machine }] = [...suites.values()].sort((a, b) => own(b) - own(a));
      return {
        name: nameOf(machine.cpu),
        description: describeProcessor(machine),
        page: `performance-${slug}.md`,
        resultsOf: (suite) => suites.get(suite),
      };
    });
}

const own = (/** @type {Results} */ { suite }) => Number(!suite.startsWith('native-'));

/** The text of a machine's page. @param {Machine} machine */
export function pageOf({ description, resultsOf }) {
  const parts = Object.entries(headings).flatMap(([suite, heading]) => {
    const results = resultsOf(suite);
    return results ? [`## ${heading}`, tables[suite](results)] : [];
  });
  const intro =
    'What is measured, how, and what is wanted: [performance.md](performance.md). All of this page is\n' +
    'written by `npm run bench:report`.';
  return `${[`# Performance on ${description}`, intro, ...parts].join('\n\n')}\n`;
}
