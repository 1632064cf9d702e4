// A CSV file -> tables, in the thread that calls. Native code reads lines whose quotes are where they
// belong, csv-parse others and the header of a file with quotes.
import { isUtf8 } from 'node:buffer';
import * as is from '../../is.js';
import { native } from '../../native.js';
import type { TableBatch } from '../batch.js';
import { mostTextBytes, tableRows } from '../blocks.js';
import { badData, type DataError, type OnError } from '../errors.js';
import { Choices, type Stage } from '../select.js';
import { type BadRecord, type CsvRecord, parseRecords } from './records.js';
import { carriageReturn, newline, type Region, regions, splitRecords } from './regions.js';
import { cellText, numberOf, Texts } from './texts.js';

/** How a column is read. */
export type CellType = 'number' | 'text';

/** A job for a reader; it can be sent to a worker thread. */
export interface CsvJob {
  readonly path: string;
  readonly delimiter: string;
  /** Names of columns for a file without a header. */
  readonly header: readonly string[] | undefined;
  /** Columns to read, which must be there; all by default. */
  readonly columns: readonly string[] | undefined;
  /** Of columns; others are of numbers if the first rows are. */
  readonly types: Readonly<Record<string, CellType>>;
  /** What stands for a missing value besides nothing. */
  readonly missing: readonly string[];
  readonly onError: OnError;
  readonly stages: readonly Stage[];
}

/** Bytes that types of columns are inferred from. */
const sampleBytes = 2 ** 16;

// What errors expect and receive.
const record = 'a CSV record';
const encoded = 'text in UTF-8';
const otherBytes = 'other bytes (iconv converts files)';

/** What native code finds wrong with a line. */
const faults = { cells: 1, number: 2, encoding: 3 };
/** Where the faults are in the cursor, how many numbers each has, and how many it reads past at a time. */
const [faultsAt, faultSize, mostFaults] = [4, 6, 64];

/** Rejects with DataError, or the file system's error. */
export async function* readCsv(
  job: CsvJob,
  skipped: (error: DataError) => void,
): AsyncGenerator<TableBatch> {
  const reader = new CsvReader(job, skipped);
  const delimiter = job.delimiter.charCodeAt(0);
  for await (const region of fromHeader(regions(job.path, delimiter), delimiter)) {
    yield* await reader.read(region);
    if (reader.done) break;
  }
  yield* reader.end();
}

/**
 * The regions, of which the first has a record behind the header, however long, if the file has one:
 * types of columns are inferred from it.
 */
async function* fromHeader(all: AsyncIterable<Region>, delimiter: number): AsyncGenerator<Region> {
  let front: Region | undefined;
  let begun = false;
  for await (const region of all) {
    if (begun) {
      yield region;
      continue;
    }
    const { bytes, records } = firstRecords(
      front?.bytes ?? new Uint8Array(),
      region.bytes,
      delimiter,
    );
    front = {
      bytes,
      quoted: region.quoted || front?.quoted === true,
      clean: region.clean && front?.clean !== false,
    };
    begun = records === 2;
    if (begun) yield front;
  }
  if (!begun && front !== undefined) yield front;
}

/**
 * Both pieces where they have two records; otherwise only the one that they have, if any, as a file may
 * have any number of empty lines.
 */
function firstRecords(
  before: Uint8Array,
  piece: Uint8Array,
  delimiter: number,
): { bytes: Uint8Array; records: number } {
  let records = before.length > 0 ? 1 : 0;
  let first = before;
  for (const record of splitRecords(piece.subarray(emptyLines(piece)), delimiter)) {
    if (record.length === 1 || (record.length === 2 && record[0] === carriageReturn)) continue;
    if (++records === 2) return { bytes: Buffer.concat([before, piece]), records };
    first = record;
  }
  // A copy: the piece is gone when the next one is there.
  return { bytes: Buffer.from(first), records };
}

/** How many bytes they take at the beginning. */
function emptyLines(bytes: Uint8Array): number {
  let at = 0;
  for (;;) {
    if (bytes[at] === newline) at++;
    else if (bytes[at] === carriageReturn && bytes[at + 1] === newline) at += 2;
    else return at;
  }
}

class CsvReader {
  readonly #missing: ReadonlySet<string>;
  readonly #texts: Texts;
  readonly #choices: Choices;
  #names: readonly string[] | undefined;
  /** By position: the array that takes the column's cells, if any does. */
  #targets: (Float64Array | (string | null)[] | undefined)[] = [];
  #types: (CellType | undefined)[] = [];
  /** By position, of columns of texts: where the cells of rows are. */
  #spans: (Int32Array | undefined)[] = [];
  /** By position: what native code writes to. */
  #columns: (Float64Array | Int32Array | null)[] = [];
  readonly #cursor = new Uint32Array(faultsAt + faultSize * mostFaults);
  #at = new Float64Array();
  #rows = 0;
  /** Of the regions that they are from. */
  #bytes = 0;
  #capacity = 0;
  /** Records that were read. */
  #record = 0;

