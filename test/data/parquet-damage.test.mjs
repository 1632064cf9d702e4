// Parquet files of every codec, whole, damaged, and with pages that lie.
import { readFileSync } from 'node:fs';
import { brotliCompressSync, crc32, gzipSync } from 'node:zlib';
import test from 'ava';
import { parquetMetadata } from 'hyparquet';
import { parquetHeader } from 'hyparquet/src/column.js';
import { ByteWriter, parquetWriteBuffer } from 'hyparquet-writer';
import { writePageHeader } from 'hyparquet-writer/src/datapage.js';
import { writeMetadata } from 'hyparquet-writer/src/metadata.js';
import { DataError, parquet } from 'tandem-ml/data';
import { decodeHadoopLz4 } from '../../dist/internals.js';
import { file, readRows } from '../helpers/folder.mjs';

const seconds = 20;
const names = ['none', 'snappy', 'gzip', 'brotli', 'zstd', 'lz4'].flatMap((codec) => [
  `${codec}-1`,
  `${codec}-2`,
]);
const golden = (name) => new URL(`../golden/parquet/${name}.parquet`, import.meta.url);

test.serial('all codecs and encodings, in both versions of pages', async (t) => {
  const rows = await readRows(await parquet(golden('none-1')));
  t.is(rows.length, 300);
  const number = (i, absent, value) => (i % absent === 3 ? Number.NaN : value);
  const text = (i, absent, value) => (i % absent === 3 ? null : value);
  rows.forEach(({ noise, ...row }, i) => {
    t.true(noise >= 0 && noise < 1);
    t.deepEqual(row, {
      ids: 1000 + i,
      small: number(i, 13, (i * i) % 97),
      x: number(i, 7, i / 4 - 3),
      words: text(i, 11, `word ${i % 13}`),
      texts: text(i, 17, `text ${Math.floor(i / 7)} ${'x'.repeat(i % 5)}`),
      plain: text(i, 19, `${i}`),
      colours: text(i, 9, ['red', 'green', 'blue'][i % 3]),
      flags: number(i, 5, Number(i % 3 === 0)),
      same: 5,
      nothing: Number.NaN,
    });
  });
  for (const name of names) t.deepEqual(await readRows(await parquet(golden(name))), rows, name);
});

/** Rows, or the error; either comes soon. */
async function settles(t, bytes, what) {
  const path = await file(t, 'damaged.parquet', bytes);
  const begin = performance.now();
  const reading = async () => await readRows(await parquet(path));
  const found = await reading().catch((error) => error);
  t.true(performance.now() - begin < 1000 * seconds, what);
  t.true(found instanceof DataError || Array.isArray(found), `${what}: ${found}`);
  if (found instanceof Error) t.like(found, { code: 'ERR_FILE_FORMAT', file: path });
  return found;
}

for (const name of names) {
  test.serial(`${name}: bits that are not what they were`, async (t) => {
    const whole = readFileSync(golden(name));
    let [random, told] = [name.length, 0];
    const next = (below) => {
      random = (Math.imul(random, 1664525) + 1013904223) >>> 0;
      return Math.floor((random / 2 ** 32) * below);
    };
    for (let i = 0; i < 20; i++) {
      const bytes = Buffer.from(whole);
      const places = Array.from({ length: 1 + next(3) }, () => next(8 * (bytes.length - 8)));
      for (const bit of places) bytes[bit >> 3] ^= 1 << (bit & 7);
      told += (await settles(t, bytes, `bits ${places}`)) instanceof DataError;
    }
    t.true(told > 5, `${told} of them`);
  });
}

const rows = 1000;
const ids = Array.from({ length: rows }, (_, i) => i);
/** A column whose pages become what `compress` makes of their values: of its dictionary's, too. */
function write(column, codec, compress) {
  return Buffer.from(
    parquetWriteBuffer({
      columnData: [{ name: 'n', nullable: false, ...column }],
      codec,
      ...(compress && { compressors: { [codec]: compress } }),
      statistics: false,
    }),
  );
}

const numbers = { data: ids.map((i) => i % 7), type: 'INT32', encoding: 'PLAIN' };
const plain = Buffer.from(Int32Array.from(numbers.data).buffer);

const varint = (number) => {
  const digits = [];
  let rest = number;
  for (; rest > 127; rest = Math.floor(rest / 128)) digits.push(128 + (rest % 128));
  return [...digits, rest];
};

