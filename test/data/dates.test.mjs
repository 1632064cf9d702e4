// Dates mean the same wherever they are read.
import { spawnSync } from 'node:child_process';
import test from 'ava';
import { cyclic, fitEncoder, fromTable } from 'tandem-ml/data';
import { collect } from '../helpers/outcomes.mjs';

const day = Date.UTC(2011, 0, 2);
const halfPast5 = day + 5.5 * 3600e3;
/** Without a zone: in UTC. */
const plain = {
  '2011-01-02': day,
  '01/02/2011': day,
  'Jan 2, 2011': day,
  '2011-1-2': day,
  'Sun, 02 Jan 2011 00:00:00': day,
  '2011-01-02 05:30': halfPast5,
  '2011-01-02T05:30': halfPast5,
  '2011-01-02 5:30': halfPast5,
  '2011-1-2T5:30': halfPast5,
  '01/02/2011 05:30': halfPast5,
  '2011-01-02T05:30:01.250': halfPast5 + 1250,
  '2011/01/02 05:30 PM': halfPast5 + 12 * 3600e3,
  '2011-01': Date.UTC(2011, 0, 1),
};
const zoned = {
  'Sun, 02 Jan 2011 00:00:00 GMT': day,
  'Sun Jan 02 2011 01:00:00 GMT+0100 (Central European Standard Time)': day,
  '2011-01-02T05:30Z': halfPast5,
  '2011-01-02 5:30Z': halfPast5,
  '2011-01-02T05:30:00.000Z': halfPast5,
  '2011-01-02T06:30+01:00': halfPast5,
  '2011-01-02 06:30 +0100': halfPast5,
  '2011-01-02 00:30 EST': halfPast5,
};
const dates = { ...plain, ...zoned };

// The zone of a process is set before it starts.
const script = `
  import { cyclic, fitEncoder, fromTable } from 'tandem-ml/data';
  const periods = ['hour', 'day', 'year'];
  const encodings = { x: { d: cyclic({ period: periods }) }, y: { y: 'number' } };
  const dates = JSON.parse(process.argv[1]);
  const table = fromTable({ d: dates, y: dates.map(() => 0) });
  const encoder = await fitEncoder(table, encodings);
  for await (const { x } of encoder.encode(table).batches({ batchSize: 100 })) {
    process.stdout.write(JSON.stringify([...x]));
  }`;

for (const zone of ['UTC', 'America/New_York', 'Asia/Kolkata']) {
  test(`dates in a process of ${zone}`, (t) => {
    const { stdout, stderr } = spawnSync(
      process.execPath,
      ['--input-type=module', '-e', script, JSON.stringify(Object.keys(dates))],
      { env: { ...process.env, TZ: zone }, cwd: new URL('../..', import.meta.url) },
    );
    t.is(String(stderr), '');
    const found = JSON.parse(String(stdout));
    const expected = Object.values(dates).flatMap((time) => {
      const year = Date.UTC(2012, 0, 1) - Date.UTC(2011, 0, 1);
      const turns = [time / 3600e3, time / 86400e3, (time - Date.UTC(2011, 0, 1)) / year];
      return turns.flatMap((turn) => {
        const angle = 2 * Math.PI * (turn - Math.floor(turn));
        return [Math.fround(Math.sin(angle)), Math.fround(Math.cos(angle))];
      });
    });
    for (const [k, date] of Object.keys(dates).entries()) {
      t.deepEqual(found.slice(6 * k, 6 * k + 6), expected.slice(6 * k, 6 * k + 6), date);
    }
  });
}

test('dates of the first century are of no other', async (t) => {
  const table = (d) => fromTable({ d, y: d.map(() => 0) });
  const encode = async (d) => {
    const encodings = { x: { d: cyclic({ period: ['year', 'month'] }) }, y: { y: 'number' } };
    const encoder = await fitEncoder(table(d), encodings);
    const batches = await collect(encoder.encode(table(d)).batches());
    return batches[0].x;
  };
  // Years of 400 are alike.
  const found = await encode(['0000-02-29', '0004-02-29', '0050-07-02T06:00:00Z', '0099-12-31']);
  t.deepEqual(
    found,
    await encode(['2000-02-29', '2004-02-29', '2050-07-02T06:00:00Z', '2099-12-31']),
  );
  for (const date of ['0001-02-29', '0004/02/29', '0050-07-02 06:00 UTC']) {
    await t.throwsAsync(encode([date]), { message: /expected a date/ }, date);
  }
});
