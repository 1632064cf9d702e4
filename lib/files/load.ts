import { checkState, type EncoderState } from '../data/encoders/state.js';
import { TandemError } from '../errors.js';
import { type Rebuilt, rebuild } from '../graph/rebuild.js';
import * as is from '../is.js';
import { stateOf } from '../model/state.js';
import type { Model, ModelOptions } from '../model.js';
import { bad, parseJson } from './format.js';
import { ModelFile } from './model-file.js';
import { pathOf, withPath } from './paths.js';
import { checkFloats, type Header, readFully, readHeader } from './safetensors.js';
import { formatVersion } from './save.js';

/** A file of a model in float32. */
export interface OpenFile {
  /** To be closed by whoever opened it. */
  readonly file: ModelFile;
  readonly header: Header;
}

/** A model whose parameters are still in its file. */
export interface FileModel {
  readonly model: Model;
  /** Of each parameter in the file. */
  readonly positions: readonly number[];
  /** Reads the parameters into the model. */
  read(): Promise<void>;
}

/** Opens a file and checks its header. Undefined where the file holds a quantized model. */
export async function openFile(path: string | URL): Promise<OpenFile | undefined> {
  const place = pathOf(path, 'path');
  const file = new ModelFile(place);
  try {
    const header = await readHeader(file);
    if (!header.metadata.has('quantization')) return { file, header };
    file.close();
    return undefined;
  } catch (error) {
    file.close();
    throw withPath(error, place);
  }
}

/** Checks the graph of a file; `create` makes the model. Throws ERR_FILE_FORMAT. */
export function buildModel(
  { file, header }: OpenFile,
  create: (options: ModelOptions) => Model,
): FileModel {
  const encoder = readEncoder(header);
  const model = create(readGraph(header));
  stateOf(model).encoder = encoder;
  const places = [...model.parameters].map(([name, { data }]) => {
    return { data, start: header.tensors.get(name)?.start ?? 0 };
  });
  const read = async () => {
    for (const { data, start } of places) {
      const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
      await readFully(file, bytes, start);
    }
  };
  return { model, positions: places.map(({ start }) => start), read };
}

/** The model in a file, with its parameters. Rejects with ERR_FILE_FORMAT for a quantized one. */
export async function readModel(
  path: string | URL,
  create: (options: ModelOptions) => Model,
): Promise<Model> {
  const model = await readFloatModel(path, create);
  if (model !== undefined) return model;
  throw bad('a model in float32', 'a quantized one, which Predictor.load reads');
}

/** The same; undefined where the file holds a quantized one. */
export async function readFloatModel(
  path: string | URL,
  create: (options: ModelOptions) => Model,
): Promise<Model | undefined> {
  const opened = await openFile(path);
  if (opened === undefined) return undefined;
  try {
    const { model, read } = buildModel(opened, create);
    await read();
    return model;
  } finally {
    opened.file.close();
  }
}

/** The graph of a file, whose tensors are not looked at. Throws ERR_FILE_FORMAT. */
export function readDescription(header: Header): Rebuilt {
  return guarded(() => rebuild(readGraphJson(header)));
}

/** The same as it is in the file. Throws ERR_FILE_FORMAT. */
export function readGraphJson({ metadata }: Header): unknown {
  const graph = metadata.get('graph');
  if (metadata.get('format') !== 'tandem-ml' || graph === undefined) {
    const received = 'a safetensors file without its graph; readSafetensors reads its arrays';
    throw bad('a model saved by tandem-ml', received);
  }
  const version = metadata.get('version') ?? '';
  if (!/^[1-9]\d*$/.test(version)) throw bad('a format version', is.show(version));
  if (Number(version) > formatVersion) {
    throw bad(
      `format version ${formatVersion} or older`,
      `version ${version}; a newer tandem-ml reads it`,
    );
  }
  return parseJson(graph, 'the graph');
}

function readGraph(header: Header): ModelOptions {
  const { parameters, ...options } = readDescription(header);
  checkTensors(header, parameters);
  return options;
}

/** Throws ERR_FILE_FORMAT unless the file's tensors are these parameters, in float32. */
export function checkTensors(
  { tensors }: Header,
  parameters: ReadonlyMap<string, readonly number[]>,
): void {
  for (const [name, shape] of parameters) {
    const tensor = tensors.get(name);
    if (tensor === undefined) throw bad(`a tensor \`${name}\` in the file`, 'none');
    checkFloats(name, tensor, shape);
  }
  for (const name of tensors.keys()) {
    if (!parameters.has(name)) throw bad('only tensors of the graph', `\`${name}\` too`);
  }
}

export function readEncoder({ metadata }: Header): EncoderState | undefined {
  const encoder = metadata.get('encoder');
  return encoder === undefined ? undefined : checkState(parseJson(encoder, 'the encoder'));
}

/** What is said already, and what the machine lacks. */
const ofNoFile = new Set(['ERR_FILE_FORMAT', 'ERR_OUT_OF_MEMORY']);

/** Whatever an op has against a graph from a file, the file is what is wrong. */
export function guarded<T>(body: () => T): T {
  try {
    return body();
  } catch (error) {
    if (!(error instanceof TandemError) || ofNoFile.has(error.code)) throw error;
    throw new TandemError('ERR_FILE_FORMAT', `in the file's graph: ${error.message}`, {
      cause: error,
    });
  }
}
