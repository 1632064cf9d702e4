// CSV files that are not what they should be: nothing changes silently, and skipping loses no other row.
import { gzipSync } from 'node:zlib';
import test from 'ava';
import { parse } from 'csv-parse/sync';
import { csv, DataError } from 'tandem-ml/data';
import { file, readRows } from '../helpers/folder.mjs';
import { generator } from '../helpers/numbers.mjs';

const read = async (t, contents, options) =>
  readRows(csv(await file(t, 'file.csv', contents), options));

/** The rows that are left, and the errors of those that are not. */
async function skip(t, contents, options) {
  const errors = [];
  const onSkip = (error) => errors.push(error);
  const rows = await read(t, contents, { onError: 'skip', onSkip, ...options });
  for (const error of errors) t.true(error instanceof DataError);
  return { rows, errors };
}

test('a stray quote makes a bad record of its own line', async (t) => {
  const contents = 'a,b\n1,x\n2,5" pipe\n3,"y, ""z"""\n4,2" x 4"\n5,"u"v\n6,\n';
  const error = await t.throwsAsync(read(t, contents), { instanceOf: DataError });
  t.is(error.row, 3);
  t.regex(error.message, /file\.csv, row 3: expected a CSV record, received Invalid Opening Quote/);
  t.notRegex(error.message, /line 1/);
  const { rows, errors } = await skip(t, contents);
  t.deepEqual(rows, [
    { a: 1, b: 'x' },
    { a: 3, b: 'y, "z"' },
    { a: 6, b: null },
  ]);
  t.deepEqual(
    errors.map(({ row }) => row),
    [3, 5, 6],
  );
});

test('a quote that is never closed takes no other line with it', async (t) => {
  const { rows, errors } = await skip(t, `a,b\n1,x\n2,"pipe\n${'3,y\n'.repeat(1000)}`);
  t.is(rows.length, 1001);
  t.deepEqual(
    errors.map(({ row }) => row),
    [3],
  );
  t.regex(errors[0].message, /Quote Not Closed/);
  const closed = await skip(t, 'a,b\n1,x\n2,"pipe\n3,y\n4,"z"\n5,"w\nw"\n');
  t.deepEqual(
    closed.rows.map(({ a, b }) => `${a}${b}`),
    ['1x', '3y', '4z', '5w\nw'],
  );
});

test('a quote that is never closed in a file of more than a record may have', async (t) => {
  const line = `1,${'x'.repeat(997)}\n`;
  const { rows, errors } = await skip(t, `a,b\n2,"pipe\n${line.repeat(35_000)}`, {
    columns: ['a'],
  });
  t.is(rows.length, 35_000);
  t.deepEqual(
    errors.map(({ row }) => row),
    [2],
  );
});

test('records that begin with a quote are cut after them, wherever the file is cut', async (t) => {
  const lines = Array.from({ length: 60_000 }, (_, i) => `"text\n${i}\n, ""more""",${i}\n`);
  const rows = await read(t, `a,b\n${lines.join('')}`);
  t.is(rows.length, 60_000);
  t.true(rows.every(({ a, b }, i) => b === i && a === `text\n${i}\n, "more"`));
});

for (const [name, quoted] of [
  ['plain', ''],
  ['quoted', '"'],
]) {
  test(`text that is no UTF-8, ${name}`, async (t) => {
    const cells = ['caf\xe9', 'th\xc3\xa9', 'caf\xe8'];
    const lines = cells.map((cell, i) => `${i},${quoted}${cell}${quoted}\n`);
    const contents = Buffer.from(`a,b\n${lines.join('')}`, 'latin1');
    const error = await t.throwsAsync(read(t, contents), { instanceOf: DataError });
    t.like(error, { code: 'ERR_FILE_FORMAT', row: 2, column: 'b' });
    t.regex(error.message, /expected text in UTF-8/);
    const { rows, errors } = await skip(t, contents);
    t.deepEqual(rows, [{ a: 1, b: 'thé' }]);
    t.deepEqual(
      errors.map(({ row }) => row),
      [2, 4],
    );
    t.is((await read(t, contents, { columns: ['a'] })).length, 3);
    const header = Buffer.from(`${quoted}caf\xe9${quoted},b\n1,2\n`, 'latin1');
    const wrong = await t.throwsAsync(read(t, header), { instanceOf: DataError });
    t.is(wrong.row, 1);
  });
}

test('UTF-16', async (t) => {
  const contents = Buffer.from('\ufeffa,b\n1,2\n', 'utf16le');
  await t.throwsAsync(read(t, contents), { message: /row 1: expected text in UTF-8/ });
});

