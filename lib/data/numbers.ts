// Numbers that are written as texts.

/** NaN for what is none, and for 0x10 and the like, which Number() reads and no data mean. */
export function parseNumber(text: string): number {
  const trimmed = text.trim();
  return trimmed === '' || /^[+-]?0[xbo]/i.test(trimmed) ? Number.NaN : Number(trimmed);
}
