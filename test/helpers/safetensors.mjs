// The golden files of PyTorch. A reader of its own, so that the library's is not tested with itself.
import { readdirSync, readFileSync } from 'node:fs';

const golden = new URL('../golden/', import.meta.url);
const types = { F32: Float32Array, I32: Int32Array };

/**
 * A golden file's description and its tensors by name.
 * @param {string} path  such as "ops/relu", in test/golden
 * @returns {{ spec: any, tensors: Map<string, { shape: number[], data: Float32Array | Int32Array }> }}
 */
export function readGolden(path) {
  const bytes = readFileSync(new URL(`${path}.safetensors`, golden));
  const start = 8 + Number(bytes.readBigUInt64LE(0));
  const { __metadata__, ...entries } = JSON.parse(bytes.toString('utf8', 8, start));
  const tensors = new Map();
  for (const [name, { dtype, shape, data_offsets: offsets }] of Object.entries(entries)) {
    const TypedArray = types[dtype];
    // A copy, because the bytes of a tensor need not be aligned in the file.
    const own = Uint8Array.from(bytes.subarray(start + offsets[0], start + offsets[1]));
    tensors.set(name, { shape, data: new TypedArray(own.buffer) });
  }
  return { spec: JSON.parse(__metadata__.spec), tensors };
}

/** @param {string} folder  "ops" or "train" */
export function goldenNames(folder) {
  return readdirSync(new URL(`${folder}/`, golden))
    .map((name) => name.replace(/\.safetensors$/, ''))
    .sort();
}
