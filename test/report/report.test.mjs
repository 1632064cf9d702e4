// The report: its text, and the page in a browser.
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import test from 'ava';
import { dense, htmlReport, sequential, Trainer, writeReport } from 'tandem-ml';
import { loadDigits } from '../../examples/lib/digits.mjs';
import { makeFolder } from '../helpers/folder.mjs';

const names = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable', 'chrome'];
const browser = [
  process.env.CHROME_PATH,
  ...(process.env.PATH ?? '')
    .split(delimiter)
    .flatMap((dir) => names.map((name) => join(dir, name))),
].find((path) => path !== undefined && path !== '' && existsSync(path));

/** Fits digits with all that a report can show. */
async function fitDigits(t, callbacks) {
  const [train, validation] = await loadDigits({ sizes: [300, 200], seed: 1 });
  const model = sequential([dense(16, { activation: 'relu' }), dense(10)], {
    input: [64],
    seed: 1,
  });
  const trainer = new Trainer(model, {
    loss: 'crossEntropy',
    metrics: ['accuracy', 'confusionMatrix'],
    lrScheduler: (step) => 0.95 ** step,
  });
  t.teardown(() => trainer.close());
  return await trainer.fit(train, {
    epochs: 12,
    validationData: validation,
    verbose: 0,
    callbacks,
  });
}

/** Added to a page: counts what each canvas shows, in the page itself. */
const inspect = `<script>setTimeout(() => {
  const drawn = [...document.querySelectorAll('canvas')].map((canvas) => {
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    const colors = new Map();
    for (let i = 0; i < data.length; i += 4) {
      if (data[i + 3] < 255) continue;
      const color = [data[i], data[i + 1], data[i + 2]].join();
      colors.set(color, (colors.get(color) ?? 0) + 1);
    }
    return { first: colors.get('31,119,180') ?? 0, second: colors.get('232,113,10') ?? 0 };
  });
  const titles = [...document.querySelectorAll('.u-title')].map((title) => title.textContent);
  const cell = getComputedStyle(document.querySelector('.matrix td')).backgroundColor;
  const requests = performance.getEntriesByType('resource').length;
  const wide = document.documentElement.scrollWidth > innerWidth;
  const found = document.createElement('pre');
  found.id = 'found';
  found.textContent = JSON.stringify({ drawn, titles, cell, requests, wide });
  document.body.append(found);
}, 200);</script>`;

async function open(dir, html) {
  const page = join(dir, 'inspected.html');
  await writeFile(page, html.replace('</body>', `${inspect}</body>`));
  const { stdout, stderr } = await promisify(execFile)(
    browser,
    [
      '--headless',
      '--no-sandbox',
      '--disable-gpu',
      `--user-data-dir=${join(dir, 'profile')}`,
      '--enable-logging=stderr',
      '--virtual-time-budget=5000',
      '--dump-dom',
      pathToFileURL(page).href,
    ],
    { maxBuffer: 2 ** 26 },
  );
  const [, text] = /<pre id="found">(.*?)<\/pre>/.exec(stdout) ?? [];
  return { found: text && JSON.parse(text), dom: stdout, stderr };
}

