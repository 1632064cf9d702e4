// Folders for files that tests make.
import { mkdtempSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const prefix = join(tmpdir(), 'tandem-');
// Processes that a test ended, such as a browser, may write for a while after their end.
const remove = (path) => rm(path, { recursive: true, force: true, maxRetries: 20 });

/** A new folder that is gone after the test. */
export async function makeFolder(t) {
  const path = await mkdtemp(prefix);
  t.teardown(() => remove(path));
  return path;
}

/** A new folder for all tests of a file, `test` of AVA, that is gone after them. */
export function sharedFolder(test) {
  // AVA takes no tests after a hook and an await.
  const path = mkdtempSync(prefix);
  test.after.always(() => remove(path));
  return path;
}

/** A file with these contents in a folder of its own. */
export async function file(t, name, contents) {
  const path = join(await makeFolder(t), name);
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
