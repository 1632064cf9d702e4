// Predictors of files: as those of models, whichever way they came about.
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import {
  add,
  batchNorm,
  clamp,
  conv2d,
  dense,
  dropout,
  embedding,
  flatten,
  input,
  Model,
  mul,
  Predictor,
  reshape,
  sequential,
} from 'tandem-ml';
import { definition, readLoadOptions } from '../dist/internals.js';
import { sharedFolder } from './helpers/folder.mjs';

const folder = sharedFolder(test);

const several = () => {
  const [a, b] = [input([2, 3], { name: 'a' }), input([6], { name: 'b' })];
  const shared = dense(5, { name: 'shared' });
  const sum = add(shared(flatten(a)), mul(shared(b), Number.POSITIVE_INFINITY));
  const outputs = {
    logits: dense(2)(clamp(sum, { min: 0, max: 1 })),
    map: reshape(a, [-1, 3, 2]),
    same: b,
  };
  return new Model({ inputs: [a, b], outputs, seed: 9 });
};
const fixed = () => {
  const x = input([4], { batch: 3 });
  return new Model({ inputs: x, outputs: dense(2)(x), seed: 2 });
};
const image = () => [conv2d(3, { kernel: 3 }), batchNorm(), dropout(0.2), flatten(), dense(2)];

const direct = {
  'a perceptron': () => sequential([dense(7, { activation: 'tanh' }), dense(2)], { input: [5] }),
  'a convolution with a norm and dropout': () => sequential(image(), { input: [1, 6, 6] }),
  'several inputs and outputs, and constants': several,
  'a fixed batch': fixed,
};
const byValues = {
  indices: () =>
    sequential([embedding(9, 4), flatten(), dense(2)], { input: input([3], { dtype: 'int32' }) }),
};

test('no options are those that have been left out', (t) => {
  t.deepEqual(readLoadOptions(undefined), readLoadOptions({}));
});

let files = 0;
async function saved(model) {
  const file = join(folder, `${files++}.safetensors`);
  await model.save(file);
  return file;
}

/** How many values are made in the meantime. */
async function countValues(body) {
  const last = () => definition(input([1])).serial;
  const before = last();
  const result = await body();
  return [last() - before - 1, result];
}

/** Rows for the inputs of a model, different in each element. */
function rowsFor({ inputs }, rows) {
  return inputs.map(({ shape, dtype }) => {
    const length = shape.reduce((product, n) => product * (n ?? rows), 1);
    return dtype === 'int32'
      ? Int32Array.from({ length }, (_, i) => i % 9)
      : Float32Array.from({ length }, (_, i) => Math.sin(i * 1.3));
  });
}

for (const [name, make] of Object.entries({ ...direct, ...byValues })) {
  // Alone, as it counts.
  test.serial(`a file serves as its model: ${name}`, async (t) => {
    const model = make();
    const file = await saved(model);
    const wanted = await Predictor.load(model);
    const [values, predictor] = await countValues(() => Predictor.load(file));
    const ends = model.inputs.length + model.outputs.length;
    // No values but those of the ends, where it went straight to native code.
    if (name in direct) t.is(values, ends);
    else t.true(values > ends);
    t.deepEqual(predictor.inputs, model.inputs);
    t.deepEqual(predictor.outputs, model.outputs);
    for (const rows of [1, 3]) {
      const x = rowsFor(model, rows);
      t.deepEqual(predictor.predictSync(x), wanted.predictSync(x));
      t.deepEqual(await predictor.predict(x), await wanted.predict(x));
    }
    t.throws(() => predictor.predictSync(new Float32Array(1)), {
      message: t.throws(() => wanted.predictSync(new Float32Array(1)))?.message ?? '',
    });
    await predictor.close();
    await wanted.close();
  });
}

/** Loads a file whose graph has been changed. */
async function loadChanged(change) {
  const file = await saved(several());
  const bytes = await readFile(file);
  const length = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.subarray(8, 8 + length).toString());
  const graph = JSON.parse(header.__metadata__.graph);
  change(graph, header);
  header.__metadata__.graph = JSON.stringify(graph);
  const json = Buffer.from(JSON.stringify(header));
  const start = Buffer.alloc(8);
  start.writeBigUInt64LE(BigInt(json.length));
  await writeFile(file, Buffer.concat([start, json, bytes.subarray(8 + length)]));
  return await Predictor.load(file);
}

const damages = {
  'an unknown op': (graph) => {
    graph.nodes[0].op = 'explode';
  },
  'an op that writes to its inputs': (graph) => {
    graph.nodes[0].op = 'cachedAttention';
  },
  'a cycle': (graph) => {
    graph.nodes[0].inputs[0] = 50;
  },
  'inputs that are no numbers': (graph) => {
    graph.nodes[0].inputs = 'all';
  },
  'an attribute too much': (graph) => {
    graph.nodes[0].attributes = { speed: 3 };
  },
  'an output that is not there': (graph) => {
    graph.outputs[0].value = 1000;
  },
  'an output that is no number': (graph) => {
    graph.outputs[0].value = 'y';
  },
  'no outputs': (graph) => {
    graph.outputs = [];
  },
  'no inputs': (graph) => {
    graph.inputs = [];
  },
  'parameters alone behind its outputs': (graph) => {
    graph.inputs = [];
    graph.nodes = [{ op: 'relu', inputs: [0], attributes: {}, layer: -1 }];
    const value = graph.parameters.length + graph.constants.length;
    graph.outputs = [{ name: 'y', value }];
    graph.form = 'single';
  },
  'another form of outputs': (graph) => {
    graph.form = 'spiral';
  },
  'a layer of no type': (graph) => {
    delete graph.layers[0].type;
  },
  'a node of a layer that is not there': (graph) => {
    graph.nodes[0].layer = 99;
  },
  'two layers of one name': (graph) => {
    graph.layers[1].name = graph.layers[0].name;
  },
  'two inputs of one name': (graph) => {
    graph.inputs[1].name = 'a';
  },
  'two outputs of one name': (graph) => {
    graph.outputs[1].name = 'logits';
  },
  'two parameters of one name': (graph) => {
    graph.parameters[1] = graph.parameters[0];
  },
  'a parameter of another shape': (graph) => {
    graph.parameters[0].shape = [6, 5];
  },
  'a parameter of no layer': (graph) => {
    graph.parameters[0].layer = -1;
  },
  'a tensor too much': (graph) => {
    graph.parameters.pop();
  },
  'a tensor of integers': (_, header) => {
    header['shared.weight'].dtype = 'I32';
  },
  'a constant of another length': (graph) => {
    graph.constants[0].data.push(1);
  },
  'an input with a free axis 1': (graph) => {
    graph.inputs[0].shape = [-1, -1, 3];
  },
  'no nodes': (graph) => {
    graph.nodes = null;
  },
};
for (const [name, change] of Object.entries(damages)) {
  test(`a file is refused: ${name}`, async (t) => {
    await t.throwsAsync(loadChanged(change), { code: 'ERR_FILE_FORMAT' });
  });
}
