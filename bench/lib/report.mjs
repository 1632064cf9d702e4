// What the benchmarks print: one JSON line a case below a line on the machine, or tables.
import { availableParallelism, cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { native } from '../../dist/native.js';

const { values: flags } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    markdown: { type: 'boolean', default: false },
    compile: { type: 'boolean', default: false },
  },
});

/** Short runs: enough to see that everything works, not to quote. */
export const quick = flags.quick;
/** Whether torch.compile is measured, too, which takes minutes to compile. */
export const compile = flags.compile;

/** Threads of the machine, which are those that both sides may use. */
export const threads = availableParallelism();

/**
 * @typedef {object} Case
 * @property {string} name
 * @property {number} ours
 * @property {number | null} peer null when there is none
 * @property {number | null} ratio the peer's time by ours: above 1, we are faster
 * @property {string} unit
 * @property {number} threads
 */

/** @param {string} title */
export function header(title) {
  const { isa } = native.cpu();
  const model = cpus()[0]?.model ?? 'unknown';
  const machine = {
    cpu: model,
    cores: threads,
    node: process.version,
    isa,
    date: new Date().toISOString().slice(0, 10),
  };
  if (!flags.markdown) {
    console.log(JSON.stringify({ bench: title, ...machine, quick }));
    return;
  }
  const of = `${model}, ${threads} ${threads === 1 ? 'core' : 'cores'}, ${isa}`;
  console.log(
    `## ${title[0].toUpperCase()}${title.slice(1)}\n\n${of}, Node ${process.version}, ${machine.date}.\n`,
  );
}

/** The names of a table's columns, for the markdown output; call it once before the cases. */
export function columns(/** @type {string[]} */ ...names) {
  if (!flags.markdown) return;
  console.log(`| ${names.join(' | ')} |\n|${'---|'.repeat(names.length)}`);
}

/**
 * @param {Case & Record<string, unknown>} result
 * @param {(string | number)[]} cells of the markdown table
 */
export function report(result, cells) {
  console.log(flags.markdown ? `| ${cells.join(' | ')} |` : JSON.stringify(result));
}

/** Says something that is not a result. */
export function note(text) {
  console.log(
    flags.markdown ? `${text[0].toUpperCase()}${text.slice(1)}.\n` : JSON.stringify({ note: text }),
  );
}

/** Three digits that mean something. */
export const short = (value) => (value === null ? '-' : String(Number(value.toPrecision(3))));
