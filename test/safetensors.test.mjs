// Files: what is written, and what is refused.
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import {
  add,
  clamp,
  dense,
  dropout,
  flatten,
  input,
  Model,
  mul,
  Predictor,
  relu,
  reshape,
  sequential,
  sigmoid,
} from 'tandem-ml';
import { makeFolder, sharedFolder } from './helpers/folder.mjs';

const shared = sharedFolder(test);

let files = 0;
const place = () => join(shared, `${files++}.safetensors`);

const decode = (bytes) => {
  const length = Number(bytes.readBigUInt64LE(0));
  return {
    header: JSON.parse(bytes.subarray(8, 8 + length).toString('utf8')),
    data: bytes.subarray(8 + length),
  };
};

const encode = (header, data) => {
  const json = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header), 'utf8');
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  return Buffer.concat([length, json, data]);
};

const small = () =>
  sequential([dense(4, { activation: 'relu' }), dropout(0.1), dense(2)], { input: [3], seed: 3 });

/** Saves a small model, changes header, graph or bytes, and loads what came of it. */
async function loadChanged({ header, graph, bytes }) {
  const path = place();
  await small().save(path);
  let content = await readFile(path);
  const file = decode(content);
  if (graph) {
    const json = JSON.parse(file.header.__metadata__.graph);
    file.header.__metadata__.graph = JSON.stringify(graph(json) ?? json);
    content = encode(file.header, file.data);
  }
  if (header) content = encode(header(file.header) ?? file.header, file.data);
  if (bytes) content = bytes(content);
  await writeFile(path, content);
  return await Model.load(path);
}

const refuses = (t, change, message) =>
  t.throwsAsync(loadChanged(change), {
    code: 'ERR_FILE_FORMAT',
    ...(message && { message }),
  });

test('the file is a safetensors file with the parameters under their names', async (t) => {
  const model = small();
  const path = place();
  await model.save(path);
  const bytes = await readFile(path);
  const { header, data } = decode(bytes);
  t.is((bytes.length - data.length) % 8, 0);
  t.deepEqual(Object.keys(header), ['__metadata__', ...model.parameters.keys()]);
  for (const [name, { shape, data: values }] of model.parameters) {
    const {
      dtype,
      shape: stored,
      data_offsets: [begin, end],
    } = header[name];
    t.is(dtype, 'F32');
    t.deepEqual(stored, shape);
    t.deepEqual(data.subarray(begin, end), Buffer.from(values.slice().buffer));
  }
  for (const value of Object.values(header.__metadata__)) t.is(typeof value, 'string');
});

test('a loaded model is the saved one', async (t) => {
  const [a, b] = [input([2, 3], { name: 'a' }), input([6], { name: 'b' })];
  const shared = dense(5, { name: 'shared' });
  const sum = add(shared(flatten(a)), mul(shared(b), Number.POSITIVE_INFINITY));
  const outputs = {
    logits: dense(2)(clamp(sum, { min: 0 })),
    map: reshape(sigmoid(a), [-1, 3, 2]),
  };
  const model = new Model({ inputs: [a, b], outputs, seed: 9, name: 'two' });
  const path = place();
  await model.save(path);
  const loaded = await Model.load(path);
  t.is(loaded.name, 'two');
  t.deepEqual(loaded.inputs, model.inputs);
  t.deepEqual(loaded.outputs, model.outputs);
  t.deepEqual([...loaded.parameters], [...model.parameters]);
  t.is(loaded.summary(), model.summary());
  const again = place();
  await loaded.save(again);
  t.deepEqual(await readFile(again), await readFile(path));
});

test('constants keep their bits in a file', async (t) => {
  const x = input([1]);
  const numbers = [-0, 0, Number.NaN, Number.NEGATIVE_INFINITY, 2 ** -149, 3.4028234663852886e38];
  const outputs = Object.fromEntries(numbers.map((number, i) => [`c${i}`, add(x, number)]));
  const path = place();
  await new Model({ inputs: x, outputs, seed: 1 }).save(path);
  for (const source of [path, await Model.load(path)]) {
    const predictor = await Predictor.load(source);
    const found = Object.values(predictor.predictSync(Float32Array.of(-0)));
    t.deepEqual(
      found.map(([number]) => number),
      numbers,
    );
    await predictor.close();
  }
});

