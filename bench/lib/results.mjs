// bench/results/<suite>.json: the results of a suite with the machine they come from.
import { mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { arch, availableParallelism, cpus, platform, totalmem } from 'node:os';

const folder = new URL('../results/', import.meta.url);

/**
 * @typedef {object} Machine
 * @property {string} cpu
 * @property {number} cores
 * @property {number} memoryGiB
 * @property {string} platform
 * @property {string} node
 * @property {string} [isa]
 * @property {string} [gpu]
 * @property {Record<string, string>} [peers] versions by name
 */

/**
 * @typedef {object} Results
 * @property {string} suite
 * @property {string} date
 * @property {string} command
 * @property {Machine} machine
 * @property {any[]} results one a case, as on the JSON lines
 */

/** @returns {Machine} */
export const describeMachine = () => ({
  cpu: cpus()[0]?.model ?? 'unknown',
  cores: availableParallelism(),
  memoryGiB: Math.round(totalmem() / 2 ** 30),
  platform: `${platform()}-${arch()}`,
  node: process.version,
});

/**
 * Results of a run with `--filter` take the places of the same cases of the last run on this machine,
 * and say of themselves in `from` how they came about. Throws where the last run was on another machine,
 * or with other versions: what has been measured there stays.
 * @param {string} suite
 * @param {string} command
 * @param {any[]} results
 * @param {{ isa?: string, gpu?: string, peers?: Record<string, string> }} [more] about the machine
 */
export function saveResults(suite, command, results, more = {}) {
  const date = new Date().toISOString().slice(0, 10);
  const machine = { ...describeMachine(), ...more };
  const last = command.includes('--filter') ? readResults(suite) : undefined;
  if (last === undefined) {
    write({ suite, date, command, machine, results });
    return;
  }
  const [was, is] = [last.machine, machine].map((one) => JSON.stringify(one));
  if (was !== is) {
    throw new Error(
      `expected the machine of the saved results, ${was}, for --filter, received ${is}`,
    );
  }
  write({ ...last, results: merged(last.results, results, { date, command }) });
}

/** @param {any[]} old  @param {any[]} found  @param {{ date: string, command: string }} from */
function merged(old, found, from) {
  const keyOf = ({ name, type, isa, threads }) => JSON.stringify([name, type, isa, threads]);
  const places = new Map(
    [...old, ...found.map((one) => ({ ...one, from }))].map((one) => [keyOf(one), one]),
  );
  return [...places.values()];
}

/**
 * Writes results to a file of any place, at once or not at all.
 * @param {string} file
 * @param {{ suite: string, command: string, results: any[] } & Record<string, unknown>} saved
 */
export function writeResults(file, { results, ...head }) {
  const date = new Date().toISOString().slice(0, 10);
  const all = { date, machine: describeMachine(), ...head };
  writeFileSync(`${file}.part`, textOf(all, results));
  renameSync(`${file}.part`, file);
}

/** @param {Results} saved */
function write({ results, ...head }) {
  mkdirSync(folder, { recursive: true });
  writeFileSync(fileOf(head.suite), textOf(head, results));
}

/** @param {object} head  @param {any[]} results */
function textOf(head, results) {
  // A line a case, so that a change shows as the cases that changed.
  const lines = results.map((result) => `    ${JSON.stringify(result)}`).join(',\n');
  const start = JSON.stringify(head, null, 2).slice(0, -2);
  return `${start},\n  "results": [\n${lines}\n  ]\n}\n`;
}

/** The suites of results that are saved for each GPU, such as gpu-<device> of gpu. @param {string} suite */
export const savedDevices = (suite) =>
  suite === 'gpu' || suite === 'cuda'
    ? readdirSync(folder)
        .filter((file) => file.startsWith(`${suite}-`))
        .map((file) => file.replace(/\.json$/, ''))
    : [];

/**
 * What was saved last, or undefined.
 * @param {string} suite
 * @returns {Results | undefined}
 */
export function readResults(suite) {
  try {
    return JSON.parse(readFileSync(fileOf(suite), 'utf8'));
  } catch (error) {
    if (/** @type {NodeJS.ErrnoException} */ (error).code === 'ENOENT') return undefined;
    throw error;
  }
}

const fileOf = (suite) => new URL(`${suite}.json`, folder);
