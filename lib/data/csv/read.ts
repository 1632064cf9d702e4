// A CSV file -> tables, in the thread that calls. Regions without quotes are read here, others by
// csv-parse, which knows all that quotes can mean.
import { isUtf8 } from 'node:buffer';
import * as is from '../../is.js';
import { native } from '../../native.js';
import type { TableBatch } from '../batch.js';
import { badData, type DataError, type OnError } from '../errors.js';
import { Choices, type Stage } from '../select.js';
import { Cells, numberOf } from './cells.js';
import { type BadRecord, type CsvRecord, parseRecords } from './records.js';
import { type Region, regions } from './regions.js';

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

/** Rows of a table. */
const blockRows = 8192;

/** A table with few bytes, so that none is a burden to the event loop that receives it. */
const blockCells = 2 ** 17;

/** Lines. */
const longestPause = 1023;

const newline = 0x0a;

// What errors expect and receive.
const record = 'a CSV record';
const encoded = 'text in UTF-8';
const otherBytes = 'other bytes (iconv converts files)';

/** Rejects with DataError, or the file system's error. */
export async function* readCsv(
  job: CsvJob,
  skipped: (error: DataError) => void,
): AsyncGenerator<TableBatch> {
  const reader = new CsvReader(job, skipped);
  for await (const region of regions(job.path, job.delimiter.charCodeAt(0))) {
    yield* await reader.read(region);
    if (reader.done) break;
  }
  yield* reader.end();
}

class CsvReader {
  readonly #cells: Cells;
  readonly #missing: ReadonlySet<string>;
  readonly #choices: Choices;
  /** What stands for a missing value, as native code takes it. */
  readonly #missingLines: string;
  #names: readonly string[] | undefined;
  /** By position: the array that takes the column's cells, if any does. */
  #targets: (Float64Array | (string | null)[] | undefined)[] = [];
  #types: (CellType | undefined)[] = [];
  /** By position, of columns of texts: where the cells of rows are. */
  #spans: (Int32Array | undefined)[] = [];
  #at = new Float64Array();
  #rows = 0;
  #capacity = blockRows;
  /** Records that were read. */
  #record = 0;
  /** Lines that native code is not asked about, where it has left the ones before to us: see #asks. */
  #pause = 0;
  #pauses = 0;

  constructor(
    readonly job: CsvJob,
    readonly skipped: (error: DataError) => void,
  ) {
    this.#missing = new Set(job.missing);
    this.#cells = new Cells(job.delimiter.charCodeAt(0), this.#missing);
    this.#choices = new Choices(job.stages);
    // A number's cell is trimmed before it is compared, which native code does not do.
    const plain = (text: string) => !text.includes('\n') && text === text.trim();
    this.#missingLines = job.missing.filter(plain).join('\n');
  }

  get done(): boolean {
    return this.#choices.done;
  }

  async read(region: Region): Promise<TableBatch[]> {
    const begun = this.#names !== undefined;
    if (!region.quoted || (region.clean && begun)) return this.#readPlain(region);
    return this.#readRecords(await parseRecords(region.bytes, this.job.delimiter));
  }

  *end(): Generator<TableBatch> {
    const { path } = this.job;
    if (this.#names === undefined) throw badData('a header', 'an empty file', { file: path });
    if (this.#rows > 0) yield this.#take();
  }

  #readPlain({ bytes, quoted }: Region): TableBatch[] {
    const tables: TableBatch[] = [];
    const cells = this.#cells;
    cells.open(bytes, quoted);
    if (this.#names === undefined) {
      const header = bytes.subarray(0, bytes.indexOf(newline));
      if (!cells.valid && this.job.header === undefined && !isUtf8(header)) {
        throw this.#error(encoded, otherBytes, undefined, 1);
      }
      const sample = Buffer.from(bytes.subarray(0, 2 ** 16)).toString('utf8');
      const lines = sample.split(/\r?\n/).filter((line) => line !== '');
      // The last line of the sample may be cut.
      if (bytes.length > 2 ** 16) lines.pop();
      this.#begin(lines.map((line) => line.split(this.job.delimiter)));
      if (this.job.header === undefined) {
        while (cells.atEnd) cells.nextLine();
        cells.nextLine();
      }
    }
    while (cells.at < bytes.length && !this.#choices.done) {
      if (cells.plain && this.#asks() && this.#readLines(tables)) continue;
      if (cells.atEnd) {
        cells.nextLine();
        continue;
      }
      this.#record++;
      const kept = this.#choices.keeps();
      if (kept && this.#readLine()) this.#accept(tables);
      cells.nextLine();
    }
    return tables;
  }

  /** Whether native code is to go on. It may leave us every line of a file: the more, the rarer. */
  #asks(): boolean {
    if (this.#pause === 0) return true;
    this.#pause--;
    return false;
  }

  /**
   * Rows in one go, by native code. False before a line that it leaves to us, which may be bad or have
   * a number that is written in an unusual way.
   */
  #readLines(tables: TableBatch[]): boolean {
    const cells = this.#cells;
    const kept = this.#choices.ahead;
    const columns = this.#targets.map((target, i) =>
      target instanceof Float64Array ? target : (this.#spans[i] ?? null),
    );
    const cursor = Uint32Array.of(cells.at, 0, this.#rows);
    native.readCells(
      ...([cells.bytes, cells.delimiter, this.#missingLines, columns] as const),
      ...([this.#at, this.#record + 1, kept, cursor] as const),
    );
    const [at = 0, lines = 0, rows = 0] = cursor;
    this.#readTexts(rows);
    cells.at = at;
    this.#record += lines;
    this.#choices.pass(lines);
    this.#rows = rows;
    if (rows === this.#capacity) tables.push(this.#take());
    const reads = lines > 0 || at === cells.bytes.length;
    this.#pauses = reads ? 0 : Math.min(2 * this.#pauses + 1, longestPause);
    this.#pause = this.#pauses;
    return reads;
  }

  /** The texts of the rows up to `end`, whose places are known. */
  #readTexts(end: number): void {
    for (const [i, spans] of this.#spans.entries()) {
      const target = this.#targets[i];
      if (spans === undefined || !Array.isArray(target)) continue;
      for (let row = this.#rows; row < end; row++) {
        target[row] = this.#cells.textAt(spans[2 * row] ?? 0, spans[2 * row + 1] ?? 0);
      }
    }
  }

  /** Whether the line is a whole row. */
  #readLine(): boolean {
    const cells = this.#cells;
    const last = this.#types.length - 1;
    const start = cells.at;
    for (let i = 0; i <= last; i++) {
      const target = this.#targets[i];
      const begin = cells.at;
      if (target === undefined) cells.skip();
      else if (target instanceof Float64Array) {
        const value = cells.number();
        if (value === undefined) {
          return this.#bad('a number', is.show(cells.since(begin)), this.#names?.[i]);
        }
        target[this.#rows] = value;
      } else {
        const text = cells.text();
        if (text === undefined) return this.#bad(encoded, otherBytes, this.#names?.[i]);
        target[this.#rows] = text;
      }
      const ended = cells.atEnd;
      if (ended !== (i === last)) return this.#ragged(this.#count(start));
      if (!ended) cells.at++;
    }
    return true;
  }

  /** Cells of the line that begins here. */
  #count(start: number): number {
    const cells = this.#cells;
    cells.at = start;
    for (let count = 1; ; count++) {
      cells.skip();
      if (cells.atEnd) return count;
      cells.at++;
    }
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
    this.#capacity = Math.max(1, Math.min(blockRows, Math.floor(blockCells / wanted.size)));
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