const whole = {
  SNAPPY: undefined,
  GZIP: gzipSync,
  BROTLI: brotliCompressSync,
  // A frame of one block, and sequences of LZ4, which are not compressed.
  ZSTD: (bytes) => zstd(1 + 8 * bytes.length, bytes),
  LZ4_RAW: (bytes) => lz4(bytes),
  LZ4: (bytes) => {
    const [before, behind] = [bytes.subarray(0, 1000), bytes.subarray(1000)];
    return Buffer.concat(
      [before, behind].flatMap((part) => [u32(part), u32(lz4(part)), lz4(part)]),
    );
  },
};

function u32({ length }) {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(length);
  return bytes;
}

function zstd(head, bytes) {
  const begin = [0x28, 0xb5, 0x2f, 0xfd, 0, 0x58, head & 255, (head >> 8) & 255, head >> 16];
  return Buffer.from([...begin, ...bytes]);
}

function lz4(bytes) {
  if (bytes.length < 15) return Buffer.from([16 * bytes.length, ...bytes]);
  const more = bytes.length - 15;
  const tail = Array(Math.floor(more / 255)).fill(255);
  return Buffer.from([0xf0, ...tail, more % 255, ...bytes]);
}

for (const codec of Object.keys(whole)) {
  test.serial(`${codec}: a page that is not compressed to what its header says`, async (t) => {
    const good = write(numbers, codec, whole[codec]);
    const read = await readRows(await parquet(await file(t, 'good.parquet', good)));
    t.deepEqual(
      read.map(({ n }) => n),
      numbers.data,
    );
    const encode =
      whole[codec] ?? ((bytes) => Buffer.from([...varint(bytes.length), ...lit(bytes)]));
    for (const [what, bytes] of [
      ['less', plain.subarray(4)],
      ['more', Buffer.concat([plain, plain])],
      ['nothing', Buffer.alloc(0)],
    ]) {
      const found = await settles(
        t,
        write(numbers, codec, () => encode(bytes)),
        what,
      );
      t.true(found instanceof DataError, what);
      t.like(found, { row: 1, column: 'n' });
    }
    const cut = write(numbers, codec, () => encode(plain).subarray(0, -5));
    t.like(await settles(t, cut, 'cut'), { row: 1, column: 'n' });
    const noise = write(numbers, codec, () => Buffer.from(ids.map((i) => (i * 167) % 251)));
    t.like(await settles(t, noise, 'noise'), { row: 1, column: 'n' });
  });
}

/** Literals of Snappy. */
const lit = (bytes) =>
  bytes.length === 0 ? [] : [0xf4, (bytes.length - 1) & 255, (bytes.length - 1) >> 8, ...bytes];

test.serial('blocks of LZ4 as Hadoop writes them, or alone', (t) => {
  t.deepEqual(Buffer.from(decodeHadoopLz4(whole.LZ4(plain), plain.length)), plain);
  t.deepEqual(Buffer.from(decodeHadoopLz4(lz4(plain), plain.length)), plain);
});

const padded = (length, bytes) => Buffer.concat([Buffer.from(bytes), Buffer.alloc(length)]);
/** In place of the page's values, and of no dictionary's: as many bytes that begin with these. */
const instead = (bytes) => {
  let calls = 0;
  return (values, isFirst = calls++ === 0) =>
    gzipSync(
      isFirst && bytes.dictionary
        ? values
        : padded(values.length, bytes).subarray(0, values.length),
    );
};

const strings = { data: ids.map((i) => `${(i * 7919) % 1000}, ${i}`), type: 'STRING' };
const few = { ...strings, data: ids.map((i) => ['a', 'b', 'c'][i % 3]) };
const fewNumbers = { data: ids.map((i) => 100 + (i % 3)), type: 'INT32' };
const delta = [...varint(128), 4, ...varint(rows)];
const dictionary = (...bytes) => Object.assign(bytes, { dictionary: true });

