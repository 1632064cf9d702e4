// The results of each suite as Markdown, for --markdown and for docs/performance*.md.

import { nameOf } from './results.mjs';
import { targetRows } from './targets.mjs';

/** @typedef {import('./results.mjs').Results} Results */

const ort = 'onnxruntime-node';

/** Three digits that mean something. */
const short = (value) =>
  value === null || value === undefined ? '-' : String(Number(value.toPrecision(3)));

const percent = (share) =>
  share === null || share === undefined ? '-' : `${Math.round(100 * share)} %`;

/** @param {string[]} columns  @param {(string | number | null | undefined)[][]} rows */
function table(columns, rows) {
  const line = (cells) =>
    `| ${cells.map((cell) => (typeof cell === 'string' ? cell : short(cell))).join(' | ')} |`;
  return [line(columns), `|${'---|'.repeat(columns.length)}`, ...rows.map(line)].join('\n');
}

/** What kernels use of the processor. @param {import('./results.mjs').Machine} machine */
function instructions({ isa, extensions }) {
  if (extensions === undefined) return isa;
  const lacks = isa === 'avx512' && !extensions.some((name) => name.startsWith('amx'));
  const more = [extensions.join(', '), lacks ? 'no AMX' : ''].filter(Boolean).join('; ');
  return more === '' ? isa : `${isa} (${more})`;
}

/** @param {import('./results.mjs').Machine} machine */
export function describeProcessor(machine) {
  const { cpu, cores } = machine;
  const of = [nameOf(cpu), `${cores} ${cores === 1 ? 'core' : 'cores'}`, instructions(machine)];
  return of.filter(Boolean).join(', ');
}

/** @param {Results} results */
function origin({ machine, date, command, results }) {
  const { node, gpu, peers = {} } = machine;
  const of = [gpu, describeProcessor(machine), `Node ${node.slice(1)}`];
  const versions = Object.entries(peers).map(([peer, version]) => `${peer} ${version}`);
  // The run of all cases first, unless none is left that comes from it.
  const parts = results.map(({ from }) => from ?? { date, command });
  parts.sort((a, b) => Number(b.command === command) - Number(a.command === command));
  const runs = parts.map((run) => `${run.date}, \`${run.command}\``);
  const text = [[...of, ...versions].filter(Boolean).join(', '), ...new Set(runs)];
  return `${text.join('; ')}.`;
}

const paragraphs = (...parts) => parts.join('\n\n');

/** A table of values without peers. */
const plain = (/** @type {string} */ first) => (/** @type {Results} */ results) =>
  paragraphs(
    origin(results),
    table(
      [first, 'value', 'unit'],
      results.results.map(({ name, value, unit }) => [name, value, unit]),
    ),
  );

/** Rates on a GPU, larger ones better, beside PyTorch's. */
const cuda = (/** @type {Results} */ results) =>
  paragraphs(
    origin(results),
    table(
      ['what', 'tandem-ml', 'unit', 'PyTorch', 'its mode', 'ratio'],
      results.results.map(({ name, value, unit, peers }) => {
        const peer = peers.PyTorch ?? {};
        return [name, value, unit, peer.value, peer.mode ?? '', peer.ratio];
      }),
    ),
  );

/**
 * A table for cases that have one peer.
 * @param {string} peer  @param {string} first  @param {string} unit
 */
const paired = (peer, first, unit) => (/** @type {Results} */ results) => {
  const columns = [
    first,
    `tandem-ml, ${unit}`,
    'p99',
    `${peer}, ${unit}`,
    'p99',
    'its mode',
    'ratio',
  ];
  // How our float32 takes longer, where a case has that.
  const mixed = results.results.some(({ byFloat32 }) => byFloat32);
  const rows = results.results.map(({ name, value, p99, peers, byFloat32 }) => {
    const other = peers[peer] ?? { mode: '-' };
    const cells = [name, value, p99, other.value, other.p99, other.mode, other.ratio];
    return mixed ? [...cells, byFloat32] : cells;
  });
  if (mixed) columns.push('by our float32');
  return paragraphs(origin(results), table(columns, rows));
};

