// Line charts as SVG, without a library.

const colors = ['#2563eb', '#ea580c', '#16a34a', '#9333ea'];
const panel = { width: 460, height: 320, left: 62, right: 18, top: 44, bottom: 48 };

/**
 * @typedef {object} Panel
 * @property {string} title
 * @property {string} xLabel
 * @property {Record<string, number[]>} series values at x = 1, 2, 3, ... by name
 * @property {{ at: number, label: string }} [mark] a vertical line at this x
 */

/**
 * Charts beside each other on white, so that they look the same in light and dark viewers.
 * @param {Panel[]} panels
 * @returns {string} the SVG file
 */
export function svgCharts(panels) {
  const width = panel.width * panels.length;
  const body = panels.map(
    (item, i) => `<g transform="translate(${panel.width * i} 0)">\n${draw(item)}\n</g>`,
  );
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${panel.height}" viewBox="0 0 ${width} ${panel.height}" font-family="system-ui, 'DejaVu Sans', sans-serif" font-size="12">`,
    `<rect width="100%" height="100%" fill="#ffffff"/>`,
    ...body,
    '</svg>\n',
  ].join('\n');
}

/** @param {Panel} item */
function draw({ title, xLabel, series, mark }) {
  const values = Object.values(series).flat();
  const length = Math.max(2, ...Object.values(series).map(({ length }) => length));
  const ticks = {
    x: ticksBetween(1, length, 6, 1),
    y: ticksAround(Math.min(...values), Math.max(...values), 5),
  };
  const low = ticks.y[0];
  const high = ticks.y[ticks.y.length - 1];

  const right = panel.width - panel.right;
  const bottom = panel.height - panel.bottom;
  const x = (value) => round(panel.left + ((value - 1) / (length - 1)) * (right - panel.left));
  const y = (value) => round(bottom - ((value - low) / (high - low)) * (bottom - panel.top));
  const text = (content, at, attributes = '') =>
    `<text x="${at[0]}" y="${at[1]}" fill="#374151" ${attributes}>${escapeXml(content)}</text>`;
  const line = (from, to, attributes) =>
    `<line x1="${from[0]}" y1="${from[1]}" x2="${to[0]}" y2="${to[1]}" ${attributes}/>`;

  const parts = [text(title, [panel.left, 24], 'font-size="15" font-weight="600"')];
  for (const tick of ticks.y) {
    parts.push(line([panel.left, y(tick)], [right, y(tick)], 'stroke="#e5e7eb"'));
    parts.push(text(String(tick), [panel.left - 8, y(tick) + 4], 'text-anchor="end"'));
  }
  for (const tick of ticks.x) {
    parts.push(line([x(tick), bottom], [x(tick), bottom + 5], 'stroke="#6b7280"'));
    parts.push(text(String(tick), [x(tick), bottom + 19], 'text-anchor="middle"'));
  }
  parts.push(line([panel.left, bottom], [right, bottom], 'stroke="#6b7280"'));
  parts.push(line([panel.left, panel.top], [panel.left, bottom], 'stroke="#6b7280"'));
  parts.push(text(xLabel, [(panel.left + right) / 2, panel.height - 10], 'text-anchor="middle"'));
  if (mark) {
    const at = x(mark.at);
    parts.push(line([at, panel.top], [at, bottom], 'stroke="#9ca3af" stroke-dasharray="4 4"'));
    parts.push(text(mark.label, [at, panel.top - 5], 'text-anchor="middle" font-size="11"'));
  }
  Object.values(series).forEach((curve, i) => {
    const points = curve.map((value, j) => `${x(j + 1)},${y(value)}`).join(' ');
    parts.push(
      `<polyline points="${points}" fill="none" stroke="${colors[i]}" stroke-width="2" stroke-linejoin="round"/>`,
    );
  });
  // Loss falls and accuracy rises: the legend goes where the curves are not, at half height.
  const middle = (panel.top + bottom) / 2;
  const names = Object.keys(series);
  parts.push(
    `<rect x="${right - 126}" y="${middle - 14}" width="122" height="${20 * names.length + 8}" fill="#ffffff"/>`,
  );
  names.forEach((name, i) => {
    const row = middle + 20 * i;
    parts.push(
      line([right - 118, row], [right - 94, row], `stroke="${colors[i]}" stroke-width="3"`),
    );
    parts.push(text(name, [right - 86, row + 4]));
  });
  return parts.join('\n');
}

/** A round step for about `count` steps between two values, at least `smallest`. */
function stepOf(low, high, count, smallest = 0) {
  const raw = Math.max((high - low) / count, smallest, 1e-9);
  const power = 10 ** Math.floor(Math.log10(raw));
  return power * ([1, 2, 5, 10].find((factor) => factor * power >= raw) ?? 10);
}

/** Multiples of a round step inside [low, high]. */
function ticksBetween(low, high, count, smallest) {
  const step = stepOf(low, high, count, smallest);
  return multiples(step, Math.ceil(low / step), Math.floor(high / step));
}

/** Multiples of a round step from below `low` to above `high`. */
function ticksAround(low, high, count) {
  const step = stepOf(low, high, count);
  const first = Math.floor(low / step);
  return multiples(step, first, Math.max(first + 1, Math.ceil(high / step)));
}

const multiples = (step, first, last) =>
  Array.from({ length: last - first + 1 }, (_, i) => Number(((first + i) * step).toFixed(9)));

const round = (value) => Math.round(value * 100) / 100;

const escapeXml = (text) =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
