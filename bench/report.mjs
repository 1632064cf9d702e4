// Writes the tables of docs/performance.md anew from bench/results/: each stands between a pair of
// comments with the name of its suite; `targets` looks at several. Everything else in the file is
// written by hand.
import { readFileSync, writeFileSync } from 'node:fs';
import { readResults, savedDevices } from './lib/results.mjs';
import { tables, targetTable } from './lib/tables.mjs';

const file = new URL('../docs/performance.md', import.meta.url);
let text = readFileSync(file, 'utf8');

/** @param {string} suite  @param {string} written */
function put(suite, written) {
  const [begin, end] = [`<!-- results: ${suite} -->`, `<!-- end: ${suite} -->`];
  const [from, to] = [text.indexOf(begin), text.indexOf(end)];
  if (from === -1 || to < from) throw new Error(`docs/performance.md has no place for ${suite}`);
  text = `${text.slice(0, from + begin.length)}\n\n${written}\n\n${text.slice(to)}`;
}

for (const [suite, table] of Object.entries(tables)) {
  const all = [suite, ...savedDevices(suite)]
    .map((one) => readResults(one))
    .filter((one) => one !== undefined);
  if (all.length > 0) put(suite, all.map(table).join('\n\n'));
}
put('targets', targetTable(readResults));
writeFileSync(file, text);
