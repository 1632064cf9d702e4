// The report's page: one file of HTML that asks for nothing else.
import type { Overfitting } from '../history/overfitting.js';
import type { Matrix } from '../metrics/metric.js';
import { client } from './client.js';

/** A chart's lines over the epochs; null where an epoch has no number. */
export interface Chart {
  readonly title: string;
  /** Whether its heights are on a logarithmic scale. */
  readonly log: boolean;
  readonly series: readonly {
    readonly label: string;
    readonly values: readonly (number | null)[];
  }[];
}

/** Everything that a page shows. */
export interface Page {
  readonly title: string;
  /** As people count, from 1. */
  readonly epochs: readonly number[];
  readonly charts: readonly Chart[];
  readonly verdict: Overfitting;
  readonly matrices: Readonly<Record<string, Matrix>>;
  /** Names of classes; their numbers by default. */
  readonly labels: readonly string[] | undefined;
  readonly summary: string | undefined;
}

/** uPlot's script and style sheet. */
export interface Library {
  readonly script: string;
  readonly style: string;
}

/** The page as HTML. */
export function render(page: Page, library: Library): string {
  const { title, verdict } = page;
  const best = verdict.bestEpoch < 0 ? null : verdict.bestEpoch + 1;
  const data = { epochs: page.epochs, charts: page.charts, best };
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'">
<title>${escapeHtml(title)}</title>
<style>${library.style}${style}</style>
</head>
<body>
<h1>${escapeHtml(title)}</h1>
<p id="verdict" class="${verdict.verdict}">${escapeHtml(verdict.message)}</p>
${numbers(page)}
<div id="charts"></div>
${Object.entries(page.matrices)
  .map(([name, matrix]) => table(name, matrix, page.labels))
  .join(
    '',
  )}${page.summary === undefined ? '' : `<h2>Model</h2>\n<pre>${escapeHtml(page.summary)}</pre>\n`}
<script type="application/json" id="data">${json(data)}</script>
<script>${library.script}</script>
<script>${client}</script>
</body>
</html>
`;
}

/** A row a number: its last value, and the one of the best epoch. */
function numbers({ epochs, charts, verdict }: Page): string {
  const best = verdict.bestEpoch < 0 ? -1 : epochs.indexOf(verdict.bestEpoch + 1);
  const head = ['', `epoch ${epochs.at(-1)}`, ...(best < 0 ? [] : [`best epoch, ${epochs[best]}`])];
  const rows = charts.flatMap(({ title, series }) =>
    series.map(({ label, values }) => {
      const name = series.length > 1 ? `${title}, ${label}` : title;
      const shown = [values.at(-1), ...(best < 0 ? [] : [values[best]])].map(show);
      return `<tr><th scope="row">${escapeHtml(name)}</th>${shown.map((value) => `<td>${value}</td>`).join('')}</tr>\n`;
    }),
  );
  return `<table id="numbers">
<tr>${head.map((text) => `<th scope="col">${escapeHtml(text)}</th>`).join('')}</tr>
${rows.join('')}</table>`;
}

/** Classes of a matrix that is shown as a whole, and the pairs that are shown of a larger one. */
const mostClasses = 64;
const mostPairs = 50;

/** Which classes were most often taken for which. */
function confusions(name: string, matrix: Matrix, label: (i: number) => string): string {
  const pairs: { count: number; actual: number; predicted: number }[] = [];
  let least = 0;
  for (const [actual, row] of matrix.entries()) {
    // A million numbers: for ... of takes ten times as long.
    for (let predicted = 0; predicted < row.length; predicted++) {
      const count = row[predicted] ?? 0;
      if (count <= least || predicted === actual) continue;
      pairs.push({ count, actual, predicted });
      if (pairs.length < 2 * mostPairs) continue;
      pairs.sort((a, b) => b.count - a.count).length = mostPairs;
      least = pairs.at(-1)?.count ?? 0;
    }
  }
  pairs.sort((a, b) => b.count - a.count);
  const rows = pairs.slice(0, mostPairs).map(({ count, actual, predicted }) => {
    const total = (matrix[actual] ?? []).reduce((sum, item) => sum + item, 0);
    const share = `${((100 * count) / total).toFixed(1)} %`;
    return `<tr><td>${label(actual)}</td><td>${label(predicted)}</td><td>${count}</td><td>${share}</td></tr>\n`;
  });
  return `<h2>${escapeHtml(words(name))}</h2>
<p>The most frequent of what was taken for another of ${matrix.length} classes.</p>
<table class="confusions" id="${escapeHtml(name)}">
<tr><th scope="col">is</th><th scope="col">predicted</th><th scope="col">rows</th><th scope="col">of the class</th></tr>
${rows.join('')}</table>
`;
}

/** A confusion matrix: darker where more of a row lies. */
function table(name: string, matrix: Matrix, labels: readonly string[] | undefined): string {
  const label = (i: number) => escapeHtml(labels?.[i] ?? String(i));
  if (matrix.length > mostClasses) return confusions(name, matrix, label);
  const head = matrix.map((_, i) => `<th scope="col">${label(i)}</th>`).join('');
  const rows = matrix.map((row, i) => {
    const total = row.reduce((sum, count) => sum + count, 0);
    const cells = row.map((count) => {
      const share = total === 0 ? 0 : count / total;
      return `<td style="background:rgb(var(--shade) / ${(0.7 * share).toFixed(3)})">${count}</td>`;
    });
    return `<tr><th scope="row">${label(i)}</th>${cells.join('')}</tr>\n`;
  });
  return `<h2>${escapeHtml(words(name))}</h2>
<p>A row is what it is, a column what was predicted.</p>
<table class="matrix" id="${escapeHtml(name)}">
<tr><th></th>${head}</tr>
${rows.join('')}</table>
`;
}

const show = (value: number | null | undefined): string =>
  typeof value === 'number' ? String(Number(value.toPrecision(5))) : '-';

/** "valConfusionMatrix" as "Validation confusion matrix". */
export function words(name: string): string {
  const plain = /^val[A-Z]/.test(name) ? `validation${name.slice(3)}` : name;
  const parts = plain.replace(/(?<=[a-z\d])(?=[A-Z])/g, ' ').toLowerCase();
  return parts.charAt(0).toUpperCase() + parts.slice(1);
}

const entities: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

const escapeHtml = (text: string): string =>
  text.replace(/[&<>"']/g, (character) => entities[character] ?? character);

/** JSON that ends no script. */
const json = (value: unknown): string => JSON.stringify(value).replaceAll('<', '\\u003c');

const style = `
:root { --text: #1c2126; --back: #fff; --line: #dfe3e8; --first: #1f77b4; --second: #e8710a;
  --mark: #7a8691; --shade: 31 119 180; color-scheme: light dark; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e6e9ec; --back: #15191d; --line: #343b42; --first: #6cb2eb; --second: #ffa552; }
}
body { font: 15px/1.5 system-ui, sans-serif; color: var(--text); background: var(--back);
  max-width: 1100px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
#verdict { padding: .6rem 1rem; border-left: 4px solid var(--mark); background: rgb(128 128 128 / .1); }
#verdict.overfitting, #verdict.diverging { border-color: #d33; }
#verdict.improving, #verdict.converged { border-color: #2a9d4a; }
#verdict.widening { border-color: #e0a000; }
#charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 440px), 1fr));
  gap: 1.5rem; margin-top: 1.5rem; }
#charts > div { min-width: 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .15rem .6rem; text-align: right; border-bottom: 1px solid var(--line); font-weight: 400; }
#numbers th[scope=row] { text-align: left; }
.matrix td { border: 1px solid var(--line); min-width: 2.2rem; }
pre { overflow-x: auto; }
.u-title { font-size: 15px; font-weight: 600; }
`;
