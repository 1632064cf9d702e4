// The values of a column of a row group, page by page: each is decompressed and looked at here, and read
// by hyparquet.
import { crc32 } from 'node:zlib';
import type { AsyncBuffer, DecodedArray, FileMetaData, PageHeader, RowGroup } from 'hyparquet';
import { mostOf } from '../codecs/limits.js';
import { optional } from '../errors.js';
import { checkPage, type Kind, type PageBytes } from './checks.js';
import type { Codecs } from './codecs.js';
import { placeOf } from './pages.js';
import { endOfStruct } from './thrift.js';

export interface Source {
  readonly buffer: AsyncBuffer;
  readonly metadata: FileMetaData;
  readonly codecs: Codecs;
}

/** The codec of pages that are decompressed, as hyparquet is told. */
const ready = 'SNAPPY' as const;

/** Values of a page that take no bytes: arrays of more elements become tables of V8, which take minutes. */
const mostValues = 2 ** 25;

/** What hyparquet is needed for. */
async function loadTools() {
  const [{ parquetHeader, readPage }, { convert, DEFAULT_PARSERS }, schema, delta] = await optional(
    () =>
      Promise.all([
        import('hyparquet/src/column.js'),
        import('hyparquet/src/convert.js'),
        import('hyparquet/src/schema.js'),
        import('hyparquet/src/delta.js'),
      ]),
    'hyparquet',
    'Parquet files',
  );
  const { getSchemaPath } = schema;
  const { deltaBinaryUnpack } = delta;
  return { parquetHeader, readPage, convert, DEFAULT_PARSERS, getSchemaPath, deltaBinaryUnpack };
}

type Tools = Awaited<ReturnType<typeof loadTools>>;
type ColumnDecoder = Parameters<Tools['readPage']>[2];

/**
 * Calls `onPage` with the values of each page that has some of the group's rows from `from` to before
 * `to`, and with the number of the first. Rejects with an Error for what cannot be read.
 */
export async function readPages(
  source: Source,
  group: RowGroup,
  name: string,
  [from, to]: readonly [number, number],
  onPage: (values: DecodedArray, begin: number) => void,
): Promise<void> {
  const { buffer, metadata, codecs } = source;
  const tools = await loadTools();
  const chunk = group.columns.find(
    ({ meta_data: data }) => data?.path_in_schema.join('\0') === name,
  );
  const data = chunk?.meta_data;
  if (data === undefined) throw new Error('a row group without the column');
  const { start, end } = placeOf(buffer, data);
  const bytes = await buffer.slice(start, end);
  const schemaPath = tools.getSchemaPath(metadata.schema, [name]);
  const element = schemaPath.at(-1)?.element;
  if (element === undefined) throw new Error('a schema without the column');
  const decoder = {
    ...data,
    pathInSchema: [name],
    element,
    schemaPath,
    parsers: tools.DEFAULT_PARSERS,
  };
  const pages = new PageReader(tools, bytes, decoder, codecs);
  const rows = Number(group.num_rows);
  for (let begin = 0; begin < to && !pages.done; ) {
    const page = pages.next(rows - begin, from - begin);
    if (page.values !== undefined) onPage(page.values, begin);
    begin += page.rows;
  }
}

class PageReader {
  readonly #reader: { view: DataView; offset: number };
  readonly #kind: Kind;
  /** What decompressed pages may still take. */
  #memory: number;
  #dictionary: DecodedArray | undefined;