  constructor(
    readonly job: CsvJob,
    readonly skipped: (error: DataError) => void,
  ) {
    this.#missing = new Set(job.missing);
    this.#texts = new Texts(this.#missing);
    this.#choices = new Choices(job.stages);
  }

  get done(): boolean {
    return this.#choices.done;
  }

  async read(region: Region): Promise<TableBatch[]> {
    const tables = await this.#readRegion(region);
    this.#bytes += region.bytes.length;
    if (this.#bytes >= mostTextBytes && this.#rows > 0) tables.push(this.#take());
    return tables;
  }

  async #readRegion(region: Region): Promise<TableBatch[]> {
    const begun = this.#names !== undefined;
    if (!region.quoted || (region.clean && begun)) return this.#readLines(region.bytes);
    return this.#readRecords(await parseRecords(region.bytes, this.job.delimiter));
  }

  *end(): Generator<TableBatch> {
    const { path } = this.job;
    if (this.#names === undefined) throw badData('a header', 'an empty file', { file: path });
    if (this.#rows > 0) yield this.#take();
  }

  #readLines(bytes: Uint8Array): TableBatch[] {
    const tables: TableBatch[] = [];
    let at = this.#names === undefined ? this.#beginLines(bytes) : 0;
    while (at < bytes.length && !this.#choices.done) at = this.#readBlock(bytes, at, tables);
    return tables;
  }

  /** Begins with a region without quotes; returns where its rows do. */
  #beginLines(bytes: Uint8Array): number {
    const { delimiter, header } = this.job;
    const first = lineFrom(bytes, 0);
    if (header === undefined && !isUtf8(bytes.subarray(first.begin, first.end))) {
      throw this.#error(encoded, otherBytes, undefined, 1);
    }
    // The header and a row at least.
    const second = lineFrom(bytes, first.end);
    const sampled = bytes.indexOf(newline, Math.max(sampleBytes, second.end - 1)) + 1;
    const sample = Buffer.from(bytes.subarray(0, sampled || bytes.length)).toString('utf8');
    const lines = sample.split(/\r?\n/).filter((line) => line !== '');
    this.#begin(lines.map((line) => line.split(delimiter)));
    return header === undefined ? first.end : 0;
  }

  /** Rows until a table is full, or many lines are none; returns what is behind them. */
  #readBlock(bytes: Uint8Array, at: number, tables: TableBatch[]): number {
    const { delimiter, missing } = this.job;
    const cursor = this.#cursor;
    cursor.set([at, 0, this.#rows]);
    native.readCells(
      ...([bytes, delimiter.charCodeAt(0), missing, this.#columns] as const),
      ...([this.#at, this.#record + 1, this.#choices.ahead, cursor] as const),
    );
    const [next = 0, lines = 0, rows = 0, faulty = 0] = cursor;
    this.#readTexts(bytes, rows);
    const before = this.#record;
    this.#choices.pass(lines);
    this.#rows = rows;
    if (rows === this.#capacity) tables.push(this.#take());
    for (let i = 0; i < faulty; i++) {
      const [line = 0, ...fault] = cursor.subarray(
        faultsAt + i * faultSize,
        faultsAt + (i + 1) * faultSize,
      );
      this.#record = before + line;
      this.#refuse(fault, bytes);
    }
    this.#record = before + lines;
    return next;
  }

  /** The texts of the rows up to `end`, whose places are known. */
  #readTexts(bytes: Uint8Array, end: number): void {
    for (const [i, spans] of this.#spans.entries()) {
      const target = this.#targets[i];
      if (spans === undefined || !Array.isArray(target)) continue;
      for (let row = this.#rows; row < end; row++) {
        target[row] = this.#texts.of(bytes, spans[2 * row] ?? 0, spans[2 * row + 1] ?? 0);
      }
    }
  }

  /** Leaves out a line. */
  #refuse([fault, cells = 0, column = 0, begin = 0, end = 0]: number[], bytes: Uint8Array): void {
    const name = this.#names?.[column];
    if (fault === faults.cells) this.#ragged(cells);
    else if (fault === faults.encoding) this.#bad(encoded, otherBytes, name);
    else this.#bad('a number', is.show(cellText(bytes, begin, end)), name);
  }

  #readRecords(records: readonly (CsvRecord | BadRecord)[]): TableBatch[] {
    const tables: TableBatch[] = [];
    let rows = records;
    if (this.#names === undefined) {
      const [header] = records;
      if (this.job.header === undefined && header !== undefined && 'cause' in header) {
        throw this.#error(record, header.message, undefined, 1, header.cause);
      }
      this.#begin(records.filter((item): item is CsvRecord => !('cause' in item)));
      if (this.job.header === undefined) rows = records.slice(1);
    }
    for (const row of rows) {
      if (this.#choices.done) break;
      this.#record++;
      if (this.#choices.keeps() && this.#readRecord(row)) this.#accept(tables);
    }
    return tables;
  }

  #readRecord(row: CsvRecord | BadRecord): boolean {
    if ('cause' in row) return this.#bad(record, row.message, undefined, row.cause);
    if (row.length !== this.#types.length) return this.#ragged(row.length);
    for (const [i, text] of row.entries()) {
      const target = this.#targets[i];
      if (target === undefined) continue;
      if (text === undefined) return this.#bad(encoded, otherBytes, this.#names?.[i]);
      if (target instanceof Float64Array) {
        const value = numberOf(text, this.#missing);
        if (value === undefined) return this.#bad('a number', is.show(text), this.#names?.[i]);
        target[this.#rows] = value;
      } else target[this.#rows] = text === '' || this.#missing.has(text) ? null : text;
    }
    return true;
  }

  /** Names, and types as the first records suggest. */
  #begin(records: readonly CsvRecord[]): void {
    const { job } = this;
    const [first] = records;
    if (first === undefined) throw badData('a header', 'none', { file: job.path, row: 1 });
    const names =
      job.header ??
      first.map((name) => {
        if (name === undefined) throw this.#error(encoded, otherBytes, undefined, 1);
        return name.trim();
      });
    const sample = job.header === undefined ? records.slice(1) : records;
    if (job.header === undefined) this.#record = 1;
    this.#checkNames(names);
    this.#names = names;
    const wanted = new Set(job.columns ?? names);
    this.#types = names.map((name, i) => {
      if (!wanted.has(name)) return undefined;
      if (Object.hasOwn(job.types, name)) return job.types[name];
      return this.#infer(sample.map((record) => record[i] ?? ''));
    });
    this.#capacity = tableRows(wanted.size);
    this.#spans = this.#types.map((type) =>
      type === 'text' ? new Int32Array(2 * this.#capacity) : undefined,
    );
    this.#makeTargets();
  }

  #infer(cells: readonly string[]): CellType {
    const numbers = cells.map((cell) => numberOf(cell, this.#missing));
    if (numbers.includes(undefined)) return 'text';
    return numbers.every((value) => Number.isNaN(value)) ? 'text' : 'number';
  }

  #checkNames(names: readonly string[]): void {
    const { path, columns = [], types } = this.job;
    const twice = names.find((name, i) => names.indexOf(name) !== i);
    if (twice !== undefined) {
      throw badData('different names in the header', 'one twice', {
        file: path,
        row: 1,
        column: twice,
      });
    }
    for (const column of [...columns, ...Object.keys(types)]) {
      if (names.includes(column)) continue;
      const listed = names.slice(0, 20).map((name) => `\`${name}\``);
      const received = `a header of ${listed.join(', ')}${is.didYouMean(column, names)}`;
      throw badData('this column', received, { file: path, row: 1, column });
    }
  }

  #makeTargets(): void {
    const capacity = this.#capacity;
    this.#at = new Float64Array(capacity);
    this.#targets = this.#types.map((type) =>
      type === undefined ? undefined : type === 'number' ? new Float64Array(capacity) : [],
    );
    this.#columns = this.#targets.map((target, i) =>
      target instanceof Float64Array ? target : (this.#spans[i] ?? null),
    );
  }

  #accept(tables: TableBatch[]): void {
    this.#at[this.#rows++] = this.#record;
    if (this.#rows === this.#capacity) tables.push(this.#take());
  }

  /** The rows so far as a table. */
  #take(): TableBatch {
    const rows = this.#rows;
    const columns = this.#targets.flatMap((target, i) => {
      const name = this.#names?.[i];
      if (target === undefined || name === undefined) return [];
      const numbers = target instanceof Float64Array;
      return [[name, numbers ? target.subarray(0, rows) : target.slice(0, rows)] as const];
    });
    const at = this.#at.subarray(0, rows);
    this.#rows = 0;
    this.#bytes = 0;
    this.#makeTargets();
    return { rows, columns: Object.fromEntries(columns), at };
  }

  #ragged(cells: number): boolean {
    return this.#bad(`${this.#types.length} cells as in the header`, String(cells), undefined);
  }

  /** Throws, or says that the row is left out. */
  #bad(what: string, received: string, column: string | undefined, cause?: unknown): boolean {
    const error = this.#error(what, received, column, this.#record, cause);
    if (this.job.onError === 'throw') throw error;
    this.skipped(error);
    return false;
  }

  #error(
    what: string,
    received: string,
    column: string | undefined,
    row: number,
    cause?: unknown,
  ): DataError {
    const options = cause === undefined ? {} : { cause };
    return badData(what, received, { file: this.job.path, row, column }, options);
  }
}

/** The first line from `at` on that is not empty, or the end. */
function lineFrom(bytes: Uint8Array, at: number): { begin: number; end: number } {
  for (let begin = at; ; ) {
    const end = bytes.indexOf(newline, begin) + 1 || bytes.length;
    const size = end - begin;
    const empty = size === 1 || (size === 2 && bytes[begin] === carriageReturn);
    if (!empty || end === bytes.length) return { begin, end };
    begin = end;
  }
}
