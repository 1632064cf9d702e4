// Files of arrays: IDX, as MNIST comes in, NumPy's .npy, and safetensors of other tools.
import { stat } from 'node:fs/promises';
import type { TypedArray } from '../../bindings.js';
import { pathOf } from '../files/paths.js';
import * as is from '../is.js';
import { fromArrays } from './arrays.js';
import type { TensorBatch } from './batch.js';
import { Dataset } from './dataset.js';
import type { StreamOptions, StreamSource } from './source.js';
import { idxHeader, npyHeader, type ParseHeader } from './tensors/header.js';
import { openTensor, readTensor, type Tensor } from './tensors/read.js';
import type { TensorPart } from './tensors/rows.js';
import { readTensors } from './tensors/safetensors.js';
import { versionOf } from './version.js';
import { readInThread } from './worker/client.js';

export type { Tensor } from './tensors/read.js';

/**
 * The array of an IDX file, maybe compressed (`.gz`); numbers of 64 bits become float32. Rejects with
 * DataError, ERR_OUT_OF_MEMORY, or the file system's error.
 */
export async function readIdx(path: string | URL): Promise<Tensor> {
  return await readTensor(pathOf(path, 'path'), idxHeader);
}

/**
 * The array of a .npy file, in C order, maybe compressed (`.gz`). float16 and float64 become float32
 * and int64 int32. Rejects with DataError, ERR_OUT_OF_MEMORY, or the file system's error.
 */
export async function readNpy(path: string | URL): Promise<Tensor> {
  return await readTensor(pathOf(path, 'path'), npyHeader);
}

/**
 * The arrays of a safetensors file by their names, such as the weights of a model that another tool
 * trained. float16, bfloat16 and float64 become float32, int64 int32 and booleans bytes. Rejects with
 * ERR_FILE_FORMAT, DataError for an integer that int32 does not hold, ERR_OUT_OF_MEMORY, or the file
 * system's error.
 *
 * @example
 * const tensors = await readSafetensors('model.safetensors');
 * model.parameters.get('dense.weight').data.set(tensors.get('fc.weight').data);
 */
export async function readSafetensors(path: string | URL): Promise<Map<string, Tensor>> {
  return await readTensors(pathOf(path, 'path'));
}

/** Files of inputs and targets: one each, or records of them. */
export interface TensorFiles {
  x: string | URL | Readonly<Record<string, string | URL>>;
  y: string | URL | Readonly<Record<string, string | URL>>;
}

/** How files are read. */
export interface TensorFileOptions {
  /** Multiplies all inputs, which become float32: 1 / 255 for images of bytes. None by default. */
  scale?: number;
  /**
   * Whether rows stay in their files, which must not be compressed, and are read while they are used,
   * in a thread of their own and in the very order that they would have in memory. By default files
   * of more than 512 MiB together do.
   */
  stream?: boolean;
}

/**
 * Rows from IDX files, whose first dimension is that of the rows, in memory or streamed. Rejects with
 * ERR_ARGUMENT, ERR_SHAPE, and as readIdx does; reading does, too.
 */
export const idx = (files: TensorFiles, options?: TensorFileOptions): Promise<Dataset> =>
  tensorFiles(idxHeader, files, options, 'idx');

/** The same from .npy files. */
export const npy = (files: TensorFiles, options?: TensorFileOptions): Promise<Dataset> =>
  tensorFiles(npyHeader, files, options, 'npy');

/** Files that are larger together stay where they are. */
const mostInMemory = 2 ** 29;

interface Wanted {
  readonly group: 'x' | 'y';
  readonly name: string | undefined;
  readonly path: string;
  readonly factor: number | undefined;
}

