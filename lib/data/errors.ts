import { type ErrorCode, TandemError } from '../errors.js';
import * as is from '../is.js';

/** Where bad data are; what is not known is left out. */
export interface Place {
  /** The file, as it was named. */
  readonly file?: string | undefined;
  /** Of the file: rows count from 1, in a CSV file with its header, so that they are records. */
  readonly row?: number | undefined;
  readonly column?: string | undefined;
}

/**
 * Data that are not what they should be: its message begins with file, row and column. The code is
 * ERR_FILE_FORMAT for data of a file and ERR_ARGUMENT for rows in memory.
 */
export class DataError extends TandemError {
  declare readonly file?: string;
  declare readonly row?: number;
  declare readonly column?: string;

  /** @internal */
  constructor(code: ErrorCode, message: string, place: Place, options?: ErrorOptions) {
    super(code, message, options);
    if (place.file !== undefined) this.file = place.file;
    if (place.row !== undefined) this.row = place.row;
    if (place.column !== undefined) this.column = place.column;
  }
}

/** The error for data other than `what`; `received` is shown as it is. */
export function badData(
  what: string,
  received: string,
  place: Place,
  options?: ErrorOptions,
): DataError {
  const code = place.file === undefined ? 'ERR_ARGUMENT' : 'ERR_FILE_FORMAT';
  const where = describePlace(place);
  const message = `expected ${what}, received ${received}`;
  return new DataError(code, where === '' ? message : `${where}: ${message}`, place, options);
}

function describePlace({ file, row, column }: Place): string {
  const parts = file === undefined ? [] : [file];
  if (row !== undefined) parts.push(`row ${row}`);
  if (column !== undefined) parts.push(`column \`${column}\``);
  return parts.join(', ');
}

/** Of a file that ends before the place where something was. */
export const cutShort = (file: string): DataError =>
  badData('a file that stays as it is', 'one cut short', { file });

/** What zlib fails with, as an error of the file; other errors as they are. */
export function asArchiveError(cause: unknown, file: string): unknown {
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
  if (code === 'ERR_FS_FILE_TOO_LARGE') {
    return badData('a .gz file of 2 GiB or less', 'a larger one; unpack it', { file }, { cause });
  }
  if (!code.startsWith('Z_')) return cause;
  return badData('a whole .gz file', (cause as Error).message, { file }, { cause });
}

/** An error as it travels between threads, which do not share classes. */
export interface PlainError {
  readonly message: string;
  readonly code: string | undefined;
  readonly place: Place;
  readonly cause: unknown;
}

export function toPlain(error: unknown): PlainError {
  const { message, code, file, row, column, cause } = (
    error instanceof Error ? error : new Error(String(error))
  ) as Error & { code?: string } & Place;
  return { message, code, place: { file, row, column }, cause: plainCause(cause) };
}

/** What structured clone can surely take. */
const plainCause = (cause: unknown): unknown =>
  cause instanceof Error ? new Error(cause.message) : undefined;

export function fromPlain({ message, code, place, cause }: PlainError): Error {
  const options = cause === undefined ? {} : { cause };
  if (code !== undefined && codes.has(code)) {
    return new DataError(code as ErrorCode, message, place, options);
  }
  if (code === 'ERR_OUT_OF_MEMORY') return new TandemError(code, message, options);
  return Object.assign(new Error(message, options), code === undefined ? {} : { code });
}

const codes = new Set<string>(['ERR_FILE_FORMAT', 'ERR_ARGUMENT', 'ERR_SHAPE', 'ERR_DTYPE']);

/** A package that only some sources need. Rejects with ERR_ARGUMENT where it is not installed. */
export async function optional<T>(load: () => Promise<T>, name: string, what: string): Promise<T> {
  try {
    return await load();
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if (code !== 'ERR_MODULE_NOT_FOUND' && code !== 'MODULE_NOT_FOUND') throw error;
    const message = `expected the package \`${name}\` for ${what}, received none; npm install ${name}`;
    throw new TandemError('ERR_ARGUMENT', message, { cause: error });
  }
}

/** What bad rows do: end the reading, or get left out. */
export type OnError = 'throw' | 'skip';

export const checkOnError = (value: unknown): OnError =>
  is.oneOf(value ?? 'throw', 'onError', ['throw', 'skip']);