  constructor(
    readonly tools: Tools,
    bytes: ArrayBuffer,
    readonly decoder: ColumnDecoder,
    readonly codecs: Codecs,
  ) {
    const { type, element } = decoder;
    this.#reader = { view: new DataView(bytes), offset: 0 };
    this.#kind = {
      type,
      typeLength: element.type_length,
      optional: element.repetition_type !== 'REQUIRED',
    };
    this.#memory = mostOf(bytes.byteLength);
  }

  get done(): boolean {
    const { view, offset } = this.#reader;
    return offset >= view.byteLength - 1;
  }

  /** The next page's rows, `left` at most, and their values unless it ends before row `from` of them. */
  next(left: number, from: number): { rows: number; values: DecodedArray | undefined } {
    const { tools } = this;
    const header = this.#header();
    const isDictionary = header.type === 'DICTIONARY_PAGE';
    const rows = isDictionary ? 0 : rowsOf(header);
    if (!(rows >= 0 && rows <= left)) throw new Error(`a page of ${rows} values for ${left} rows`);
    if (!isDictionary && rows <= from) {
      this.#reader.offset += header.compressed_page_size;
      return { rows, values: undefined };
    }
    const most = Math.max(mostValues, header.uncompressed_page_size);
    if (rows > most) throw new Error(`a page of ${rows} values, where ${most} are read at most`);
    const page = this.#decompress(header);
    const kind = { ...this.#kind, entries: this.#dictionary?.length };
    checkPage(header, page, kind, tools.deltaBinaryUnpack);
    const values = this.#values(header, page);
    if (isDictionary) {
      this.#dictionary = tools.convert(values, this.decoder);
      return { rows, values: undefined };
    }
    if (values.length !== rows) throw new Error(`${values.length} values for ${rows} rows`);
    return { rows, values };
  }

  #header(): PageHeader {
    const { view } = this.#reader;
    endOfStruct(view, this.#reader.offset);
    const header = this.tools.parquetHeader(this.#reader);
    const { compressed_page_size: size, uncompressed_page_size: plain } = header;
    if (!(size >= 0 && plain >= 0 && this.#reader.offset + size <= view.byteLength)) {
      throw new Error(`a page of ${size} bytes, ${plain} without compression`);
    }
    return header;
  }

  /** Leaves the reader where the page begins. */
  #decompress(header: PageHeader): PageBytes {
    const { view, offset } = this.#reader;
    const bytes = new Uint8Array(view.buffer, offset, header.compressed_page_size);
    checkSum(header, bytes);
    const { data_page_header_v2: second, uncompressed_page_size: plain } = header;
    const before = second
      ? second.definition_levels_byte_length + second.repetition_levels_byte_length
      : 0;
    if (
      !(before >= 0 && (second?.repetition_levels_byte_length ?? 0) >= 0 && before <= bytes.length)
    ) {
      throw new Error(`levels of ${before} bytes in a page of ${bytes.length}`);
    }
    const [levels, rest] = [bytes.subarray(0, before), bytes.subarray(before)];
    const length = plain - before;
    this.#memory -= plain;
    if (this.#memory < 0) {
      const all = view.byteLength;
      throw new Error(`pages of more than ${mostOf(all)} bytes compressed to ${all}`);
    }
    const { codec } = this.decoder;
    // Nothing is compressed to a byte by some.
    if (length === 0) return { levels, values: new Uint8Array() };
    if (codec === 'UNCOMPRESSED' || second?.is_compressed === false) {
      return { levels, values: rest };
    }
    const decode = this.codecs.get(codec);
    if (decode === undefined) throw new Error(`pages compressed with ${codec}`);
    return { levels, values: decode(rest, length) };
  }

  #values(header: PageHeader, { values }: PageBytes): DecodedArray {
    const { encoding } = header.data_page_header ?? header.data_page_header_v2 ?? {};
    if (encoding?.endsWith('_DICTIONARY') && this.#dictionary === undefined) {
      throw new Error('a page that refers to a dictionary, without one');
    }
    // In the place of a codec: what it gives is there.
    const decoder = { ...this.decoder, codec: ready, compressors: { [ready]: () => values } };
    const read = this.tools.readPage(this.#reader, header, decoder, this.#dictionary, undefined, 0);
    return read.data ?? [];
  }
}

/** Of the page as it is in the file; many have none. */
function checkSum({ crc }: PageHeader, bytes: Uint8Array): void {
  if (crc === undefined || crc32(bytes) === crc >>> 0) return;
  throw new Error('a page that does not have the checksum of its header');
}

const rowsOf = ({ data_page_header: first, data_page_header_v2: second }: PageHeader): number =>
  first?.num_values ?? second?.num_rows ?? 0;
