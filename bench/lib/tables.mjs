// The results of each suite as Markdown, for --markdown and for docs/performance.md.

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

/** @param {Results} results */
function origin({ machine, date, command }) {
  const { cpu, cores, isa, node, peers = {} } = machine;
  const of = [cpu, `${cores} ${cores === 1 ? 'core' : 'cores'}`, isa, `Node ${node.slice(1)}`];
  const versions = Object.entries(peers).map(([peer, version]) => `${peer} ${version}`);
  return `${[...of, ...versions].filter(Boolean).join(', ')}; ${date}, \`${command}\`.`;
}

const paragraphs = (...parts) => parts.join('\n\n');

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
  const rows = results.results.map(({ name, value, p99, peers }) => {
    const other = peers[peer] ?? { mode: '-' };
    return [name, value, p99, other.value, other.p99, other.mode, other.ratio];
  });
  return paragraphs(origin(results), table(columns, rows));
};

/**
 * Of brief calls: in longer ones it drowns.
 * @param {Results} results
 */
function boundary({ results }) {
  const rows = results.filter(({ kernels }) => kernels < 50);
  return table(
    ['model, rows, call', 'whole call, µs', 'kernels, µs', 'boundary, µs'],
    rows.map(({ name, value, kernels }) => [name, value, kernels, value - kernels]),
  );
}

const percentiles = ({ value, p99, p999 }) =>
  value === null ? 'beyond its capacity' : [value, p99, p999].map(short).join(' / ');

/** @param {Results} results */
function load(results) {
  const columns = ['model, rows, load', 'of our capacity', 'tandem-ml, µs', `${ort}, µs`];
  const rows = results.results.map(({ name, share, peers, ...ours }) => [
    name,
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

/** A table for each group: a row for each size, type and number of threads. */
function native(results) {
  const groups = [...new Set(results.results.map(({ group }) => group))];
  const parts = groups.map((group) => {
    const cases = results.results.filter((one) => one.group === group);
    const names = [...new Set(cases.flatMap(({ peers = {} }) => Object.keys(peers)))];
    const columns = ['case', 'type', 'threads', cases[0].unit, 'of the roof'];
    const rows = cases.map(({ name, type, threads, value, roofShare, peers = {} }) => [
      name,
      ...[type ?? '-', String(threads), value, percent(roofShare)],
      ...names.map((peer) => peers[peer]?.ratio),
    ]);
    return paragraphs(
      `### ${group}`,
      table([...columns, ...names.map((name) => `/ ${name}`)], rows),
    );
  });
  return paragraphs(origin(results), ...parts);
}

/** @type {Record<string, (results: Results) => string>} */
export const tables = {
  train: paired('PyTorch', 'model, batch, call', 'ms a step'),
  predict: (results) =>
    paragraphs(paired(ort, 'model, rows, call', 'µs')(results), boundary(results)),
  load,
  eventloop: eventLoop,
  native,
};