test('a column of any name is there', async (t) => {
  const [row] = await read(t, '__proto__,constructor\n1,2\n');
  t.deepEqual(Object.entries(row), [
    ['__proto__', 1],
    ['constructor', 2],
  ]);
});

test('types of columns that are not there', async (t) => {
  await t.throwsAsync(read(t, 'zip,b\n007,2\n7,3\n', { types: { zap: 'text' } }), {
    instanceOf: DataError,
    message: /row 1, column `zap`.*did you mean `zip`/,
  });
  const rows = await read(t, 'zip,b\n007,2\n7,3\n', { types: { zip: 'text' }, columns: ['zip'] });
  t.deepEqual(rows, [{ zip: '007' }, { zip: '7' }]);
});

test('a compressed file that ends early or is broken', async (t) => {
  const lines = Array.from({ length: 20_000 }, (_, i) => `${i},${(i * 7919) % 1009}\n`);
  const whole = gzipSync(`a,b\n${lines.join('')}`);
  const broken = Buffer.from(whole).fill(7, whole.length >> 1, (whole.length >> 1) + 200);
  for (const contents of [whole.subarray(0, whole.length >> 1), broken]) {
    const path = await file(t, 'file.csv.gz', contents);
    const error = await t.throwsAsync(readRows(csv(path)), { instanceOf: DataError });
    t.like(error, { code: 'ERR_FILE_FORMAT', file: path });
    t.regex(error.message, /expected a whole \.gz file/);
  }
});

for (const end of ['\n', '\r\n']) {
  test(`large files with quotes are what csv-parse reads, ends ${JSON.stringify(end)}`, async (t) => {
    const random = generator(11);
    const pick = (items) => items[Math.floor(random() * items.length)];
    const texts = ['a', '', '"q, ""r"""', '"two\nlines"', '"  "', '"ä€"', '""', '""""', '"a\r\nb"'];
    const numbers = ['1', '"2.5"', '"-3"', '', '""', '"1e3"', '" 7 "', '"123456789012345678"'];
    const line = () => [pick(texts), pick(numbers), pick(texts), pick(numbers)].join(',');
    const lines = Array.from({ length: 80_000 }, line);
    const contents = ['p,q,r,s', ...lines, ''].join(end);
    t.true(contents.length > 3 * 2 ** 19);
    const number = (cell) => (cell.trim() === '' ? Number.NaN : Number(cell));
    const expected = parse(contents, { columns: true, skip_empty_lines: true }).map(
      ({ p, q, r, s }) => ({ p: p || null, q: number(q), r: r || null, s: number(s) }),
    );
    const rows = await read(t, contents, { types: { q: 'number', s: 'number' } });
    t.is(rows.length, expected.length);
    for (const [i, row] of rows.entries()) {
      if (JSON.stringify(row) !== JSON.stringify(expected[i]))
        t.deepEqual(row, expected[i], `${i}`);
    }
    const some = await readRows(
      csv(await file(t, 'file.csv', contents), { columns: ['s'] })
        .skip(70_000)
        .take(5),
    );
    t.deepEqual(
      some.map((row) => row.s),
      expected.slice(70_000, 70_005).map((row) => row.s),
    );
  });
}

test('lines of one file may end both ways', async (t) => {
  const expected = ['a', 'b', 'c', 'd\re'].map((c, i) => ({ n: i + 1, c }));
  const ends = ['\n', '\r\n'];
  for (const quote of ['', '"']) {
    for (let mixture = 0; mixture < 2 ** 5; mixture++) {
      const lines = ['n,c', `${quote}1${quote},a`, '2,b', '3,c', '4,d\re'];
      const contents = lines.map((line, i) => `${line}${ends[(mixture >> i) & 1]}`).join('');
      t.deepEqual(await read(t, contents), expected, JSON.stringify(contents));
    }
  }
});

test('bad rows beside quotes, far into a file', async (t) => {
  const good = '1,"x, y\nz",2\n'.repeat(60_000);
  const bad = '1,"x\ny"\n"warm","x\ny","2"\n1,"x"y,2\n1,"x",2\n';
  const { rows, errors } = await skip(t, `a,b,c\n${good}${bad}${good}`);
  t.is(rows.length, 120_001);
  t.deepEqual(
    errors.map(({ row }) => row),
    [60_002, 60_003, 60_004],
  );
  t.regex(errors[1].message, /column `a`: expected a number, received "warm"/);
});
