// What the examples print.
import asciichart from 'asciichart';

const colors = [asciichart.blue, asciichart.lightred];

/**
 * Curves in one chart where the terminal has colours, else one below the other on the same scale.
 * @param {Record<string, number[]>} series by name
 * @param {{ height?: number }} [options]
 * @returns {string}
 */
export function chart(series, { height = 10 } = {}) {
  const names = Object.keys(series);
  const all = Object.values(series).flat();
  const settings = {
    height,
    min: Math.min(...all),
    max: Math.max(...all),
    format: (value) => value.toFixed(3).padStart(8),
  };
  if (process.stdout.isTTY && process.stdout.hasColors()) {
    const legend = names.map((name, i) => `${colors[i]}${name}${asciichart.reset}`).join('  ');
    return `${legend}\n${asciichart.plot(Object.values(series), { ...settings, colors })}`;
  }
  return names.map((name) => `${name}\n${asciichart.plot(series[name], settings)}`).join('\n\n');
}

/**
 * Rows of cells below a heading; all columns but the first are set flush right.
 * @param {string[]} head
 * @param {string[][]} rows
 * @returns {string}
 */
export function table(head, rows) {
  const widths = head.map((_, i) => Math.max(...[head, ...rows].map((row) => row[i].length)));
  const line = (row) =>
    row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join('  ');
  return [line(head), widths.map((width) => '-'.repeat(width)).join('  '), ...rows.map(line)].join(
    '\n',
  );
}

/**
 * Blocks of lines side by side.
 * @param {string[][]} blocks
 * @returns {string}
 */
export function beside(blocks) {
  const widths = blocks.map((lines) => Math.max(...lines.map((line) => line.length)));
  const height = Math.max(...blocks.map((lines) => lines.length));
  return Array.from({ length: height }, (_, row) =>
    blocks
      .map((lines, i) => (lines[row] ?? '').padEnd(widths[i]))
      .join('   ')
      .trimEnd(),
  ).join('\n');
}
