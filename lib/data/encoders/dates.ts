import type { Period } from './spec.js';

/** What ends a date in a zone: a name that Date.parse knows, or hours after a time of the day. */
const zone =
  /((?<=[\d\s])Z|\b(UTC?|GMT|[ECMP][SD]T)|:\d{2}([.,]\d+)?\s*([AP]M)?\s*[+-]\d{1,2}:?(\d{2})?)([+-]\d{1,2}:?(\d{2})?)?\s*(\(.*\))?$/i;

const iso = /^(\d{4})[-/](\d{1,2})[-/](\d{1,2})/;

/** Milliseconds before and after 1970 that there are dates for. */
const mostTime = 8.64e15;

/** When a month begins; Date.UTC() takes years below 100 for those of the 20th century. */
const beginOf = (year: number, month: number): number => new Date(0).setUTCFullYear(year, month, 1);

/** Milliseconds since 1970 in UTC; NaN for what is no date. */
export function readTime(value: unknown): number {
  if (value instanceof Date) return value.getTime();
  // Beyond what a Date holds, such as times in nanoseconds.
  if (typeof value === 'number') return Math.abs(value) <= mostTime ? value : Number.NaN;
  if (typeof value !== 'string' || value === '') return Number.NaN;
  const parts = iso.exec(value)?.slice(1).map(Number);
  if (parts === undefined) return parse(value);
  const [year = 0, month = 0, day = 0] = parts;
  // Date.parse takes the 30th of February for the 2nd of March.
  if (day > 28 && day > new Date(beginOf(year, month) - 1).getUTCDate()) return Number.NaN;
  const time = parse(value);
  // And years below 100, where it is not all ISO, for others.
  return Math.abs(new Date(time).getUTCFullYear() - year) > 1 ? Number.NaN : time;
}

/** A date and maybe a time as ISO has them, without a zone. */
const zoneless = /^(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?))?$/;

/**
 * Without a zone Date.parse takes most dates for local ones, and the same data must give the same numbers
 * wherever they are read.
 */
function parse(value: string): number {
  if (zone.test(value)) return Date.parse(value);
  const [, date, time] = zoneless.exec(value) ?? [];
  if (date !== undefined) return Date.parse(time === undefined ? date : `${date}T${time}Z`);
  // It takes a zone after a space only in dates without the T of ISO.
  return Date.parse(`${value.replace(/(\d)T(\d)/, '$1 $2')} UTC`);
}

const lengths = { minute: 60e3, hour: 3600e3, day: 86400e3 };
/** 1970 began on a Thursday; weeks begin on Monday. */
const monday = 4 * lengths.day;

/** How far into the period, from 0 to 1. */
export function fractionOf(value: number, period: Period | number): number {
  if (typeof period === 'number') return positive(value / period);
  if (period === 'week') return positive((value - monday) / (7 * lengths.day));
  if (period !== 'month' && period !== 'year') return positive(value / lengths[period]);
  const date = new Date(value);
  const year = date.getUTCFullYear();
  const month = period === 'year' ? 0 : date.getUTCMonth();
  const begin = beginOf(year, month);
  const end = period === 'year' ? beginOf(year + 1, 0) : beginOf(year, month + 1);
  return (value - begin) / (end - begin);
}

const positive = (turns: number): number => turns - Math.floor(turns);
