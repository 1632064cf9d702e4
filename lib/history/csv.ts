/** Lists of numbers by name as CSV (RFC 4180): `epochs` first, as `epoch`. */
export function toCSV(numbers: Readonly<Record<string, readonly number[]>>): string {
  const { epochs = [], ...rest } = numbers;
  const columns = [['epoch', epochs] as const, ...Object.entries(rest)];
  const lines = [columns.map(([name]) => field(name))];
  for (let i = 0; i < epochs.length; i++) {
    lines.push(columns.map(([, values]) => shown(values[i])));
  }
  return lines.map((line) => `${line.join(',')}\r\n`).join('');
}

/** Nothing for NaN, which stands for what an epoch has no number for. */
const shown = (value = Number.NaN): string => (Number.isNaN(value) ? '' : String(value));

const field = (text: string): string =>
  /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
