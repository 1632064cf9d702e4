// Regions with quotes -> cells, by csv-parse, which knows all that quotes can mean.
import { isUtf8 } from 'node:buffer';
import type { Options } from 'csv-parse/sync';
import { optional } from '../errors.js';
import { splitRecords } from './regions.js';

/** CsvRecord; undefined for one that is not UTF-8. */
export type CsvRecord = readonly (string | undefined)[];

/** A record that is none. */
export interface BadRecord {
  readonly message: string;
  readonly cause: unknown;
}

/** The records of a region in their order. Rejects with ERR_ARGUMENT without csv-parse. */
export async function parseRecords(
  bytes: Uint8Array,
  delimiter: string,
): Promise<(CsvRecord | BadRecord)[]> {
  const load = () => import('csv-parse/sync');
  const { parse } = await optional(load, 'csv-parse', 'CSV files with quotes');
  const valid = isUtf8(bytes);
  // latin1 keeps bytes apart, so that one cell in another encoding spoils no other.
  const encoding = valid ? 'utf8' : 'latin1';
  const options: Options = {
    ...{ delimiter, encoding },
    // Both ends of a line in one file; csv-parse would look for the first it finds.
    record_delimiter: ['\r\n', '\n'],
    ...{ relax_column_count: true, skip_empty_lines: true },
  };
  const read = (part: Uint8Array): CsvRecord[] => {
    const records = parse(Buffer.from(part.buffer, part.byteOffset, part.byteLength), options);
    return valid ? records : records.map((record) => record.map(fromLatin1));
  };
  try {
    return read(bytes);
  } catch {
    // One record after another, to find out which are bad.
    return [...splitRecords(bytes, delimiter.charCodeAt(0))].flatMap(
      (part): (CsvRecord | BadRecord)[] => {
        try {
          return read(part);
        } catch (cause) {
          const message = cause instanceof Error ? cause.message : String(cause);
          return [{ message: message.replace(/ (at|on) line \d+/g, ''), cause }];
        }
      },
    );
  }
}

function fromLatin1(cell: string): string | undefined {
  const bytes = Buffer.from(cell, 'latin1');
  return isUtf8(bytes) ? bytes.toString('utf8') : undefined;
}