test('predictions survive a file', async (t) => {
  const model = small();
  const path = place();
  await model.save(path);
  const x = Float32Array.from({ length: 30 }, (_, i) => Math.sin(i));
  const [before, after] = [await Predictor.load(model), await Predictor.load(path)];
  t.deepEqual(after.predictSync(x), before.predictSync(x));
  await before.close();
  await after.close();
});

test('saving replaces a file whole, and leaves nothing behind when it fails', async (t) => {
  const folder = await makeFolder(t);
  const path = join(folder, 'm.safetensors');
  await writeFile(path, 'old');
  await small().save(path);
  await Model.load(path);
  t.deepEqual(await readdir(folder), ['m.safetensors']);
  await t.throwsAsync(small().save(join(folder, 'missing', 'm.safetensors')), { code: 'ENOENT' });
  await t.throwsAsync(small().save(folder));
  t.deepEqual(await readdir(folder), ['m.safetensors']);
  await t.throwsAsync(small().save(''), { code: 'ERR_ARGUMENT' });
  await t.throwsAsync(Model.load(join(folder, 'none')), { code: 'ENOENT' });
});

test('a save keeps the parameters at the time of the call', async (t) => {
  const model = small();
  const data = model.parameters.get('dense.weight')?.data;
  const before = data?.slice();
  const path = place();
  const saving = model.save(path);
  data?.fill(0);
  await saving;
  t.deepEqual((await Model.load(path)).parameters.get('dense.weight')?.data, before);
});

test('short and cut files are refused', async (t) => {
  for (const length of [0, 7, 8, 20, 100]) {
    await refuses(t, { bytes: (content) => content.subarray(0, length) });
  }
  await refuses(t, { bytes: (content) => content.subarray(0, -1) });
  await refuses(t, { bytes: (content) => Buffer.concat([content, Buffer.alloc(1)]) });
});

test('a header longer than the file is refused before memory is taken', async (t) => {
  for (const length of [2n ** 60n, 2n ** 64n - 1n, 2n ** 31n]) {
    const bytes = (content) => {
      content.writeBigUInt64LE(length, 0);
      return content;
    };
    await refuses(t, { bytes }, /header of \d+ bytes/);
  }
});

test('a header that is no JSON object is refused', async (t) => {
  await refuses(t, { header: () => '{"a":' });
  await refuses(t, { header: () => '[]' });
  await refuses(t, { header: () => ' {}' });
  await refuses(t, { header: () => 'null' });
  await refuses(t, { header: () => '{}' });
  const bytes = (content) => {
    content[9] = 0xff;
    return content;
  };
  await refuses(t, { bytes }, /UTF-8/);
});

test('duplicate keys are refused', async (t) => {
  const twice = (header) => JSON.stringify(header).replace('"dense.bias"', '"dense.\\u0077eight"');
  await refuses(t, { header: twice }, /"dense\.weight" twice/);
});

test('ranges of tensors are checked', async (t) => {
  const set = (name, change) => ({ header: (header) => void Object.assign(header[name], change) });
  await refuses(t, set('dense.weight', { data_offsets: [0, 2 ** 40] }));
  await refuses(t, set('dense.weight', { data_offsets: [-4, 44] }));
  await refuses(t, set('dense.weight', { data_offsets: [48, 0] }));
  await refuses(t, set('dense.weight', { data_offsets: [0] }));
  await refuses(t, set('dense.weight', { data_offsets: [0, 47.5] }));
  await refuses(t, set('dense.weight', { data_offsets: [0, 44] }));
  await refuses(t, set('dense.bias', { data_offsets: [0, 16] }), /overlap/);
  await refuses(t, set('dense.weight', { shape: [4, 4] }));
  await refuses(t, set('dense.weight', { shape: [2 ** 30, 2 ** 30, 2 ** 30] }));
  await refuses(t, set('dense.weight', { shape: [-3, -4] }));
  await refuses(t, set('dense.weight', { shape: '12' }));
  await refuses(t, set('dense.weight', { dtype: 'F31' }));
  await refuses(t, set('dense.weight', { dtype: 'I32' }));
  await refuses(t, set('dense.weight', { shape: [3, 4] }), /dense\.weight/);
});

