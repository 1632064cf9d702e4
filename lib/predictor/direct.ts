// A model's file -> a native predictor, straight: a server that starts waits for neither the values of
// the graph nor memory for parameters that are mapped from the file.
import type { ConstantDescription, GraphDescription } from '../../bindings.js';
import type { EncoderState } from '../data/encoders/state.js';
import { TandemError } from '../errors.js';
import { bad, flag, integer, list, record, text } from '../files/format.js';
import { checkTensors, type OpenFile, readEncoder, readGraphJson } from '../files/load.js';
import type { Header } from '../files/safetensors.js';
import type { NamedValue } from '../graph/describe.js';
import { readConstant, readForm, readInput, readShape } from '../graph/rebuild.js';
import { isFree, makeValue, sampleBatches } from '../graph/value.js';
import { native } from '../native.js';
import { layoutOf } from './arrays.js';
import { type Loaded, type LoadOptions, plainKey } from './loaded.js';

/** A file's graph as native code takes it. */
interface FileGraph {
  readonly graph: GraphDescription;
  readonly inputs: readonly NamedValue[];
  readonly outputs: readonly string[];
  /** Of each parameter in the file. */
  readonly positions: readonly number[];
  readonly encoder: EncoderState | undefined;
}

/** Of errors that the other way says in full. */
const ofFiles = new Set(['ERR_FILE_FORMAT', 'ERR_ARGUMENT', 'ERR_SHAPE', 'ERR_DTYPE']);

/**
 * Undefined where that does not do: for indices, whose ranges are found by way of values; on Windows,
 * which does not map files here; and for whatever is wrong, which the other way says in full.
 */
export async function loadDirectly(
  { file, header }: OpenFile,
  options: LoadOptions,
): Promise<Loaded | undefined> {
  if (process.platform === 'win32') return undefined;
  try {
    const read = readFileGraph(header);
    if (read.inputs.some(({ value }) => value.dtype !== 'float32')) return undefined;
    const { graph, positions } = read;
    const predictor = await native.loadPredictorFile(file.fd, positions, plainKey, graph, options);
    try {
      const outputs = nameOutputs(read, (rows) => predictor.shapes(rows).outputs);
      const ends = { inputs: read.inputs, outputs };
      return { ...ends, encoder: read.encoder, predictor, layout: layoutOf(ends, []) };
    } catch (error) {
      predictor.close();
      throw error;
    }
  } catch (error) {
    if (error instanceof TandemError && ofFiles.has(error.code)) return undefined;
    throw error;
  }
}

/** Checks what native code does not; throws an error of some code for whatever is wrong. */
function readFileGraph(header: Header): FileGraph {
  const json = record(readGraphJson(header), 'graph');
  const items = (key: string) => list(json[key], key).map((item) => record(item, key));
  const inputs = items('inputs').map((item): NamedValue => {
    const name = text(item.name, 'name');
    return { name, value: readInput(item, name, 'inputs') };
  });
  const layers = items('layers').map(({ type, name }) => {
    text(type, 'type');
    return text(name, 'name');
  });
  const layerOf = (item: Record<string, unknown>, least: number) =>
    integer(item.layer, 'layer', least, layers.length - 1);
  const initializer = { kind: 'constant', a: 0, b: 0 } as const;
  const parameters = items('parameters').map((item) => {
    return {
      ...{
        name: `${layers[layerOf(item, 0)]}.${text(item.suffix, 'suffix')}`,
        dtype: 'float32' as const,
      },
      ...{ shape: readShape(item.shape, 'shape', 0), trainable: flag(item.trainable, 'trainable') },
      initializer,
    };
  });
  const constants = items('constants').map(
    (item): ConstantDescription => readConstant(item, 'constants'),
  );
  const nodes = items('nodes').map((node) => {
    const op = text(node.op, 'op');
    layerOf(node, -1);
    // Some internal ones would write to what belongs to users.
    if (!native.hasOp(op)) throw bad('a known op in the file', op);
    return { op, inputs: node.inputs, attributes: node.attributes };
  });
  const outputs = items('outputs').map(({ name }) => text(name, 'outputs'));
  const shapes = new Map(parameters.map(({ name, shape }) => [name, shape]));
  if (inputs.length === 0 || outputs.length === 0) throw bad('inputs and outputs', 'none');
  readForm(json.form, outputs.length);
  text(json.name, 'name');
  const ends = [inputs.map(({ name }) => name), outputs];
  const names = [...ends, layers, parameters.map(({ name }) => name)];
  if (names.some((list) => new Set(list).size < list.length))
    throw bad('different names', 'one twice');
  checkTensors(header, shapes);
  return {
    // Native code checks nodes and outputs, whatever they are.
    graph: {
      inputs: inputs.map(({ name, value }) => ({
        ...{ name, dtype: value.dtype },
        shape: value.shape.map((length) => length ?? -1),
      })),
      ...{ parameters, constants },
      nodes: nodes as unknown as GraphDescription['nodes'],
      outputs: items('outputs').map(({ value }) => value) as number[],
    },
    ...{ inputs, outputs },
    positions: parameters.map(({ name }) => header.tensors.get(name)?.start ?? 0),
    encoder: readEncoder(header),
  };
}

type SpecsAt = (rows: number) => ReturnType<typeof native.infer>;

/** Values of the shapes that the outputs have. */
function nameOutputs({ inputs, outputs }: FileGraph, specsAt: SpecsAt): NamedValue[] {
  const [low, high] = sampleBatches;
  const specs = specsAt(low);
  const others = inputs.some(({ value }) => isFree(value)) ? specsAt(high) : specs;
  return outputs.map((name, i) => {
    const [spec, other] = [specs[i], others[i]];
    if (spec === undefined || other === undefined) throw bad('an output', 'none');
    return { name, value: makeValue(spec.dtype, [spec.shape, other.shape], { kind: 'input' }) };
  });
}
