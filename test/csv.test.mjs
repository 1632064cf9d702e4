// CSV files: what is in them, and what is wrong with them.
import { gzipSync } from 'node:zlib';
import test from 'ava';
import { parse } from 'csv-parse/sync';
import { csv, DataError } from 'tandem-ml/data';
import { file, readRows } from './helpers/folder.mjs';
import { generator } from './helpers/numbers.mjs';

const read = async (t, contents, options) =>
  readRows(csv(await file(t, 'file.csv', contents), options));

test('numbers and text are told apart', async (t) => {
  const rows = await read(t, 'hour,weather,temp\n8,rain,0.25\n9,sun,-1e-3\n');
  t.deepEqual(rows, [
    { hour: 8, weather: 'rain', temp: 0.25 },
    { hour: 9, weather: 'sun', temp: -1e-3 },
  ]);
});

test('line ends, a byte order mark, empty lines and a last line without end', async (t) => {
  const rows = await read(t, '\ufeffa,b\r\n1,x\r\n\r\n2,\r\n,z');
  t.deepEqual(rows, [
    { a: 1, b: 'x' },
    { a: 2, b: null },
    { a: Number.NaN, b: 'z' },
  ]);
});

test('quotes are what csv-parse makes of them', async (t) => {
  const contents = 'a,"b"\n1,"x, ""y""\nz"\n" 2 ",plain\n';
  t.deepEqual(await read(t, contents), [
    { a: 1, b: 'x, "y"\nz' },
    { a: 2, b: 'plain' },
  ]);
});

test('numbers are those that JavaScript reads', async (t) => {
  const random = generator(5);
  const texts = ['0', '-0', '.5', '5.', '1e22', '-1.5E-7', '9007199254740993', '0.1', '+3', ' 7 '];
  texts.push('123456789012345.6', '1e400', '4.35', '0.000001', '2.2250738585072014e-308');
  for (let i = 0; i < 2000; i++) {
    const digits = Math.floor(random() * 15);
    texts.push(((random() - 0.5) * 10 ** Math.floor(random() * 12)).toFixed(digits));
  }
  const rows = await read(t, `a,b\n${texts.map((text) => `${text},x\n`).join('')}`);
  t.deepEqual(
    rows.map(({ a }) => a),
    texts.map(Number),
  );
});

test('random files are what csv-parse reads', async (t) => {
  const random = generator(9);
  const pick = (items) => items[Math.floor(random() * items.length)];
  for (let i = 0; i < 20; i++) {
    const quoted = i % 2 === 1;
    const words = ['a', 'bc', '', 'ä€', '1', 'x y', ...(quoted ? ['"q,"', '"a\nb"', '""""'] : [])];
    const end = pick(['\n', '\r\n']);
    const lines = Array.from({ length: 50 }, () => Array.from({ length: 4 }, () => pick(words)));
    const text = ['p,q,r,s', ...lines.map((line) => line.join(',')), ''].join(end);
    const types = { p: 'text', q: 'text', r: 'text', s: 'text' };
    const expected = parse(text, { columns: true, skip_empty_lines: true });
    const rows = await read(t, text, { types });
    t.deepEqual(
      rows,
      expected.map((row) =>
        Object.fromEntries(Object.entries(row).map(([k, v]) => [k, v || null])),
      ),
    );
  }
});

test('compressed, without a header, with another delimiter, some columns of many rows', async (t) => {
  const lines = Array.from({ length: 30000 }, (_, i) => `${i};t${i % 7};${i / 4}`);
  const path = await file(t, 'file.csv.gz', gzipSync(lines.join('\n')));
  const options = { delimiter: ';', header: ['id', 'kind', 'value'], columns: ['value', 'kind'] };
  const rows = await readRows(csv(path, options));
  t.is(rows.length, 30000);
  t.deepEqual(rows[29999], { kind: 't4', value: 29999 / 4 });
  const some = await readRows(csv(path, options).skip(20000).take(3));
  t.deepEqual(
    some.map(({ value }) => value * 4),
    [20000, 20001, 20002],
  );
});

test('a stream is shuffled within windows, by seed and epoch, and can go on anywhere', async (t) => {
  const lines = Array.from({ length: 5000 }, (_, i) => String(i));
  const data = csv(await file(t, 'file.csv', `id\n${lines.join('\n')}\n`)).shuffle({
    seed: 1,
    window: 500,
  });
  const ids = async (options) => (await readRows(data, options)).map(({ id }) => id);
  const first = await ids({ epoch: 0 });
  t.deepEqual(await ids({ epoch: 0 }), first);
  t.notDeepEqual(await ids({ epoch: 1 }), first);
  t.deepEqual(
    [...first].sort((a, b) => a - b),
    lines.map(Number),
  );
  t.true(first.every((id, i) => Math.abs(id - i) < 500));
  t.deepEqual(await ids({ epoch: 0, start: 13 }), first.slice(1300));
  const parts = await Promise.all([0, 1, 2].map((rank) => ids({ epoch: 0, rank, worldSize: 3 })));
  t.deepEqual(
    parts.map(({ length }) => length),
    [1667, 1667, 1667],
  );
  t.deepEqual(
    [...new Set(parts.flat())].sort((a, b) => a - b),
    lines.map(Number),
  );
  const [train, held] = data.split(0.75, { seed: 2 });
  const [a, b] = [await readRows(train), await readRows(held)];
  t.true(Math.abs(a.length - 3750) < 150);
  t.is(new Set([...a, ...b].map(({ id }) => id)).size, 5000);
  t.throws(() => data.split(0.5), { code: 'ERR_ARGUMENT' });
});