/**
 * Of brief calls: in longer ones it drowns.
 * @param {Results} results
 */
function boundary({ results }) {
  const rows = results.filter(({ kernels }) => kernels < 10);
  return table(
    ['model, rows, call', 'whole call, µs', 'kernels, µs', 'boundary, µs'],
    rows.map(({ name, value, kernels }) => [name, value, kernels, value - kernels]),
  );
}

const percentiles = ({ value, p99, p999 }) =>
  value === null ? 'beyond its capacity' : [value, p99, p999].map(short).join(' / ');

/** @param {Results} results */
function load(results) {
  const columns = [
    ...['model, rows, load', 'calls a second', 'of our capacity'],
    ...['tandem-ml, µs', `${ort}, µs`],
  ];
  const rows = results.results.map(({ name, rate, share, peers, ...ours }) => [
    name,
    String(Math.round(rate)),
    percent(share),
    percentiles(ours),
    peers[ort] ? percentiles(peers[ort]) : '-',
  ]);
  return paragraphs(origin(results), 'Latencies: p50 / p99 / p99.9.', table(columns, rows));
}

/** @param {Results} results */
function eventLoop(results) {
  const columns = ['while', 'measured by', 'p50, ms', 'p99, ms', 'max, ms', 'p99 without work, ms'];
  const rows = results.results.map(({ load: work, method, busy, idle }) => [
    work,
    method,
    ...[busy.p50, busy.p99, busy.max, idle.p99],
  ]);
  return paragraphs(origin(results), table(columns, rows));
}

/** @param {Results} results */
function memory(results) {
  const columns = [
    ...['example', '`profile()`, MB', 'counted, MB', 'ratio'],
    ...['in memory, MB', 'ratio'],
  ];
  const [examples, attention] = [false, true].map((long) =>
    results.results.filter(({ length }) => (length !== undefined) === long),
  );
  return paragraphs(
    origin(results),
    table(
      columns,
      examples.map(({ name, value, profiled, ratio, counted, countedRatio }) => [
        ...[name, profiled, counted, countedRatio],
        ...[value, ratio],
      ]),
    ),
    table(
      ['4 heads of 32, one sequence', 'step of training, MB', 'one time x time matrix a head, MB'],
      attention.map(({ length, value, square }) => [`${length} steps`, value, square]),
    ),
  );
}

const rowsFrom = {
  arrays: 'arrays, in order',
  dataset: 'a dataset in memory, shuffled',
  asyncIterable: 'an async iterable that makes them',
  csv: 'a CSV file, read, parsed, encoded and shuffled',
};

/** @param {Results} results */
function pipeline(results) {
  const rows = results.results.map(
    ({ rows: from, epochSteps, stepMs, costPercent, atBest, cpu, aloneCpuMs, aloneCpuPercent }) => [
      rowsFrom[from],
      epochSteps,
      stepMs,
      ...(from === 'arrays'
        ? ['-', '-', '-', '-']
        : [
            signed(costPercent),
            signed(atBest),
            signed(cpu),
            `${short(aloneCpuMs)} ms, ${short(aloneCpuPercent)} %`,
          ]),
    ],
  );
  const columns = [
    'rows from',
    'steps of an epoch',
    'step, ms',
    'slower by',
    'at best',
    'processor time',
    'preparing alone',
  ];
  return paragraphs(origin(results), table(columns, rows));
}

const nativePeers = { onednn: 'oneDNN', openblas: 'OpenBLAS', apart: 'one after the other' };
/** What is said of a native case with one number of threads: only what some case of its group has. */
const nativeColumns = {
  'of the roof': ({ roofShare }) => roofShare && percent(roofShare),
  ...Object.fromEntries(
    Object.entries(nativePeers).map(([peer, name]) => [
      `by ${name}`,
      ({ peers }) => peers?.[peer]?.ratio,
    ]),
  ),
};

