// Arrays of safetensors files, as other tools write them.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import test from 'ava';
import { dense, Model, Predictor, sequential } from 'tandem-ml';
import { DataError, readSafetensors } from 'tandem-ml/data';
import { makeArray } from '../../dist/internals.js';
import { sharedFolder } from '../helpers/folder.mjs';

const shared = sharedFolder(test);

let files = 0;

/** A file of `[name, dtype, shape, values]`, the numbers of all one after the other. */
async function file(...tensors) {
  const header = { __metadata__: { format: 'pt' } };
  let offset = 0;
  for (const [name, dtype, shape, { byteLength }] of tensors) {
    header[name] = { dtype, shape, data_offsets: [offset, offset + byteLength] };
    offset += byteLength;
  }
  const json = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  const bytes = tensors.map(([, , , values]) => new Uint8Array(values.buffer));
  const path = join(shared, `${files++}.safetensors`);
  await writeFile(path, Buffer.concat([length, json, ...bytes]));
  return path;
}

test('every type becomes one that models take, wherever its numbers lie', async (t) => {
  const { POSITIVE_INFINITY: infinity, NaN: none } = Number;
  const halves = Uint16Array.of(0x3c00, 0xc000, 0x7c00, 0x7e00);
  const upper = Uint16Array.of(0x3f80, 0xc000, 0x7f80, 0x7fc0, 0x0001, 0x8000);
  const path = await file(
    ['one', 'U8', [1], Uint8Array.of(9)], // what follows is not aligned
    ['h.weight', 'F32', [2, 2], Float32Array.of(1, -2, 3.5, 1e-40)],
    ['half', 'F16', [4], halves],
    ['brain', 'BF16', [6], upper],
    ['double', 'F64', [2], Float64Array.of(0.1, 1e300)],
    ['position_ids', 'I64', [1, 3], BigInt64Array.of(0n, -1n, 2147483647n)],
    ['long', 'U64', [1], BigUint64Array.of(7n)],
    ['int', 'I32', [2], Int32Array.of(-5, 6)],
    ['word', 'U32', [1], Uint32Array.of(4294967295)],
    ['short', 'I16', [1], Int16Array.of(-3)],
    ['unsigned', 'U16', [1], Uint16Array.of(65535)],
    ['byte', 'I8', [2], Int8Array.of(-1, 1)],
    ['flag', 'BOOL', [2], Uint8Array.of(0, 1)],
    ['number', 'F32', [], Float32Array.of(0.5)],
    ['nothing', 'F32', [0, 3], new Float32Array(0)],
  );
  const tensors = await readSafetensors(pathToFileURL(path));
  const expected = {
    one: [[1], Uint8Array.of(9)],
    'h.weight': [[2, 2], Float32Array.of(1, -2, 3.5, 1e-40)],
    half: [[4], Float32Array.of(1, -2, infinity, none)],
    brain: [[6], Float32Array.of(1, -2, infinity, none, 2 ** -133, -0)],
    double: [[2], Float32Array.of(0.1, infinity)],
    position_ids: [[1, 3], Int32Array.of(0, -1, 2147483647)],
    long: [[1], Int32Array.of(7)],
    int: [[2], Int32Array.of(-5, 6)],
    word: [[1], Uint32Array.of(4294967295)],
    short: [[1], Int16Array.of(-3)],
    unsigned: [[1], Uint16Array.of(65535)],
    byte: [[2], Int8Array.of(-1, 1)],
    flag: [[2], Uint8Array.of(0, 1)],
    number: [[], Float32Array.of(0.5)],
    nothing: [[0, 3], new Float32Array(0)],
  };
  t.deepEqual([...tensors.keys()], Object.keys(expected));
  for (const [name, [shape, data]] of Object.entries(expected)) {
    t.deepEqual(tensors.get(name), { shape, data }, name);
  }
});

test('arrays of more than one read are whole', async (t) => {
  const values = Float32Array.from({ length: 700_001 }, (_, i) => i);
  const upper = Uint16Array.from({ length: 600_000 }, (_, i) => i % 0x7f81); // up to infinity
  const path = await file(['a', 'BF16', [600_000], upper], ['b', 'F32', [values.length], values]);
  const tensors = await readSafetensors(path);
  t.deepEqual(tensors.get('b').data, values);
  const words = Uint32Array.from(upper, (bits) => bits * 0x10000);
  t.deepEqual(new Uint32Array(tensors.get('a').data.buffer), words);
});

test('a model that was saved is such a file', async (t) => {
  const model = sequential([dense(3, { name: 'fc' })], { input: [2], seed: 1 });
  const path = join(shared, 'model.safetensors');
  await model.save(path);
  const tensors = await readSafetensors(path);
  t.deepEqual([...tensors.keys()].sort(), ['fc.bias', 'fc.weight']);
  for (const [name, { shape, data }] of model.parameters) {
    t.deepEqual(tensors.get(name), { shape: [...shape], data: data.slice() });
  }
});

test('whoever takes such a file for a model is told what reads it', async (t) => {
  const path = await file(['fc.weight', 'F32', [1, 1], Float32Array.of(1)]);
  const expected = { code: 'ERR_FILE_FORMAT', message: /readSafetensors/ };
  await t.throwsAsync(Model.load(path), expected);
  await t.throwsAsync(Predictor.load(path), expected);
});

test('what cannot be read is refused', async (t) => {
  const refused = async (path, expected) => await t.throwsAsync(readSafetensors(path), expected);
  const large = await file(
    ['epochs', 'I64', [1], BigInt64Array.of(7n)],
    ['ids', 'I64', [2, 1], BigInt64Array.of(1n, 2147483648n)],
  );
  const error = await refused(large, { instanceOf: DataError, message: /2147483648/ });
  t.deepEqual([error.file, error.row, error.column], [large, 2, 'ids']);
  const message = /floats of 16 to 64 bits for tensor `w`, received F8_E4M3/;
  await refused(await file(['w', 'F8_E4M3', [2], Uint8Array.of(1, 2)]), {
    code: 'ERR_FILE_FORMAT',
    message,
  });
  for (const [name, content] of [
    ['empty', ''],
    ['short', 'abc'],
    ['long', Buffer.from([255, 255, 255, 255, 255, 255, 255, 255, 123, 125])],
    ['other', 'hour,weather\n1,rain\n2,rain\n'],
  ]) {
    const path = join(shared, name);
    await writeFile(path, content);
    await refused(path, { code: 'ERR_FILE_FORMAT' });
  }
  await refused(join(shared, 'none'), { code: 'ENOENT' });
  for (const path of [undefined, 5, {}]) await refused(path, { code: 'ERR_ARGUMENT' });
});

test('a tensor that there is no memory for is named, without advice for other files', (t) => {
  const make = (place) => () => makeArray({ kind: 'float32' }, 2 ** 50, place);
  const error = t.throws(make({ file: 'gpt.safetensors', column: 'h.weight' }), {
    code: 'ERR_OUT_OF_MEMORY',
    message: /`gpt\.safetensors`.* of tensor `h\.weight`$/,
  });
  t.false(error.message.includes('stream'));
  t.throws(make({ file: 'x.npy' }), { code: 'ERR_OUT_OF_MEMORY', message: /with `stream`/ });
});