async function tensorFiles(
  parse: ParseHeader,
  files: TensorFiles,
  options: TensorFileOptions | undefined,
  name: string,
): Promise<Dataset> {
  const { x, y } = is.options<TensorFiles>(files, 'files', ['x', 'y']);
  const names = ['scale', 'stream'] as const;
  const { scale, stream } = is.options<TensorFileOptions>(options, `options of ${name}`, names);
  if (scale !== undefined) is.number(scale, 'scale');
  const wanted = [...listFiles(x, 'x', scale), ...listFiles(y, 'y', undefined)];
  const given = stream === undefined ? undefined : is.boolean(stream, 'stream');
  const archive = wanted.find(({ path }) => path.endsWith('.gz'))?.path;
  if (given === true && archive !== undefined) {
    throw is.invalid('a file that is not compressed, for `stream`,', 'files', archive);
  }
  const large = async () => {
    const sizes = await Promise.all(wanted.map(({ path }) => stat(path)));
    return sizes.reduce((sum, { size }) => sum + size, 0) > mostInMemory;
  };
  if (given ?? (archive === undefined && (await large()))) return await streamed(wanted, parse);
  return await inMemory(wanted, parse);
}

function listFiles(of: unknown, group: 'x' | 'y', factor: number | undefined): Wanted[] {
  if (!is.isRecord(of)) return [{ group, name: undefined, path: pathOf(of, group), factor }];
  return Object.entries(of).map(([name, path]) => ({
    ...{ group, name, factor },
    path: pathOf(path, `${group}.${name}`),
  }));
}

const labelOf = ({ group, name }: Wanted): string =>
  name === undefined ? group : `${group}.${name}`;

function checkRows(shape: readonly number[], rows: number | undefined, file: Wanted): number {
  const [own = 0] = shape;
  if (rows === undefined || own === rows) return own;
  const what = `${rows} rows, as in the first file`;
  throw is.mismatch('ERR_SHAPE', what, labelOf(file), `${own} rows`);
}

async function inMemory(wanted: readonly Wanted[], parse: ParseHeader): Promise<Dataset> {
  let rows: number | undefined;
  const read: (readonly [Wanted, TypedArray])[] = [];
  for (const file of wanted) {
    const { shape, data } = await readTensor(file.path, parse, file.factor);
    rows = checkRows(shape, rows, file);
    read.push([file, data]);
  }
  const group = (of: 'x' | 'y'): TensorBatch['x'] => {
    const own = read.filter(([file]) => file.group === of);
    const [first] = own;
    if (first !== undefined && first[0].name === undefined) return first[1];
    return Object.fromEntries(own.map(([{ name = of }, array]) => [name, array] as const));
  };
  return fromArrays({ x: group('x'), y: group('y') }, { rows: rows ?? 0 });
}

async function streamed(wanted: readonly Wanted[], parse: ParseHeader): Promise<Dataset> {
  let rows: number | undefined;
  const parts: TensorPart[] = [];
  for (const file of wanted) {
    const { header, count } = await openTensor(file.path, parse);
    rows = checkRows(header.shape, rows, file);
    parts.push({ ...file, ...header, width: count / rows });
  }
  const [first] = parts;
  const length = is.integer(rows, 'rows', 1, 2 ** 32 - 1);
  if (first === undefined || parts.some(({ width }) => width === 0)) {
    throw is.mismatch('ERR_SHAPE', 'one number a row or more', 'files', 'none');
  }
  const source: StreamSource<TensorBatch> = {
    length,
    selects: true,
    shuffles: true,
    version: () => versionOf(parts.map(({ path }) => path)),
    stream({ epoch, stages, shuffle: seeded }: StreamOptions) {
      const shuffle = seeded && { seed: seeded.seed, epoch };
      const { path } = first;
      const job = { kind: 'tensors', path, parts, rows: length, stages, shuffle } as const;
      const none = { encoder: undefined, shuffle: undefined } as const;
      return readInThread<TensorBatch>({ job, ...none, onError: 'throw' }, undefined);
    },
  };
  return new Dataset<TensorBatch>({ kind: 'stream', ...source });
}
