// Arrow files whose buffers are compressed, by pyarrow and by hand, whole and damaged.
import { readFile } from 'node:fs/promises';
import {
  CompressionType,
  compressionRegistry,
  tableFromArrays,
  tableToIPC,
  vectorFromArray,
} from 'apache-arrow';
import test from 'ava';
import { arrow, DataError } from 'tandem-ml/data';
import { file, readRows } from '../helpers/folder.mjs';

const golden = (name) => new URL(`../golden/arrow/${name}`, import.meta.url);
const seconds = 20;
const { LZ4_FRAME, ZSTD } = CompressionType;
const magic = { [LZ4_FRAME]: '04224d18', [ZSTD]: '28b52ffd' };

for (const codec of ['lz4', 'zstd']) {
  test(`${codec}: nulls, words, dictionaries, flags, lists and several batches`, async (t) => {
    const plain = await readRows(arrow(golden('mixed.arrow')));
    t.is(plain.length, 60);
    t.is(plain[3].words, null);
    t.is(plain[59].words, 'word 7');
    t.is(plain[1].colours, 'green');
    t.deepEqual(await readRows(arrow(golden(`mixed-${codec}.arrow`))), plain);
  });

  test(`${codec}: buffers of several blocks`, async (t) => {
    const rows = await readRows(arrow(golden(`long-${codec}.arrow`)));
    t.is(rows.length, 100_000);
    t.true(rows.every(({ n }, i) => n === i % 250));
  });

  test(`${codec}: bits that are not what they were`, async (t) => {
    const whole = await Promise.all(
      [`mixed-${codec}.arrow`, `long-${codec}.arrow`].map((name) => readFile(golden(name))),
    );
    let [random, told] = [codec.length, 0];
    const next = (below) => {
      random = (Math.imul(random, 1664525) + 1013904223) >>> 0;
      return Math.floor((random / 2 ** 32) * below);
    };
    for (let i = 0; i < 60; i++) {
      const bytes = Buffer.from(whole[i % 2]);
      const places = Array.from({ length: 1 + next(3) }, () => next(8 * bytes.length));
      for (const bit of places) bytes[bit >> 3] ^= 1 << (bit & 7);
      told += (await settles(t, bytes, `bits ${places}`)) instanceof DataError;
    }
    t.true(told > 15, `${told} of them`);
  });
}

/** How many rows there are, or the DataError; either comes soon. */
async function settles(t, bytes, what) {
  const path = await file(t, 'damaged.arrow', bytes);
  const begin = performance.now();
  const found = await countRows(path).catch((error) => error);
  t.true(performance.now() - begin < 1000 * seconds, what);
  t.true(found instanceof DataError || found >= 0, `${what}: ${found}`);
  if (found instanceof Error) t.is(found.code, 'ERR_FILE_FORMAT');
  return found;
}

async function countRows(path) {
  let count = 0;
  for await (const { rows } of arrow(path).batches({ batchSize: 10_000 })) count += rows;
  return count;
}

/** A file of apache-arrow, which would have the length of the frame before it, not that of its contents. */
function compress(table, codec, frame, claimed = (length) => length) {
  const lengths = [];
  const encode = (bytes) => {
    const encoded = frame(bytes);
    if (encoded.length < bytes.length) lengths.push(bytes.length);
    return encoded;
  };
  compressionRegistry.set(codec, { encode });
  lengths.length = 0;
  const bytes = Buffer.from(tableToIPC(table, 'file', codec));
  let at = 0;
  for (const length of lengths) {
    at = bytes.indexOf(magic[codec], at + 1, 'hex');
    bytes.writeBigInt64LE(BigInt(claimed(length)), at - 8);
  }
  return bytes;
}

const u32 = (number) => [0, 8, 16, 24].map((bits) => (number >>> bits) & 255);
const zeros = tableFromArrays({ n: new Float64Array(1000) });

/** A block: a zero, a match of it that reaches into itself, and five zeros more. */
function zeroBlock(length, offset = 1) {
  const more = Math.max(0, length - 6 - 4 - 15); // apache-arrow tries a few bytes, too
  const tail = Array(Math.floor(more / 255)).fill(255);
  return [0x1f, 0, offset, 0, ...tail, more % 255, 0x50, 0, 0, 0, 0, 0];
}

/** A frame with all that it may have: the length of its contents, and checksums, which are not looked at. */
function lz4Frame({ length }, { flags = 0x5c, offset = 1, size = length } = {}) {
  const block = zeroBlock(length, offset);
  const sum = flags & 16 ? u32(1) : [];
  const blocks = [...u32(block.length), ...block, ...sum, ...u32(0)];
  return Uint8Array.from([
    ...[...Buffer.from(magic[LZ4_FRAME], 'hex'), flags, 0x40],
    ...(flags & 8 ? [...u32(size), ...u32(0)] : []),
    ...[0, ...blocks, ...(flags & 4 ? u32(1) : [])],
  ]);
}

/** A frame of blocks of one byte each that is repeated, without the length of its contents. */
function zstdFrame(length, blocks = 1) {
  const last = (i) => Number(i === blocks - 1);
  return Uint8Array.from([
    ...[...Buffer.from(magic[ZSTD], 'hex'), 0, 0x58],
    ...Array.from({ length: blocks }, (_, i) => [
      ...u32(last(i) + 2 + 8 * length).slice(0, 3),
      0,
    ]).flat(),
  ]);
}

