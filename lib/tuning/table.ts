/** Rows of text under a head, in columns; numbers to the right. */
export function table(head: readonly string[], rows: readonly (readonly unknown[])[]): string {
  const cells = [head, ...rows.map((row) => row.map(show))];
  const widths = head.map((_, i) => Math.max(...cells.map((row) => row[i]?.length ?? 0)));
  const right = head.map((_, i) => rows.every((row) => typeof (row[i] ?? 0) === 'number'));
  const line = (row: readonly string[]) =>
    row
      .map((cell, i) => (right[i] ? cell.padStart(widths[i] ?? 0) : cell.padEnd(widths[i] ?? 0)))
      .join('  ')
      .trimEnd();
  const [first = [], ...body] = cells;
  const rule = widths.map((width) => '-'.repeat(width)).join('  ');
  return [line(first), rule, ...body.map(line)].join('\n');
}

/** A number to 5 digits, a text as it is. */
export function show(value: unknown): string {
  if (value === undefined) return '';
  return typeof value === 'number' ? String(Number(value.toPrecision(5))) : String(value);
}
