// Folders for files that tests make.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A new folder that is gone after the test. */
export async function folder(t) {
  const path = await mkdtemp(join(tmpdir(), 'tandem-'));
  t.teardown(() => rm(path, { recursive: true, force: true }));
  return path;
}

/** A file with these contents in a folder of its own. */
export async function file(t, name, contents) {
  const path = join(await folder(t), name);
  await writeFile(path, contents);
  return path;
}

/** All batches of a dataset as one list of rows. */
export async function readRows(dataset, options = {}) {
  const rows = [];
  for await (const { rows: count, columns } of dataset.batches({ batchSize: 100, ...options })) {
    for (let i = 0; i < count; i++) {
      rows.push(Object.fromEntries(Object.entries(columns).map(([name, c]) => [name, c[i]])));
    }
  }
  return rows;
}
