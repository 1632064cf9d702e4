// Parts of a large row group: its columns' pages are found by their headers, and those of some rows are
// read as a file of their own, so that neither the rest of a column nor its values are in memory.
import type { AsyncBuffer, ColumnChunk, FileMetaData, RowGroup } from 'hyparquet';
import { usualMost } from '../codecs/limits.js';
import { optional } from '../errors.js';
import { endOfStruct } from './thrift.js';

/** A page of values, and the rows of its group that it has. */
interface Page {
  readonly offset: number;
  readonly bytes: number;
  readonly begin: number;
  readonly rows: number;
}

/** The pages of one column of a row group. */
export interface Pages {
  readonly chunk: ColumnChunk;
  readonly group: RowGroup;
  readonly dictionary: { readonly offset: number; readonly bytes: number } | undefined;
  readonly pages: readonly Page[];
}

/** Rows that are a file of their own. `begin` is the number of the first within the group. */
export interface Part {
  readonly buffer: AsyncBuffer;
  readonly metadata: FileMetaData;
  readonly begin: number;
}

/** Bytes of values, uncompressed, that a part of a group may have; smaller groups are read at once. */
export const partBytes = 2 ** 26;

/** Of what is read of a file, beside what it takes in there: numbers are floats of 64 bits. */
const bytesPerValue = 8;

/** What a group's rows count for in `partBytes`: all of them together are no more than what is always read. */
export const bytesOfRows = (rows: number, columns: number): number =>
  (bytesPerValue * rows * columns * partBytes) / usualMost;

/** Headers with statistics of long texts are longer than the first. */
const headerBytes = [2 ** 10, 2 ** 16, 2 ** 22];

/** Of a column with one value a row. Rejects with an Error for what are no pages. */
export async function findPages(
  buffer: AsyncBuffer,
  group: RowGroup,
  chunk: ColumnChunk,
): Promise<Pages> {
  const { start, end } = placeOf(buffer, chunk.meta_data ?? raise('a column without metadata'));
  let dictionary: Pages['dictionary'];
  const pages: Page[] = [];
  let begin = 0;
  for (let offset = start; offset < end && begin < Number(group.num_rows); ) {
    const { header, length } = await readHeader(buffer, offset, end);
    const bytes = length + header.compressed_page_size;
    if (!(bytes > length - 1 && offset + bytes <= end))
      raise('a page that ends outside its column');
    if (header.type === 'DICTIONARY_PAGE') dictionary = { offset, bytes };
    else {
      const rows = header.data_page_header?.num_values ?? header.data_page_header_v2?.num_rows ?? 0;
      if (rows > 0) pages.push({ offset, bytes, begin, rows });
      begin += Math.max(0, rows);
    }
    offset += bytes;
  }
  if (begin < Number(group.num_rows)) raise(`${begin} values for ${group.num_rows} rows`);
  return { chunk, group, dictionary, pages };
}

/** The bytes of a column's pages. Throws an Error for a place outside the file. */
export function placeOf(
  { byteLength }: AsyncBuffer,
  {
    data_page_offset: data,
    dictionary_page_offset: first,
    total_compressed_size: size,
  }: NonNullable<ColumnChunk['meta_data']>,
): { start: number; end: number } {
  const start = Number(first && first < data ? first : data);
  const end = start + Number(size);
  if (!(start > 0 && end >= start && end <= byteLength)) raise('a column outside the file');
  return { start, end };
}

async function readHeader(buffer: AsyncBuffer, offset: number, end: number) {
  const { parquetHeader } = await optional(
    () => import('hyparquet/src/column.js'),
    'hyparquet',
    'Parquet files',
  );
  let failure: unknown;
  for (const size of headerBytes) {
    const slice = await buffer.slice(offset, Math.min(end, offset + size));
    const reader = { view: new DataView(slice), offset: 0 };
    try {
      endOfStruct(reader.view, 0);
      const header = parquetHeader(reader);
      return { header, length: reader.offset };
    } catch (error) {
      failure = error;
      if (offset + size >= end) break;
    }
  }
  throw failure;
}

/**
 * How many rows parts of a group have: so many that `bytes` of values do not become more than
 * `partBytes`, but as many as a page at least, so that no page is read more than twice.
 */
export function rowsOfPart(columns: readonly Pages[], rows: number, bytes: number): number {
  const fitting = Math.floor((rows * partBytes) / bytes);
  return columns.reduce(
    (most, { pages }) => pages.reduce((largest, page) => Math.max(largest, page.rows), most),
    Math.max(1, fitting),
  );
}

/** The pages with the rows from `from` to before `to`. */
export async function readPart(
  { buffer, metadata }: { readonly buffer: AsyncBuffer; readonly metadata: FileMetaData },
  { chunk, group, dictionary, pages }: Pages,
  from: number,
  to: number,
): Promise<Part> {
  const wanted = pages.filter(({ begin, rows }) => begin < to && begin + rows > from);
  const [first, last] = [wanted[0], wanted.at(-1)];
  if (first === undefined || last === undefined) raise('a column without values');
  const slices = [
    // An offset of 0 would be none.
    new Uint8Array(4),
    new Uint8Array(dictionary ? await slice(buffer, dictionary) : new ArrayBuffer(0)),
    new Uint8Array(await buffer.slice(first.offset, last.offset + last.bytes)),
  ];
  const bytes = new Uint8Array(slices.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of slices) {
    bytes.set(part, at);
    at += part.length;
  }
  const rows = BigInt(last.begin + last.rows - first.begin);
  const { dictionary_page_offset: _, ...data } =
    chunk.meta_data ?? raise('a column without metadata');
  const meta: ColumnChunk['meta_data'] = {
    ...data,
    num_values: rows,
    total_compressed_size: BigInt(bytes.length - 4),
    data_page_offset: BigInt(4 + (dictionary?.bytes ?? 0)),
    ...(dictionary && { dictionary_page_offset: 4n }),
  };
  const own = { ...group, num_rows: rows, columns: [{ file_offset: 4n, meta_data: meta }] };
  return {
    buffer: { byteLength: bytes.length, slice: (start, end) => bytes.buffer.slice(start, end) },
    metadata: { ...metadata, num_rows: rows, row_groups: [own] },
    begin: first.begin,
  };
}

const slice = (buffer: AsyncBuffer, of: { readonly offset: number; readonly bytes: number }) =>
  buffer.slice(of.offset, of.offset + of.bytes);

function raise(message: string): never {
  throw new Error(message);
}