/** A table for each group: a row for each case and type, and for each number of threads its columns. */
function native(results) {
  const groups = new Set(results.results.map(({ group }) => group));
  return paragraphs(
    origin(results),
    ...Array.from(groups, (group) => {
      const cases = results.results.filter((one) => one.group === group);
      return paragraphs(`### ${group}`, nativeGroup(cases));
    }),
  );
}

/** @param {any[]} cases */
function nativeGroup(cases) {
  const counts = [...new Set(cases.map(({ threads }) => threads))].sort((a, b) => a - b);
  const columns = Object.entries(nativeColumns).filter(([, read]) => cases.some(read));
  const rows = new Map();
  for (const one of cases) {
    const key = [one.name, one.type, one.isa, one.unit].join();
    if (!rows.has(key)) rows.set(key, { of: one, by: {} });
    rows.get(key).by[one.threads] = one;
  }
  const head = counts.flatMap((count) => [`${count}t`, ...columns.map(([name]) => name)]);
  return table(
    ['case', 'type', 'isa', 'unit', ...head],
    Array.from(rows.values(), ({ of, by }) => [
      ...[of.name, of.type ?? '-', of.isa ?? '-', of.unit],
      ...counts.flatMap((count) => [
        by[count]?.value,
        ...columns.map(([, read]) => (by[count] ? read(by[count]) : undefined)),
      ]),
    ]),
  );
}

const signed = (/** @type {number} */ value) => `${value > 0 ? '+' : ''}${short(value)} %`;

/** @param {Results} results */
function metrics(results) {
  const rows = results.results.map(({ name, value, costPercent }) => [
    ...[name, value, name === 'none' ? '-' : signed(costPercent)],
  ]);
  return paragraphs(origin(results), table(['metrics', 'ms a step', 'slower by'], rows));
}

/** @param {Results} results */
function accuracy(results) {
  const rows = results.results.map(({ name, precision, value, change, memory: share }) => [
    ...[name, precision, String(Number(value.toPrecision(4)))],
    ...(precision === 'float32' ? ['-', '-'] : [signed(100 * change), share]),
  ]);
  const columns = ['model, measure', 'weights', 'value', 'by float32', 'memory by float32'];
  return paragraphs(origin(results), table(columns, rows));
}

/** @param {Results} results */
function bike(results) {
  const rows = results.results.map(({ name, value, peers }) => [
    ...[name, value, peers.PyTorch?.value, peers.PyTorch?.ratio],
  ]);
  const columns = ['model, start', 'mean error', 'of PyTorch', "PyTorch's by ours"];
  return paragraphs(origin(results), table(columns, rows));
}

/** @param {Results} results */
function precision(results) {
  const rows = results.results.map(({ name, precision: used, value, byFloat32 }) => [
    ...[name, used, String(value), byFloat32 === undefined ? '-' : String(byFloat32)],
  ]);
  const columns = ['example, start', 'precision', 'validation loss', 'by float32'];
  return paragraphs(origin(results), table(columns, rows));
}

/** @param {{ name: string, resultsOf: (suite: string) => Results | undefined }[]} machines */
export const targetTable = (machines) =>
  table(
    ['work', 'measured', 'wanted', ...machines.flatMap(({ name }) => [`found, ${name}`, 'cases'])],
    targetRows(machines.map(({ resultsOf }) => resultsOf)),
  );

/** @type {Record<string, (results: Results) => string>} */
export const tables = {
  train: paired('PyTorch', 'model, batch, call', 'ms a step'),
  predict: (results) =>
    paragraphs(paired(ort, 'model, rows, call', 'µs')(results), boundary(results)),
  quantized: paired(ort, 'model, rows, precision', 'µs'),
  load,
  eventloop: eventLoop,
  memory,
  native,
  'native-avx2': native,
  serving: plain('what'),
  generate: plain('tokens of'),
  'data-csv': plain('what'),
  'data-parquet': plain('what'),
  pipeline,
  metrics,
  accuracy,
  bike,
  precision,
  gpu: paired('PyTorch', 'case', 'µs'),
  cuda,
};