/** What hyparquet would fill memory with, or be busy with for minutes or forever. */
const lies = {
  'a code of one symbol': [
    numbers,
    'ZSTD',
    // Of weights all of whose states are those of one symbol: nothing is read between them.
    () => zstd(0x65, [2, 0, 0, 4, 0xf0, 3, 0, 0x80, 0, 0, 0, 0]),
  ],
  'bytes in ZSTD blocks of': [numbers, 'ZSTD', () => zstd(1 + 2 + 8 * 9000, [0])],
  'bytes of Snappy instead of': [numbers, 'SNAPPY', () => [...varint(2 ** 31), ...lit(plain)]],
  'a run of \\d+ in 1000 values': [few, 'GZIP', instead(dictionary(2, ...varint(2 ** 32 - 2)))],
  'a run of 17179869176 in': [few, 'GZIP', instead(dictionary(0, ...varint(2 ** 32 - 1)))],
  // As missing ones, or as 0 where they are of a type of their own, they would go unnoticed.
  'index 3 of a dictionary of 3': [
    few,
    'GZIP',
    instead(dictionary(2, ...varint(2 * 125 + 1), ...Array(250).fill(0b11_10_01_00))),
  ],
  'index 3 of a dictionary of 3 values': [
    fewNumbers,
    'GZIP',
    instead(dictionary(2, ...varint(2 * rows), 3)),
  ],
  // A run is of whole bytes, however few bits the numbers have.
  'index 200 of a dictionary of 3': [few, 'GZIP', instead(dictionary(1, ...varint(2 * rows), 200))],
  'index 16777219 of a dictionary of 3': [
    few,
    'GZIP',
    // Eight packed ones of 25 bits, of which the first is not 0, and a run of all others.
    instead(dictionary(25, 3, 3, 0, 0, 1, ...Array(21).fill(0), ...varint(2 * 992), 0, 0, 0, 0)),
  ],
  'numbers of 200 bits': [few, 'GZIP', instead(dictionary(200))],
  'an integer of more than 32 bits': [few, 'GZIP', instead(dictionary(2, ...Array(9).fill(255)))],
  'blocks of 4294967168 differences': [
    { ...numbers, encoding: 'DELTA_BINARY_PACKED' },
    'GZIP',
    instead([...varint(2 ** 32 - 128), ...delta.slice(2), 0, 0, 32, 32, 32, 32]),
  ],
  'a text of -?\\d+ \\+': [
    { ...strings, encoding: 'DELTA_BYTE_ARRAY' },
    'GZIP',
    // Eight blocks of differences of no bits.
    instead([...delta, ...varint(2 ** 31), ...Array(40).fill(0), ...delta, 0]),
  ],
};

for (const [message, [column, codec, compress]] of Object.entries(lies)) {
  test.serial(`lies that are told: ${message}`, async (t) => {
    const bytes = write(column, codec, (values) => Uint8Array.from(compress(values)));
    const found = await settles(t, bytes, message);
    t.regex(`${found.message}`, new RegExp(message));
    t.like(found, { row: 1, column: 'n' });
  });
}

/** A file of one page whose header has its checksum, behind which `change` changes the page. */
function withChecksum(bytes, change) {
  const { buffer } = Uint8Array.from(bytes);
  const metadata = parquetMetadata(buffer);
  const data = metadata.row_groups[0].columns[0].meta_data;
  const reader = { view: new DataView(buffer), offset: Number(data.data_page_offset) };
  const header = parquetHeader(reader);
  const page = new Uint8Array(buffer, reader.offset, header.compressed_page_size);
  const writer = new ByteWriter();
  const magic = () => writer.appendUint32(0x31524150);
  magic();
  writePageHeader(writer, { ...header, crc: crc32(page) | 0 });
  change(page);
  writer.appendBytes(page);
  data.total_compressed_size = BigInt(writer.offset - 4);
  writeMetadata(writer, metadata);
  magic();
  return Buffer.from(writer.getBuffer());
}

test.serial('a page that does not have its checksum', async (t) => {
  const good = write(numbers, 'UNCOMPRESSED');
  const found = await settles(
    t,
    withChecksum(good, () => {}),
    'whole',
  );
  t.deepEqual(
    found.map(({ n }) => n),
    numbers.data,
  );
  const flip = (page) => {
    page[page.length >> 1] ^= 1;
  };
  const error = await settles(t, withChecksum(good, flip), 'flipped');
  t.like(error, { row: 1, column: 'n' });
  t.regex(`${error.message}`, /the checksum of its header/);
});

test.serial('metadata that lie', async (t) => {
  const good = write(numbers, 'SNAPPY', undefined);
  const begin = good.length - 8 - good.readUInt32LE(good.length - 8);
  const footer = (bytes) => {
    const length = Buffer.alloc(4);
    length.writeUInt32LE(bytes.length);
    return Buffer.concat([good.subarray(0, begin), bytes, length, Buffer.from('PAR1')]);
  };
  const metadata = good.subarray(begin, -8);
  const found = await settles(t, footer(Buffer.concat([metadata])), 'whole');
  t.is(found.length, rows);
  for (const [bytes, message] of [
    // Of the number of rows, an integer of any length.
    [[0x36, ...Array(2 ** 20).fill(255)], /an integer of more than 10 bytes/],
    // A list of structs, and structs in one another.
    [[0x19, 0xfc, ...varint(2 ** 31)], /a list of 2147483648 elements/],
    [Array(1000).fill(0x1c), /structs in one another/],
    [[0x18, ...varint(2 ** 31)], /a text of 2147483648 bytes/],
    [[0x1b], /a field of type 11/],
  ]) {
    t.regex((await settles(t, footer(Buffer.from(bytes)), `${message}`)).message, message);
  }
});
