// Quantized models to safetensors files: weights as I8 with their scales beside them, and in the
// metadata how each node is computed and what calibration found.
import { type TensorData, tensorOf } from '../files/safetensors.js';
import { metadataOf } from '../files/save.js';
import { copyArrays } from '../trainer/weights.js';
import { byteWeights, viewsOf } from './bytes.js';
import type { Quantized } from './quantize.js';

/** The name of the scales of a weight in a file. */
export const scaleName = (weight: string): string => `${weight}.scale`;

/** What is in a file. */
export interface QuantizedFile {
  readonly metadata: Readonly<Record<string, string>>;
  readonly tensors: readonly TensorData[];
}

/**
 * The file of a model that compact() made, whose parameters stay until the promise is settled. They are
 * copied: the model may be closed while the file is being written.
 */
export async function fileOf(quantized: Quantized): Promise<QuantizedFile> {
  const { frozen, graph, parameters, report } = quantized;
  const bytes = byteWeights(frozen, graph);
  const copies = await copyArrays([...viewsOf(graph, parameters).values()]);
  const made = graph.parameters.flatMap(({ name, shape }, i) => {
    const data = copies[i] ?? new Float32Array(0);
    const scales = bytes.get(name);
    if (scales === undefined) return [tensorOf(name, 'F32', shape, data)];
    return [
      tensorOf(name, 'I8', shape, data),
      tensorOf(scaleName(name), 'F32', [scales.length], scales),
    ];
  });
  // Floats come first: they lie at multiples of their size then, and all scales are read at once.
  const isByte = ({ dtype }: { dtype: string }) => dtype === 'I8';
  const tensors = [...made.filter((one) => !isByte(one)), ...made.filter(isByte)];
  const nodes = graph.nodes.flatMap(({ quantization }, index) => {
    if (quantization === undefined) return [];
    const { mode, scale, zero, weightScales } = quantization;
    const weight = frozen.parameterName(graph.nodes[index]?.inputs[1]);
    // Where a weight stays float32 for another reader its scales have no tensor.
    const apart = weight !== undefined && bytes.has(weight) ? {} : { scales: [...weightScales] };
    return [{ index, mode, scale, zero, ...apart }];
  });
  const quantization = JSON.stringify({ nodes, report });
  const metadata = { ...metadataOf(frozen.model.name, frozen.state), quantization };
  return { metadata, tensors };
}
