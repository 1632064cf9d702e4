// Calls everything that the addon exports with odd receivers and arguments: fuzzing with a seed, in a
// process of its own. Whatever a call does, it returns or throws. Prints the number of calls.
import { mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import load from 'node-gyp-build';
import { TandemError } from 'tandem-ml';
import { generator } from './support.mjs';

const addon = load(fileURLToPath(new URL('../..', import.meta.url)));
const [seed = 1, rounds = 1000] = process.argv.slice(2).map(Number);
const random = generator(seed);
const below = (limit) => Math.floor(random() * limit);
const pick = (list) => list[below(list.length)];
process.on('unhandledRejection', () => {});

const parameter = (name, shape) => ({
  name,
  shape,
  dtype: 'float32',
  trainable: true,
  initializer: { kind: 'uniform', a: -1, b: 1 },
});
const list = () => [parameter('w', [2, 3]), parameter('b', [2])];
const graph = () => ({
  inputs: [{ name: 'x', shape: [-1, 3], dtype: 'float32' }],
  parameters: list(),
  constants: [{ shape: [2], data: Float32Array.of(1, 2) }],
  nodes: [{ op: 'linear', inputs: [0, 1, 2], attributes: {} }],
  outputs: [4],
});
const lossGraph = () => ({
  ...graph(),
  inputs: [
    { name: 'x', shape: [-1, 3], dtype: 'float32' },
    { name: 't', shape: [-1], dtype: 'int32' },
  ],
  constants: [],
  nodes: [
    { op: 'linear', inputs: [0, 2, 3], attributes: {} },
    { op: 'countTargets', inputs: [1], attributes: {} },
    { op: 'crossEntropy', inputs: [4, 1, -1, -1, 5], attributes: {} },
  ],
  outputs: [6],
});
const trainerOptions = () => ({
  optimizer: { op: 'sgd', groups: [{ momentum: 0.5 }], groupOf: [0, 0] },
  maxGradValue: 0,
  averageDecay: 0.5,
  accumulates: false,
  divisors: [],
  scales: 0,
  segments: 0,
  skip: null,
  maxGradNorm: 1,
  checkNumerics: false,
  precision: 'float32',
  seed: 1,
  threads: 1,
  ranges: [null, { low: 0, high: 1, ignored: -100 }],
});
const predictorOptions = () => ({ maxBatch: 8, threads: 1, precision: 'float32' });

/** A file with the values of both parameters. */
const folder = mkdtempSync(join(tmpdir(), 'tandem-'));
writeFileSync(join(folder, 'weights'), new Float32Array(8).fill(0.5));
const weights = openSync(join(folder, 'weights'));
process.on('exit', () => rmSync(folder, { recursive: true }));

const makeParameters = () => new addon.Parameters(list(), 1);
const makeState = ({ savedLayout: { parameters, trainable, slots } }) =>
  new Float32Array(parameters + trainable * (slots + 1));
/** With a state that waits to be loaded. */
const makeTrainer = () => {
  const trainer = new addon.Trainer(makeParameters(), lossGraph(), trainerOptions());
  trainer.stageState(makeState(trainer), 0);
  return trainer;
};
/** Predictors take a turn of the loop to make: there are some in stock, the last one for all. */
const stock = [];
const fillStock = async () => {
  while (stock.length < 96) {
    stock.push(await addon.loadPredictor(makeParameters(), graph(), predictorOptions()));
  }
};
const makePredictor = () => (stock.length > 1 ? stock.pop() : stock[0]);
const makeBinding = () => makePredictor().bind(2);
const classes = () => [
  addon.Parameters,
  addon.Trainer,
  addon.Predictor,
  addon.Binding,
  addon.StagedRows,
];
const makeStagedRows = () => {
  const [arrays, rows, sizes] = steps();
  const staged = new addon.StagedRows(makeTrainer(), rows, sizes);
  staged.copy(arrays, 2 ** 19);
  return staged;
};
/** A key does not keep its object alive. */
const alive = [];
const living = (object) => {
  alive.push(object);
  if (alive.length > 100) alive.shift();
  return object;
};
const detached = () => {
  const array = new Float32Array(6);
  structuredClone(array.buffer, { transfer: [array.buffer] });
  return array;
};
const throwing = () =>
  new Proxy(
    {},
    {
      get() {
        throw new Error('from a proxy');
      },
    },
  );

// As a size each of them is small or more than any machine has.
const numbers = [0, -0, 1, 2, 3, 4, 8, -1, 0.5, -(2 ** 31), 2 ** 45, 2 ** 53, 2 ** 60, -(2 ** 63)];
numbers.push(1e308, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY);
const elements = [...numbers, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32];
const odd = [
  () => undefined,
  () => null,
  () => pick([true, false]),
  () => pick(numbers),
  () => pick(['', 'relu', 'linear', 'float32', 'sgd', 'x', '\ud800', 'y'.repeat(10_000)]),
  () => pick([0n, 1n, -1n, 2n ** 70n]),
  () => Symbol('s'),
  () => ({}),
  () => [],
  () => Object.create(null),
  () => () => 1,
  () => class {},
  throwing,
  () => new Proxy([], {}),
  () => new Date(0),
  () => Promise.resolve(1),
  () => new Map(),
  () => new Error('e'),
  () => [pick(numbers), pick(numbers)],
  // Sparse, but short enough for a loop over it.
  () => Object.assign([], { length: 100 }),
  () => new ArrayBuffer(16),
  () => new SharedArrayBuffer(16),
  () => new DataView(new ArrayBuffer(16)),
  detached,
  () => new Float32Array(new ArrayBuffer(24, { maxByteLength: 64 })),
  () => new Float32Array(new SharedArrayBuffer(24)),
  () => new (pick([Float32Array, Int32Array, Uint32Array, Float64Array, Uint8Array]))(below(9)),
  () => new (pick([BigInt64Array, BigUint64Array, Int8Array, Uint16Array]))(below(9)),
  makeParameters,
  makeTrainer,
  makePredictor,
  makeBinding,
  makeStagedRows,
  () => makePredictor().key,
  () => makeBinding().key,
  () => addon,
  () => pick(classes()),
  () => pick(classes()).prototype,
];
const value = () => pick(odd)();

/** The same with something odd in it, somewhere. */
function spoil(good) {
  if (random() < 0.2 || typeof good !== 'object' || good === null) return value();
  if (ArrayBuffer.isView(good)) {
    const copy = good.slice();
    for (let i = below(3); i >= 0 && copy.length > 0; i--)
      copy[below(copy.length)] = pick(elements);
    return copy;
  }
  if (Array.isArray(good)) {
    const copy = [...good];
    const what = copy.length === 0 ? 0 : below(10);
    if (what === 0) copy.push(value());
    else if (what === 1) copy.pop();
    else {
      const at = below(copy.length);
      copy[at] = spoil(copy[at]);
    }
    return copy;
  }
  if (Object.getPrototypeOf(good) !== Object.prototype) return value();
  const keys = Object.keys(good);
  const key = pick(keys.length > 0 ? keys : ['x']);
  if (random() < 0.05) return { ...good, [key]: undefined };
  return { ...good, [key]: spoil(good[key]) };
}

const f = (length) => Float32Array.from({ length }, (_, i) => i / 10);
const steps = () => [
  [f(12), Int32Array.of(0, 1, 0, 1)],
  Uint32Array.of(0, 1, 2, 3),
  Uint32Array.of(2, 2),
];
const run = () => ({ training: true, seed: 1, threads: 1 });
/** Arguments with which each call works. */
const good = {
  cpu: () => [],
  ops: () => [],
  hasOp: () => ['relu'],
  infer: () => ['relu', {}, [{ shape: [2, 3], dtype: 'float32' }]],
  lease: () => [new Float32Array(2), new Float32Array(2)],
  endLease: () => [addon.lease(new Float32Array(2))],
  findDevice: () => ['cpu'],
  findOutside: () => [Int32Array.of(1, 2, 3), 0, 3, -1],
  findNonFinite: () => [f(5)],
  readCells: () => [
    Uint8Array.from(Buffer.from('1,a,x\n-2.5,b,y\nNA,c,z\n')),
    ...[44, ['NA'], [new Float64Array(4), new Int32Array(8), null], new Float64Array(4), 1],
    ...[Uint8Array.of(1, 0, 1, 1), new Uint32Array(10)],
  ],
  lowerPriority: () => [],
  evaluate: () => [{ ...graph(), parameters: [], inputs: inputs() }, 2, [f(6), f(6), f(2)], run()],
  vjp: () => [...good.evaluate().slice(0, 3), [f(4)], [0, 1], run()],
  Parameters: () => [list(), 1],
  Trainer: () => [makeParameters(), lossGraph(), trainerOptions()],
  loadPredictor: () => [makeParameters(), graph(), predictorOptions()],
  loadPredictorFile: () => [weights, [0, 24], 'x', graph(), predictorOptions()],
  Predictor: () => [],
  Binding: () => [],
  StagedRows: () => [makeTrainer(), ...steps().slice(1), 0],
  'StagedRows.copy': () => [steps()[0], 2 ** 19],
  'StagedRows.train': () => [Float64Array.of(0.1, 0.1)],
  'Trainer.train': () => [...steps(), Float64Array.of(0.1, 0.1), ...Array(3), 0],
  'Trainer.evaluate': () => [...steps(), false, 0],
  'Trainer.divisors': () => [...steps(), 0],
  'Trainer.addGraph': () => [lossGraph(), []],
  'Trainer.stop': () => [true],
  'Trainer.stageState': () => [makeState(makeTrainer()), 0],
  'Trainer.loadState': () => {
    const scaling = { skipped: 1, lossScale: 1024, scaleSteps: 7 };
    return [{ step: 3, backoff: 1, goodSteps: 0, skips: 0, ...scaling }];
  },
  'Predictor.shapes': () => [2],
  predictSync: () => [living(makePredictor()).key, 2, f(6), new Float32Array(4)],
  predictHere: () => [living(makePredictor()).key, 2, f(6), new Float32Array(4)],
  runSync: () => [living(makeBinding()).key],
  'Predictor.predict': () => [2, new Int32Array(1), f(6), new Float32Array(4)],
  'Predictor.bind': () => [2],
  'Predictor.variant': () => [0],
};
function inputs() {
  return [
    { name: 'x', shape: [-1, 3], dtype: 'float32' },
    { name: 'w', shape: [2, 3], dtype: 'float32' },
    { name: 'b', shape: [2], dtype: 'float32' },
  ];
}

const makers = {
  Parameters: makeParameters,
  Trainer: makeTrainer,
  Predictor: makePredictor,
  Binding: makeBinding,
  StagedRows: makeStagedRows,
};
const targets = [];
for (const [name, exported] of Object.entries(addon)) {
  // It would replace the class of errors that this test looks for.
  if (typeof exported !== 'function' || name === 'setErrorClass') continue;
  const prototype = makers[name] && exported.prototype;
  targets.push({ name, call: exported, constructs: prototype !== undefined });
  if (prototype === undefined) continue;
  for (const member of Object.getOwnPropertyNames(prototype)) {
    if (member === 'constructor') continue;
    const { value: method, get } = Object.getOwnPropertyDescriptor(prototype, member);
    targets.push({ name: `${name}.${member}`, call: method ?? get, make: makers[name] });
  }
}

const foreign = new Map();
/** Calls, and notes errors of other classes than the library's. */
function attempt(name, call) {
  try {
    const result = call();
    if (result instanceof Promise) result.catch((error) => note(name, error));
  } catch (error) {
    note(name, error);
  }
}
function note(name, error) {
  if (!(error instanceof TandemError)) foreign.set(`${name}: ${error}`, error);
}

let calls = 0;
for (let round = 0; round < rounds; round++) {
  await fillStock();
  for (const { name, call, constructs, make } of targets) {
    const given = good[name]?.() ?? [];
    const kind = below(4);
    const args =
      kind === 0
        ? Array.from({ length: below(12) }, value)
        : kind === 1
          ? given.slice(0, below(given.length + 1))
          : spoil(given);
    const list = Array.isArray(args) ? args : [args];
    const receiver = make !== undefined && random() < 0.9 ? make() : value();
    calls++;
    if (constructs && random() < 0.8) attempt(name, () => new call(...list));
    else if (constructs && random() < 0.3) attempt(name, () => Reflect.construct(call, list, Map));
    else attempt(name, () => Reflect.apply(call, receiver, list));
  }
  if (round % 20 === 0) await new Promise((resolve) => setImmediate(resolve));
}

// What is not spoiled works, so that the calls above reach beyond the first check.
await fillStock();
for (const { name, call, constructs, make } of targets) {
  if (name === 'Binding' || name === 'Predictor') continue;
  const given = good[name]?.() ?? [];
  await (constructs ? new call(...given) : Reflect.apply(call, make?.(), given));
}
console.log(JSON.stringify({ calls, foreign: [...foreign.keys()] }));