const good = 'hour,temp\n1,0.5\n2,0.25\n3,1\n';
const cases = {
  'a row with too few cells': {
    contents: `${good}4\n5,6\n`,
    at: { row: 5 },
    message: /file\.csv, row 5: expected 2 cells as in the header, received 1$/,
    left: 4,
  },
  'a row with too many cells': {
    contents: `${good}4,5,6\n`,
    at: { row: 5 },
    message: /row 5: expected 2 cells.*received 3$/,
    left: 3,
  },
  'too many cells beside quotes': {
    contents: `${good}"4",5,6\n`,
    at: { row: 5 },
    message: /row 5: expected 2 cells.*received 3$/,
    left: 3,
  },
  'text among numbers': {
    contents: `${good}4,warm\n5,6\n`,
    options: { types: { temp: 'number' } },
    at: { row: 5, column: 'temp' },
    message: /file\.csv, row 5, column `temp`: expected a number, received "warm"$/,
    left: 4,
  },
};
for (const [name, { contents, options, at, message, left }] of Object.entries(cases)) {
  test(`${name}: an error with its place, or left out`, async (t) => {
    const path = await file(t, 'file.csv', contents);
    const error = await t.throwsAsync(readRows(csv(path, options)), { instanceOf: DataError });
    t.like(error, { code: 'ERR_FILE_FORMAT', file: path, ...at });
    t.regex(error.message, message);
    const skipped = [];
    const onSkip = (e) => skipped.push(e);
    const rows = await readRows(csv(path, { ...options, onError: 'skip', onSkip }));
    t.is(rows.length, left);
    t.is(skipped.length, 1);
    t.true(skipped[0] instanceof DataError);
    t.is(skipped[0].message, error.message);
  });
}

test('headers', async (t) => {
  const path = await file(t, 'file.csv', good);
  const wrong = await t.throwsAsync(readRows(csv(path, { columns: ['tempp'] })));
  t.regex(wrong.message, /file\.csv, row 1, column `tempp`.*`hour`, `temp`; did you mean `temp`/);
  t.like(wrong, { code: 'ERR_FILE_FORMAT', file: path, row: 1, column: 'tempp' });
  await t.throwsAsync(read(t, 'a,a\n1,2\n'), { code: 'ERR_FILE_FORMAT', message: /column `a`/ });
  await t.throwsAsync(read(t, ''), { code: 'ERR_FILE_FORMAT', message: /empty file/ });
  t.deepEqual(await read(t, 'a,b\n'), []);
});

test('a quote that is never closed, a missing file, a broken archive', async (t) => {
  const open = `a,b\n1,"x\n${'2,y\n'.repeat(1000)}`;
  await t.throwsAsync(read(t, open), { code: 'ERR_FILE_FORMAT' });
  await t.throwsAsync(readRows(csv('/nowhere/file.csv')), { code: 'ENOENT' });
  const path = await file(t, 'file.csv.gz', gzipSync(good.repeat(1000)).subarray(0, 60));
  await t.throwsAsync(readRows(csv(path)), { code: 'ERR_FILE_FORMAT', message: /\.gz/ });
});

test('options are checked', (t) => {
  const bad = (options) => t.throws(() => csv('x.csv', options), { code: 'ERR_ARGUMENT' });
  bad({ delimiter: '::' });
  bad({ delimeter: ',' });
  bad({ types: { a: 'integer' } });
  bad({ onError: 'ignore' });
  bad({ columns: 'a' });
  t.throws(() => csv(3), { code: 'ERR_ARGUMENT' });
});

test('whoever stops early leaves no thread behind', async (t) => {
  const lines = Array.from({ length: 200000 }, (_, i) => `${i}`);
  const data = csv(await file(t, 'file.csv', `id\n${lines.join('\n')}\n`));
  for (let i = 0; i < 3; i++) {
    for await (const batch of data.batches({ batchSize: 10 })) {
      t.is(batch.columns.id[9], 9);
      break;
    }
  }
  const controller = new AbortController();
  const reading = readRows(data, { signal: controller.signal });
  controller.abort();
  await t.throwsAsync(reading, { code: 'ERR_ABORTED' });
});
