// Writes what docs/ has of bench/results/ anew: a page for each machine, docs/performance-<machine>.md, and
// in docs/performance.md what stands between a pair of comments: the targets, the list of machines, and the
// suites of GPUs. Everything else in that file is written by hand.
import { readFileSync, writeFileSync } from 'node:fs';
import { machinesOf, pageOf } from './lib/machines.mjs';
import { readResults } from './lib/results.mjs';
import { tables, targetTable } from './lib/tables.mjs';

const docs = new URL('../docs/', import.meta.url);
const file = new URL('performance.md', docs);
let text = readFileSync(file, 'utf8');

/** @param {string} name  @param {string} written */
function put(name, written) {
  const [begin, end] = [`<!-- results: ${name} -->`, `<!-- end: ${name} -->`];
  const [from, to] = [text.indexOf(begin), text.indexOf(end)];
  if (from === -1 || to < from) throw new Error(`docs/performance.md has no place for ${name}`);
  text = `${text.slice(0, from + begin.length)}\n\n${written}\n\n${text.slice(to)}`;
}

const all = readResults();
const machines = machinesOf(all);
for (const machine of machines) writeFileSync(new URL(machine.page, docs), pageOf(machine));
put('targets', targetTable(machines));
put('machines', machines.map(({ description, page }) => `- [${description}](${page})`).join('\n'));
for (const name of ['gpu', 'cuda']) {
  const found = all.filter(({ suite }) => suite === name);
  put(name, found.map(tables[name]).join('\n\n'));
}
writeFileSync(file, text);
