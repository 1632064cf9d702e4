// bench/results/<suite>-<machine>.json: the results of a suite with the machine they come from, which the
// name of its GPU or its processor stands for.
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  writeFileSync,
} from 'node:fs';
import { arch, availableParallelism, cpus, platform, totalmem } from 'node:os';

const saved = new URL('../results/', import.meta.url);

/**
 * @typedef {object} Machine
 * @property {string} cpu
 * @property {number} cores
 * @property {number} memoryGiB
 * @property {string} platform
 * @property {string} node
 * @property {string} [isa]
 * @property {string[]} [extensions] that kernels use beyond it
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
  cpu: processor(),
  cores: availableParallelism(),
  memoryGiB: Math.round(totalmem() / 2 ** 30),
  platform: `${platform()}-${arch()}`,
  node: process.version,
});

/**
 * The name of the processor and, where Linux says it, what tells those apart that go by one name: virtual
 * machines call a family of processors "Intel(R) Xeon(R) Processor" whose tile registers differ twofold.
 */
function processor() {
  const name = cpus()[0]?.model ?? 'unknown';
  if (!existsSync('/proc/cpuinfo')) return name;
  const known = readFileSync('/proc/cpuinfo', 'utf8');
  const [family, model] = [/^cpu family\s*: (\d+)$/m, /^model\s*: (\d+)$/m].map(
    (field) => field.exec(known)?.[1],
  );
  return model === undefined ? name : `${nameOf(name)} (family ${family}, model ${model})`;
}

/** What stands for a machine in names of files. @param {Machine} machine */
export const slugOf = ({ gpu, cpu }) =>
  (
    nameOf(gpu ?? cpu)
      .toLowerCase()
      .match(/[a-z0-9]+/g) ?? ['unknown']
  ).join('-');

/** The name of a processor without what says nothing: "(R)", and the clock of its label. */
export const nameOf = (/** @type {string} */ processor) =>
  processor.replace(/\((R|TM)\)|@.*$/gi, '').trim();

/** Options with which a suite leaves cases out. */
const leaving = /(^|\s)--(filter|threads|epochs)\b/;

/**
 * Results of a run of all cases take the place of the last run's. Where a run left cases out, because its
 * command says so or because it did not come to them, its results take the places of the same cases of the
 * last run on this machine, and say of themselves in `from` how they came about. What has been measured of
 * other versions stays until a run has come to all its cases. Throws where the command leaves cases out of
 * such a run, for short runs, and as refuseOtherMachine does.
 * @param {string} suite
 * @param {string} command
 * @param {any[]} results
 * @param {Partial<Machine>} [more] about the machine
 * @param {{ complete?: boolean, folder?: URL }} [options] whether the run came to all its cases; where
 *   results are
 */
export function saveResults(suite, command, results, more = {}, options = {}) {
  const { complete = true, folder = saved } = options;
  refuseQuick(/(^|\s)--quick\b/.test(command), true);
  refuseOtherMachine(suite, more, folder);
  const date = new Date().toISOString().slice(0, 10);
  const machine = { ...describeMachine(), ...more };
  const chosen = leaving.test(command);
  const file = new URL(`${suite}-${slugOf(machine)}.json`, folder);
  const last = chosen || !complete ? read(file) : undefined;
  const [was, is] = [last?.machine, machine].map((one) => JSON.stringify(one));
  if (last !== undefined && was === is) {
    write(file, { ...last, results: merged(last.results, results, { date, command }) });
    return;
  }
  if (last !== undefined && chosen) {
    throw new Error(
      `expected the machine of the saved results, ${was}, where cases are left out, received ${is}`,
    );
  }
  if (last === undefined) write(file, { suite, date, command, machine, results });
}

/** Throws where results of a short run are to be saved. */
export function refuseQuick(/** @type {boolean} */ quick, /** @type {boolean} */ save) {
  if (quick && save) {
    throw new Error('expected --save without --quick: short runs are not to be quoted');
  }
}

/**
 * Throws where results are there of a machine that goes by the same name and is another one: they would
 * share files and a page. Suites ask before they measure. GPUs are machines whatever they are in.
 * @param {string} suite
 * @param {Partial<Machine>} more about the machine
 */
export function refuseOtherMachine(suite, more, folder = saved) {
  const machine = { ...describeMachine(), ...more };
  if (machine.gpu !== undefined) return;
  const name = slugOf(machine);
  for (const other of readResults(folder)) {
    if (other.machine.gpu !== undefined || slugOf(other.machine) !== name) continue;
    // Where an instruction set is forced, it says nothing of the machine.
    const forced = [suite, other.suite].some((one) => one.startsWith('native-'));
    const [was, is] = [other.machine, machine].map(({ cores, platform, isa, extensions }) =>
      JSON.stringify({ cores, platform, ...(!forced && { isa, extensions }) }),
    );
    if (was === is) continue;
    const where = `${other.suite}-${name}.json`;
    throw new Error(
      `expected the machine of the saved results, ${was} in ${where}, received ${is}; ` +
        `without the files *-${name}.json its results can be saved`,
    );
  }
}

/** What makes a case: two with the same are one, measured twice. */
const identity = /** @type {const} */ ([
  ...['group', 'name', 'workload', 'call', 'method', 'precision', 'type', 'isa', 'threads'],
  ...['batch', 'length', 'epochSteps', 'unit'],
]);
export const keyOf = (/** @type {any} */ one) => JSON.stringify(identity.map((key) => one[key]));

/** @param {any[]} old  @param {any[]} found  @param {{ date: string, command: string }} from */
function merged(old, found, from) {
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

/** @param {URL} file  @param {Results} all */
function write(file, { results, ...head }) {
  mkdirSync(new URL('.', file), { recursive: true });
  writeFileSync(file, textOf(head, results));
}

/** @param {object} head  @param {any[]} results */
function textOf(head, results) {
  // A line a case, so that a change shows as the cases that changed.
  const lines = results.map((result) => `    ${JSON.stringify(result)}`).join(',\n');
  const start = JSON.stringify(head, null, 2).slice(0, -2);
  return `${start},\n  "results": [\n${lines}\n  ]\n}\n`;
}

/**
 * What was saved last of each suite on each machine.
 * @param {URL} [folder]
 * @returns {Results[]}
 */
export const readResults = (folder = saved) =>
  (existsSync(folder) ? readdirSync(folder) : [])
    .sort()
    .flatMap((name) => read(new URL(name, folder)) ?? []);

/** @param {URL} file  @returns {Results | undefined} */
function read(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    if (/** @type {NodeJS.ErrnoException} */ (error).code === 'ENOENT') return undefined;
    throw error;
  }
}
