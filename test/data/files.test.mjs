// Files of other kinds: errors of the system stay what they are, others name the file.
import { mkdir, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { tableFromArrays, tableToIPC } from 'apache-arrow';
import test from 'ava';
import { parquetMetadata } from 'hyparquet';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { Model, QuantizedModel, TandemError } from 'tandem-ml';
import { arrow, csv, DataError, npy, parquet, readIdx, readNpy } from 'tandem-ml/data';
import { file, makeFolder, readRows } from '../helpers/folder.mjs';

test('what the file system fails with passes through', async (t) => {
  const path = await makeFolder(t);
  for (const dataset of [arrow(path), csv(path)]) {
    await t.throwsAsync(readRows(dataset), { code: 'EISDIR' });
  }
});

test('a broken archive of one array', async (t) => {
  for (const [read, name] of [
    [readIdx, 'x.idx.gz'],
    [readNpy, 'x.npy.gz'],
  ]) {
    const path = await file(t, name, gzipSync(Buffer.alloc(5000)).subarray(0, 30));
    await t.throwsAsync(read(path), { instanceOf: DataError, message: /expected a whole \.gz/ });
  }
});

test('an archive of more than its header says is not unpacked', async (t) => {
  // An array of four bytes, then zeros: a megabyte, and 4 GiB that take four.
  const header = Buffer.from([0, 0, 8, 1, 0, 0, 0, 4]);
  for (const zeros of [2 ** 20, 2 ** 32]) {
    const part = gzipSync(Buffer.alloc(2 ** 20));
    const members = Array.from({ length: zeros / 2 ** 20 }, () => part);
    const path = await file(t, 'x.idx.gz', Buffer.concat([gzipSync(header), ...members]));
    const error = await t.throwsAsync(readIdx(path), { instanceOf: DataError });
    t.regex(error.message, /expected 12 bytes for \[4\] of uint8, received more/);
  }
  const path = await file(t, 'y.idx.gz', gzipSync(Buffer.concat([header, Buffer.from('abcd')])));
  t.deepEqual([...(await readIdx(path)).data], [...Buffer.from('abcd')]);
});

test('Parquet: row groups that are not all there', async (t) => {
  const data = Array.from({ length: 250 }, (_, i) => i);
  const buffer = parquetWriteBuffer({
    columnData: [{ name: 'id', data, type: 'INT32' }],
    rowGroupSize: 100,
  });
  t.is(Number(parquetMetadata(buffer).num_rows), 250);
  // The last row group says 18 rows for 50, in thrift's zigzag.
  const bytes = Buffer.from(buffer);
  const footer = bytes.length - 8 - bytes.readUInt32LE(bytes.length - 8);
  const counts = (of) => {
    try {
      const { row_groups: groups, num_rows: all } = parquetMetadata(of.buffer);
      return [Number(groups.at(-1)?.num_rows), Number(all)].join();
    } catch {
      return 'no metadata';
    }
  };
  const shortened = Array.from({ length: bytes.length - 8 - footer }, (_, i) => {
    const trial = new Uint8Array(buffer.slice(0));
    if (trial[footer + i] === 100) trial[footer + i] = 36;
    return trial;
  }).find((trial) => counts(trial) === '18,250');
  const path = await file(t, 'file.parquet', shortened);
  const error = await t.throwsAsync(parquet(path), { instanceOf: DataError });
  t.regex(error.message, /250 rows, .*received 218 rows/);
});

test('Arrow: messages that are not what they say', async (t) => {
  const ids = Int32Array.from({ length: 20 }, (_, i) => i);
  const whole = Buffer.from(tableToIPC(tableFromArrays({ ids }), 'file'));
  const end = whole.indexOf(Buffer.from(ids.buffer));
  // Of the record batch: its type among messages, and how many rows it has.
  const type = whole.lastIndexOf(3, end);
  let rows = type;
  while (rows < end && whole.readBigInt64LE(rows) !== BigInt(ids.length)) rows++;
  for (const [at, value, message] of [
    [type, 1, /bytes at byte \d+ of a header/], // a schema
    [type, 0, /no message of a record batch at byte/],
    [rows + 5, 1, /a (batch|column) of 1099511627796 rows/],
    [rows, 21, /a batch of 21 rows/],
  ]) {
    const bytes = Buffer.from(whole);
    bytes[at] = value;
    const path = await file(t, 'file.arrow', bytes);
    await t.throwsAsync(readRows(arrow(path)), { instanceOf: DataError, message });
  }
});

test('URLs that name no file', async (t) => {
  const url = new URL('https://example.org/x.csv');
  const refusal = { code: 'ERR_ARGUMENT', message: /a path or a file: URL.*example\.org/ };
  t.throws(() => csv(url), refusal);
  t.throws(() => arrow(url), refusal);
  await t.throwsAsync(parquet(url), refusal);
  await t.throwsAsync(readNpy(url), refusal);
  await t.throwsAsync(npy({ x: url, y: url }), refusal);
});

test('a folder in the place of a file is named', async (t) => {
  const folder = await makeFolder(t);
  const archive = join(folder, 'folder.gz');
  await mkdir(archive);
  const reads = {
    npy: () => readNpy(folder),
    'npy.gz': () => readNpy(archive),
    rows: () => npy({ x: folder, y: folder }, { stream: true }),
    csv: () => readRows(csv(folder)),
    'csv.gz': () => readRows(csv(archive)),
    parquet: () => parquet(folder),
    arrow: () => readRows(arrow(folder)),
    model: () => Model.load(folder),
    quantized: () => QuantizedModel.load(folder),
  };
  for (const [name, read] of Object.entries(reads)) {
    const error = await t.throwsAsync(read(), { code: 'EISDIR' }, name);
    t.true(error.message.includes(name.endsWith('.gz') ? archive : folder), error.message);
  }
});

test('paths that no file can have', async (t) => {
  const refusal = { instanceOf: TandemError, code: 'ERR_ARGUMENT', message: /without a NUL/ };
  for (const path of ['a\0b', new URL('file:///a%00b')]) {
    t.throws(() => csv(path), refusal);
    await t.throwsAsync(readNpy(path), refusal);
    await t.throwsAsync(Model.load(path), refusal);
  }
});

test('an archive that is larger than what is read', async (t) => {
  const path = await file(t, 'x.npy.gz', '');
  await truncate(path, 2 ** 31 + 1); // takes no room on the disk
  const error = await t.throwsAsync(readNpy(path), { instanceOf: DataError });
  t.deepEqual([error.code, error.file], ['ERR_FILE_FORMAT', path]);
  t.regex(error.message, /2 GiB or less/);
});
