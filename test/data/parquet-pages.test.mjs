// Row groups that are read in parts.
import test from 'ava';
import { asyncBufferFromFile, parquetMetadataAsync, parquetReadObjects } from 'hyparquet';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { DataError, parquet } from 'tandem-ml/data';
import { findPages, readPart, rowsOfPart } from '../../dist/internals.js';
import { file } from '../helpers/folder.mjs';

const rows = 1000;
const ids = Array.from({ length: rows }, (_, i) => i);
const columns = {
  id: Int32Array.from(ids),
  half: ids.map((i) => (i % 7 === 2 ? null : i / 2)),
  name: ids.map((i) => (i % 10 === 3 ? null : `kind ${i % 5}`)),
  text: ids.map((i) => `row ${i} ${'x'.repeat(i % 50)}`),
};
const types = /** @type {const} */ ({
  id: 'INT32',
  half: 'DOUBLE',
  name: 'STRING',
  text: 'STRING',
});

/** One row group, with pages of about so many bytes. */
const makeFile = (t, pageSize, codec = 'SNAPPY') =>
  file(
    t,
    'file.parquet',
    Buffer.from(
      parquetWriteBuffer({
        columnData: Object.entries(columns).map(([name, data]) => ({
          name,
          data: Array.from(data),
          type: types[name],
        })),
        rowGroupSize: rows,
        pageSize,
        codec,
      }),
    ),
  );

async function open(path) {
  const buffer = await asyncBufferFromFile(path);
  const metadata = await parquetMetadataAsync(buffer);
  const [group] = metadata.row_groups;
  return { buffer, metadata, group };
}

for (const codec of ['SNAPPY', 'UNCOMPRESSED']) {
  test(`pages of some rows are a file of their own: ${codec}`, async (t) => {
    const { buffer, metadata, group } = await open(await makeFile(t, 500, codec));
    t.is(metadata.row_groups.length, 1);
    const found = [];
    for (const [i, [name, values]] of Object.entries(columns).entries()) {
      const pages = await findPages(buffer, group, group.columns[i]);
      found.push(pages);
      for (const [from, to] of [
        [0, 1],
        [0, rows],
        [130, 131],
        [499, 777],
        [rows - 1, rows],
      ]) {
        const part = await readPart({ buffer, metadata }, pages, from, to);
        const read = await parquetReadObjects({ file: part.buffer, metadata: part.metadata });
        t.true(part.begin <= from && part.begin + read.length >= to);
        const got = read.slice(from - part.begin, to - part.begin).map((row) => row[name]);
        t.deepEqual(
          got.map((value) => value ?? null),
          Array.from(values.slice(from, to)),
          `${name} ${from}`,
        );
      }
      const few = await readPart({ buffer, metadata }, pages, 130, 131);
      const many = name === 'id' || name === 'text' || name === 'half';
      t.true(!many || few.buffer.byteLength < 0.3 * buffer.byteLength, name);
    }
    const largest = Math.max(...found.flatMap(({ pages }) => pages.map((page) => page.rows)));
    t.is(rowsOfPart(found, rows, 2 ** 40), largest);
    t.is(rowsOfPart(found, rows, 2 ** 26), rows);
    t.is(rowsOfPart(found, rows, 2 ** 27), Math.max(largest, rows / 2));
  });
}

test('what are no pages is an error', async (t) => {
  const path = await makeFile(t, 500);
  const { buffer, group } = await open(path);
  const [chunk] = group.columns;
  const wrong = (change) => ({ ...chunk, meta_data: { ...chunk.meta_data, ...change } });
  for (const change of [
    { data_page_offset: 10n ** 9n },
    { total_compressed_size: 10n ** 9n },
    { total_compressed_size: 30n },
    { data_page_offset: 40n, dictionary_page_offset: undefined },
  ]) {
    await t.throwsAsync(findPages(buffer, group, wrong(change)), { instanceOf: Error });
  }
  await t.throwsAsync(findPages(buffer, { ...group, num_rows: 2000n }, chunk), {
    message: /1000 values for 2000 rows/,
  });
});

test('a large row group is read in parts, each row once and in order', async (t) => {
  const count = 8_500_000;
  const column = Float64Array.from({ length: count }, (_, i) => i);
  const bytes = parquetWriteBuffer({
    columnData: [{ name: 'i', data: column, type: 'DOUBLE' }],
    rowGroupSize: count,
    codec: 'UNCOMPRESSED',
  });
  const path = await file(t, 'large.parquet', Buffer.from(bytes));
  const data = await parquet(path);
  let next = 0;
  let wrong = 0;
  for await (const { block, order } of data.chunks({ batchSize: 4096 })) {
    for (const row of order) if (block.columns.i[row] !== next++) wrong++;
  }
  t.is(next, count);
  t.is(wrong, 0);
  const some = data.skip(8_400_000).take(3);
  for await (const batch of some.batches())
    t.deepEqual([...batch.columns.i], [8.4e6, 8400001, 8400002]);
  const broken = Buffer.from(bytes);
  broken.fill(0xff, 4, 60);
  const error = await t.throwsAsync(
    (await parquet(await file(t, 'broken.parquet', broken))).load(),
    { instanceOf: DataError },
  );
  t.like(error, { row: 1, column: 'i' });
});
