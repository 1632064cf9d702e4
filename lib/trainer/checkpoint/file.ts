// A checkpoint as one safetensors file: parameters, optimizer state by slot and averages, each under
// the parameter's name, so that other tools read them; all else is JSON in the metadata.
import { type FileHandle, open } from 'node:fs/promises';
import type { Trainer as NativeTrainer } from '../../../bindings.js';
import { bad, integer, list, parseJson, record } from '../../files/format.js';
import { readFlags } from '../../files/model-file.js';
import { pathOf, withPath } from '../../files/paths.js';
import {
  checkFloats,
  type Header,
  readFully,
  readHeader,
  tensorOf,
  writeTensors,
} from '../../files/safetensors.js';
import { elements } from '../../graph/value.js';
import * as is from '../../is.js';
import type { ModelState } from '../../model/state.js';
import type { Parameter } from '../../model.js';
import { type Contents, checkpointVersion, decode } from './contents.js';
import { unpack } from './json.js';

/** Everything of a moment between two steps, in memory that nothing else writes to. */
export interface Snapshot {
  readonly step: number;
  /** The contents, and the arrays in them. */
  readonly json: string;
  readonly arrays: readonly Float32Array[];
  readonly state: Float32Array;
}

/** What a file gave. */
export interface Restored {
  readonly contents: Contents;
  readonly state: Float32Array;
}

export interface Owner {
  readonly native: NativeTrainer;
  readonly model: ModelState;
  readonly parameters: ReadonlyMap<string, Parameter>;
}

/** A tensor of the file, and where its numbers are in what saveState() gives. */
interface Piece {
  readonly name: string;
  readonly shape: readonly number[];
  readonly offset: number;
  readonly count: number;
}

/** In the order of the file. */
function piecesOf({ native, model, parameters }: Owner): Piece[] {
  const layout = native.savedLayout;
  const all = [...parameters].map(([name, { shape }], i) => ({
    name,
    shape,
    offset: (model.native.offsets[i] ?? 0) / 4,
    count: elements(shape),
  }));
  const trainable = all.filter(({ offset }) => offset < layout.trainable);
  const mirrors = (prefix: string, begin: number) =>
    trainable.map((piece) => ({
      ...piece,
      name: `${prefix}/${piece.name}`,
      offset: begin + piece.offset,
    }));
  const slots = Array.from({ length: layout.slots }, (_, slot) =>
    mirrors(`optimizer/${slot}`, layout.parameters + slot * layout.trainable),
  );
  return [
    ...all.map((piece) => ({ ...piece, name: `parameters/${piece.name}` })),
    ...slots.flat(),
    ...(layout.averages
      ? mirrors('averages', layout.parameters + layout.slots * layout.trainable)
      : []),
  ];
}

export async function writeCheckpoint(
  path: string | URL,
  owner: Owner,
  { json, arrays, state }: Snapshot,
): Promise<void> {
  const tensors = [
    ...piecesOf(owner).map(({ name, shape, offset, count }) =>
      tensorOf(name, 'F32', shape, state.subarray(offset, offset + count)),
    ),
    ...arrays.map((data, i) => tensorOf(`callbacks/${i}`, 'F32', [data.length], data)),
  ];
  const version = String(checkpointVersion);
  await writeTensors(path, { format: 'tandem-ml-checkpoint', version, state: json }, tensors);
}

/**
 * Reads and checks all of a checkpoint. Throws ERR_FILE_FORMAT, also for one of another model, or an
 * error of the file system.
 */
export async function readCheckpoint(path: string | URL, owner: Owner): Promise<Restored> {
  const place = pathOf(path, 'path');
  const file = await open(place, readFlags);
  try {
    const header = await readHeader(file);
    const json = readState(header);
    const arrays = await readArrays(file, header);
    const contents = decode(json, arrays);
    const pieces = piecesOf(owner);
    checkNames(header, pieces, arrays.length);
    const { parameters, trainable, slots, averages } = owner.native.savedLayout;
    const state = new Float32Array(parameters + trainable * (slots + (averages ? 1 : 0)));
    for (const { name, offset, count } of pieces) {
      const bytes = new Uint8Array(state.buffer, offset * 4, count * 4);
      await readFully(file, bytes, header.tensors.get(name)?.start ?? 0);
    }
    return { contents, state };
  } catch (error) {
    throw withPath(error, place);
  } finally {
    await file.close();
  }
}

/**
 * Of the run that wrote a checkpoint, undefined for a file that is none. Rejects where no file can be
 * opened.
 */
export async function readGeneration(path: string): Promise<{ generation: number | undefined }> {
  const generation = await ofFit(path, (fit) => integer(fit.generation ?? 0, 'fit.generation', 0));
  return { generation };
}

/** The losses of the epochs that it reported, likewise. */
export const readLosses = (path: string): Promise<readonly unknown[] | undefined> =>
  ofFit(path, ({ history }) => list(record(unpack(history, []), 'fit.history').loss, 'loss'));

/** What `read` finds in what a checkpoint knows of its fit, of which that of a single step knows nothing. */
async function ofFit<T>(
  path: string,
  read: (fit: Record<string, unknown>) => T,
): Promise<T | undefined> {
  const file = await open(path, readFlags);
  try {
    const { position } = record(readState(await readHeader(file)), 'state');
    const { fit } = record(position, 'position');
    return read(is.isRecord(fit) ? fit : {});
  } catch {
    return undefined;
  } finally {
    await file.close();
  }
}

function readState({ metadata }: Header): unknown {
  const state = metadata.get('state');
  if (metadata.get('format') !== 'tandem-ml-checkpoint' || state === undefined) {
    throw bad('a checkpoint saved by tandem-ml', 'another safetensors file');
  }
  const version = metadata.get('version') ?? '';
  if (!/^[1-9]\d*$/.test(version)) throw bad('a format version', is.show(version));
  if (Number(version) > checkpointVersion) {
    const what = `format version ${checkpointVersion} or older`;
    throw bad(what, `version ${version}; a newer tandem-ml reads it`);
  }
  return parseJson(state, 'the state of the checkpoint');
}

/** Those that callbacks keep. */
async function readArrays(file: FileHandle, { tensors }: Header): Promise<Float32Array[]> {
  const arrays: Float32Array[] = [];
  for (;;) {
    const name = `callbacks/${arrays.length}`;
    const entry = tensors.get(name);
    if (entry === undefined) return arrays;
    checkFloats(name, entry, entry.shape);
    const array = new Float32Array(entry.bytes / 4);
    await readFully(file, new Uint8Array(array.buffer), entry.start);
    arrays.push(array);
  }
}

function checkNames({ tensors }: Header, pieces: readonly Piece[], arrays: number): void {
  for (const { name, shape } of pieces) {
    const tensor = tensors.get(name);
    if (tensor === undefined) {
      throw bad(`a checkpoint of this model, with a tensor \`${name}\``, 'one without it');
    }
    checkFloats(name, tensor, shape);
  }
  if (tensors.size === pieces.length + arrays) return;
  const known = new Set(pieces.map(({ name }) => name));
  const more = [...tensors.keys()].find(
    (name) => !known.has(name) && !name.startsWith('callbacks/'),
  );
  throw bad('a checkpoint of this model', `one with a tensor \`${more}\``);
}