test('holes, missing tensors and extra tensors are refused', async (t) => {
  const remove = (name) => ({
    header: (header) => {
      delete header[name];
    },
  });
  await refuses(t, remove('dense.bias'), /hole/);
  await refuses(t, remove('dense_1.bias'));
  const empty = { dtype: 'F32', shape: [0], data_offsets: [0, 0] };
  await refuses(t, { header: (header) => void Object.assign(header, { extra: empty }) }, /extra/);
  await refuses(
    t,
    {
      graph: (graph) => {
        graph.parameters.pop();
        graph.nodes.at(-1).inputs.pop();
        graph.nodes = graph.nodes.map((node) => ({
          ...node,
          inputs: node.inputs.map((value) => (value > 3 ? value - 1 : value)),
        }));
        graph.outputs[0].value--;
      },
    },
    /dense_1\.bias/,
  );
});

test('other files and future versions are refused', async (t) => {
  const metadata = (change) => ({
    header: (header) => void Object.assign(header.__metadata__, change),
  });
  await refuses(t, metadata({ version: '2' }), /version 1 or older, received version 2/);
  await refuses(t, metadata({ version: 'one' }), /version/);
  await refuses(t, metadata({ format: 'pt' }), /saved by tandem-ml/);
  await refuses(t, metadata({ graph: 'no' }), /JSON/);
  await refuses(t, metadata({ graph: '[]' }));
  await refuses(t, { header: ({ __metadata__, ...rest }) => rest }, /saved by tandem-ml/);
  await refuses(t, { header: (header) => ({ ...header, __metadata__: { format: 1 } }) });
});

test('graphs are checked', async (t) => {
  const graph = (change) => ({ graph: (json) => void change(json) });
  const cycle = (json) => {
    json.nodes[0].inputs[0] = json.outputs[0].value;
  };
  await refuses(t, graph(cycle), /nodes\[0\]\.inputs/);
  await refuses(
    t,
    graph((json) => (json.nodes[0].op = 'system')),
    /a known op.*"system"/,
  );
  await refuses(
    t,
    graph((json) => (json.nodes[0].op = 'copy')),
    /a known op/,
  );
  await refuses(
    t,
    graph((json) => (json.nodes[0].op = 7)),
  );
  await refuses(
    t,
    graph((json) => (json.nodes[0].inputs = [0])),
  );
  await refuses(
    t,
    graph((json) => (json.nodes[0].inputs = [-2, 1, 2])),
  );
  await refuses(
    t,
    graph((json) => (json.nodes[0].inputs = 'all')),
  );
  await refuses(
    t,
    graph((json) => (json.nodes[0].attributes = { shape: [1] })),
  );
  await refuses(
    t,
    graph((json) => (json.nodes[0].attributes = { rate: 'x' })),
  );
  await refuses(
    t,
    graph((json) => (json.nodes[0].layer = 99)),
  );
  await refuses(
    t,
    graph((json) => (json.nodes = {})),
  );
  await refuses(
    t,
    graph((json) => delete json.inputs),
  );
  await refuses(
    t,
    graph((json) => (json.inputs[0].shape = [-1, -1])),
  );
  await refuses(
    t,
    graph((json) => (json.inputs[0].shape = [-1, 5])),
  );
  await refuses(
    t,
    graph((json) => (json.inputs[0].dtype = 'float16')),
  );
  await refuses(
    t,
    graph((json) => (json.inputs = [json.inputs[0], json.inputs[0]])),
  );
  await refuses(
    t,
    graph((json) => (json.parameters[0].shape = [2 ** 40, 2 ** 40])),
  );
  await refuses(
    t,
    graph((json) => (json.parameters[1].suffix = 'weight')),
    /twice/,
  );
  await refuses(
    t,
    graph((json) => (json.layers[2].name = 'dense')),
  );
  await refuses(
    t,
    graph((json) => (json.outputs[0].value = 99)),
  );
  await refuses(
    t,
    graph((json) => (json.outputs = [])),
  );
  await refuses(
    t,
    graph((json) => (json.form = 'triangle')),
  );
  await refuses(
    t,
    graph((json) => (json.name = 3)),
  );
});

test('an untouched copy loads', async (t) => {
  const model = await loadChanged({ graph: () => undefined });
  t.is(model.parameters.size, 4);
  const layers = [relu(), dense(1)];
  const path = place();
  await sequential(layers, { input: [2] }).save(path);
  t.deepEqual([...(await Model.load(path)).parameters.keys()], ['dense.weight', 'dense.bias']);
});
