// Lines of CSV files in the ways that they may be written.
import { execFileSync, spawn } from 'node:child_process';
import { appendFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { csv } from 'tandem-ml/data';
import { file, makeFolder, readRows } from '../helpers/folder.mjs';
import { generator } from '../helpers/numbers.mjs';

const number = (text) => (text === '' || text === 'NA' ? Number.NaN : Number(text));
const word = (text) => (text === '' || text === 'NA' ? null : text);

/** Lines of a number, a text and a number, many of them written in unusual ways. */
function makeLines(count, seed) {
  const random = generator(seed);
  const pick = (items) => items[Math.floor(random() * items.length)];
  const written = () => {
    const value = (random() - 0.5) * 10 ** Math.floor(random() * 20 - 6);
    return pick([
      ...[value.toFixed(3), String(value), value.toExponential(9), `${Math.round(value)}`],
      ...['', 'NA', ` ${value} `, `+${Math.abs(value)}`, '1e-320', '12345678901234567890'],
    ]);
  };
  return Array.from({ length: count }, () => [
    written(),
    pick(['a', 'bcd', 'ä€', '', 'NA', 'x y', `${Math.floor(random() * 1e6)}`]),
    written(),
  ]);
}

for (const end of ['\n', '\r\n']) {
  test(`numbers and texts in every way that they may be written, ends ${JSON.stringify(end)}`, async (t) => {
    const lines = makeLines(30_000, 3);
    const contents = `p,q,r${end}${lines.map((line) => line.join() + end).join('')}`;
    const path = await file(t, 'file.csv', contents);
    const expected = lines.map(([p, q, r]) => ({ p: number(p), q: word(q), r: number(r) }));
    const types = { p: 'number', q: 'text', r: 'number' };
    t.deepEqual(await readRows(csv(path, { types })), expected);
    const some = await readRows(csv(path, { types, columns: ['r', 'q'] }));
    t.deepEqual(
      some,
      expected.map(({ q, r }) => ({ q, r })),
    );
  });
}

test('rows that are chosen are those of the list, however many and in whatever order', async (t) => {
  const lines = Array.from({ length: 40_000 }, (_, i) => (i % 1000 === 999 ? ` ${i} ` : `${i}`));
  const path = await file(t, 'file.csv', `a\n\n${lines.join('\n')}\n`);
  const all = csv(path, { types: { a: 'number' } });
  const read = async (dataset) => (await readRows(dataset)).map(({ a }) => a);
  const numbers = (begin, end) => Array.from({ length: end - begin }, (_, i) => begin + i);
  t.deepEqual(await read(all), numbers(0, 40_000));
  t.deepEqual(await read(all.take(8192)), numbers(0, 8192));
  t.deepEqual(await read(all.skip(20_001).take(10_000)), numbers(20_001, 30_001));
  const [some, others] = all.split(0.3, { seed: 4 });
  const [left, right] = [await read(some), await read(others)];
  t.true(Math.abs(left.length - 12_000) < 500);
  t.deepEqual(
    [...left, ...right].sort((a, b) => a - b),
    numbers(0, 40_000),
  );
  t.deepEqual(await read(some.take(9000).skip(100)), left.slice(100, 9000));
});

test('rows that are bad, between many that are not', async (t) => {
  const lines = Array.from({ length: 20_000 }, (_, i) => (i % 777 === 5 ? `${i}` : `${i},k${i}`));
  lines[12_000] = 'warm,k';
  const path = await file(t, 'file.csv', `a,b\n${lines.join('\n')}\n`);
  const errors = [];
  const types = { a: 'number', b: 'text' };
  const options = { types, onError: 'skip', onSkip: (error) => errors.push(error) };
  const rows = await readRows(csv(path, options));
  const bad = lines.flatMap((line, i) => (/^\d+,/.test(line) ? [] : [i + 2]));
  t.deepEqual(
    errors.map(({ row }) => row),
    bad,
  );
  t.is(rows.length, lines.length - bad.length);
  t.deepEqual(rows.at(-1), { a: 19_999, b: 'k19999' });
  await t.throwsAsync(readRows(csv(path, { types })), {
    message: /row 7: expected 2 cells as in the header, received 1/,
  });
});

test('a number that stands for a missing one', async (t) => {
  const path = await file(t, 'file.csv', 'a,b\n1,x\n-999,-999\n3,-999.0\n"-999",y\n');
  const missing = ['-999'];
  t.deepEqual(await readRows(csv(path, { missing, types: { a: 'number' } })), [
    { a: 1, b: 'x' },
    { a: Number.NaN, b: null },
    { a: 3, b: '-999.0' },
    { a: Number.NaN, b: 'y' },
  ]);
  const plain = await file(t, 'plain.csv', 'a\n1\n-999\n-999.5\n');
  const rows = await readRows(csv(plain, { missing }));
  t.deepEqual(
    rows.map(({ a }) => a),
    [1, Number.NaN, -999.5],
  );
});

/** Cells that are numbers to some readers, or look like it. */
const oddCells = [
  ...[
    '1',
    '-0',
    '.5',
    '5.',
    '.',
    '-',
    '+',
    '+1',
    '--1',
    '+-1',
    '- 1',
    '1e5',
    '1E+5',
    '1e',
    '1e+',
    'e1',
  ],
  ...[
    '1e400',
    '-1e400',
    '1e-400',
    '1e-320',
    '4.9e-324',
    '2.4e-324',
    '1.7976931348623159e308',
    '1_0',
  ],
  ...[
    '0x1F',
    '-0x1',
    '0b1',
    '0o7',
    '0X',
    'Infinity',
    '-Infinity',
    '+Infinity',
    'infinity',
    'inf',
    'nan',
  ],
  ...[
    'NaN',
    'NA',
    ' NA ',
    '',
    ' ',
    '\t1\v',
    '\f2 ',
    '\u00a03\u3000',
    '\ufeff4',
    '5\u2028',
    '6\u200b',
    '1\r ',
  ],
  ...['1f', '1d', '1,5', '1 2', '9007199254740993', '123456789012345678901234567890', '٣', '½'],
  ...[`0.${'0'.repeat(400)}1e401`, `1${'0'.repeat(400)}e-400`, '1e99999999999999999999', '7n'],
];

test('native code and csv-parse take the same cells for numbers and texts', async (t) => {
  const outcome = async (header) => {
    const lines = oddCells.map((cell, i) => `${cell};${i}\n`);
    const path = await file(t, 'file.csv', `${header};i\n${lines.join('')}`);
    const errors = [];
    const options = {
      delimiter: ';',
      onError: 'skip',
      onSkip: ({ message }) => errors.push(message.replace(/^.*?, row/, 'row')),
    };
    const numbers = await readRows(csv(path, { ...options, types: { a: 'number' } }));
    const texts = await readRows(csv(path, { ...options, types: { a: 'text' } }));
    return { numbers, texts, errors };
  };
  const native = await outcome('a');
  t.deepEqual(native, await outcome('"a"'));
  for (const { a, i } of native.numbers) {
    const expected = /^\s*(NA|NaN)?\s*$/.test(oddCells[i]) ? Number.NaN : Number(oddCells[i]);
    t.is(a, expected, oddCells[i]);
  }
  const refused = oddCells.filter((_, i) => !native.numbers.some((row) => row.i === i));
  const others = oddCells.filter(
    (cell) => Number.isNaN(Number(cell)) && !/^\s*(NA|NaN)\s*$/.test(cell),
  );
  t.deepEqual([...refused].sort(), [...others, '0x1F', '0b1', '0o7'].sort());
});

test('a header, and rows, longer than what types are inferred from', async (t) => {
  // The second is longer than what is read at a time, too.
  for (const columns of [20_000, 30_000]) {
    const names = Array.from({ length: columns }, (_, i) => `column-${i}`);
    const line = names.map((_, i) => (i % 2 === 0 ? `${i}` : `t${i}`)).join();
    const text = `\n\r\n${names.join()}\n\n${line}\n${line}\n`;
    const last = `column-${columns - 2}`;
    for (const quoted of [text, text.trimStart().replace('column-0,', '"column-0",')]) {
      const path = await file(t, 'file.csv', quoted);
      const rows = await readRows(csv(path, { columns: ['column-7', last] }));
      const row = { 'column-7': 't7', [last]: columns - 2 };
      t.deepEqual(rows, [row, row]);
    }
  }
});

test('numbers without digits, too, may stand for missing ones', async (t) => {
  const path = await file(t, 'file.csv', 'a,b\n1,2\nInfinity,Infinity\n-9,-9\n');
  const missing = ['Infinity', '-9'];
  const rows = await readRows(csv(path, { missing, types: { b: 'text' } }));
  t.deepEqual(rows, [
    { a: 1, b: '2' },
    { a: Number.NaN, b: null },
    { a: Number.NaN, b: null },
  ]);
});

test('many lines in a row that are none', async (t) => {
  const bad = (i) => i % 97 !== 0;
  // Every third of a wrong number of cells, others with no number; empty lines do not count.
  const lines = Array.from({ length: 500 }, (_, i) => {
    if (!bad(i)) return `${i},1`;
    return `${i % 3 === 0 ? `${i}` : `${i},x${i}`}${i % 50 === 1 ? '\n' : ''}`;
  });
  const path = await file(t, 'file.csv', `a,b\n0,0\n${lines.join('\n')}\n`);
  const errors = [];
  const data = csv(path, {
    types: { a: 'number', b: 'number' },
    onError: 'skip',
    onSkip: ({ row, message }) => errors.push([row, message.split(', ').at(-1)]),
  });
  const rows = await readRows(data);
  t.deepEqual(
    rows.map(({ a }) => a),
    [0, 0, 97, 194, 291, 388, 485],
  );
  const expected = lines.flatMap((_, i) => (bad(i) ? [[i + 3, i % 3]] : []));
  t.is(errors.length, Math.min(100, expected.length));
  for (const [k, [row, message]] of errors.entries()) {
    t.is(row, expected[k][0]);
    t.regex(message, expected[k][1] === 0 ? /received 1$/ : new RegExp(`received "x${row - 3}"$`));
  }
});

test('empty lines without number before the header and the first row', async (t) => {
  const rows = [
    { a: 1, b: 'x' },
    { a: 2, b: 'y' },
  ];
  const empty = '\n'.repeat(2 ** 20);
  const other = '\r\n'.repeat(2 ** 20);
  const mixed = await file(t, 'mixed.csv', `${empty}a,b\r\n${other}1,x\n${empty}2,y`);
  t.deepEqual(await readRows(csv(mixed)), rows);
  // So many would take minutes if they were looked at again for each piece of the file.
  const path = await file(t, 'many.csv', 'a,b\n');
  for (let i = 0; i < 32; i++) await appendFile(path, empty);
  await appendFile(path, '1,x\n2,y\n');
  t.deepEqual(await readRows(csv(path)), rows);
});

const pipes = process.platform === 'win32' ? test.skip : test;
pipes('types are those of rows that come through a pipe after the header', async (t) => {
  const path = join(await makeFolder(t), 'pipe');
  execFileSync('mkfifo', [path]);
  const lines = '{ echo; sleep 0.1; echo a; sleep 0.1; echo 1; echo 2; } > "$0"';
  const writer = spawn('sh', ['-c', lines, path]);
  const ended = new Promise((resolve) => writer.on('exit', resolve));
  t.deepEqual(await readRows(csv(path)), [{ a: 1 }, { a: 2 }]);
  t.is(await ended, 0);
});

pipes('the rows that come through a pipe', async (t) => {
  const path = join(await makeFolder(t), 'pipe');
  execFileSync('mkfifo', [path]);
  // A writer whose reader has gone ends with a signal.
  const writer = spawn('sh', ['-c', 'seq 200000 > "$0"', path]);
  const ended = new Promise((resolve) => writer.on('exit', resolve));
  const rows = await readRows(csv(path, { header: ['a'], types: { a: 'number' } }));
  t.is(rows.length, 200_000);
  t.is(rows.at(-1).a, 200_000);
  t.is(await ended, 0);
});

pipes('a block of long texts ends before it has many rows', async (t) => {
  const path = join(await makeFolder(t), 'pipe');
  execFileSync('mkfifo', [path]);
  // 150 rows of 60 kB, and no more.
  const texts = 'head -c 9000000 /dev/zero | tr "\\0" x | fold -w 60000';
  const writer = spawn('sh', ['-c', `{ echo a; ${texts}; exec sleep 60; } > "$0"`, path]);
  t.teardown(() => writer.kill());
  const signal = AbortSignal.timeout(20_000);
  for await (const { columns } of csv(path).batches({ batchSize: 1, signal })) {
    t.is(columns.a[0].length, 60_000);
    break;
  }
  t.false(signal.aborted);
});
