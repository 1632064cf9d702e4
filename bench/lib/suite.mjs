// What a suite prints and keeps: one JSON line a case below a line on the machine, or a table.
import { describeEngine } from './engine.mjs';
import { command, markdown, quick, save } from './options.mjs';
import { describeMachine, refuseOtherMachine, saveResults } from './results.mjs';
import { tables } from './tables.mjs';

/**
 * Ours, or a peer's.
 * @typedef {object} Measured
 * @property {number | null} value null where a side cannot keep up
 * @property {number | null} [p99]
 * @property {number | null} [ratio] of a peer: its time by ours, above 1 when we are faster
 * @property {string} [mode] of a peer: the one that counts
 * @property {number} [capacity] calls a second when some are always waiting
 */

/**
 * @typedef {Measured & { name: string, unit: string, peers: Record<string, Measured> }} Case
 */

/**
 * @param {string} name
 * @param {Record<string, string | undefined>} [versions] of the peers; those that are not there are
 *   undefined
 */
export function openSuite(name, versions = {}) {
  const peers = Object.fromEntries(
    Object.entries(versions).flatMap(([peer, version]) => (version ? [[peer, version]] : [])),
  );
  const about = { ...describeEngine(), peers };
  if (save) refuseOtherMachine(name, about);
  const machine = { ...describeMachine(), ...about };
  const date = new Date().toISOString().slice(0, 10);
  const print = (line) => {
    if (!markdown) console.log(JSON.stringify(line));
  };
  print({ suite: name, date, quick, machine });
  for (const [peer, version] of Object.entries(versions)) {
    if (version === undefined) print({ note: `${peer} is not installed: no peer` });
  }
  /** @type {(Case & Record<string, unknown>)[]} */
  const results = [];
  return {
    /** @param {Case & Record<string, unknown>} result */
    add(result) {
      results.push(result);
      print({ suite: name, ...result });
    },
    /** Says something that is not a result. */
    note: (/** @type {string} */ note) => print({ note }),
    finish() {
      if (markdown) {
        const table = tables[name]({ suite: name, date, command, machine, results });
        console.log(`## ${name}\n\n${table}\n`);
      }
      if (save) saveResults(name, command, results, about);
    },
  };
}