const allZero = (t, rows) => {
  t.is(rows.length, 1000);
  t.true(rows.every(({ n }) => n === 0));
};

test.serial('buffers that compression would make no smaller', async (t) => {
  const [ids, words] = [Int32Array.of(5, 6, 7, 8), vectorFromArray(['a', 'b', null, 'a'])];
  const more = Buffer.alloc(100);
  for (const codec of [LZ4_FRAME, ZSTD]) {
    const frame = (bytes) => Buffer.concat([Buffer.from(`${magic[codec]}40`, 'hex'), bytes, more]);
    const whole = compress(tableFromArrays({ ids, words }), codec, frame);
    const rows = await readRows(arrow(await file(t, 'stored.arrow', whole)));
    t.deepEqual(rows, [
      { ids: 5, words: 'a' },
      { ids: 6, words: 'b' },
      { ids: 7, words: null },
      { ids: 8, words: 'a' },
    ]);
  }
});

test.serial('LZ4: frames with lengths and checksums', async (t) => {
  for (const flags of [0x5c, 0x7c, 0x40, 0x60, 0x48, 0x50, 0x44]) {
    const whole = compress(zeros, LZ4_FRAME, (bytes) => lz4Frame(bytes, { flags }));
    allZero(t, await readRows(arrow(await file(t, 'zeros.arrow', whole))));
  }
});

test.serial('ZSTD: frames without lengths', async (t) => {
  const whole = compress(zeros, ZSTD, ({ length }) => zstdFrame(length));
  allZero(t, await readRows(arrow(await file(t, 'zeros.arrow', whole))));
});

test.serial('LZ4: frames that are not what they say', async (t) => {
  const lz4 = (options, claimed) =>
    compress(zeros, LZ4_FRAME, (bytes) => lz4Frame(bytes, options), claimed);
  for (const [bytes, message] of [
    [lz4({ offset: 2 }), /an LZ4 match 2 bytes before 1/],
    [lz4({ flags: 0x5d }), /an unknown LZ4 frame/],
    [lz4({ size: 7999 }), /an LZ4 frame of other than 8000 bytes/],
    [lz4({ flags: 0x40 }, () => 8001), /8000 bytes of LZ4 instead of 8001/],
    [lz4({ flags: 0x40 }, () => 7999), /more than 7999 bytes of LZ4/],
    [lz4({ flags: 0x40 }, () => 1e6), /1000000 bytes in LZ4 blocks of at most 10710/],
    [lz4({ flags: 0x40 }, () => 2 ** 40), /1099511627776 bytes compressed to/],
    [lz4({ flags: 0x40 }, () => -2), /a buffer of -2 bytes/],
    [lz4({ flags: 0x40 }, () => 100), /a batch of 1000 rows in 100 bytes/],
  ]) {
    const path = await file(t, 'lz4.arrow', bytes);
    await t.throwsAsync(readRows(arrow(path)), { instanceOf: DataError, message });
  }
});

test.serial('ZSTD: frames that are not what they say', async (t) => {
  const zstd = (frame, claimed) => compress(zeros, ZSTD, frame, claimed);
  // Of weights all of whose states are those of one symbol: nothing is read between them.
  const endless = [0x28, 0xb5, 0x2f, 0xfd, 0, 0x58, ...[0x65, 0, 0], 2, 0, 0, 4, 0xf0, 3, 0, 0x80];
  const endlessBlock = Uint8Array.from([...endless, ...Array(4).fill(0)]);
  for (const [bytes, message] of [
    [
      zstd(
        () => zstdFrame(8000),
        () => 8001,
      ),
      /8001 bytes in ZSTD blocks of 8000 to 8000/,
    ],
    [
      zstd(
        () => zstdFrame(8000),
        () => 2 ** 31,
      ),
      /2147483648 bytes compressed to/,
    ],
    [zstd(() => zstdFrame(2 ** 18)), /a ZSTD block of 262144 bytes/],
    [zstd(() => zstdFrame(8000, 2)), /8000 bytes in ZSTD blocks of 16000/],
    [zstd(() => Uint8Array.of(...zstdFrame(8000), 0)), /bytes behind the ZSTD frame/],
    [zstd(() => endlessBlock), /a code of one symbol/],
  ]) {
    const path = await file(t, 'zstd.arrow', bytes);
    await t.throwsAsync(readRows(arrow(path)), { instanceOf: DataError, message });
  }
});

test('other codecs are named', async (t) => {
  const whole = await readFile(golden('mixed-zstd.arrow'));
  const message = /compressed with codec 7; LZ4_FRAME \(0\) and ZSTD \(1\) can be read/;
  // The number of the codec is one of the ones of the file; a table of compression has no other slot.
  for (let at = whole.indexOf(1); at >= 0; at = whole.indexOf(1, at + 1)) {
    const bytes = Buffer.from(whole);
    bytes[at] = 7;
    const found = await settles(t, bytes, `byte ${at}`);
    if (message.test(found.message)) return;
  }
  t.fail('no codec found');
});
