// Arrow files whose lengths and offsets lie: apache-arrow believes them, and would be busy for minutes.
import { execFileSync } from 'node:child_process';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import {
  Decimal,
  Field,
  FixedSizeList,
  Int32,
  List,
  Null,
  Struct,
  Table,
  tableFromArrays,
  tableToIPC,
  Utf8,
  vectorFromArray,
} from 'apache-arrow';
import test from 'ava';
import { arrow, DataError } from 'tandem-ml/data';
import { file, makeFolder, readRows } from '../helpers/folder.mjs';

const most = 0x7fffffff;
const seconds = 20;
const ids = Int32Array.from({ length: 8 }, (_, i) => 1000 + i);
const words = [...ids].map((id) => `word ${id}`);

/** Rows, or the error; undefined where neither comes soon. */
async function read(path) {
  let timer;
  const late = new Promise((resolve) => {
    timer = setTimeout(resolve, seconds * 1000);
  });
  try {
    return await Promise.race([readRows(arrow(path)), late]);
  } catch (error) {
    return error;
  } finally {
    clearTimeout(timer);
  }
}

/** Damage of these bytes is told, or does no harm. */
async function settles(t, bytes, what) {
  const found = await read(await file(t, 'damaged.arrow', bytes));
  t.true(found instanceof DataError || Array.isArray(found), `${what}: ${found}`);
  if (found instanceof Error) t.is(found.code, 'ERR_FILE_FORMAT');
  return found;
}

const isDamage = (found) => found instanceof DataError;

for (const kind of ['file', 'stream']) {
  const whole = Buffer.from(tableToIPC(tableFromArrays({ ids, words }), kind));
  // What tells the columns: the footer of a file, the first message of a stream.
  const [begin, end] =
    kind === 'file'
      ? [whole.length - 10 - whole.readInt32LE(whole.length - 10), whole.length - 10]
      : [8, 8 + whole.readInt32LE(4)];

  test(`every third length, offset and number of a schema: ${kind}`, async (t) => {
    let told = 0;
    for (let at = begin; at + 4 <= end; at += 12) {
      const bytes = Buffer.from(whole);
      bytes.writeInt32LE(most, at + (at % 24 === 0 ? 4 : 0));
      told += isDamage(await settles(t, bytes, `byte ${at}`));
    }
    t.true(told > 10, `${told}`);
  });

  test(`bytes inserted into a schema and taken out of it: ${kind}`, async (t) => {
    for (let at = begin; at < end; at += 40) {
      const more = Buffer.from('cafe4b1d8f0e', 'hex');
      const [before, behind] = [whole.subarray(0, at), whole.subarray(at)];
      await settles(t, Buffer.concat([before, more, behind]), `more at byte ${at}`);
      await settles(t, Buffer.concat([before, behind.subarray(7)]), `less at byte ${at}`);
    }
  });
}

const list = new List(new Field('item', new Int32()));
const pair = new FixedSizeList(2, new Field('item', new Int32()));
const record = new Struct([new Field('word', new Utf8())]);
const columns = {
  lists: vectorFromArray([[1, 2], [], null, [3]], list),
  pairs: vectorFromArray([[1, 2], [3, 4], null, [5, 6]], pair),
  records: vectorFromArray([{ word: 'a' }, { word: 'bc' }, null, { word: '' }], record),
  decimals: vectorFromArray(
    [1, 2, 3, 4].map((i) => Uint32Array.of(i, 0, 0, 0)),
    new Decimal(2, 20, 128),
  ),
  colours: vectorFromArray(['red', 'green', 'red', null]),
};

test('columns of lists, records, decimals and words are what they were', async (t) => {
  for (const kind of ['file', 'stream']) {
    const path = await file(t, 'whole.arrow', Buffer.from(tableToIPC(new Table(columns), kind)));
    const rows = await readRows(arrow(path));
    t.deepEqual(
      rows.map(({ lists }) => lists),
      ['[1,2]', '[]', null, '[3]'],
    );
    t.deepEqual(
      rows.map(({ pairs }) => pairs),
      ['[1,2]', '[3,4]', null, '[5,6]'],
    );
    t.deepEqual(
      rows.map(({ colours }) => colours),
      ['red', 'green', 'red', null],
    );
    t.is(rows[1].decimals, '2');
    t.regex(rows[1].records, /bc/);
  }
});

test('lists of nulls, which take no memory', async (t) => {
  const nulls = vectorFromArray(
    [Array(5000).fill(null), [null]],
    new List(new Field('', new Null())),
  );
  for (const kind of ['file', 'stream']) {
    const rows = await readRows(
      arrow(await file(t, 'a.arrow', tableToIPC(new Table({ nulls }), kind))),
    );
    t.deepEqual(
      rows.map((row) => row.nulls),
      [`[${','.repeat(4999)}]`, '[]'],
    );
  }
});

test('big-endian numbers', async (t) => {
  for (const kind of ['file', 'stream']) {
    const bytes = Buffer.from(tableToIPC(tableFromArrays({ ids }), kind));
    const leap = (at) => at + bytes.readUInt32LE(at);
    const slots = (table) => table - bytes.readInt32LE(table);
    const follow = (table, slot) => leap(table + bytes.readUInt16LE(slots(table) + 4 + 2 * slot));
    // The schema is what the footer of a file has in slot 1, the first message of a stream in slot 2.
    const schema =
      kind === 'file'
        ? follow(leap(bytes.length - 10 - bytes.readInt32LE(bytes.length - 10)), 1)
        : follow(leap(8), 2);
    // Its byte order, in slot 0, is left out where it is 0: another slot's bytes are not.
    bytes.writeUInt16LE(bytes.readUInt16LE(slots(schema) + 6), slots(schema) + 4);
    const found = await settles(t, bytes, kind);
    t.true(isDamage(found), `${found}`);
    t.regex(found.message, /big-endian/);
  }
});

test('files without rows', async (t) => {
  for (const kind of ['file', 'stream']) {
    const none = new Table(columns).slice(0, 0);
    t.deepEqual(await readRows(arrow(await file(t, 'none.arrow', tableToIPC(none, kind)))), []);
  }
});

test('lists that end behind the last element', async (t) => {
  const { lists } = columns;
  const whole = Buffer.from(tableToIPC(new Table({ lists }), 'file'));
  const offsets = Buffer.from(Int32Array.of(0, 2, 2, 2, 3).buffer);
  for (const [i, offset] of [
    [4, most],
    [1, most],
    [2, 1],
    [3, -5],
  ]) {
    const bytes = Buffer.from(whole);
    bytes.writeInt32LE(offset, whole.indexOf(offsets) + 4 * i);
    const found = await settles(t, bytes, `offset ${offset}`);
    t.true(isDamage(found), `${found}`);
    t.regex(found.message, /an element at -?\d+ behind one at/);
  }
});

test('files that end too soon', async (t) => {
  for (const kind of ['file', 'stream']) {
    const whole = Buffer.from(tableToIPC(tableFromArrays({ ids, words }), kind));
    for (const length of [9, 100, whole.length - 400]) {
      t.true(isDamage(await settles(t, whole.subarray(0, length), `${length} bytes`)));
    }
  }
});

// Windows has no pipes in folders.
(process.platform === 'win32' ? test.skip : test)('a pipe is told from a file', async (t) => {
  const path = join(await makeFolder(t), 'pipe.arrow');
  execFileSync('mkfifo', [path]);
  const writer = await open(path, 'r+'); // which does not wait for a reader
  t.teardown(() => writer.close());
  const found = await read(path);
  t.true(isDamage(found), `${found}`);
  t.regex(found.message, /received a pipe/);
});