const rendered = browser === undefined ? test.skip : test;
rendered(
  'the page draws its charts in a browser (needs Chromium: PATH or CHROME_PATH)',
  async (t) => {
    const dir = await makeFolder(t);
    const path = join(dir, 'report.html');
    await fitDigits(t, [htmlReport({ path, title: 'Digits' })]);
    const { found, dom, stderr } = await open(dir, await readFile(path, 'utf8'));
    t.regex(dom, /<html[^>]* data-charts="3"/);
    t.deepEqual(found.titles, ['Loss', 'Accuracy', 'Learning rate']);
    const [loss, accuracy, rate] = found.drawn;
    for (const { first, second } of [loss, accuracy]) t.true(first > 200 && second > 200);
    t.true(rate.first > 200 && rate.second === 0);
    t.regex(found.cell, /^rgba?\(31, 119, 180/);
    t.is(found.requests, 0);
    t.false(found.wide);
    t.notRegex(stderr, /CONSOLE/, 'errors of the page');
  },
);

test('a report names everything, once', async (t) => {
  const dir = await makeFolder(t);
  const path = join(dir, 'report.html');
  const labels = [...'0123456789'].map((digit) => `<${digit}>`);
  const history = await fitDigits(t, [
    htmlReport({ path: pathToFileURL(path), labels, title: 'A & B' }),
  ]);
  t.deepEqual(await readdir(dir), ['report.html']);
  const html = await readFile(path, 'utf8');
  t.true(html.includes('<title>A &amp; B</title>'));
  t.true(html.includes(`class="${history.overfitting().verdict}"`));
  t.true(html.includes('&lt;7&gt;') && !html.includes('<7>'));
  t.true(html.includes('id="confusionMatrix"') && html.includes('id="valConfusionMatrix"'));
  t.regex(html, /<pre>.*dense.*<\/pre>/s);
  const [, data] = /<script type="application\/json" id="data">(.*?)<\/script>/.exec(html);
  const { epochs, charts, best } = JSON.parse(data);
  t.deepEqual(
    epochs,
    history.epochs.map((epoch) => epoch + 1),
  );
  t.deepEqual(
    charts[0].series.map(({ values }) => values),
    [history.loss, history.valLoss],
  );
  t.deepEqual(charts[1].series[1].values, history.valAccuracy);
  t.deepEqual(charts[2].series[0].values, history.learningRate);
  t.true(charts[2].log, 'a rate that falls to a hundredth');
  t.is(best, history.valLoss.indexOf(Math.min(...history.valLoss)) + 1);
  // Nothing is loaded from elsewhere.
  const own = html.replace(/<script>.*?<\/script>/gs, '');
  t.notRegex(own, /\b(src|href)=|@import|url\(/);
});

test('a history is written as a report, numbers that are none left out', async (t) => {
  const dir = await makeFolder(t);
  const path = join(dir, 'report.html');
  const history = await fitDigits(t, []);
  history.loss[3] = Number.NaN;
  await writeReport(path, history, { title: '</script><b>' });
  const html = await readFile(path, 'utf8');
  t.false(html.includes('</script><b>'));
  const [, data] = /<script type="application\/json" id="data">(.*?)<\/script>/.exec(html);
  t.is(JSON.parse(data).charts[0].series[0].values[3], null);
});

test('of many classes the most frequent confusions are shown', async (t) => {
  const dir = await makeFolder(t);
  const path = join(dir, 'report.html');
  const history = await fitDigits(t, []);
  const matrix = Array.from({ length: 100 }, (_, i) =>
    Array.from({ length: 100 }, (_, k) => (i === k ? 10 : (i * 7 + k) % 97 === 0 ? 1 : 0)),
  );
  matrix[50][2] = 9;
  matrix[3][7] = 5;
  history.matrices.confusionMatrix = matrix;
  const labels = Array.from({ length: 100 }, (_, i) => `c${i}`);
  await writeReport(path, history, { labels });
  const html = await readFile(path, 'utf8');
  const [, shown] =
    /<table class="confusions" id="confusionMatrix">(.*?)<\/table>/s.exec(html) ?? [];
  const rows = [...(shown ?? '').matchAll(/<tr><td>(.*?)<\/td><td>(.*?)<\/td><td>(\d+)<\/td>/g)];
  t.is(rows.length, 50);
  t.deepEqual(
    rows.slice(0, 3).map(([, actual, predicted, count]) => [actual, predicted, count]),
    [
      ['c50', 'c2', '9'],
      ['c3', 'c7', '5'],
      ['c0', 'c97', '1'],
    ],
  );
});

test('a fit that fails leaves a report of its epochs, one without epochs none', async (t) => {
  const dir = await makeFolder(t);
  const path = join(dir, 'report.html');
  const failing = (hook) => [
    htmlReport({ path }),
    { [hook]: () => Promise.reject(new Error('mine')) },
  ];
  await t.throwsAsync(fitDigits(t, failing('onEpochBegin')), { message: 'mine' });
  t.deepEqual(await readdir(dir), []);
  await t.throwsAsync(fitDigits(t, failing('onEpochEnd')), { message: 'mine' });
  t.deepEqual(await readdir(dir), ['report.html']);
});

test('refuses options that are wrong', async (t) => {
  for (const options of [
    undefined,
    {},
    { path: '' },
    { path: 'a', labels: [1] },
    { path: 'a', x: 1 },
  ]) {
    t.throws(() => htmlReport(options), { code: 'ERR_ARGUMENT' });
  }
  await t.throwsAsync(writeReport('a.html', { loss: [] }), { code: 'ERR_ARGUMENT' });
  await t.throwsAsync(writeReport(3, {}), { code: 'ERR_ARGUMENT' });
});
